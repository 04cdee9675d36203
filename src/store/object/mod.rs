//! Checkpoints in an object store: Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage, HDFS.
//!
//! Owns: what [`create`](CheckpointStore::create) means there, its proof by [`probe`](CheckpointStore::probe), and errors that
//! name the remedy. Does not own: the clients, which are those of the crate `object_store`.
//!
//! | store | URL | feature | what makes `create` exclusive | tested |
//! |---|---|---|---|---|
//! | Amazon S3, MinIO, R2, … | `s3://bucket/prefix` | `s3` | the header `If-None-Match: *` | moto, an emulator, one request at a time; never S3 itself |
//! | Google Cloud Storage | `gs://bucket/prefix` | `gcs` | the header `x-goog-if-generation-match: 0` | not: it is only compiled |
//! | Azure Blob Storage | `az://container/prefix`, `abfss://container@account.dfs.core.windows.net/prefix` | `azure` | the header `If-None-Match: *` | Azurite, Microsoft's emulator, by `az://`; never Azure itself |
//! | HDFS | `hdfs://host:port/path`, `hdfs://nameservice/path` | `hdfs` | a rename that does not overwrite | Hadoop 2.7.3, one name node and one data node; no newer Hadoop, no name service, no Kerberos |
//! | a directory | `file:///path` | any of these | a hard link | always; meant for tests, since it is not durable |
//! | memory | `memory:///prefix` | any of these | a lock | always; meant for tests |
//!
//! `.ci/stores` installs and starts these servers and runs `tests/stores` against them. Crashes of machines are not among its
//! questions: that an object which was acknowledged is kept is the service's word.
//!
//! Whatever the store, its `probe` runs before the first object is made, so that one that ignores the condition is refused. What
//! no probe sees is a store that looks first and writes afterwards, in two steps: the services above are documented not to.
//!
//! # Settings
//! They come from the environment, under the names that each store's own tools use.
//!
//! | feature | variables |
//! |---|---|
//! | `s3` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`; elsewhere than at Amazon also `AWS_ENDPOINT_URL` and, without TLS, `AWS_ALLOW_HTTP=true`; with no keys the role of the machine or pod; `~/.aws` is not read |
//! | `gcs` | `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT` (a path), else the machine's account |
//! | `azure` | `AZURE_STORAGE_ACCOUNT_NAME`, then `AZURE_STORAGE_ACCOUNT_KEY`, or `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET` and `AZURE_TENANT_ID`, else the machine's identity |
//! | `hdfs` | `HADOOP_CONF_DIR` (the directory of `core-site.xml` and `hdfs-site.xml`), `HADOOP_USER_NAME`; a Kerberos ticket if the cluster asks for one |
//!
//! Whatever else a program needs it sets up itself and passes to [`ObjectCheckpointStore::over`].
//!
//! The prefix is percent-decoded, as in any URL: `%20` is a space. An object is written by a single request, of at most 5 GB and
//! 30 s (`AWS_TIMEOUT`, `AZURE_TIMEOUT`: `"2 minutes"`). A store that does not answer is asked again for up to 3 minutes before
//! a call fails.
//!
//! # What the answer of `create` rests on
//! * **New**: the service has the object whole and keeps it as it keeps any other.
//! * **Exists**: the service refused, and the object was then seen. Services also answer «conflict» while another request for the
//!   same name is under way, whose object may never come to be; then `create` tries again.
//! * A request whose answer is lost is not repeated, and `create` fails; one that the service answers with an error of its own (5xx)
//!   is. So one's own object may be met, by that or by calling again: `Exists`, which the caller finds out by reading back and
//!   comparing.
//!
//! # HDFS
//! Read in the client's source (hdfs-native 0.13, hdfs-native-object-store 0.16): the object is written as `.name.tmp.1` beside its
//! place, closed, and renamed by the name node's `rename2` without the flag to overwrite. That is one step under the name node's
//! lock, logged before it answers: of two writers one is refused, and nobody sees half an object. `close` waits until the data
//! nodes acknowledge every packet and `dfs.namenode.replication.min` of them report the block; there is no `hsync`, so the bytes
//! may still be in the data nodes' memory. They outlive the loss of data nodes as any HDFS file does, but a power failure of all
//! replicas at once only with `dfs.datanode.synconclose=true`. A crash, or losing the race, leaves a `.name.tmp.1` behind; `list`
//! does not show it.

mod location;
mod remedy;
mod runtime;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use self::location::Location;
use self::runtime::Blocking;
use super::{CheckpointStore, Created};
use crate::error::{Error, Result};

/// The crate whose stores [`ObjectCheckpointStore::over`] takes, in the version it takes.
pub use object_store;

/// How often `create` tries again while the store speaks of a conflict about an object that is not there.
const CONFLICTS: u32 = 6;

/// How long it waits after the first of these tries; twice as long after each further one, some 2 s in all.
const CONFLICT_PAUSE: Duration = Duration::from_millis(30);

/// Keeps checkpoints in an object store.
///
/// ```no_run
/// use millstream::store::CheckpointStore;
/// use millstream::store::object::ObjectCheckpointStore;
///
/// # fn main() -> millstream::Result<()> {
/// let store = ObjectCheckpointStore::open("s3://bucket/checkpoints/word-count")?;
/// store.probe()?;
/// # Ok(())
/// # }
/// ```
pub struct ObjectCheckpointStore {
    url: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What to look at when the store refuses.
    settings: &'static str,
    /// Whether objects being made lie in the same directory under a name of their own (HDFS).
    stages: bool,
    blocking: Blocking,
}

