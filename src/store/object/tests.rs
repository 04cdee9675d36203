//! URLs, paths, and what is said when they are wrong.

use super::*;

fn message(url: &str) -> String {
    ObjectCheckpointStore::open(url).unwrap_err().message().to_owned()
}

fn path(url: &str, name: &str) -> String {
    ObjectCheckpointStore::open(url).unwrap().path(name).unwrap().to_string()
}

#[test]
fn a_name_lies_below_the_prefix_of_the_url() {
    assert_eq!(path("memory:///", "commits/17"), "commits/17");
    assert_eq!(path("memory:///a/b", "commits/17"), "a/b/commits/17");
    assert_eq!(path("memory:///a/b/", "commits/17"), "a/b/commits/17");
}

#[test]
fn a_prefix_is_percent_decoded_once_and_a_name_not_at_all() {
    assert_eq!(path("memory:///a b/c%20d/%25%3F%23", "x%20y"), "a b/c d/%?#/x%20y");
    assert_eq!(path("memory:///größe/日", "+&="), "größe/日/+&=");
}

#[test]
fn a_name_that_is_no_path_is_refused() {
    let store = ObjectCheckpointStore::open("memory:///a").unwrap();
    for name in ["../b", "a//b", "a\nb"] {
        let error = store.read(name).unwrap_err();
        assert!(error.message().contains("cannot name an object"), "{error}");
    }
}

#[test]
fn a_url_that_is_none_is_refused() {
    assert!(message("no url").contains("is not a URL of a checkpoint store"));
    assert!(message("ftp://host/x").contains("unknown scheme `ftp`; there are s3, gs, az, abfss and hdfs"));
    assert!(message("memory:///a//b").contains("cannot be used"));
    assert!(message("memory:///a?b").contains("write %3F or %23"));
    assert!(message("s3:///prefix").contains("write s3://name/prefix"));
}

#[cfg(not(feature = "gcs"))]
#[test]
fn a_feature_that_is_missing_is_named() {
    assert!(message("gs://bucket/x").contains("needs the feature `gcs`"), "{}", message("gs://bucket/x"));
}

#[test]
fn the_names_that_hdfs_writes_under_are_told_from_objects() {
    for name in [".17.tmp.1", ".a.b.tmp.23", "..tmp.tmp.4"] {
        assert!(is_staged(name), "{name}");
    }
    for name in ["17", "17.tmp.1", ".17.tmp.", ".17.tmp.x", ".tmp.1x"] {
        assert!(!is_staged(name), "{name}");
    }
}

#[test]
fn it_may_be_used_and_dropped_on_a_thread_of_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = ObjectCheckpointStore::open("memory:///").unwrap();
        assert_eq!(store.create("a", b"b").unwrap(), Created::New);
    });
}

#[test]
fn what_it_prints_holds_no_credentials() {
    let store = ObjectCheckpointStore::open("memory:///a").unwrap();
    assert_eq!(format!("{store:?}"), "ObjectCheckpointStore { url: \"memory:///a\", .. }");
}
