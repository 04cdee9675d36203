//! Static tables on the same entry point: CSV files, a join, SQL, and a window function.
//!
//! Run:    cargo run --example static_tables
//! Prints: who spent how long, people without a visit, and the longest visit of each page

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    let session = Session::builder().app_name("static-tables").build()?;
    let people = session
        .read()
        .option("header", true)
        .schema("id INT, name STRING, city STRING")
        .csv("assets/tables/people.csv");
    let visits = session.read().option("header", true).option("inferSchema", true).csv("assets/tables/visits.csv");
    visits.print_schema()?;

    let joined = people.join(&visits, "id = person", JoinType::Inner);
    joined
        .group_by(("city", "name"))
        .agg((count_all().alias("visits"), sum("seconds").alias("seconds")))
        .sort(("city", "name"))
        .show()?;

    people.join(&visits, "id = person", JoinType::LeftAnti).select(["name"]).show()?;

    people.create_or_replace_temp_view("people");
    visits.create_or_replace_temp_view("visits");
    session
        .sql(
            "SELECT page, name, seconds FROM (
               SELECT page, name, seconds, row_number() OVER (PARTITION BY page ORDER BY seconds DESC NULLS LAST) AS place
               FROM visits JOIN people ON id = person)
             WHERE place = 1 ORDER BY page",
        )
        .show()
}
