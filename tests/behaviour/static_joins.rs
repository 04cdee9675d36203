use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use millstream::arrow::array::{ArrayRef, StringViewArray};
use millstream::arrow::datatypes::SchemaRef;
use millstream::arrow::record_batch::RecordBatch;
use millstream::clock::SystemClock;
use millstream::connector::options::Options;
use millstream::connector::sink::{MemorySink, MemoryTables};
use millstream::connector::source::files::{FileFormat, FilesTable};
use millstream::connector::{BatchTable, TableVersion};
use millstream::operator::{JoinKey, JoinSide, JoinSpec, StaticJoin};
use millstream::prelude::*;
use millstream::types::Zone;

use crate::support::{assert_says, lines, message, place, session};

/// Lines of text files in a directory, joined with a table whose first column is a STRING.
struct Lab {
    stream: tempfile::TempDir,
    results: MemoryTables,
}

impl Lab {
    fn new() -> Self {
        Self { stream: tempfile::tempdir().unwrap(), results: MemoryTables::default() }
    }

    /// Rows of the stream, in a file of their own.
    fn send(&self, file: &str, rows: &[&str]) {
        place(&self.stream.path().join(file), &(rows.join("\n") + "\n"));
    }

    fn topology(&self, kind: JoinType, table: Arc<dyn BatchTable>) -> Topology {
        let source = TextFiles::new(&self.stream.path().to_string_lossy());
        let stream = millstream::connector::SourceFactory::schema(&source);
        let key = JoinKey { left: 0, right: 0, null_safe: false };
        let spec = JoinSpec::new(kind, vec![key], &stream, &table.schema());
        let mut topology = Topology::builder("joined");
        let lines = topology.source("lines", source);
        let join = StaticJoin::new(spec, JoinSide::Right, table.schema());
        let joined = topology.operator("join", join).reading(table).after(lines);
        topology.sink("keep", MemorySink::new("results", self.results.clone())).after(joined);
        topology.build().unwrap()
    }

    /// What came out so far, sorted.
    fn results(&self) -> Vec<String> {
        let mut rows = lines(&self.results.get("results").unwrap().read(None).unwrap());
        rows.sort();
        rows
    }
}

fn files(format: FileFormat, directory: &Path, schema: &str, set: &[(&str, &str)]) -> Arc<dyn BatchTable> {
    let mut options = Options::new();
    for (name, value) in set {
        options.set(name, value);
    }
    let path = directory.to_string_lossy().into_owned();
    let schema = Some(schema.into_schema().resolve().unwrap());
    Arc::new(FilesTable::new(format, &options, schema, &[path], Zone::default(), Arc::new(SystemClock)).unwrap())
}

fn names(directory: &Path) -> Arc<dyn BatchTable> {
    files(FileFormat::Csv, directory, "id STRING, name STRING", &[])
}

#[test]
fn every_kind_of_join_on_any_number_of_instances() {
    let table = tempfile::tempdir().unwrap();
    fs::write(table.path().join("a.csv"), "1,Ada\n2,Grace\n2,Hopper\n").unwrap();
    for (kind, expected) in [
        (JoinType::Inner, vec!["1|1|Ada", "2|2|Grace", "2|2|Hopper"]),
        (JoinType::Left, vec!["1|1|Ada", "2|2|Grace", "2|2|Hopper", "3|NULL|NULL"]),
        (JoinType::LeftSemi, vec!["1", "2"]),
        (JoinType::LeftAnti, vec!["3"]),
    ] {
        for parallelism in [1, 4] {
            let lab = Lab::new();
            for row in ["1", "2", "3"] {
                lab.send(row, &[row]);
            }
            let topology = lab.topology(kind, names(table.path()));
            session(parallelism).run(topology, Trigger::available_now()).unwrap().await_termination().unwrap();
            assert_eq!(lab.results(), expected, "{kind:?}");
        }
    }
}

#[test]
fn the_next_epoch_sees_files_that_appeared_changed_or_went() {
    let (lab, table) = (Lab::new(), tempfile::tempdir().unwrap());
    let write = |file: &str, text: &str| place(&table.path().join(file), text);
    write("a.csv", "1,Ada\n");
    let session = session(2);
    let query = session.run(lab.topology(JoinType::Left, names(table.path())), Trigger::default()).unwrap();
    let mut all: Vec<String> = Vec::new();
    let mut epoch = |file: &str, shown: &[&str]| {
        lab.send(file, &["1"]);
        query.process_all_available().unwrap();
        all.extend(shown.iter().map(ToString::to_string));
        all.sort();
        assert_eq!(lab.results(), all, "epoch {file}");
    };
    epoch("0", &["1|1|Ada"]);
    write("b.csv", "1,Lovelace\n");
    epoch("1", &["1|1|Ada", "1|1|Lovelace"]);
    fs::remove_file(table.path().join("a.csv")).unwrap();
    epoch("2", &["1|1|Lovelace"]);
    write("b.csv", "1,Countess of Lovelace\n");
    epoch("3", &["1|1|Countess of Lovelace"]);
    fs::remove_file(table.path().join("b.csv")).unwrap();
    epoch("4", &["1|NULL|NULL"]);
    query.stop().unwrap();
}

