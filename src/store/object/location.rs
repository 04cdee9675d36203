//! From a URL to a client and a prefix.
//!
//! Owns: which URLs there are, which feature each needs, and where its settings come from. Does not own: what is kept there.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::runtime::Handle;
use url::Url;

use crate::error::{Error, Result};

/// A client, and where in its store the checkpoint is.
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    /// What to look at when the store refuses.
    pub(super) settings: &'static str,
    /// Whether objects being made lie beside their place under a name of their own.
    pub(super) stages: bool,
}

impl Location {
    /// The client that `url` asks for; `io` runs what it does in the background.
    pub(super) fn open(url: &str, io: &Handle) -> Result<Self> {
        let parsed = parse(url)?;
        let prefix = prefix(url, parsed.path())?;
        let (store, settings): (Arc<dyn ObjectStore>, _) = match parsed.scheme() {
            "memory" => (Arc::new(InMemory::new()), "none"),
            "file" => (Arc::new(LocalFileSystem::new()), "the rights on the directory"),
            "s3" | "s3a" => (s3(url, host(url, &parsed)?)?, S3),
            "gs" => (gcs(url, host(url, &parsed)?)?, GCS),
            "az" | "azure" | "abfs" | "abfss" => (azure(url, host(url, &parsed)?)?, AZURE),
            "hdfs" => (hdfs(url, host(url, &parsed)?, &parsed, io)?, HDFS),
            other => return Err(unknown(url, other)),
        };
        Ok(Self { store, prefix, settings, stages: parsed.scheme() == "hdfs" })
    }

    /// A client that the program has set up.
    pub(super) fn of_program(store: Arc<dyn ObjectStore>, url: &str, prefix: &str) -> Result<Self> {
        let stages = url.starts_with("hdfs:");
        Ok(Self { store, prefix: self::prefix(url, prefix)?, settings: "those the program gave the store", stages })
    }
}

const S3: &str =
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP";
const GCS: &str = "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT";
const AZURE: &str =
    "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID";
const HDFS: &str = "HADOOP_CONF_DIR, HADOOP_USER_NAME";

fn parse(url: &str) -> Result<Url> {
    let bad = |error| Error::config(format!("`{url}` is not a URL of a checkpoint store: {error}")).with_source(error);
    let parsed = Url::parse(url).map_err(bad)?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(Error::config(format!(
            "the checkpoint store `{url}` has a `?` or `#`; write %3F or %23 if it is part of the path, and give settings by the \
             environment"
        )));
    }
    Ok(parsed)
}

fn prefix(url: &str, path: &str) -> Result<Path> {
    let bad = |error| {
        Error::config(format!("the path of the checkpoint store `{url}` cannot be used: {error}; choose another"))
            .with_source(error)
    };
    Path::from_url_path(path).map_err(bad)
}

/// The bucket, container or name node.
fn host<'a>(url: &str, parsed: &'a Url) -> Result<&'a str> {
    let none = || {
        let scheme = parsed.scheme();
        Error::config(format!(
            "the checkpoint store `{url}` names no bucket, container or host; write {scheme}://name/prefix"
        ))
    };
    parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(none)
}

fn unknown(url: &str, scheme: &str) -> Error {
    Error::config(format!(
        "the checkpoint store `{url}` has the unknown scheme `{scheme}`; there are s3, gs, az, abfss and hdfs, each with a feature \
         of the crate"
    ))
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs"))]
fn unusable(url: &str, settings: &str, error: object_store::Error) -> Error {
    let cause = super::remedy::causes(&error);
    Error::config(format!("the checkpoint store `{url}` cannot be set up: {cause}; check {settings}"))
        .with_source(error)
}

#[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs")))]
fn not_compiled(url: &str, feature: &str) -> Error {
    Error::config(format!(
        "the checkpoint store `{url}` needs the feature `{feature}`, which is not compiled in; write \
         millstream = {{ features = [\"{feature}\"] }} in Cargo.toml"
    ))
}

#[cfg(feature = "s3")]
fn s3(url: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket);
    Ok(Arc::new(builder.build().map_err(|error| unusable(url, S3, error))?))
}

#[cfg(not(feature = "s3"))]
fn s3(url: &str, _bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    Err(not_compiled(url, "s3"))
}

#[cfg(feature = "gcs")]
fn gcs(url: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    Ok(Arc::new(builder.build().map_err(|error| unusable(url, GCS, error))?))
}

#[cfg(not(feature = "gcs"))]
fn gcs(url: &str, _bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    Err(not_compiled(url, "gcs"))
}

/// The builder reads account and container out of the URL itself.
#[cfg(feature = "azure")]
fn azure(url: &str, _container: &str) -> Result<Arc<dyn ObjectStore>> {
    let builder = object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url);
    Ok(Arc::new(builder.build().map_err(|error| unusable(url, AZURE, error))?))
}

#[cfg(not(feature = "azure"))]
fn azure(url: &str, _container: &str) -> Result<Arc<dyn ObjectStore>> {
    Err(not_compiled(url, "azure"))
}

#[cfg(feature = "hdfs")]
fn hdfs(url: &str, host: &str, parsed: &Url, io: &Handle) -> Result<Arc<dyn ObjectStore>> {
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    let builder = hdfs_native_object_store::HdfsObjectStoreBuilder::new().with_url(format!("hdfs://{host}{port}"));
    let store = builder.with_io_runtime(io.clone()).build().map_err(|error| unusable(url, HDFS, error))?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "hdfs"))]
fn hdfs(url: &str, _host: &str, _parsed: &Url, _io: &Handle) -> Result<Arc<dyn ObjectStore>> {
    Err(not_compiled(url, "hdfs"))
}
