use std::fs;
use std::io::Read;

use arrow::array::{Int64Array, record_batch};
use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it
use arrow::record_batch::RecordBatch;

use super::commit::StagedFile;
use super::rows::tests::options;
use super::*;
use crate::connector::{Prepared, SinkContext, SinkWriter};

pub(super) fn words() -> RecordBatch {
    record_batch!(("day", Utf8, ["mo", "tu", "mo"]), ("word", Utf8, ["to", "be", "or"])).unwrap()
}

pub(super) fn sink(format: &str, directory: &Path, pairs: &[(&str, &str)], partition_by: &[&str]) -> FileSink {
    let partition_by: Vec<String> = partition_by.iter().map(ToString::to_string).collect();
    let path = directory.to_str().unwrap();
    FileSink::from_options(format, &options(pairs), &partition_by, Some(path), Zone::default()).unwrap()
}

fn context(batch: &RecordBatch) -> SinkContext {
    SinkContext { instance: 3, ..SinkContext::new("q", OutputMode::Append, batch.schema()) }
}

pub(super) fn prepare(writer: &mut dyn SinkWriter, epoch: u64, batches: &[RecordBatch]) -> Prepared {
    writer.begin(epoch).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.prepare().unwrap()
}

/// All files below a directory, by their path in it.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(super) fn visible(directory: &Path) -> Vec<PathBuf> {
    let is_hidden = |path: &Path| path.iter().any(|name| name.to_str().unwrap().starts_with(['.', '_']));
    let is_visible = |path: &PathBuf| !is_hidden(path.strip_prefix(directory).unwrap());
    files(directory).into_iter().filter(is_visible).collect()
}

#[test]
fn files_are_seen_once_their_epoch_is_committed_and_a_repeat_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let sink = sink("csv", &target, &[("header", "true")], &[]);
    let mut writer = sink.open(&context(&words())).unwrap();
    let mut committer = sink.committer(&context(&words())).unwrap();

    let prepared = prepare(writer.as_mut(), 7, &[words(), words()]);
    assert_eq!((files(&target).len(), visible(&target).len()), (1, 0));
    committer.commit(7, &[prepared.clone(), Prepared::default()]).unwrap();
    committer.commit(7, &[prepared]).unwrap();

    let seen = visible(&target);
    assert_eq!((files(&target).len(), seen.len()), (2, 1));
    let name = seen[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("part-00003-7-"), "{name}");
    assert_eq!(seen[0].extension().unwrap(), "csv");
    let rows = "mo,to\ntu,be\nmo,or\n";
    assert_eq!(fs::read_to_string(&seen[0]).unwrap(), format!("day,word\n{rows}{rows}"));
}

#[test]
fn a_commit_is_repeated_by_the_manifest_even_if_files_were_moved_on() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("json", dir.path(), &[], &["day"]);
    let context = context(&words());
    let mut writer = sink.open(&context).unwrap();
    let prepared = [prepare(writer.as_mut(), 0, &[words()])];
    sink.committer(&context).unwrap().commit(0, &prepared).unwrap();
    let committed = &committed_files(dir.path(), context.checkpoint).unwrap()[&0];
    assert_eq!((visible(dir.path()).len(), committed.len()), (2, 2));
    assert_eq!(committed[0].size, fs::metadata(dir.path().join(&committed[0].path)).unwrap().len());
    fs::remove_dir_all(dir.path().join("day=mo")).unwrap();
    sink.committer(&context).unwrap().commit(0, &prepared).unwrap();
    assert_eq!(visible(dir.path()).len(), 1);
    assert_eq!(&committed_files(dir.path(), context.checkpoint).unwrap()[&0], committed);
}

#[test]
fn rows_that_are_gone_before_they_were_committed_are_an_error_at_every_try() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("csv", dir.path(), &[], &["day"]);
    let context = context(&words());
    let mut writer = sink.open(&context).unwrap();
    let prepared = [prepare(writer.as_mut(), 4, &[words()])];
    let staged: Vec<StagedFile> = serde_json::from_slice(&prepared[0].0).unwrap();
    fs::remove_file(dir.path().join(&staged[1].staged)).unwrap();
    for _ in 0..2 {
        let error = sink.committer(&context).unwrap().commit(4, &prepared).unwrap_err();
        assert!(error.message().contains("rows of epoch 4 are lost") && error.message().contains(".staged"), "{error}");
        assert!(visible(dir.path()).is_empty());
    }
}

#[test]
fn a_directory_that_is_removed_while_the_query_runs_is_an_error_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let sink = sink("csv", &target, &[], &[]);
    let mut writer = sink.open(&context(&words())).unwrap();
    prepare(writer.as_mut(), 0, &[words()]);
    fs::remove_dir_all(&target).unwrap();
    writer.begin(1).unwrap();
    let error = writer.write(&words()).unwrap_err();
    assert!(error.message().contains(target.to_str().unwrap()), "{error}");
    assert!(error.message().contains("was the directory removed"), "{error}");
}