impl ObjectCheckpointStore {
    /// Sets up the store of `url`, with settings from the environment; see the [module](self) for both. Asks the store nothing yet.
    ///
    /// # Errors
    /// When the URL is not one of those in the module's table, needs a feature that is not compiled in, or the settings are unusable.
    pub fn open(url: &str) -> Result<Self> {
        let blocking = Blocking::start()?;
        let location = Location::open(url, blocking.handle())?;
        Ok(Self::of(url, location, blocking))
    }

    /// Keeps checkpoints below `prefix` (percent-encoded, possibly empty) of a store that the program has set up; `url` names it
    /// for people.
    ///
    /// # Errors
    /// When the prefix is not a path.
    pub fn over(store: Arc<dyn ObjectStore>, url: &str, prefix: &str) -> Result<Self> {
        let location = Location::of_program(store, url, prefix)?;
        Ok(Self::of(url, location, Blocking::start()?))
    }

    fn of(url: &str, location: Location, blocking: Blocking) -> Self {
        let Location { store, prefix, settings, stages } = location;
        Self { url: url.to_owned(), store, prefix, settings, stages, blocking }
    }

    /// Where the object `name` is in the store.
    fn path(&self, name: &str) -> Result<Path> {
        let full = if self.prefix.as_ref().is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        let bad = |error| {
            Error::config(format!("checkpoint store {}: `{name}` cannot name an object: {error}", self.url))
                .with_source(error)
        };
        Path::parse(full).map_err(bad)
    }

    /// Runs one call of the store's on its own threads, and waits.
    fn run<T, F>(&self, call: impl FnOnce(Arc<dyn ObjectStore>) -> F) -> Result<object_store::Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        self.blocking.wait(call(Arc::clone(&self.store)))
    }

    fn failed(&self, doing: &str, name: &str, error: StoreError) -> Error {
        let remedy = remedy::of(&error, self.settings);
        let cause = remedy::causes(&error);
        Error::connector(format!("checkpoint store {}: cannot {doing} `{name}`: {cause}; {remedy}", self.url))
            .with_source(error)
    }

    /// Whether the object is there. A refusal is believed only when it is: see the module.
    fn is_there(&self, name: &str, path: &Path) -> Result<bool> {
        let path = path.clone();
        match self.run(|store| async move { store.head(&path).await })? {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look for", name, error)),
        }
    }

    /// Makes `name` twice; the second must be refused and change nothing.
    fn is_exclusive(&self, name: &str) -> Result<bool> {
        let first = self.create(name, b"first")?;
        let second = self.create(name, b"second")?;
        let kept = self.read(name)?;
        Ok(first == Created::New && second == Created::Exists && kept.as_deref() == Some(b"first"))
    }
}

impl CheckpointStore for ObjectCheckpointStore {
    fn location(&self) -> String {
        self.url.clone()
    }

    fn create(&self, name: &str, content: &[u8]) -> Result<Created> {
        let path = self.path(name)?;
        let content = PutPayload::from(content.to_vec());
        let mut pause = CONFLICT_PAUSE;
        for _ in 0..CONFLICTS {
            let (to, payload) = (path.clone(), content.clone());
            let put =
                |store: Arc<dyn ObjectStore>| async move { store.put_opts(&to, payload, PutMode::Create.into()).await };
            match self.run(put)? {
                Ok(_) => return Ok(Created::New),
                Err(error) if is_refusal(&error) && self.is_there(name, &path)? => return Ok(Created::Exists),
                Err(error) if is_refusal(&error) => self.blocking.pause(pause)?,
                Err(error) => return Err(self.failed("create", name, error)),
            }
            pause *= 2;
        }
        Err(Error::connector(format!(
            "checkpoint store {}: cannot create `{name}`: the store keeps answering that it exists, but it cannot be read; \
             check that the credentials may read, and that nothing else deletes objects here",
            self.url
        )))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        match self.run(|store| async move { store.get(&path).await?.bytes().await })? {
            Ok(content) => Ok(Some(content.into())),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let path = self.path(directory)?;
        let listed = self.run(|store| async move { store.list_with_delimiter(Some(&path)).await })?;
        let objects = listed.map_err(|error| self.failed("list", directory, error))?.objects;
        let names = objects.iter().filter_map(|object| object.location.filename());
        Ok(names.filter(|name| !(self.stages && is_staged(name))).map(str::to_owned).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match self.run(|store| async move { store.delete(&path).await })? {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", name, error)),
        }
    }

    fn probe(&self) -> Result<()> {
        let name = format!("probe-{}", Uuid::new_v4());
        let exclusive = self.is_exclusive(&name);
        let cleaned = self.delete(&name);
        if exclusive? {
            return cleaned;
        }
        Err(Error::config(format!(
            "checkpoint store {}: exactly-once is not possible on this store: it let one object be made twice, so two runs of a \
             query could both commit; use a local directory, or a store that honours conditional writes (Amazon S3, MinIO, \
             Cloudflare R2, Google Cloud Storage, Azure Blob Storage, HDFS)",
            self.url
        )))
    }
}

/// The store itself is left out: what it prints may hold credentials.
impl fmt::Debug for ObjectCheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCheckpointStore").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Whether the store says that there is an object: HTTP's «conflict» or «precondition failed», whichever it prefers.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })
}

/// Whether HDFS's client makes objects under such a name: `.17.tmp.1` for `17`.
fn is_staged(name: &str) -> bool {
    let index = name.strip_prefix('.').and_then(|rest| rest.rsplit_once(".tmp."));
    index.is_some_and(|(_, index)| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}
