use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use millstream::prelude::*;

use crate::support::{into_memory, session, text_stream};

/// A sink that is stuck holds the source back: while the first epoch hangs, no more rows are taken from the rate-limited
/// source than fit into the windows, and stopping gives the epoch up after the deadline.
#[test]
fn a_stuck_sink_does_not_keep_a_query_from_being_stopped() {
    let session = session(2);
    let lines = text_stream(&session);
    let (entered, waiting) = channel();
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let query = lines.to_df().write_stream().foreach_batch(move |_, _| {
        let _ = entered.send(());
        let _ = gate.lock().unwrap().recv();
        Ok::<(), Error>(())
    });
    let query = query.start().unwrap();
    lines.add_rows([crate::support::strings(&["a"])]).unwrap();
    waiting.recv().unwrap();
    query.stop_within(std::time::Duration::from_millis(1)).unwrap();
    assert!(!query.is_active());
    assert!(query.last_progress().is_none(), "the epoch was given up");
    drop(release);
}

#[test]
fn a_hundred_queries_live_side_by_side() {
    let session = session(1);
    let lines = text_stream(&session);
    let rows = Arc::new(AtomicU64::new(0));
    let queries: Vec<StreamingQuery> =
        (0..100).map(|number| into_memory(&lines.to_df(), &format!("q{number}"), OutputMode::Append)).collect();
    lines.add_rows([crate::support::strings(&["a", "b"])]).unwrap();
    for query in &queries {
        query.process_all_available().unwrap();
        rows.fetch_add(query.last_progress().unwrap().num_input_rows, Ordering::Relaxed);
    }
    assert_eq!(rows.load(Ordering::Relaxed), 200);
    assert_eq!(session.streams().active().len(), 100);
    session.stop().unwrap();
    assert!(session.streams().active().is_empty());
}

/// A function that never returns holds its thread; the query is over all the same.
#[test]
fn a_blocked_function_does_not_keep_a_query_from_being_stopped() {
    use millstream::arrow::datatypes::DataType;
    let session = session(1);
    let (entered, waiting) = channel();
    let (release, gate) = channel::<()>();
    let (entered, gate) = (Mutex::new(entered), Mutex::new(gate));
    session.register_udf(ScalarUdf::new("stuck", vec![DataType::Utf8], DataType::Utf8, move |columns| {
        let _ = entered.lock().unwrap().send(());
        let _ = gate.lock().unwrap().recv();
        Ok(columns[0].clone())
    }));
    let lines = text_stream(&session);
    let query = into_memory(&lines.to_df().select([expr("stuck(value)")]), "stuck", OutputMode::Append);
    lines.add_rows([crate::support::strings(&["a"])]).unwrap();
    waiting.recv().unwrap();
    query.stop_within(std::time::Duration::from_millis(1)).unwrap();
    assert!(!query.is_active());
    drop(release);
}
