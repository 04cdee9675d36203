//! Tests of file streams and tables.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::connector::format::tests::{options, rows};
use crate::connector::{NextPoll, Offset, ReadLimit};

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes a file whose only line is its name, modified `second` seconds after 1970 began.
    fn add(&self, name: &str, second: u64) {
        self.write(name, &format!("{name}\n"), second);
    }

    fn write(&self, name: &str, text: &str, second: u64) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }

    fn stream(&self, set: &[(&str, &str)]) -> Stream {
        Stream::open(&[self.path("")], set)
    }
}

/// A source and the offset it has reached.
struct Stream {
    source: Box<dyn Source>,
    offset: Offset,
}

impl Stream {
    fn open(paths: &[String], set: &[(&str, &str)]) -> Self {
        let mut source = factory(paths, set).unwrap().open(None).unwrap();
        let offset = source.initial().unwrap();
        Self { source, offset }
    }

    /// The rows of the next epoch, as one line.
    fn epoch(&mut self, limit: ReadLimit) -> String {
        let to = self.source.latest(&self.offset, limit).unwrap();
        let from = std::mem::replace(&mut self.offset, to.clone());
        self.read(&from, &to, 1).join(" ")
    }

    fn next(&mut self) -> String {
        self.epoch(ReadLimit::Options)
    }

    fn read(&mut self, from: &Offset, to: &Offset, parallelism: usize) -> Vec<String> {
        let readers = self.source.plan(from, to, parallelism).unwrap();
        readers.into_iter().flat_map(|mut reader| drain(reader.as_mut()).unwrap()).collect()
    }
}

fn drain(reader: &mut dyn SplitReader) -> Result<Vec<String>> {
    let mut found = Vec::new();
    while let Some(batch) = reader.next()? {
        found.extend(rows(&[batch]));
    }
    Ok(found)
}

fn factory(paths: &[String], set: &[(&str, &str)]) -> Result<FilesFactory> {
    let clock = Arc::new(ManualClock::default());
    FilesFactory::new(FileFormat::Text, &options(set), None, paths, Zone::default(), clock)
}

fn table(format: FileFormat, path: &str, set: &[(&str, &str)]) -> Result<FilesTable> {
    let clock = Arc::new(ManualClock::default());
    FilesTable::new(format, &options(set), None, &[path.to_string()], Zone::default(), clock)
}