#[test]
fn two_queries_write_into_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("csv", dir.path(), &[], &[]);
    let contexts = [context(&words()), context(&words())];
    for context in &contexts {
        let prepared = prepare(sink.open(context).unwrap().as_mut(), 0, &[words()]);
        let left = prepare(sink.open(context).unwrap().as_mut(), 0, &[words()]);
        let mut committer = sink.committer(context).unwrap();
        committer.commit(0, &[prepared]).unwrap();
        assert_ne!(left, Prepared::default());
    }
    sink.committer(&contexts[0]).unwrap().recover(Some(0)).unwrap();
    assert_eq!(visible(dir.path()).len(), 2);
    let mut both = contexts.map(|context| context.checkpoint);
    both.sort();
    assert_eq!(checkpoints(dir.path()).unwrap(), both);
    for checkpoint in both {
        assert_eq!(committed_files(dir.path(), checkpoint).unwrap()[&0].len(), 1);
    }
}

#[test]
fn an_epoch_without_rows_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("json", dir.path(), &[], &[]);
    let mut writer = sink.open(&context(&words())).unwrap();
    assert_eq!(prepare(writer.as_mut(), 0, &[words().slice(0, 0)]), Prepared::default());
    assert!(files(dir.path()).is_empty());
}

#[test]
fn an_aborted_or_dropped_epoch_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("text", dir.path(), &[], &["day"]);
    let mut writer = sink.open(&context(&words())).unwrap();
    writer.begin(0).unwrap();
    writer.write(&words()).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    writer.abort();
    assert!(files(dir.path()).is_empty());
    writer.begin(0).unwrap();
    writer.write(&words()).unwrap();
    drop(writer);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn partition_columns_become_directories() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("text", dir.path(), &[], &["DAY"]);
    sink.check(OutputMode::Append, &words().schema()).unwrap();
    let mut writer = sink.open(&context(&words())).unwrap();
    let prepared = prepare(writer.as_mut(), 0, &[words(), words()]);
    sink.committer(&context(&words())).unwrap().commit(0, &[prepared]).unwrap();
    let seen = visible(dir.path());
    let texts: Vec<String> = seen.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(seen[0].starts_with(dir.path().join("day=mo")) && seen[1].starts_with(dir.path().join("day=tu")));
    assert_eq!(texts, ["to\nor\nto\nor\n", "be\nbe\n"]);
}

#[test]
fn files_can_be_packed() {
    for (compression, extension) in [("gzip", "txt.gz"), ("zstd", "txt.zst")] {
        let dir = tempfile::tempdir().unwrap();
        let sink = sink("text", dir.path(), &[("compression", compression)], &["day"]);
        let mut writer = sink.open(&context(&words())).unwrap();
        let prepared = prepare(writer.as_mut(), 0, &[words().slice(0, 1)]);
        sink.committer(&context(&words())).unwrap().commit(0, &[prepared]).unwrap();
        let path = &visible(dir.path())[0];
        assert!(path.to_str().unwrap().ends_with(extension), "{path:?}");
        let file = File::open(path).unwrap();
        let mut text = String::new();
        match compression {
            "gzip" => flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap(),
            _ => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
        };
        assert_eq!(text, "to\n");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_files_hold_the_rows_and_types() {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    let dir = tempfile::tempdir().unwrap();
    let sink = sink("parquet", dir.path(), &[("compression", "zstd")], &[]);
    let mut writer = sink.open(&context(&words())).unwrap();
    let prepared = prepare(writer.as_mut(), 0, &[words()]);
    sink.committer(&context(&words())).unwrap().commit(0, &[prepared]).unwrap();
    let file = File::open(&visible(dir.path())[0]).unwrap();
    let batches: Vec<_> = ParquetRecordBatchReader::try_new(file, 100).unwrap().collect();
    assert_eq!(batches.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [words()]);
}

#[test]
fn only_append_and_fitting_columns_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink("text", dir.path(), &[], &[]);
    let error = sink.check(OutputMode::Complete, &words().schema()).unwrap_err();
    assert!(error.message().contains("append mode only, not complete"), "{error}");
    let error = sink.check(OutputMode::Append, &words().schema()).unwrap_err();
    assert!(error.message().contains("got 2 columns"), "{error}");
    let number = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    assert!(sink.check(OutputMode::Append, &number.schema()).is_err());
}

#[test]
fn a_directory_is_given_once() {
    let open = |pairs: &[(&str, &str)], path| {
        FileSink::from_options("csv", &options(pairs), &[], path, Zone::default()).map(|sink| sink.directory)
    };
    assert_eq!(open(&[("path", "file:///data/out")], None).unwrap(), PathBuf::from("/data/out"));
    assert!(open(&[("path", "/a")], Some("/b")).unwrap_err().message().contains("two paths"));
    assert!(open(&[], None).unwrap_err().message().contains("needs a directory"));
}

#[test]
fn a_target_that_is_no_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = sink("csv", file.path(), &[], &[]).open(&context(&words())).map(|_| ()).unwrap_err();
    assert!(error.message().contains(file.path().to_str().unwrap()), "{error}");
}
