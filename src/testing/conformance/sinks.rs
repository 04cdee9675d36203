//! A sink under every moment at which its query may die.
//!
//! It is taken through three epochs with two writers. Before each of the calls, and after the last, the process dies: its
//! writers and committer are gone without another word (as by `kill -9`) or after an `abort` (as by an error), and a new run does
//! what the runtime does: commits again what was decided, calls `recover`, and runs the undecided epoch again with the same rows.
//! A third variant lets the dead process come back, and prepare its epoch late, beside the new run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use uuid::Uuid;

use super::{broken, texts};
use crate::connector::{Guarantee, Prepared, Sink, SinkCommitter, SinkContext, SinkWriter};
use crate::error::{Error, Result};
use crate::protocol::OutputMode;

/// A place that a sink writes to, for [`check_sink`].
pub trait SinkUnderTest {
    /// The sink that writes there; called for each process.
    fn sink(&self) -> Box<dyn Sink>;

    /// What a reader finds there now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn rows(&self) -> Result<Vec<RecordBatch>>;
}

/// The columns of the rows that [`check_sink`] writes, in append mode: `id BIGINT, name STRING`.
pub fn sink_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)]))
}

const EPOCHS: u64 = 3;
const WRITERS: usize = 2;

/// What a query does with a sink, one call at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin(u64, usize),
    Write(u64, usize),
    Prepare(u64, usize),
    /// The commit is decided; no call of the sink.
    Decide(u64),
    Commit(u64),
}

/// All calls of a run that nothing happens to, for the epochs from `first`.
fn steps(first: u64, writers: usize) -> Vec<Step> {
    let of = |epoch: u64| {
        let writer = move |writer: usize| [Step::Begin(epoch, writer), Step::Write(epoch, writer)];
        let ends = [Step::Decide(epoch), Step::Commit(epoch)];
        let prepares = (0..writers).map(move |writer| Step::Prepare(epoch, writer));
        (0..writers).flat_map(writer).chain(prepares).chain(ends)
    };
    (first..EPOCHS).flat_map(of).collect()
}

fn batch(epoch: u64, writer: usize) -> Result<RecordBatch> {
    let first = i64::try_from(epoch).unwrap_or_default() * 100 + i64::try_from(writer).unwrap_or_default() * 10;
    let ids = Int64Array::from(vec![first, first + 1]);
    let names = StringArray::from(vec![Some("a"), None]);
    Ok(RecordBatch::try_new(sink_schema(), vec![Arc::new(ids), Arc::new(names)])?)
}

/// The rows of the epochs before `end`.
fn expected(end: u64, writers: usize) -> Result<Vec<String>> {
    let of = |epoch: u64| (0..writers).map(move |writer| batch(epoch, writer));
    texts(&(0..end).flat_map(of).collect::<Result<Vec<_>>>()?)
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Without another word.
    Killed,
    /// Its writers are told to abort.
    Failed,
    /// It was thought dead, and prepares its epoch once more beside the new run.
    Haunting,
}

/// What outlives a process: the checkpoint.
#[derive(Default)]
struct Decided {
    epochs: BTreeMap<u64, Vec<Prepared>>,
}

struct Process {
    sink: Box<dyn Sink>,
    writers: Vec<Box<dyn SinkWriter>>,
    committer: Box<dyn SinkCommitter>,
    prepared: Vec<Prepared>,
    open: Vec<bool>,
}

impl Process {
    fn start(place: &dyn SinkUnderTest, generation: u64, first_epoch: u64) -> Result<Self> {
        let sink = place.sink();
        sink.check(OutputMode::Append, &sink_schema())?;
        let context = |instance| SinkContext {
            instance,
            checkpoint: Uuid::from_u128(7),
            generation,
            first_epoch,
            ..SinkContext::new("conformance", OutputMode::Append, sink_schema())
        };
        let count = if sink.is_parallel() { WRITERS } else { 1 };
        let writers = (0..count).map(|writer| sink.open(&context(writer))).collect::<Result<Vec<_>>>()?;
        let committer = sink.committer(&context(0))?;
        Ok(Self { sink, open: vec![false; count], writers, committer, prepared: Vec::new() })
    }

    fn take(&mut self, step: Step, decided: &mut Decided) -> Result<()> {
        match step {
            Step::Begin(epoch, writer) => {
                self.open[writer] = true;
                self.writers[writer].begin(epoch)
            }
            Step::Write(epoch, writer) => self.writers[writer].write(&batch(epoch, writer)?),
            Step::Prepare(_, writer) => {
                self.open[writer] = false;
                self.prepared.push(self.writers[writer].prepare()?);
                Ok(())
            }
            Step::Decide(epoch) => {
                decided.epochs.insert(epoch, std::mem::take(&mut self.prepared));
                Ok(())
            }
            Step::Commit(epoch) => self.committer.commit(epoch, &decided.epochs[&epoch]),
        }
    }

