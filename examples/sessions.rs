//! Visits of users: events less than five minutes apart belong to one session.
//!
//! Run:    cargo run --example sessions
//!         (reads `assets/events/visits.txt`, block by block, and ends)
//! Live:   nc -lk 9999    in one terminal, then
//!         cargo run --example sessions -- --host localhost --port 9999    in another; Ctrl-C ends it.
//!         Type lines such as  2021-10-01 09:30:00,ada
//! Prints: each session once the watermark has passed its end, so that no event can prolong it any more

mod support;

use millstream::prelude::*;

fn main() -> Result<()> {
    env_logger::init();
    // One instance of each operator, so that the rows always come in the same order.
    let session = Session::builder().app_name("sessions").parallelism(1).build()?;
    let lines = support::Lines::new(&session, include_str!("../assets/events/visits.txt"));

    let visits = lines
        .timed()
        .with_column_renamed("text", "user")
        .with_watermark("eventTime", "10 minutes")
        .group_by((session_window("eventTime", "5 minutes"), "user"))
        .agg([count_all().alias("events")]);

    let query = visits
        .write_stream()
        .format("console")
        .option("truncate", false)
        .output_mode(OutputMode::Append)
        .query_name("sessions")
        .start()?;
    lines.run(&query)
}
