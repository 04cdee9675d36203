use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::observability::{QueryStartedEvent, QueryTerminatedEvent};
use millstream::prelude::*;

use crate::support::{assert_says, into_memory, message, rows, session, sorted, strings, text_stream, words};

#[test]
fn names_are_unique_among_active_queries() {
    let session = session(1);
    let lines = text_stream(&session);
    let first = into_memory(&lines.to_df(), "same", OutputMode::Append);
    let second = lines.to_df().write_stream().format("noop").query_name("same").start();
    assert_says(&message(second), &["`same` is active already", "queries.rs:"]);
    first.stop().unwrap();
    into_memory(&lines.to_df(), "same", OutputMode::Append).stop().unwrap();
}

#[test]
fn stopping_is_idempotent_and_leaves_the_session_usable() {
    let session = session(2);
    let lines = text_stream(&session);
    let query = into_memory(&lines.to_df(), "lines", OutputMode::Append);
    assert_eq!(session.streams().active().len(), 1);
    assert_eq!(session.streams().get(query.id()).unwrap().run_id(), query.run_id());
    query.stop().unwrap();
    query.stop().unwrap();
    assert_eq!(query.status().message, "Stopped");
    assert!(!query.is_active());
    assert!(session.streams().active().is_empty());
    query.await_termination().unwrap();
    query.process_all_available().unwrap();
    assert!(query.await_termination_timeout(Duration::from_secs(1)).unwrap());
}

#[test]
fn waiting_with_a_limit_says_whether_the_query_ended() {
    let session = session(1);
    let query = into_memory(&text_stream(&session).to_df(), "lines", OutputMode::Append);
    assert!(!query.await_termination_timeout(Duration::from_millis(1)).unwrap());
    query.stop().unwrap();
}

#[test]
fn a_failing_query_keeps_its_error_and_others_go_on() {
    let session = session(2);
    let lines = text_stream(&session);
    let failing =
        lines.to_df().write_stream().query_name("failing").foreach_batch(|_, epoch| Err(format!("no epoch {epoch}")));
    let failing = failing.start().unwrap();
    let healthy = into_memory(&lines.to_df(), "healthy", OutputMode::Append);
    lines.add_rows([strings(&["a"])]).unwrap();
    assert_says(&message(failing.await_termination()), &["no epoch 0"]);
    assert_eq!(failing.exception().unwrap().kind(), ErrorKind::User);
    assert_says(&failing.status().message, &["Terminated with exception"]);
    assert!(message(session.streams().await_any_termination()).contains("no epoch 0"));
    session.streams().reset_terminated();
    healthy.process_all_available().unwrap();
    assert_eq!(rows(&session.table("healthy")), ["a"]);
    session.stop().unwrap();
    session.streams().await_any_termination().unwrap();
}

#[derive(Debug)]
struct Telling(Mutex<Sender<String>>);

impl Telling {
    fn tell(&self, text: String) {
        self.0.lock().unwrap().send(text).unwrap();
    }
}

impl StreamingQueryListener for Telling {
    fn on_query_started(&self, event: &QueryStartedEvent) {
        self.tell(format!("started {}", event.name.clone().unwrap()));
    }
    fn on_query_progress(&self, progress: &StreamingQueryProgress) {
        self.tell(format!("epoch {} with {} rows", progress.batch_id, progress.num_input_rows));
    }
    fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
        self.tell(format!("terminated, failed: {}", event.exception.is_some()));
    }
}

#[test]
fn listeners_hear_the_life_of_a_query_in_order() {
    let session = session(1);
    let (sender, heard) = channel();
    let id = session.streams().add_listener(Arc::new(Telling(Mutex::new(sender))));
    let lines = text_stream(&session);
    let query = into_memory(&lines.to_df(), "lines", OutputMode::Append);
    lines.add_rows([strings(&["a", "b"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    let story: Vec<String> = heard.iter().take(3).collect();
    assert_eq!(story, ["started lines", "epoch 0 with 2 rows", "terminated, failed: false"]);
    session.streams().remove_listener(id);
    into_memory(&lines.to_df(), "again", OutputMode::Append).stop().unwrap();
    drop(session);
}

#[test]
fn progress_is_sparks_json() {
    let session = session(2);
    let lines = text_stream(&session);
    let query = into_memory(&words(&lines.to_df()).group_by("word").count(), "counts", OutputMode::Update);
    lines.add_rows([strings(&["a b a"])]).unwrap();
    query.process_all_available().unwrap();
    let json: serde_json::Value = serde_json::from_str(&query.last_progress().unwrap().json()).unwrap();
    assert_eq!(json["batchId"], 0);
    assert_eq!(json["name"], "counts");
    assert_eq!(json["numInputRows"], 1);
    assert_eq!(json["runId"], query.run_id().to_string());
    assert_eq!(json["sources"][0]["startOffset"], -1);
    assert_eq!(json["sources"][0]["endOffset"], 0);
    assert_eq!(json["sink"]["numOutputRows"], 2);
    assert_eq!(json["stateOperators"][0]["operatorName"], "aggregate");
    assert_eq!(json["stateOperators"][0]["numRowsTotal"], 2);
    assert_eq!(json["stateOperators"][0]["numRowsUpdated"], 2);
    assert!(json["durationMs"]["triggerExecution"].is_number());
    query.stop().unwrap();
}

#[test]
fn any_thread_may_use_the_session() {
    let session = session(2);
    let lines = text_stream(&session);
    let queries: Vec<StreamingQuery> = std::thread::scope(|scope| {
        let start = |number: usize| {
            let (session, lines) = (session.clone(), lines.clone());
            move || {
                let _ = &session;
                into_memory(&lines.to_df(), &format!("copy_{number}"), OutputMode::Append)
            }
        };
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(start(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    lines.add_rows([strings(&["x"])]).unwrap();
    for (number, query) in queries.iter().enumerate() {
        query.process_all_available().unwrap();
        assert_eq!(sorted(&session.table(format!("copy_{number}"))), ["x"]);
    }
    session.stop().unwrap();
}

#[test]
fn additions_made_together_are_seen_together() {
    let session = session(2);
    let (left, right) = (text_stream(&session), text_stream(&session));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let both = left.to_df().union(&right.to_df()).write_stream().foreach_batch(move |batch, _| {
        note.lock().unwrap().push(batch.count_rows()?);
        Ok::<(), Error>(())
    });
    let query = both.start().unwrap();
    for _ in 0..20 {
        let batch =
            || millstream::arrow::record_batch::RecordBatch::try_from_iter([("value", strings(&["x"]))]).unwrap();
        MemoryStream::add_together([(&left, batch()), (&right, batch())]).unwrap();
    }
    query.process_all_available().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().sum::<usize>(), 40);
    assert!(seen.iter().all(|rows| rows % 2 == 0), "{seen:?}");
    query.stop().unwrap();
}

#[test]
fn explain_shows_the_plan_in_its_three_forms() {
    let session = session(2);
    let counts = words(&text_stream(&session).to_df()).group_by("word").count();
    let text = counts.explain().unwrap();
    let parts =
        ["== Unresolved plan ==", "Aggregate", "== Analyzed plan ==", "word#", "== Topology ==", "aggregate", "hash"];
    assert_says(&text, &parts);
    let query = into_memory(&counts, "counts", OutputMode::Complete);
    assert_says(&query.explain(), &["== Topology ==", "complete mode", "MemorySink"]);
    query.stop().unwrap();
}
