//! Joins of streams as a user sees them; what Spark does with the same rows is in `tests/parity`.

use millstream::prelude::*;

use crate::support::{assert_says, into_memory, numbers, rows, session, sorted, strings, timed};

/// Postings `id, postTime` and interactions `videoId, kind, eventTime`.
struct Videos {
    session: Session,
    postings: MemoryStream,
    interactions: MemoryStream,
}

const WITHIN_AN_HOUR: &str = "videoId = id AND eventTime >= postTime AND eventTime <= postTime + interval 1 hour";

impl Videos {
    fn new(parallelism: usize) -> Self {
        let session = session(parallelism);
        let postings = MemoryStream::new(&session, "id BIGINT, postTime TIMESTAMP");
        let interactions = MemoryStream::new(&session, "videoId BIGINT, kind STRING, eventTime TIMESTAMP");
        Self { session, postings, interactions }
    }

    /// Both with a watermark of ten minutes.
    fn joined(&self, kind: JoinType) -> DataFrame {
        let postings = self.postings.to_df().with_watermark("postTime", "10 minutes");
        let interactions = self.interactions.to_df().with_watermark("eventTime", "10 minutes");
        postings.join(&interactions, WITHIN_AN_HOUR, kind)
    }

    /// Postings at these minutes.
    fn post(&self, postings: &[(i64, i64)]) {
        let times: Vec<(i64, &str)> = postings.iter().map(|(_, minute)| (minute * 60, "")).collect();
        let ids: Vec<i64> = postings.iter().map(|(id, _)| *id).collect();
        let [times, _] = timed(&times);
        self.postings.add_rows([numbers(&ids), times]).unwrap();
    }

    fn interact(&self, interactions: &[(i64, &str, i64)]) {
        let times: Vec<(i64, &str)> = interactions.iter().map(|(_, _, minute)| (minute * 60, "")).collect();
        let ids: Vec<i64> = interactions.iter().map(|row| row.0).collect();
        let kinds: Vec<&str> = interactions.iter().map(|row| row.1).collect();
        let [times, _] = timed(&times);
        self.interactions.add_rows([numbers(&ids), strings(&kinds), times]).unwrap();
    }
}

/// Rows held of the left and of the right side after the last epoch.
fn held(query: &StreamingQuery) -> (u64, u64) {
    let progress = query.last_progress().unwrap();
    let metrics = &progress.state_operators[0].custom_metrics;
    (metrics["leftRows"], metrics["rightRows"])
}

#[test]
fn interactions_meet_their_video_within_the_hour_and_state_goes_with_the_watermark() {
    for parallelism in [1, 2, 4] {
        let videos = Videos::new(parallelism);
        let joined = videos.joined(JoinType::Inner).select(["id", "kind"]);
        let query = into_memory(&joined, "joined", OutputMode::Append);
        videos.post(&[(1, 20), (2, 30)]);
        videos.interact(&[
            (1, "like", 25),
            (1, "too early", 19),
            (2, "too late", 91),
            (2, "forward", 90),
            (3, "none", 40),
        ]);
        query.process_all_available().unwrap();
        assert_eq!(sorted(&videos.session.table("joined")), ["1|like", "2|forward"]);
        // The watermark is 20 minutes: what happened before it meets no video any more; videos wait for an hour.
        assert_eq!(held(&query), (2, 4));
        videos.post(&[(9, 200)]);
        videos.interact(&[(9, "like", 200)]);
        query.process_all_available().unwrap();
        // At 190 minutes: postings up to 130 and interactions up to 190 are gone.
        assert_eq!(held(&query), (1, 1));
        assert_eq!(sorted(&videos.session.table("joined")), ["1|like", "2|forward", "9|like"]);
        query.stop().unwrap();
    }
}

#[test]
fn an_outer_join_shows_who_stayed_alone_when_no_partner_can_come_any_more() {
    let videos = Videos::new(2);
    let joined = videos.joined(JoinType::Full).select(["id", "videoId", "kind"]);
    let query = into_memory(&joined, "joined", OutputMode::Append);
    videos.post(&[(1, 20), (2, 30)]);
    videos.interact(&[(1, "like", 25), (3, "lost", 40)]);
    query.process_all_available().unwrap();
    assert_eq!(sorted(&videos.session.table("joined")), ["1|1|like"]);
    videos.post(&[(9, 200)]);
    videos.interact(&[(9, "like", 201)]);
    query.process_all_available().unwrap();
    let shown = sorted(&videos.session.table("joined"));
    assert_eq!(shown, ["1|1|like", "2|NULL|NULL", "9|9|like", "NULL|3|lost"]);
    query.stop().unwrap();
}