#[test]
fn a_table_that_cannot_be_read_is_named_before_anything_runs_and_later() {
    let (lab, table) = (Lab::new(), tempfile::tempdir().unwrap());
    let path = table.path().join("people");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.json"), "{\"id\": \"1\"}\n").unwrap();
    let people = files(FileFormat::Json, &path, "id STRING", &[("mode", "FAILFAST")]);
    lab.send("0", &["1"]);
    let session = session(2);
    let query = session.run(lab.topology(JoinType::Inner, Arc::clone(&people)), Trigger::default()).unwrap();
    query.process_all_available().unwrap();
    fs::write(path.join("b.json"), "{\"id\": \n").unwrap();
    lab.send("1", &["1"]);
    let failure = message(query.process_all_available());
    assert_says(&failure, &["static table FileScan json[", "people", "`join`", "b.json"]);
    assert!(!query.is_active());
    assert_eq!(lab.results(), ["1|1"]);

    assert_says(
        &message(session.run(lab.topology(JoinType::Inner, Arc::clone(&people)), Trigger::once())),
        &["b.json"],
    );
    fs::remove_dir_all(&path).unwrap();
    let missing = message(session.run(lab.topology(JoinType::Inner, people), Trigger::once()));
    assert_says(&missing, &["static table FileScan json[", "does not exist"]);
}

/// One STRING column, and how often it was read.
#[derive(Debug, Default)]
struct Counted(Mutex<(u64, Vec<&'static str>, u64)>);

impl Counted {
    fn set(&self, rows: &[&'static str]) {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        inner.1 = rows.to_vec();
    }

    fn reads(&self) -> u64 {
        self.0.lock().unwrap().2
    }

    fn batch(&self) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringViewArray::from(self.0.lock().unwrap().1.clone()));
        RecordBatch::try_from_iter_with_nullable([("id", column, true)]).unwrap()
    }
}

impl BatchTable for Counted {
    fn schema(&self) -> SchemaRef {
        self.batch().schema()
    }

    fn description(&self) -> String {
        "Counted".to_string()
    }

    fn read(&self, _: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        self.0.lock().unwrap().2 += 1;
        Ok(vec![self.batch()])
    }

    fn version(&self) -> Result<TableVersion> {
        let version = self.0.lock().unwrap().0;
        assert!(version < u64::MAX, "no version can be told");
        Ok(TableVersion::of(version))
    }
}

#[test]
fn a_table_is_read_when_it_changed_and_only_then() {
    let (lab, table) = (Lab::new(), Arc::new(Counted::default()));
    table.set(&["a"]);
    let query = session(3).run(lab.topology(JoinType::LeftSemi, table.clone()), Trigger::default()).unwrap();
    assert_eq!(table.reads(), 1, "once for all instances");
    for file in ["0", "1"] {
        lab.send(file, &["a", "b"]);
        query.process_all_available().unwrap();
    }
    assert_eq!((table.reads(), lab.results()), (1, vec!["a".to_string(); 2]));
    table.set(&["b"]);
    query.process_all_available().unwrap();
    assert_eq!(table.reads(), 1, "a table that changes begins no epoch");
    lab.send("2", &["a", "b"]);
    query.process_all_available().unwrap();
    assert_eq!((table.reads(), lab.results()), (2, ["a", "a", "b"].map(String::from).to_vec()));
    query.stop().unwrap();
}

#[test]
fn two_runs_of_one_topology_have_tables_of_their_own() {
    let (lab, table) = (Lab::new(), Arc::new(Counted::default()));
    table.set(&["a"]);
    let first = lab.topology(JoinType::LeftSemi, table.clone());
    let session = session(2);
    let second = Topology::clone(&first);
    let first = session.run(first, Trigger::default()).unwrap();
    first.process_all_available().unwrap();
    lab.send("0", &["a", "b"]);
    first.process_all_available().unwrap();
    first.stop().unwrap();
    assert_eq!(lab.results(), ["a"]);
    table.set(&["b"]);
    let second = session.run(second, Trigger::available_now()).unwrap();
    second.await_termination().unwrap();
    assert_eq!((table.reads(), lab.results()), (2, vec!["b".to_string()]));
}

#[test]
fn a_table_that_panics_fails_its_query_alone() {
    let (lab, table) = (Lab::new(), Arc::new(Counted::default()));
    let session = session(1);
    let query = session.run(lab.topology(JoinType::Inner, table.clone()), Trigger::default()).unwrap();
    table.0.lock().unwrap().0 = u64::MAX;
    lab.send("0", &["a"]);
    assert_says(&message(query.process_all_available()), &["static table Counted of `join`", "panicked"]);
}

#[test]
fn a_drawing_shows_the_table() {
    let topology = Lab::new().topology(JoinType::Left, Arc::new(Counted::default()));
    let label = "operator join: left join on value = id with Counted";
    for drawing in [topology.to_string(), topology.to_mermaid(), topology.to_dot()] {
        assert_says(&drawing, &[label]);
    }
}

#[test]
fn a_table_that_is_missing_or_does_not_fit_is_refused() {
    let table: Arc<dyn BatchTable> = Arc::new(Counted::default());
    let key = JoinKey { left: 0, right: 0, null_safe: false };
    let refused = |has_join: bool, read: Option<Arc<dyn BatchTable>>| {
        let mut topology = Topology::builder("t");
        let lines = topology.source("lines", TextFiles::new("assets/lines"));
        let spec = JoinSpec::new(JoinType::Inner, vec![key], &table.schema(), &table.schema());
        let node = if has_join {
            topology.operator("node", StaticJoin::new(spec, JoinSide::Right, table.schema()))
        } else {
            topology.operator("node", Explode::words("value", "word"))
        };
        let last = match read {
            Some(read) => node.reading(read).after(lines),
            None => node.after(lines),
        };
        topology.sink("print", Console::new()).after(last);
        message(topology.build())
    };
    assert_says(&refused(true, None), &["node `node`", "reads a static table", ".reading("]);
    assert_says(&refused(false, Some(Arc::clone(&table))), &["node `node`", "reads no static table", "Counted"]);
    let other = tempfile::tempdir().unwrap();
    assert_says(
        &refused(true, Some(names(other.path()))),
        &["made for a static table of (STRING)", "(STRING, STRING)"],
    );
}
