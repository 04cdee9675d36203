use std::error::Error as StdError;
use std::sync::{Arc, Mutex};

use millstream::prelude::*;

use crate::support::{into_memory, message, rows, session, sorted, strings, text_stream};

#[test]
fn foreach_batch_is_called_once_an_epoch_with_the_epochs_rows() {
    let session = session(2);
    let lines = text_stream(&session);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&calls);
    let query = lines.to_df().filter("value <> 'skip'").write_stream().foreach_batch(move |batch, epoch| {
        let rows: Vec<String> = crate::support::sorted(&batch.select([upper("value")]));
        note.lock().unwrap().push((epoch, rows));
        Ok::<(), Error>(())
    });
    let query = query.start().unwrap();
    for line in ["a", "skip", "b"] {
        lines.add_rows([strings(&[line])]).unwrap();
        query.process_all_available().unwrap();
    }
    query.stop().unwrap();
    let expected = [(0, vec!["A".to_string()]), (1, vec![]), (2, vec!["B".to_string()])];
    assert_eq!(*calls.lock().unwrap(), expected);
}

#[test]
fn a_panic_in_foreach_batch_fails_the_query_with_nothing_committed() {
    let session = session(1);
    let lines = text_stream(&session);
    let query =
        lines.to_df().write_stream().foreach_batch(|_, _| -> Result<()> { panic!("not today") }).start().unwrap();
    lines.add_rows([strings(&["a"])]).unwrap();
    assert!(message(query.process_all_available()).contains("not today"));
    assert!(query.last_progress().is_none());
}

#[derive(Clone)]
struct Keeping(Arc<Mutex<Vec<String>>>);

impl ForeachWriter for Keeping {
    fn open(&mut self, _: usize, _: u64) -> bool {
        true
    }
    fn process(&mut self, row: &Row<'_>) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
        self.0.lock().unwrap().push(row.get_str("value")?.unwrap_or("null").to_string());
        Ok(())
    }
    fn close(&mut self, _: Option<&Error>) {}
}

#[test]
fn foreach_sees_every_row() {
    let session = session(2);
    let lines = text_stream(&session);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let query = lines.to_df().write_stream().foreach(Keeping(Arc::clone(&kept))).start().unwrap();
    lines.add_rows([strings(&["a", "b"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    kept.lock().unwrap().sort();
    assert_eq!(*kept.lock().unwrap(), ["a", "b"]);
}

#[test]
fn a_new_query_starts_its_memory_table_anew() {
    let session = session(1);
    let lines = text_stream(&session);
    let query = into_memory(&lines.to_df(), "lines", OutputMode::Append);
    lines.add_rows([strings(&["old"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    assert_eq!(rows(&session.table("lines")), ["old"], "a stopped query's table stays");
    let query = into_memory(&lines.to_df().filter("value = 'new'"), "lines", OutputMode::Append);
    lines.add_rows([strings(&["new"])]).unwrap();
    query.process_all_available().unwrap();
    query.stop().unwrap();
    assert_eq!(sorted(&session.table("lines")), ["new"]);
}