#[test]
fn late_rows_of_either_side_are_counted_and_can_be_read_with_the_columns_of_their_side() {
    let videos = Videos::new(1);
    let query = into_memory(&videos.joined(JoinType::Inner), "joined", OutputMode::Append);
    videos.post(&[(1, 100)]);
    videos.interact(&[(1, "like", 100)]);
    query.process_all_available().unwrap();
    videos.post(&[(2, 90), (3, 91)]);
    videos.interact(&[(1, "late", 80)]);
    query.process_all_available().unwrap();
    let dropped: u64 = query.recent_progress().iter().filter_map(|progress| progress.dropped_rows.get("late")).sum();
    assert_eq!(dropped, 2);
    let late = query.late_rows().select(["id", "postTime", "videoId", "kind", "reason", "lateness"]);
    let reader = late.write_stream().format("memory").query_name("late").trigger(Trigger::available_now());
    reader.start().unwrap().await_termination().unwrap();
    assert_eq!(
        sorted(&videos.session.table("late")),
        ["2|1970-01-01T01:30:00Z|NULL|NULL|late|0", "NULL|NULL|1|late|late|600000"]
    );
    query.stop().unwrap();
}

#[test]
fn a_window_count_above_a_join_waits_for_pairs_as_old_as_their_older_row() {
    let videos = Videos::new(2);
    let counts = videos.joined(JoinType::Inner).group_by(window("postTime", "10 minutes")).count();
    let query = into_memory(&counts.select_expr(["window.start AS start", "count"]), "counts", OutputMode::Append);
    videos.post(&[(1, 5), (2, 65)]);
    videos.interact(&[(1, "like", 6), (2, "like", 66)]);
    query.process_all_available().unwrap();
    // At 56 minutes a pair of minute 5 can still come: its interaction may be up to an hour later.
    videos.interact(&[(1, "like", 64)]);
    query.process_all_available().unwrap();
    assert!(rows(&videos.session.table("counts")).is_empty());
    videos.post(&[(9, 400)]);
    videos.interact(&[(9, "like", 400)]);
    query.process_all_available().unwrap();
    let shown = sorted(&videos.session.table("counts"));
    assert_eq!(shown, ["1970-01-01T00:00:00Z|2", "1970-01-01T01:00:00Z|1"]);
    query.stop().unwrap();
}

#[test]
fn a_stream_can_be_joined_with_itself() {
    let session = session(2);
    let stream = MemoryStream::new(&session, "node BIGINT, parent BIGINT");
    let (child, parent) = (stream.to_df().alias("child"), stream.to_df().alias("parent"));
    let joined = child.join(&parent, "child.parent = parent.node", JoinType::Inner);
    let query = into_memory(&joined.select(["child.node", "parent.node"]), "pairs", OutputMode::Append);
    stream.add_rows([numbers(&[1, 2, 3]), numbers(&[0, 1, 1])]).unwrap();
    query.process_all_available().unwrap();
    stream.add_rows([numbers(&[0, 4]), numbers(&[0, 3])]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("pairs")), ["0|0", "1|0", "2|1", "3|1", "4|3"]);
    query.stop().unwrap();
}

#[test]
fn a_key_that_half_of_all_rows_have_gives_all_pairs() {
    let session = session(2);
    let left = MemoryStream::new(&session, "k BIGINT, l BIGINT");
    let right = MemoryStream::new(&session, "k BIGINT, r BIGINT");
    let joined = left.to_df().join_using(&right.to_df(), "k", JoinType::Inner);
    let query = joined.write_stream().format("noop").start().unwrap();
    // Half of the rows have key 0, the others one of their own.
    let keys: Vec<i64> = (0..2_000).map(|row| if row % 2 == 0 { 0 } else { row }).collect();
    left.add_rows([numbers(&keys), numbers(&keys)]).unwrap();
    right.add_rows([numbers(&keys), numbers(&keys)]).unwrap();
    query.process_all_available().unwrap();
    assert_eq!(query.last_progress().unwrap().sink.num_output_rows, 1_000 * 1_000 + 1_000);
    query.stop().unwrap();
}

