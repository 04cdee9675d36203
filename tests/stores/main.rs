//! What every checkpoint store must do (`testing::conformance::check_store`), asked of each that is a service.
//!
//! | module | |
//! |---|---|
//! | `faults` | stores that answer wrongly, and what becomes of that |
//! | here | the stores |
//!
//! Those that need a server are ignored unless `.ci/stores` has started it; it runs them all and fails if it cannot.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;

use millstream::store::object::ObjectCheckpointStore;
use millstream::store::object::object_store::memory::InMemory;
#[cfg(any(feature = "s3", feature = "azure", feature = "hdfs"))]
use millstream::store::{CheckpointStore, Created};

use millstream::testing::conformance::check_store;

fn open(url: &str) -> ObjectCheckpointStore {
    ObjectCheckpointStore::open(url).unwrap()
}

#[test]
fn memory_conforms() {
    check_store(&open("memory:///")).unwrap();
}

#[test]
fn memory_conforms_below_a_prefix_with_odd_characters() {
    check_store(&open("memory:///a%20b/100%25/gr%C3%B6%C3%9Fe/x=1")).unwrap();
}

#[test]
fn a_store_of_the_programs_own_conforms() {
    check_store(&ObjectCheckpointStore::over(std::sync::Arc::new(InMemory::new()), "mine", "a/b").unwrap()).unwrap();
}

#[test]
fn a_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}/check%20points", directory.path().display());
    let store = open(&url);
    check_store(&store).unwrap();
    let found = std::fs::read_dir(directory.path().join("check points")).unwrap();
    assert!(found.count() > 0, "the prefix is decoded");
}

/// The prefix of a run's own, below the place that `.ci/stores` names by `variable`, so that a server may be used twice.
#[cfg(any(feature = "s3", feature = "azure", feature = "hdfs"))]
fn place(variable: &str) -> String {
    let base = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run .ci/stores"));
    format!("{base}/run%20{}", millstream::Uuid::new_v4())
}

/// The questions, and that two processes see each other's objects.
#[cfg(any(feature = "s3", feature = "azure", feature = "hdfs"))]
fn conforms_for_all(variable: &str) {
    let url = place(variable);
    let (one, other) = (open(&url), open(&url));
    check_store(&one).unwrap();
    assert_eq!(one.create("shared/1", b"one").unwrap(), Created::New);
    assert_eq!(other.create("shared/1", b"other").unwrap(), Created::Exists);
    assert_eq!(other.read("shared/1").unwrap().as_deref(), Some(&b"one"[..]));
}

#[cfg(feature = "s3")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn s3_conforms() {
    conforms_for_all("STORES_S3");
}

#[cfg(feature = "s3")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn a_bucket_that_does_not_exist_is_named_with_the_remedy() {
    let store = open("s3://no-such-bucket/x");
    let error = store.create("commits/1", b"").unwrap_err().message().to_owned();
    assert!(error.contains("s3://no-such-bucket/x: cannot create `commits/1`"), "{error}");
    assert!(error.contains("check that the bucket"), "{error}");
    assert!(store.list("commits").is_err(), "a bucket that is missing is not an empty one");
}

#[cfg(feature = "azure")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn azure_conforms() {
    conforms_for_all("STORES_AZURE");
}

#[cfg(feature = "hdfs")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn hdfs_conforms() {
    conforms_for_all("STORES_HDFS");
}

/// A query that keeps its checkpoint there, stops and goes on.
#[cfg(any(feature = "s3", feature = "azure", feature = "hdfs"))]
fn a_query_goes_on(variable: &str) {
    use millstream::arrow::array::{ArrayRef, StringArray};
    use millstream::prelude::*;

    let place = place(variable);
    let session = Session::builder().parallelism(2).build().unwrap();
    let stream = MemoryStream::new(&session, "word STRING");
    let counts = stream.to_df().group_by(["word"]).count();
    for (words, expected) in [(vec!["a", "b", "a"], 3), (vec!["a"], 4)] {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
        let sum = std::sync::Arc::clone(&seen);
        let add = move |rows: DataFrame, _: u64| -> Result<()> {
            *sum.lock().unwrap() +=
                rows.collect()?.iter().map(millstream::arrow::record_batch::RecordBatch::num_rows).sum::<usize>();
            Ok(())
        };
        let writer = counts.write_stream().output_mode(OutputMode::Complete).foreach_batch(add);
        let query = writer.option("checkpointLocation", &place).start().unwrap();
        stream.add_rows([std::sync::Arc::new(StringArray::from(words)) as ArrayRef]).unwrap();
        query.process_all_available().unwrap();
        query.stop().unwrap();
        assert_eq!(*seen.lock().unwrap(), 2, "two words");
        let state = session.read().format("statestore").load_path(&place).agg([max("count").alias("most")]);
        let most = state.collect().unwrap();
        let most = millstream::arrow::util::display::array_value_to_string(most[0].column(0), 0).unwrap();
        assert_eq!(most, (expected - 1).to_string());
    }
    assert!(millstream::checkpoint::Checkpoint::open(&place).unwrap().verify().unwrap().is_empty());
}

#[cfg(feature = "s3")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn a_query_goes_on_from_s3() {
    a_query_goes_on("STORES_S3");
}

#[cfg(feature = "azure")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn a_query_goes_on_from_azure() {
    a_query_goes_on("STORES_AZURE");
}

#[cfg(feature = "hdfs")]
#[test]
#[ignore = "needs a server: run .ci/stores"]
fn a_query_goes_on_from_hdfs() {
    a_query_goes_on("STORES_HDFS");
}
