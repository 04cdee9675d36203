use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use millstream::prelude::*;

use crate::support::{into_memory, session, sorted};

const SCHEMA: &str = "k STRING, n BIGINT, x DOUBLE";

/// Three epochs of rows with nulls, repeats and negative numbers.
fn epochs() -> Vec<[ArrayRef; 3]> {
    let rows = |k: Vec<Option<&str>>, n: Vec<Option<i64>>, x: Vec<Option<f64>>| -> [ArrayRef; 3] {
        [Arc::new(StringArray::from(k)), Arc::new(Int64Array::from(n)), Arc::new(Float64Array::from(x))]
    };
    vec![
        rows(vec![Some("a"), Some("b"), None], vec![Some(1), Some(5), None], vec![Some(0.5), None, Some(-1.0)]),
        rows(vec![Some("a"), Some("a"), None], vec![Some(1), None, Some(-7)], vec![Some(1.5), Some(2.0), None]),
        rows(vec![Some("b"), Some("c")], vec![Some(2), None], vec![Some(4.0), None]),
    ]
}

/// The aggregates under test, as SQL text.
const AGGREGATES: [&str; 16] = [
    "count(*)",
    "count(n)",
    "sum(n)",
    "sum(x)",
    "avg(n)",
    "avg(x)",
    "min(n)",
    "max(n)",
    "min(k)",
    "max(x)",
    "round(stddev(x), 6)",
    "round(variance(n), 6)",
    "sort_array(collect_list(n))",
    "sort_array(collect_set(n))",
    "approx_count_distinct(n)",
    "sum(n) FILTER (WHERE n > 1)",
];

fn aggregated(frame: &DataFrame) -> DataFrame {
    let columns: Vec<Expr> =
        AGGREGATES.iter().enumerate().map(|(i, text)| expr(*text).alias(format!("a{i}"))).collect();
    frame.group_by("k").agg(columns)
}

/// What a batch query over the same rows gives.
fn expected(session: &Session) -> Vec<String> {
    let batches = epochs().into_iter().map(|columns| {
        let names = ["k", "n", "x"].into_iter().zip(columns);
        millstream::arrow::record_batch::RecordBatch::try_from_iter_with_nullable(
            names.map(|(name, c)| (name, c, true)),
        )
        .unwrap()
    });
    sorted(&aggregated(&session.create_data_frame(batches.collect())))
}

#[test]
fn a_stream_of_epochs_aggregates_to_what_a_batch_query_gives() {
    for parallelism in [1, 2, 4] {
        let session = session(parallelism);
        let stream = MemoryStream::new(&session, SCHEMA);
        let query = into_memory(&aggregated(&stream.to_df()), "found", OutputMode::Complete);
        for columns in epochs() {
            stream.add_rows(columns).unwrap();
            query.process_all_available().unwrap();
        }
        assert_eq!(sorted(&session.table("found")), expected(&session), "parallelism {parallelism}");
        query.stop().unwrap();
    }
}

#[test]
fn one_epoch_and_three_give_the_same() {
    let session = session(2);
    let stream = MemoryStream::new(&session, SCHEMA);
    for columns in epochs() {
        stream.add_rows(columns).unwrap();
    }
    let query = into_memory(&aggregated(&stream.to_df()), "found", OutputMode::Complete);
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("found")), expected(&session));
    query.stop().unwrap();
}

#[test]
fn keys_can_be_expressions_and_results_can_be_computed_from_aggregates() {
    let session = session(2);
    let stream = MemoryStream::new(&session, SCHEMA);
    let frame = stream.to_df().group_by((col("n") % 2).alias("odd")).agg((sum("n") + 1).alias("s")).filter("s > 0");
    let query = into_memory(&frame, "found", OutputMode::Complete);
    for columns in epochs() {
        stream.add_rows(columns).unwrap();
    }
    query.process_all_available().unwrap();
    assert_eq!(sorted(&session.table("found")), ["0|3", "1|8"]);
    query.stop().unwrap();
}

#[test]
fn sorted_and_limited_results_in_complete_mode() {
    let session = session(4);
    let stream = MemoryStream::new(&session, SCHEMA);
    let frame = stream.to_df().group_by("k").count().sort((col("count").desc(), col("k").asc())).limit(2);
    let query = into_memory(&frame, "top", OutputMode::Complete);
    for columns in epochs() {
        stream.add_rows(columns).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(crate::support::rows(&session.table("top")), ["a|3", "NULL|2"]);
    query.stop().unwrap();
}

#[test]
fn a_limit_in_append_mode_holds_for_the_life_of_the_query() {
    let session = session(4);
    let stream = MemoryStream::new(&session, "n BIGINT");
    let query = into_memory(&stream.to_df().limit(3), "few", OutputMode::Append);
    for _ in 0..3 {
        stream.add_rows([crate::support::numbers(&[1, 2])]).unwrap();
        query.process_all_available().unwrap();
    }
    assert_eq!(session.table("few").count_rows().unwrap(), 3);
    query.stop().unwrap();
}