    /// Does what a query does that continues.
    fn recover(&mut self, decided: &Decided) -> Result<()> {
        let last = decided.epochs.last_key_value();
        if let Some((epoch, prepared)) = last {
            self.committer.commit(*epoch, prepared)?;
        }
        self.committer.recover(last.map(|(epoch, _)| *epoch))
    }

    fn die(mut self, death: Death) -> Option<Self> {
        match death {
            Death::Killed => {
                // Nothing is told to anybody, as when the process is gone.
                std::mem::forget(self);
                None
            }
            Death::Failed => {
                let open = self.writers.iter_mut().zip(&self.open).filter(|(_, is_open)| **is_open);
                open.for_each(|(writer, _)| writer.abort());
                None
            }
            Death::Haunting => Some(self),
        }
    }
}

/// Takes a sink through every moment at which its query may die, each time in a new place that `make` gives, and checks what the sink
/// says of itself: with [`Guarantee::ExactlyOnce`] every row is there once in the end, and none of an epoch before it was decided;
/// with [`Guarantee::AtLeastOnce`] every row is there.
///
/// Answers how many moments were tried.
///
/// ```no_run
/// use millstream::testing::conformance::{SinkUnderTest, check_sink};
/// # use millstream::connector::Sink;
/// # use millstream::{Result, arrow::record_batch::RecordBatch};
/// struct Table { /* a new, empty table of a test database */ }
///
/// impl SinkUnderTest for Table {
///     fn sink(&self) -> Box<dyn Sink> { todo!() }
///     fn rows(&self) -> Result<Vec<RecordBatch>> { todo!() }
/// }
///
/// check_sink(|| Table {})?;
/// # Ok::<(), millstream::Error>(())
/// ```
///
/// # Errors
/// The first broken promise, with the moment; and errors of the sink.
pub fn check_sink<P: SinkUnderTest>(make: impl Fn() -> P) -> Result<usize> {
    let mut tried = 0;
    for death in [Death::Killed, Death::Failed, Death::Haunting] {
        // No run has more calls than one that nothing happens to.
        for moment in 0..=steps(0, WRITERS).len() {
            let place = make();
            let told = |error: Error| error.context(format!("a query {death:?} before its call {moment}"));
            if !survive(&place, moment, death).map_err(told)? {
                break;
            }
            tried += 1;
        }
    }
    Ok(tried)
}

/// Whether there is such a moment.
fn survive(place: &dyn SinkUnderTest, moment: usize, death: Death) -> Result<bool> {
    let mut decided = Decided::default();
    let mut first = Process::start(place, 1, 0)?;
    first.recover(&decided)?;
    let (writers, guarantee) = (first.writers.len(), first.sink.guarantee());
    let all = steps(0, writers);
    if moment > all.len() {
        return Ok(false);
    }
    for step in &all[..moment] {
        first.take(*step, &mut decided)?;
        check_shown(place, &decided, writers, guarantee)?;
    }
    let ghost = first.die(death);
    let next = decided.epochs.last_key_value().map_or(0, |(epoch, _)| epoch + 1);
    let mut second = Process::start(place, 2, next)?;
    second.recover(&decided)?;
    if let Some(mut ghost) = ghost {
        // It ends the epoch it was in, as far as it gets: its commit is never decided.
        let rest = all[moment..].iter().take_while(|step| !matches!(step, Step::Decide(_) | Step::Commit(_)));
        let mut nothing = Decided::default();
        rest.into_iter().try_for_each(|step| ghost.take(*step, &mut nothing))?;
        check_shown(place, &decided, writers, guarantee)?;
    }
    for step in steps(next, writers) {
        second.take(step, &mut decided)?;
        check_shown(place, &decided, writers, guarantee)?;
    }
    drop(second);
    // Another run finds everything done.
    let mut third = Process::start(place, 3, EPOCHS)?;
    third.recover(&decided)?;
    let (found, wanted) = (texts(&place.rows()?)?, expected(EPOCHS, writers)?);
    let is_kept = match guarantee {
        Guarantee::ExactlyOnce => found == wanted,
        Guarantee::AtLeastOnce => wanted.iter().all(|row| found.contains(row)),
    };
    if is_kept {
        return Ok(true);
    }
    Err(broken(&format!("in the end there are the rows {found:?} instead of {wanted:?}")))
}

/// An exactly-once sink shows no row before it is decided, and none twice.
fn check_shown(place: &dyn SinkUnderTest, decided: &Decided, writers: usize, guarantee: Guarantee) -> Result<()> {
    if guarantee != Guarantee::ExactlyOnce {
        return Ok(());
    }
    let end = decided.epochs.last_key_value().map_or(0, |(epoch, _)| epoch + 1);
    let (mut left, found) = (expected(end, writers)?, texts(&place.rows()?)?);
    for row in found {
        match left.iter().position(|decided| *decided == row) {
            Some(place) => drop(left.swap_remove(place)),
            None => return Err(broken(&format!("the row {row} is shown twice, or before its epoch was decided"))),
        }
    }
    Ok(())
}
