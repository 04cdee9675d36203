//! Runs a case: gives the query its rows as the case says and collects what each epoch did.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use millstream::arrow::record_batch::RecordBatch;
use millstream::prelude::*;
use serde_json::Value;

use crate::golden::{Case, Epoch, Feed, Input};
use crate::{pipeline, render};

/// A query that takes this long hangs.
const LIMIT: Duration = Duration::from_mins(1);

/// How a case is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) parallelism: usize,
    pub(crate) seed: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parallelism {}, seed {}", self.parallelism, self.seed)
    }
}

/// The rows of each epoch, as they come.
type Outputs = Arc<Mutex<BTreeMap<u64, Vec<Value>>>>;

/// The epochs of a case, or why it has none.
pub(crate) fn run(case: &Case, run: Run) -> std::result::Result<Vec<Epoch>, String> {
    let (sender, receiver) = channel();
    let case = case.clone();
    std::thread::spawn(move || sender.send(epochs(&case, run).map_err(|error| error.to_string())));
    receiver.recv_timeout(LIMIT).unwrap_or_else(|reason| match reason {
        RecvTimeoutError::Timeout => Err(format!("does not end within {LIMIT:?}")),
        RecvTimeoutError::Disconnected => Err("panicked, see above".to_string()),
    })
}

fn epochs(case: &Case, run: Run) -> Result<Vec<Epoch>> {
    let session = session(case, run)?;
    let outputs = Outputs::default();
    let query = match case.feed {
        Feed::Steps => step_by_step(case, run, &session, &outputs)?,
        Feed::Together => all_at_once(case, &session, &outputs)?,
    };
    let progress = query.recent_progress();
    query.stop()?;
    let outputs = std::mem::take(&mut *outputs.lock().unwrap());
    Ok(outputs.into_iter().map(|(number, rows)| epoch(number, rows, &progress)).collect())
}

fn session(case: &Case, run: Run) -> Result<Session> {
    let mut builder = Session::builder().parallelism(run.parallelism);
    for (key, value) in &case.config {
        let value = value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
        builder = builder.config(&format!("millstream.{key}"), value);
    }
    builder.build()
}

/// A writer that keeps the rows of each epoch.
fn writer(case: &Case, frame: &DataFrame, outputs: &Outputs) -> DataStreamWriter {
    let outputs = Arc::clone(outputs);
    let keep = move |batch: DataFrame, number: u64| -> Result<()> {
        let rows = render::rows(&batch.collect()?);
        let twice = outputs.lock().unwrap().insert(number, rows);
        assert!(twice.is_none(), "epoch {number} came twice");
        Ok(())
    };
    let mode = match case.mode.as_str() {
        "append" => OutputMode::Append,
        "update" => OutputMode::Update,
        "complete" => OutputMode::Complete,
        other => panic!("no output mode `{other}`"),
    };
    frame.write_stream().output_mode(mode).foreach_batch(keep)
}

fn step_by_step(case: &Case, run: Run, session: &Session, outputs: &Outputs) -> Result<StreamingQuery> {
    let new = |(name, input): (&String, &Input)| (name.clone(), MemoryStream::new(session, input.schema.as_str()));
    let streams: BTreeMap<String, MemoryStream> = case.streams().map(new).collect();
    let read = |name: &str| streams.get(name).map_or_else(|| table(session, &case.inputs[name]), MemoryStream::to_df);
    let frame = pipeline::build(&case.pipeline, &read);
    let query = writer(case, &frame, outputs).start()?;
    let mut cuts = Cuts(run.seed);
    for step in 0..steps(case) {
        MemoryStream::add_together(additions(case, step, &streams, &mut cuts)?)?;
        query.process_all_available()?;
    }
    Ok(query)
}

/// The static table of an input.
fn table(session: &Session, input: &Input) -> DataFrame {
    let schema = MemoryStream::new(session, input.schema.as_str()).to_df().schema().unwrap();
    let [Some(rows)] = input.steps.as_slice() else { panic!("a static table has the rows of one step") };
    session.create_data_frame(vec![render::batch(&schema, rows)])
}

/// The rows of all streams in a step, cut into batches.
fn additions<'a>(
    case: &Case,
    step: usize,
    streams: &'a BTreeMap<String, MemoryStream>,
    cuts: &mut Cuts,
) -> Result<Vec<(&'a MemoryStream, RecordBatch)>> {
    let mut additions = Vec::new();
    for (name, input) in case.streams() {
        if let Some(Some(rows)) = input.steps.get(step) {
            let batch = render::batch(&streams[name].to_df().schema()?, rows);
            additions.extend(cuts.of(&batch).into_iter().map(|part| (&streams[name], part)));
        }
    }
    Ok(additions)
}

fn all_at_once(case: &Case, session: &Session, outputs: &Outputs) -> Result<StreamingQuery> {
    let directory = tempfile::tempdir().unwrap();
    for (name, input) in case.streams() {
        let place = directory.path().join(name);
        fs::create_dir(&place).unwrap();
        for (step, rows) in input.steps.iter().enumerate() {
            write(&place, step, rows.as_ref().expect("a step of every stream is a file"));
        }
    }
    let read = |name: &str| {
        let input = &case.inputs[name];
        if input.is_static {
            return table(session, input);
        }
        let reader = session.read_stream().format("json").schema(input.schema.as_str());
        reader.option("maxFilesPerTrigger", 1).load_path(directory.path().join(name).to_string_lossy())
    };
    let frame = pipeline::build(&case.pipeline, &read);
    let query = writer(case, &frame, outputs).trigger(Trigger::available_now()).start()?;
    query.await_termination()?;
    Ok(query)
}

/// A file that is a second younger than that of the step before.
fn write(directory: &Path, step: usize, rows: &[Value]) {
    let path = directory.join(format!("{step:05}.json"));
    fs::write(&path, render::lines(rows)).unwrap();
    let seconds = 1_600_000_000 + u64::try_from(step).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

fn steps(case: &Case) -> usize {
    case.streams().map(|(_, input)| input.steps.len()).max().unwrap_or_default()
}

fn epoch(batch: u64, rows: Vec<Value>, progress: &[StreamingQueryProgress]) -> Epoch {
    let progress = progress.iter().rfind(|progress| progress.batch_id == batch);
    let progress = progress.unwrap_or_else(|| panic!("epoch {batch} is not in the progress"));
    let watermark = progress.event_time.get("watermark").map(|time| time.replace('Z', "000Z"));
    let operators = &progress.state_operators;
    Epoch {
        batch,
        watermark,
        rows,
        dropped: operators.iter().map(|operator| operator.num_rows_dropped_by_watermark).sum(),
        state_rows: operators.iter().map(|operator| operator.num_rows_total).collect(),
    }
}

/// Cuts batches at random places, by a seed; seed 0 cuts nothing.
struct Cuts(u64);

impl Cuts {
    fn of(&mut self, batch: &RecordBatch) -> Vec<RecordBatch> {
        let (mut parts, mut begin) = (Vec::new(), 0);
        while self.0 != 0 && begin < batch.num_rows() {
            let length = self.below(4).min(batch.num_rows() - begin);
            parts.push(batch.slice(begin, length));
            begin += length;
        }
        if begin < batch.num_rows() || parts.is_empty() {
            parts.push(batch.slice(begin, batch.num_rows() - begin));
        }
        parts
    }

    /// A number below `bound`, by a linear congruence.
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound).unwrap()
    }
}