#[test]
fn the_topology_says_what_is_joined_and_when_it_is_freed() {
    let text = Videos::new(1).joined(JoinType::Left).explain().unwrap();
    assert_says(
        &text,
        &["join", "left join on id", "= videoId", "left freed when postTime is before the watermark - 1 hour"],
    );
}

#[test]
fn what_bounds_each_side_is_told_before_the_query_runs() {
    let videos = Videos::new(1);
    let seen = videos.interactions.to_df().with_watermark("eventTime", "20 minutes");
    let posted = videos.postings.to_df().with_watermark("postTime", "10 minutes");
    let bounded = posted.join(&seen, WITHIN_AN_HOUR, JoinType::Left).explain().unwrap();
    let (left, right) = ("left side: rows of the last 1 hour + 20 minutes", "right side: rows of the last 20 minutes");
    assert_says(&bounded, &[&format!("left join by id: {left}; {right}")]);
    let (postings, interactions) = (videos.postings.to_df(), videos.interactions.to_df());
    let forever = postings.join(&interactions, "id = videoId", JoinType::Inner).explain().unwrap();
    assert_says(
        &forever,
        &["UNBOUNDED: every row of the left side is kept for ever", "with_watermark(\"eventTime\", delay)"],
    );
    // A range that a filter above adds bounds as one in the condition.
    let postings = postings.with_watermark("postTime", "10 minutes");
    let interactions = interactions.with_watermark("eventTime", "10 minutes");
    let later = postings
        .join(&interactions, "id = videoId", JoinType::Inner)
        .filter("eventTime >= postTime AND eventTime <= postTime + interval 1 hour");
    assert_says(&later.explain().unwrap(), &["left side: rows of the last 1 hour + 10 minutes"]);
}

#[test]
fn a_condition_that_null_can_fulfil_loses_no_row() {
    let session = session(1);
    let (left, right) =
        (MemoryStream::new(&session, "k BIGINT, v STRING"), MemoryStream::new(&session, "j BIGINT, w STRING"));
    let joined = left.to_df().join(&right.to_df(), "k = j AND (v IS NOT NULL) = (w IS NOT NULL)", JoinType::Inner);
    let query = into_memory(&joined, "joined", OutputMode::Append);
    for stream in [&left, &right] {
        let rows = session.sql("SELECT bigint(a) AS a, b FROM (VALUES (1, NULL), (2, 'x')) AS t(a, b)");
        for batch in rows.collect().unwrap() {
            stream.add_rows(batch.columns().to_vec()).unwrap();
        }
    }
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("joined")), ["1|NULL|1|NULL", "2|x|2|x"]);
    query.stop().unwrap();
}

#[test]
fn keys_that_are_computed_stand_beside_columns_of_any_name() {
    let session = session(2);
    // The first column of the plan, which a name such as `key#1` would hit.
    let table = session.create_data_frame(session.sql("SELECT 'A' AS key, bigint(1) AS x").collect().unwrap());
    let stream = MemoryStream::new(&session, "key STRING, y BIGINT");
    let other = MemoryStream::new(&session, "key STRING, z BIGINT");
    let (table, left, right) = (table.alias("t"), stream.to_df().alias("l"), other.to_df().alias("r"));
    let with_table = table.join(&left, "lower(t.key) = lower(l.key) AND t.x + 0 = l.y + 0", JoinType::Inner);
    let of_streams = left.join(&right, "lower(l.key) = lower(r.key) AND l.y + 0 = r.z + 0", JoinType::Inner);
    let queries = [
        into_memory(&with_table.select(["t.key", "l.key"]), "with_table", OutputMode::Append),
        into_memory(&of_streams.select(["l.key", "r.key"]), "of_streams", OutputMode::Append),
    ];
    stream.add_rows([strings(&["a", "b"]), numbers(&[1, 1])]).unwrap();
    other.add_rows([strings(&["A", "A"]), numbers(&[1, 2])]).unwrap();
    for query in queries {
        query.process_all_available().unwrap();
        query.stop().unwrap();
    }
    assert_eq!(sorted(&session.table("with_table")), ["A|a"]);
    assert_eq!(sorted(&session.table("of_streams")), ["a|A"]);
}
