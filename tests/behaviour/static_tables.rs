use millstream::prelude::*;

use crate::support::{assert_says, message, rows, session, sorted};

fn people(session: &Session) -> DataFrame {
    session.sql("SELECT * FROM (VALUES (1, 'Ada', 'London'), (2, 'Grace', 'New York'), (3, 'Alan', 'London')) AS t(id, name, city)")
}

fn visits(session: &Session) -> DataFrame {
    session.sql("SELECT * FROM (VALUES (1, 12), (1, 30), (3, 5), (9, 1)) AS t(person, seconds)")
}

#[test]
fn every_kind_of_join() {
    let session = session(1);
    let (people, visits) = (people(&session), visits(&session));
    let joined = |kind| sorted(&people.join(&visits, "id = person", kind).select(["name"]));
    assert_eq!(joined(JoinType::Inner), ["Ada", "Ada", "Alan"]);
    assert_eq!(joined(JoinType::Left), ["Ada", "Ada", "Alan", "Grace"]);
    assert_eq!(joined(JoinType::Right), ["Ada", "Ada", "Alan", "NULL"]);
    assert_eq!(joined(JoinType::Full), ["Ada", "Ada", "Alan", "Grace", "NULL"]);
    assert_eq!(joined(JoinType::LeftSemi), ["Ada", "Alan"]);
    assert_eq!(joined(JoinType::LeftAnti), ["Grace"]);
}

#[test]
fn joining_by_name_shows_the_key_once() {
    let session = session(1);
    let visits = visits(&session).with_column_renamed("person", "id");
    let joined = people(&session).join_using(&visits, "id", JoinType::Inner);
    assert_eq!(
        joined.schema().unwrap().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>(),
        ["id", "name", "city", "seconds"]
    );
    assert_eq!(sorted(&joined), ["1|Ada|London|12", "1|Ada|London|30", "3|Alan|London|5"]);
}

#[test]
fn a_self_join_needs_aliases_and_says_so() {
    let session = session(1);
    let people = people(&session);
    let ambiguous = people.join(&people, "city = city", JoinType::Inner);
    assert_says(&message(ambiguous.schema()), &["`city` is ambiguous", "alias"]);
    let (a, b) = (people.alias("a"), people.alias("b"));
    let pairs = a.join(&b, "a.city = b.city AND a.id < b.id", JoinType::Inner);
    assert_eq!(rows(&pairs.select(["a.name", "b.name"])), ["Ada|Alan"]);
}

#[test]
fn grouping_sets_distinct_and_set_operations() {
    let session = session(1);
    let people = people(&session);
    assert_eq!(sorted(&people.rollup("city").count()), ["London|2", "NULL|3", "New York|1"]);
    assert_eq!(sorted(&people.select(["city"]).distinct()), ["London", "New York"]);
    assert_eq!(rows(&people.agg(count_distinct("city"))), ["2"]);
    let london = people.filter("city = 'London'");
    assert_eq!(sorted(&people.except(&london).select(["name"])), ["Grace"]);
    assert_eq!(sorted(&people.intersect(&london).select(["name"])), ["Ada", "Alan"]);
    assert_eq!(rows(&people.sort(col("id").desc()).limit(1).select(["name"])), ["Alan"]);
    assert_eq!(rows(&people.sort("id").offset(2).select(["name"])), ["Alan"]);
}

#[test]
fn sql_with_everything_a_static_table_can_do() {
    let session = session(1);
    people(&session).create_or_replace_temp_view("people");
    visits(&session).create_or_replace_temp_view("visits");
    let ranked =
        "SELECT name, row_number() OVER (PARTITION BY city ORDER BY id DESC) AS place FROM people ORDER BY name";
    assert_eq!(rows(&session.sql(ranked)), ["Ada|2", "Alan|1", "Grace|1"]);
    let frequent = "SELECT name FROM people WHERE id IN (SELECT person FROM visits) ORDER BY name";
    assert_eq!(rows(&session.sql(frequent)), ["Ada", "Alan"]);
    let with = "WITH per AS (SELECT person, sum(seconds) AS s FROM visits GROUP BY person) \
                SELECT name, s FROM people JOIN per ON id = person WHERE s > 10 ORDER BY s";
    assert_eq!(rows(&session.sql(with)), ["Ada|42"]);
    assert_eq!(rows(&session.sql("SELECT city, count(*) AS n FROM people GROUP BY city HAVING n > 1")), ["London|2"]);
}

#[test]
fn a_table_is_written_and_an_existing_target_is_not_overwritten_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("people");
    let session = session(1);
    let people = people(&session);
    people.write().format("csv").option("header", true).save(&target).unwrap();
    let read = || session.read().option("header", true).csv(target.to_string_lossy().into_owned());
    assert_eq!(read().count_rows().unwrap(), 3);
    assert_says(&message(people.write().save(&target)), &["exists already"]);
    people.write().option("header", true).mode(SaveMode::Append).save(&target).unwrap();
    assert_eq!(read().count_rows().unwrap(), 6);
    people.write().option("header", true).mode(SaveMode::Overwrite).save(&target).unwrap();
    assert_eq!(read().count_rows().unwrap(), 3);
}

#[test]
fn the_schema_is_printed_as_spark_does() {
    let session = session(1);
    let frame = session.sql("SELECT 1 AS id, array('a') AS tags");
    assert_eq!(frame.schema().unwrap().field(0).name(), "id");
    frame.print_schema().unwrap();
    frame.show().unwrap();
}

#[test]
fn a_table_can_overwrite_what_it_was_read_from_and_a_wrong_write_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("people");
    let path = target.to_string_lossy().into_owned();
    let session = session(1);
    let people = people(&session);
    people.write().option("header", true).save(&target).unwrap();
    assert_says(&message(people.write().format("cvs").mode(SaveMode::Overwrite).save(&target)), &["cvs"]);
    assert_says(&message(people.select(["nam"]).write().mode(SaveMode::Overwrite).save(&target)), &["nam"]);
    let read = || session.read().option("header", true).csv(path.clone());
    assert_eq!(read().count_rows().unwrap(), 3);
    read().filter("id > 1").write().option("header", true).mode(SaveMode::Overwrite).save(&target).unwrap();
    assert_eq!(read().count_rows().unwrap(), 2);
    assert_says(&message(people.write().save(format!("file://{path}"))), &["exists already"]);
}
