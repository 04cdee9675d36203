//! Stores that answer wrongly.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use millstream::store::object::ObjectCheckpointStore;
use millstream::store::object::object_store::memory::InMemory;
use millstream::store::object::object_store::path::Path;
use millstream::store::object::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use millstream::store::{CheckpointStore, Created};

/// What goes wrong with a put.
#[derive(Debug)]
enum Fault {
    /// The condition is ignored.
    Overwrites,
    /// The condition is not known.
    KnowsNoConditions,
    /// So often it speaks of a conflict, though there is no object.
    Conflicts(AtomicUsize),
    /// So often the object is made, but the answer does not arrive.
    LosesAnswers(AtomicUsize),
}

/// Memory with a fault.
#[derive(Debug)]
struct Faulty {
    memory: InMemory,
    fault: Fault,
}

fn faulty(fault: Fault) -> ObjectCheckpointStore {
    let store = Faulty { memory: InMemory::new(), fault };
    ObjectCheckpointStore::over(Arc::new(store), "faulty://store", "").unwrap()
}

/// Takes one from what is left.
fn takes_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn lost() -> Error {
    Error::Generic { store: "faulty", source: "the connection was closed".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, to: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        match &self.fault {
            Fault::Overwrites => options.mode = PutMode::Overwrite,
            Fault::KnowsNoConditions => {
                return Err(Error::NotImplemented { operation: "put if absent".into(), implementer: "faulty".into() });
            }
            Fault::Conflicts(left) if takes_one(left) => {
                return Err(Error::AlreadyExists { path: to.to_string(), source: "409".into() });
            }
            Fault::LosesAnswers(left) if takes_one(left) => {
                self.memory.put_opts(to, payload, options).await?;
                return Err(lost());
            }
            Fault::Conflicts(_) | Fault::LosesAnswers(_) => {}
        }
        self.memory.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.memory.get_opts(from, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[test]
fn a_store_that_overwrites_is_caught_by_the_probe() {
    let store = faulty(Fault::Overwrites);
    let error = store.probe().unwrap_err().message().to_owned();
    assert!(error.contains("faulty://store: exactly-once is not possible on this store"), "{error}");
    assert!(error.contains("use a local directory, or a store that honours conditional writes"), "{error}");
    assert_eq!(store.list("").unwrap(), [""; 0], "the probe cleans up");
}

#[test]
fn a_store_that_knows_no_conditions_is_caught_by_the_probe() {
    let error = faulty(Fault::KnowsNoConditions).probe().unwrap_err().message().to_owned();
    assert!(error.contains("without which exactly-once is not possible"), "{error}");
}

#[test]
fn a_conflict_about_an_object_that_is_not_there_is_tried_again() {
    let store = faulty(Fault::Conflicts(AtomicUsize::new(2)));
    assert_eq!(store.create("commits/1", b"a").unwrap(), Created::New);
    assert_eq!(store.create("commits/1", b"b").unwrap(), Created::Exists);
}

#[test]
fn a_conflict_that_does_not_end_is_an_error_and_not_an_object() {
    let store = faulty(Fault::Conflicts(AtomicUsize::new(usize::MAX)));
    let error = store.create("commits/1", b"a").unwrap_err().message().to_owned();
    assert!(error.contains("keeps answering that it exists, but it cannot be read"), "{error}");
}

#[test]
fn after_a_lost_answer_ones_own_object_is_found() {
    let store = faulty(Fault::LosesAnswers(AtomicUsize::new(1)));
    let error = store.create("commits/1", b"a").unwrap_err().message().to_owned();
    assert!(error.contains("cannot create `commits/1`: ") && error.contains("the connection was closed"), "{error}");
    assert_eq!(store.create("commits/1", b"a").unwrap(), Created::Exists);
    assert_eq!(store.read("commits/1").unwrap().unwrap(), b"a");
}
