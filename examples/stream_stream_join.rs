//! What users did with videos within one hour of their posting, and the videos with which nobody did anything in that hour.
//!
//! Run:    cargo run --example stream_stream_join
//!         (files of `assets/videos` are moved into temporary directories one by one, and it ends)
//! Live:   cargo run --example stream_stream_join -- --interactions DIRECTORY --postings DIRECTORY
//!         Move CSV files with the headers `videoId,userId,event,eventTime` and `id,author,postTime` there; Ctrl-C ends it.
//! Prints: of the inner join, each pair after the file that completed it, whichever came first; at last how many rows came too late,
//!         and the result of the left join: the videos without a pair, as far as the watermark says that none can come

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("stream-stream-join").parallelism(1).build()?;
    let arrivals = support::Arrivals::new(&["interactions", "postings"])?;
    let stream = |name: &str, schema: &str| {
        session.read_stream().format("csv").option("header", true).schema(schema).load_path(arrivals.path(name))
    };
    let interactions = stream("interactions", "videoId INT, userId INT, event STRING, eventTime TIMESTAMP")
        .with_watermark("eventTime", "20 minutes");
    let postings =
        stream("postings", "id INT, author STRING, postTime TIMESTAMP").with_watermark("postTime", "10 minutes");

    let within_an_hour = expr("videoId = id AND eventTime >= postTime AND eventTime <= postTime + interval 1 hour");
    let reactions = interactions
        .join(&postings, within_an_hour.clone(), JoinType::Inner)
        .select(["id", "author", "postTime", "userId", "event", "eventTime"])
        .write_stream()
        .format("console")
        .option("truncate", false)
        .query_name("reactions")
        .start()?;
    let ignored = postings
        .join(&interactions, within_an_hour, JoinType::Left)
        .filter("videoId IS NULL")
        .select(["id", "author", "postTime"])
        .write_stream()
        .format("memory")
        .query_name("ignored")
        .start()?;

    let files = [
        ["postings/10-00.csv", "interactions/10-05.csv"],
        ["postings/11-00.csv", "interactions/11-10.csv"],
        ["postings/12-00.csv", "interactions/12-20.csv"],
    ];
    arrivals.run(&[&reactions, &ignored], files.as_flattened())?;

    for progress in reactions.recent_progress().iter().filter(|progress| !progress.dropped_rows.is_empty()) {
        println!("epoch {}: dropped {:?}", progress.batch_id, progress.dropped_rows);
    }
    println!("Nobody reacted to these within an hour:");
    session.table("ignored").sort("id").show()
}