#[test]
fn files_come_by_the_time_they_were_written_and_then_by_name() {
    let directory = Directory::new();
    for (name, second) in [("c", 1), ("a", 2), ("b", 2), ("d", 0)] {
        directory.add(name, second);
    }
    let mut stream = directory.stream(&[]);
    assert_eq!((stream.next(), stream.next()), ("d c a b".to_string(), String::new()));
    assert_eq!(stream.offset.to_string(), r#"{"logOffset":0}"#);
}

#[test]
fn new_files_are_read_once_and_files_written_again_are_not() {
    let directory = Directory::new();
    directory.add("a", 1);
    let mut stream = directory.stream(&[]);
    assert_eq!(stream.next(), "a");
    directory.add("b", 2);
    directory.write("a", "more\n", 3);
    assert_eq!((stream.next(), stream.next()), ("b".to_string(), String::new()));
}

#[test]
fn max_files_per_trigger_limits_an_epoch_unless_everything_is_asked_for() {
    let directory = Directory::new();
    (0..5).for_each(|n| directory.add(&n.to_string(), n));
    let mut stream = directory.stream(&[("maxFilesPerTrigger", "2")]);
    assert_eq!((stream.next(), stream.next(), stream.next()), ("0 1".into(), "2 3".into(), "4".into()));
    let mut stream = directory.stream(&[("maxFilesPerTrigger", "2")]);
    assert_eq!((stream.next(), stream.epoch(ReadLimit::All)), ("0 1".into(), "2 3 4".into()));
}

#[test]
fn listed_files_are_kept_for_the_next_epochs() {
    let directory = Directory::new();
    (1..5).for_each(|n| directory.add(&n.to_string(), n));
    let mut kept = directory.stream(&[("maxFilesPerTrigger", "1")]);
    let mut not_kept = directory.stream(&[("maxFilesPerTrigger", "1"), ("maxCachedFiles", "0")]);
    assert_eq!((kept.next(), not_kept.next()), ("1".into(), "1".into()));
    directory.add("0", 0);
    assert_eq!((kept.next(), not_kept.next()), ("2".into(), "0".into()));
}

#[test]
fn max_bytes_per_trigger_takes_at_least_one_file() {
    let directory = Directory::new();
    directory.write("a", "1234\n", 1);
    directory.write("b", "1234\n", 2);
    directory.write("c", "1234567890\n", 3);
    directory.write("d", "1\n", 4);
    let mut stream = directory.stream(&[("maxBytesPerTrigger", "10")]);
    assert_eq!((stream.next(), stream.next(), stream.next()), ("1234 1234".into(), "1234567890".into(), "1".into()));
}

#[test]
fn latest_first_starts_with_the_newest_file() {
    let directory = Directory::new();
    (0..4).for_each(|n| directory.add(&n.to_string(), n));
    let mut stream =
        directory.stream(&[("latestFirst", "true"), ("maxFilesPerTrigger", "1"), ("maxFileAge", "1 second")]);
    assert_eq!(stream.next(), "3");
    directory.add("9", 9);
    assert_eq!((stream.next(), stream.next(), stream.next()), ("9".into(), "2".into(), "1".into()));
}

#[test]
fn files_older_than_the_newest_by_more_than_max_file_age_are_not_read() {
    let directory = Directory::new();
    directory.add("a", 100);
    let mut stream = directory.stream(&[("maxFileAge", "10 seconds")]);
    assert_eq!(stream.next(), "a");
    directory.add("old", 89);
    directory.add("young", 90);
    assert_eq!(stream.next(), "young");
}

#[test]
fn patterns_single_files_and_alternatives_name_files() {
    let directory = Directory::new();
    for (second, name) in (0..).zip(["a.csv", "b.csv", "c.txt", "d.log", "_e.csv", "sub/f.csv"]) {
        directory.add(name, second);
    }
    let read = |path: &str| Stream::open(&[directory.path(path)], &[]).next();
    assert_eq!(read("*.csv"), "a.csv b.csv");
    assert_eq!(read("*.{txt,log}"), "c.txt d.log");
    assert_eq!(read("[ab].csv"), "a.csv b.csv");
    assert_eq!(read("c.txt"), "c.txt");
    assert_eq!(read("s*"), "sub/f.csv");
    assert_eq!(read("nothing*"), "");
    let both = [directory.path("a.csv"), format!("file://{}", directory.path("c.txt"))];
    assert_eq!(Stream::open(&both, &[("path", &directory.path("*.csv"))]).next(), "a.csv b.csv c.txt");
}

#[test]
fn hidden_files_are_ignored_and_directories_read_only_when_asked() {
    let directory = Directory::new();
    for (second, name) in (0..).zip(["a", "_b", ".c", "d._COPYING_", "sub/e", "sub/deep/f.txt", "_hidden/g"]) {
        directory.add(name, second);
    }
    assert_eq!(directory.stream(&[]).next(), "a");
    assert_eq!(directory.stream(&[("recursiveFileLookup", "true")]).next(), "a sub/e sub/deep/f.txt");
    let set = [("recursiveFileLookup", "true"), ("pathGlobFilter", "*.txt")];
    assert_eq!(directory.stream(&set).next(), "sub/deep/f.txt");
}

#[test]
fn with_file_name_only_a_file_of_the_same_name_elsewhere_is_not_read() {
    let directory = Directory::new();
    directory.add("x/a", 1);
    directory.add("y/a", 2);
    let set = [("recursiveFileLookup", "true"), ("fileNameOnly", "true")];
    let mut stream = directory.stream(&set);
    assert_eq!(stream.next(), "x/a");
    directory.add("z/a", 3);
    assert_eq!(stream.next(), "");
}

#[test]
fn a_range_of_offsets_is_always_the_same_files() {
    let directory = Directory::new();
    let mut stream = directory.stream(&[("maxFilesPerTrigger", "1")]);
    let start = stream.offset.clone();
    (0..3).for_each(|n| directory.add(&n.to_string(), n));
    let first = stream.source.latest(&start, ReadLimit::Options).unwrap();
    assert_eq!(stream.source.latest(&start, ReadLimit::Options).unwrap(), first);
    let second = stream.source.latest(&first, ReadLimit::Options).unwrap();
    directory.add("9", 0);
    assert_eq!(stream.read(&start, &second, 1), ["0", "1"]);
    assert_eq!(stream.read(&first, &second, 4), ["1"]);
    assert!(stream.read(&second, &second, 4).is_empty());
}

#[test]
fn an_offset_without_a_record_is_refused_instead_of_reading_files_twice() {
    let directory = Directory::new();
    directory.add("a", 1);
    let mut stream = directory.stream(&[]);
    let unknown = Offset(serde_json::json!({"logOffset": 5}));
    for error in [
        stream.source.latest(&unknown, ReadLimit::All).unwrap_err(),
        stream.source.fix_end(&unknown).unwrap_err(),
        stream.source.plan(&stream.offset, &unknown, 1).err().unwrap(),
    ] {
        assert!(error.message().contains(r#"{"logOffset":5}"#), "{error}");
    }
    assert!(stream.source.latest(&Offset(7.into()), ReadLimit::All).is_err());
}

#[test]
fn after_the_end_is_fixed_new_files_are_not_seen() {
    let directory = Directory::new();
    (0..3).for_each(|n| directory.add(&n.to_string(), n));
    let mut stream = directory.stream(&[("maxFilesPerTrigger", "2")]);
    stream.source.fix_end(&stream.offset.clone()).unwrap();
    directory.add("9", 9);
    assert_eq!((stream.next(), stream.next(), stream.next()), ("0 1".into(), "2".into(), String::new()));
    assert_eq!(stream.source.next_poll(), NextPoll::Ended);
}

#[test]
fn polls_become_rarer_while_nothing_comes() {
    let directory = Directory::new();
    let mut stream = directory.stream(&[]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        stream.next();
        waits.push(stream.source.next_poll());
    }
    let expected = [10, 20, 40, 80, 160, 320, 500, 500].map(|ms| NextPoll::After(Duration::from_millis(ms)));
    assert_eq!(waits, expected);
    directory.add("a", 1);
    stream.next();
    stream.next();
    assert_eq!(stream.source.next_poll(), expected[0]);
}

#[test]
fn a_missing_directory_is_named_at_the_start() {
    let mut source = TextFiles::new("/no/such/directory").open(None).unwrap();
    let error = source.initial().unwrap_err().to_string();
    assert!(error.contains("`/no/such/directory` does not exist"), "{error}");
}

#[test]
fn a_file_that_disappears_is_named_or_counted() {
    let directory = Directory::new();
    for (ignores, expected) in [("false", None), ("true", Some("b"))] {
        directory.add("a", 1);
        directory.add("b", 2);
        let mut stream = directory.stream(&[("ignoreMissingFiles", ignores)]);
        let to = stream.source.latest(&stream.offset, ReadLimit::All).unwrap();
        let mut reader = stream.source.plan(&stream.offset, &to, 1).unwrap().remove(0);
        fs::remove_file(directory.path("a")).unwrap();
        match (drain(reader.as_mut()), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, [expected]),
            (Err(error), None) => {
                let text = error.to_string();
                assert!(text.contains(&format!("`{}` of offset 0", directory.path("a"))), "{text}");
                assert!(text.contains("set ignoreMissingFiles=true"), "{text}");
            }
            (found, _) => panic!("{found:?}"),
        }
        assert_eq!(stream.source.metrics()["missingFiles"], u64::from(expected.is_some()));
    }
}

/// Everything a later run gets of an earlier one.
#[derive(Default)]
struct Checkpoint {
    parts: Vec<Vec<u8>>,
    ranges: Vec<(Offset, Offset)>,
}

impl Checkpoint {
    /// Plans the next epoch, saves it and answers its rows.
    fn run(&mut self, stream: &mut Stream, saves_all: bool) -> String {
        let from = stream.offset.clone();
        let rows = stream.next();
        if from != stream.offset {
            if saves_all {
                self.parts = vec![stream.source.save_all(&stream.offset).unwrap().unwrap()];
            } else {
                self.parts.push(stream.source.save(&from, &stream.offset).unwrap().unwrap());
            }
            self.ranges.push((from, stream.offset.clone()));
        }
        rows
    }

    fn restored(&self, directory: &Directory, set: &[(&str, &str)]) -> Stream {
        let mut stream = directory.stream(set);
        self.parts.iter().for_each(|part| stream.source.restore(part).unwrap());
        if let Some((_, last)) = self.ranges.last() {
            stream.offset = last.clone();
        }
        stream
    }
}

#[test]
fn a_later_run_reads_the_same_ranges_again_and_then_goes_on() {
    let set = [("maxFilesPerTrigger", "2")];
    for saves_all in [&[][..], &[0], &[1], &[2], &[0, 2]] {
        let directory = Directory::new();
        (0..5).for_each(|n| directory.add(&n.to_string(), n));
        let mut stream = directory.stream(&set);
        let mut checkpoint = Checkpoint::default();
        let rows: Vec<String> = (0..3).map(|n| checkpoint.run(&mut stream, saves_all.contains(&n))).collect();
        assert_eq!(rows, ["0 1", "2 3", "4"]);
        directory.add("9", 9);
        let mut later = checkpoint.restored(&directory, &set);
        for ((from, to), rows) in checkpoint.ranges.iter().zip(&rows) {
            assert_eq!(later.read(from, to, 2).join(" "), *rows);
        }
        assert_eq!((later.next(), later.next()), ("9".to_string(), String::new()));
        assert_eq!(later.offset.to_string(), r#"{"logOffset":3}"#);
    }
}

#[test]
fn a_planned_range_is_the_newest_of_a_later_run_and_a_fixed_end_goes_on_after_it() {
    let directory = Directory::new();
    let mut checkpoint = Checkpoint::default();
    let mut stream = directory.stream(&[]);
    let start = stream.offset.clone();
    directory.add("a", 1);
    checkpoint.run(&mut stream, false);
    directory.add("b", 2);
    let mut later = checkpoint.restored(&directory, &[]);
    assert_eq!(later.source.latest(&start, ReadLimit::All).unwrap(), stream.offset);
    later.source.fix_end(&stream.offset).unwrap();
    directory.add("c", 3);
    assert_eq!((later.next(), later.next()), ("b".to_string(), String::new()));
}

#[test]
fn files_that_became_too_old_are_saved_no_longer_and_never_read_again() {
    let (short, long) = ([("maxFileAge", "10 seconds")], [("maxFileAge", "100 seconds")]);
    let directory = Directory::new();
    let mut checkpoint = Checkpoint::default();
    let mut stream = directory.stream(&short);
    for (name, second) in [("a", 100), ("b", 105), ("c", 120)] {
        directory.add(name, second);
        assert_eq!(checkpoint.run(&mut stream, true), name);
    }
    // Not committed, so they may be read again.
    assert_eq!(String::from_utf8_lossy(&checkpoint.parts[0]).matches("batchId").count(), 3);
    stream.source.commit(&checkpoint.ranges[1].1).unwrap();
    directory.add("d", 121);
    checkpoint.run(&mut stream, true);
    assert_eq!(String::from_utf8_lossy(&checkpoint.parts[0]).matches("batchId").count(), 2);
    let mut later = checkpoint.restored(&directory, &long);
    assert_eq!(later.next(), "");
    let (from, to) = &checkpoint.ranges[2];
    assert_eq!(later.read(from, to, 1), ["c"]);
    let (from, to) = &checkpoint.ranges[1];
    assert!(later.source.plan(from, to, 1).is_err());
}

#[test]
fn a_file_that_changed_since_it_was_planned_gives_the_planned_rows_or_an_error() {
    let cases = [
        ("grown.txt", "1\n2\n", "1\n2\n3\n", Ok("1 2")),
        ("in_a_line.txt", "1\n2", "1\n234\n5\n", Ok("1 234")),
        ("from_nothing.txt", "", "1\n", Ok("")),
        ("shrunk.txt", "1\n2\n", "1\n", Err("had 4 bytes")),
        ("packed.txt.gz", "not", "not even gzip", Err("had 3 bytes")),
    ];
    for (name, planned, now, expected) in cases {
        let directory = Directory::new();
        directory.write(name, planned, 1);
        let mut stream = directory.stream(&[]);
        let to = stream.source.latest(&stream.offset, ReadLimit::All).unwrap();
        directory.write(name, now, 2);
        let mut readers = stream.source.plan(&stream.offset, &to, 1).unwrap();
        match (drain(readers[0].as_mut()), expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(rows.join(" "), expected, "{name}"),
            (Err(error), Err(expected)) => {
                assert!(error.message().contains(expected) && error.message().contains(name), "{error}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[test]
fn what_a_pattern_finds_in_hidden_directories_is_ignored_unless_it_names_them() {
    let directory = Directory::new();
    for (second, name) in (0..).zip(["a.csv", "sub/b.csv", "_log/c.csv", "_log/deep/d.csv", "sub/_e.csv"]) {
        directory.add(name, second);
    }
    let read = |path: &str| Stream::open(&[directory.path(path)], &[]).next();
    assert_eq!(read("**/*.csv"), "a.csv sub/b.csv");
    assert_eq!(read("*/*/*.csv"), "");
    assert_eq!(read("_log/*"), "_log/c.csv _log/deep/d.csv");
}

#[test]
fn unknown_and_impossible_options_are_refused() {
    let path = ["somewhere".to_string()];
    for (paths, set, what) in [
        (&path[..], &[("maxFilePerTrigger", "1")][..], "did you mean `maxFilesPerTrigger`?"),
        (&path, &[("maxFilesPerTrigger", "0")], "maxFilesPerTrigger"),
        (&path, &[("maxFilesPerTrigger", "1"), ("maxBytesPerTrigger", "1")], "exclude each other"),
        (&path, &[("cleanSource", "delete")], "`cleanSource`=`delete` is not supported"),
        (&path, &[("pathGlobFilter", "[")], "not a glob pattern"),
        (&[], &[], "the text source needs a path"),
    ] {
        let error = factory(paths, set).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert!(factory(&path, &[("cleanSource", "OFF"), ("maxFileAge", "1 hours")]).is_ok());
}

#[test]
fn a_projected_stream_has_only_those_columns() {
    let directory = Directory::new();
    directory.write("rows.csv", "1,a\n2,b\n", 1);
    let columns = vec![Field::new("id", DataType::Int32, false), Field::new("name", DataType::Utf8View, false)];
    let schema = Some(Arc::new(Schema::new(columns)));
    let clock = Arc::new(ManualClock::default());
    let options = Options::new();
    let factory = FilesFactory::new(FileFormat::Csv, &options, schema, &[directory.path("")], Zone::default(), clock);
    let factory = factory.unwrap();
    assert!(factory.schema().field(0).is_nullable());
    let mut source = factory.open(Some(&[1])).unwrap();
    assert_eq!(source.schema().field(0).name(), "name");
    let start = source.initial().unwrap();
    let end = source.latest(&start, ReadLimit::All).unwrap();
    assert_eq!(drain(source.plan(&start, &end, 2).unwrap()[0].as_mut()).unwrap(), ["a", "b"]);
}

#[test]
fn a_table_reads_what_is_there_each_time() {
    let directory = Directory::new();
    directory.write("a.csv", "id,name\n1,anna\n", 1);
    let table =
        table(FileFormat::Csv, &directory.path("*.csv"), &[("header", "true"), ("inferSchema", "true")]).unwrap();
    assert_eq!(table.schema().field(0).data_type(), &DataType::Int32);
    directory.write("b.csv", "id,name\n2,bob\n", 2);
    assert_eq!(rows(&table.read(None).unwrap()), ["1|anna", "2|bob"]);
    assert_eq!(rows(&table.read(Some(&[1])).unwrap()), ["anna", "bob"]);
}

#[test]
fn a_table_has_another_version_when_a_file_comes_changes_or_goes() {
    let directory = Directory::new();
    directory.write("a.txt", "one", 1);
    let table = table(FileFormat::Text, &directory.path("*.txt"), &[]).unwrap();
    let mut versions = vec![table.version().unwrap()];
    assert_eq!(table.version().unwrap(), versions[0]);
    let mut changed = |change: &dyn Fn()| {
        change();
        let version = table.version().unwrap();
        assert!(!versions.contains(&version));
        versions.push(version);
    };
    changed(&|| directory.write("b.txt", "two", 1));
    changed(&|| directory.write("b.txt", "twice", 1));
    changed(&|| directory.write("b.txt", "thrice", 2));
    changed(&|| std::fs::rename(directory.path("b.txt"), directory.path("c.txt")).unwrap());
    std::fs::remove_file(directory.path("c.txt")).unwrap();
    assert_eq!(table.version().unwrap(), versions[0]);
    std::fs::remove_file(directory.path("a.txt")).unwrap();
    assert!(table.version().unwrap_err().message().contains("no file matches"));
}

#[test]
fn a_table_of_nothing_is_an_error_that_names_the_path() {
    let directory = Directory::new();
    let missing = directory.path("missing");
    for (path, what) in [(missing.clone(), missing), (directory.path("*.csv"), "no file matches".to_string())] {
        let error = table(FileFormat::Json, &path, &[]).unwrap_err().to_string();
        assert!(error.contains(&what), "{error}");
    }
    let error = table(FileFormat::Text, &directory.path("a"), &[("maxFilesPerTrigger", "1")]).unwrap_err().to_string();
    assert!(error.contains("has no option `maxFilesPerTrigger`"), "{error}");
}

/// Reads the parts of one file one after the other.
fn in_parts(path: &Path, cuts: &[u64], format: &Arc<dyn Format>) -> Vec<String> {
    let end = |index: usize| cuts.get(index + 1).copied().unwrap_or(u64::MAX);
    let part = |(index, begin): (usize, &u64)| {
        let part = Part { path: path.to_path_buf(), begin: *begin, end: end(index) };
        FilePart { part, planned: None }
    };
    let parts = cuts.iter().enumerate().map(part).collect();
    let files = Files { format: Arc::clone(format), listing: Listing::of_path(""), ignores_missing: false };
    drain(&mut FilesReader::new(files.readers(None), parts)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_parts_of_a_csv_file_with_a_header_give_every_row_once(
        values in prop::collection::vec("[a-zé ]{1,8}", 1..30),
        ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 31),
        places in prop::collection::vec(1u64..200, 0..4),
    ) {
        let lines = std::iter::once("header,n".to_string()).chain(values.iter().map(|value| format!("{value},1")));
        let text: String = lines.zip(&ends).map(|(line, end)| line + end).collect();
        let directory = Directory::new();
        directory.write("a.csv", &text, 1);
        let columns = vec![Field::new("v", DataType::Utf8View, true), Field::new("n", DataType::Int64, true)];
        let options = options(&[("header", "true")]);
        let schema = Some(Arc::new(Schema::new(columns)));
        let format = FileFormat::Csv.configure(&options, schema, Zone::default(), None).unwrap();
        let mut cuts = vec![0];
        cuts.extend(places);
        cuts.sort_unstable();
        let path = directory.path("a.csv");
        let expected: Vec<String> = values.iter().map(|value| format!("{value}|1")).collect();
        prop_assert_eq!(in_parts(Path::new(&path), &cuts, &format), expected);
    }
}
