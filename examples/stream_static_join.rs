//! Likes, forwards and comments of each user in windows of one hour, with the user's name and country from a table of profiles.
//!
//! Run:    cargo run --example stream_static_join
//!         (files of `assets/videos` are moved into a temporary directory one by one, and it ends)
//! Live:   cargo run --example stream_static_join -- --interactions DIRECTORY --profiles FILE
//!         Move CSV files with the header `videoId,userId,event,eventTime` into the directory; Ctrl-C ends it.
//!         The profiles, a file or a directory, have the header `id,name,country`.
//! Prints: after each file, the counts it changed. Users 12 and 13 have no profile at first; when a file of new members has arrived, the
//!         next epoch sees it, and what user 12 did before is in the counts

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("stream-static-join").parallelism(1).build()?;
    let arrivals = support::Arrivals::new(&["interactions", "profiles"])?;
    arrivals.add("profiles/members.csv")?;

    let interactions = session
        .read_stream()
        .format("csv")
        .option("header", true)
        .schema("videoId INT, userId INT, event STRING, eventTime TIMESTAMP")
        .load_path(arrivals.path("interactions"));
    let profiles = session
        .read()
        .option("header", true)
        .schema("id INT, name STRING, country STRING")
        .csv(arrivals.path("profiles"));

    let counts = interactions
        .with_watermark("eventTime", "30 minutes")
        .group_by((window("eventTime", "1 hour"), "userId", "event"))
        .count();
    let of_users = counts.join(&profiles, "userId = id", JoinType::Inner);

    let query = of_users
        .select(["window", "name", "country", "event", "count"])
        .write_stream()
        .format("console")
        .option("truncate", false)
        .option("numRows", 50)
        .output_mode(OutputMode::Update)
        .query_name("stream-static-join")
        .start()?;
    let files =
        ["interactions/10-05.csv", "interactions/11-10.csv", "profiles/new-members.csv", "interactions/12-20.csv"];
    arrivals.run(&[&query], &files)
}
