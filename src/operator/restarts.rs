//! A restart changes nothing, and neither does a memory limit: what tests hold every operator with state to.
//!
//! Owns: running epochs straight through and with restarts at other parallelisms, from files of changes that may have been made
//! one, with rows that leave memory. Does not own: what the epochs should show (each operator's own tests).

use std::collections::BTreeMap;

use arrow::array::UInt32Array;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use crate::operator::{
    Barrier, BarrierKind, Batch, Checked, EpochTime, Flow, MapStore, Operator, OperatorContext, Output, StateBudget,
    StatePart, Watermark,
};
use crate::protocol::key_group::{instance_of, key_group};

/// An operator on trial.
pub(crate) struct Subject<'a> {
    pub(crate) make: &'a dyn Fn() -> Box<dyn Operator>,
    pub(crate) inputs: Vec<SchemaRef>,
    /// The most instances there can be.
    pub(crate) instances: usize,
    /// Whether rows without a known hash may come.
    pub(crate) carries_hashes: bool,
}

/// One epoch of input: a port, rows and the hashes by which they are divided among instances.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) here: Option<Watermark>,
    pub(crate) rows: Vec<(usize, RecordBatch, Vec<u64>)>,
}

/// What happens to the operator behind an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    is_durable: bool,
    /// The parallelism after a restart.
    restart: Option<usize>,
    /// What an instance may hold from then on, in bytes, if the operator's rows can leave memory.
    budget: Option<usize>,
    compactions: Vec<Compaction>,
}

/// Files of changes becoming one.
#[derive(Debug, Clone)]
struct Compaction {
    /// Those of the instance that wrote one of them; otherwise those of all, from the first on.
    of_instance: bool,
    /// Which of them.
    chosen: usize,
    count: usize,
    /// Whether the time is that of the last epoch there was rather than that of the last file.
    is_newest_time: bool,
}

/// What may happen behind epochs; used in turn.
pub(crate) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let compaction = (any::<bool>(), 0..30_usize, 1..8_usize, any::<bool>()).prop_map(
        |(of_instance, chosen, count, is_newest_time)| Compaction { of_instance, chosen, count, is_newest_time },
    );
    let compactions = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(compaction, 1..4)];
    let budget = prop_oneof![Just(None), Just(Some(0)), Just(Some(1500)), Just(Some(4000))];
    let turn = (prop::bool::weighted(0.8), prop::option::weighted(0.4, 1..4_usize), budget, compactions);
    let turn =
        turn.prop_map(|(is_durable, restart, budget, compactions)| Turn { is_durable, restart, budget, compactions });
    prop::collection::vec(turn, 1..8)
}

/// What an epoch shows, rows in no order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    rows: Vec<String>,
    dropped: BTreeMap<&'static str, u64>,
    state_rows: u64,
}

/// What an instance wrote behind an epoch.
#[derive(Debug)]
struct File {
    /// How many restarts there were before.
    start: usize,
    instance: usize,
    epoch: usize,
    parts: Vec<(RecordBatch, Vec<u64>)>,
}

/// Asserts that each epoch shows the same, drops the same and leaves as many rows of state whatever happens between epochs.
pub(crate) fn check(subject: &Subject, epochs: &[Epoch], turns: &[Turn]) {
    let mut straight = Instances::new(subject, 1, None);
    let mut restarted = Instances::new(subject, 1, turns[0].budget);
    let (mut files, mut start) = (Vec::new(), 0);
    for (number, epoch) in epochs.iter().enumerate() {
        let turn = &turns[number % turns.len()];
        let kind = if turn.is_durable { BarrierKind::Durable } else { BarrierKind::Light };
        let expected = straight.epoch(number, epoch, BarrierKind::Light);
        assert_eq!(restarted.epoch(number, epoch, kind), expected, "epoch {number}");
        if !turn.is_durable {
            continue;
        }
        files.extend(restarted.save(start, number));
        for compaction in &turn.compactions {
            compact(subject, epochs, &mut files, compaction, number);
        }
        if let Some(parallelism) = turn.restart {
            start += 1;
            restarted = Instances::new(subject, parallelism.min(subject.instances), turn.budget);
            for file in &files {
                restarted.restore(&file.parts);
            }
        }
    }
}

fn compact(subject: &Subject, epochs: &[Epoch], files: &mut Vec<File>, compaction: &Compaction, newest: usize) {
    let first = if compaction.of_instance { compaction.chosen % files.len() } else { 0 };
    let (start, instance) = (files[first].start, files[first].instance);
    let is_wanted = |index: usize, file: &File| {
        index >= first && (!compaction.of_instance || (file.start, file.instance) == (start, instance))
    };
    let wanted = (0..files.len()).filter(|&index| is_wanted(index, &files[index])).take(compaction.count);
    let mut wanted: Vec<usize> = wanted.collect();
    if !compaction.of_instance {
        // The other instances wrote the rest of the last epoch.
        let until = files[wanted[wanted.len() - 1]].epoch;
        wanted = (0..files.len()).filter(|&index| files[index].epoch <= until).collect();
    }
    let last = wanted[wanted.len() - 1];
    let epoch = if compaction.is_newest_time { newest } else { files[last].epoch };
    let mut fresh = Instances::new(subject, 1, None);
    for index in &wanted {
        fresh.restore(&files[*index].parts);
    }
    let parts = fresh.save_all(&epochs[epoch]);
    let file = File { start, instance, epoch: files[last].epoch, parts };
    wanted.iter().rev().for_each(|&index| drop(files.remove(index)));
    files.insert(last + 1 - wanted.len(), file);
}

/// The instances of an operator.
struct Instances<'a> {
    subject: &'a Subject<'a>,
    operators: Vec<Checked>,
    identity: String,
}

impl<'a> Instances<'a> {
    fn new(subject: &'a Subject, parallelism: usize, budget: Option<usize>) -> Self {
        let open = |instance| {
            let inputs = subject.inputs.clone();
            let mut operator = Checked::new("trial".into(), (subject.make)(), &inputs).unwrap();
            operator.open(&OperatorContext { name: "trial".into(), instance, parallelism, inputs }).unwrap();
            if let (Some(bytes), true) = (budget, operator.can_leave_memory()) {
                operator.limit_memory(StateBudget { bytes, store: Box::<MapStore>::default() }).unwrap();
            }
            operator
        };
        let operators: Vec<Checked> = (0..parallelism).map(open).collect();
        let identity = operators[0].state_identity().unwrap();
        assert!(!identity.contains(['#', '\n']), "{identity}");
        Self { subject, operators, identity }
    }

    fn epoch(&mut self, number: usize, epoch: &Epoch, kind: BarrierKind) -> Shown {
        let (mut shown, parallelism) = (Shown::default(), self.operators.len());
        let has_data = epoch.rows.iter().any(|(_, records, _)| records.num_rows() > 0);
        for (instance, operator) in self.operators.iter_mut().enumerate() {
            let mut output = Output::default();
            operator.on_watermark(time(epoch), &mut output).unwrap();
            for (port, records, hashes) in &epoch.rows {
                let (records, hashes) = routed(records, hashes, instance, parallelism);
                if records.num_rows() > 0 {
                    let hashes = self.subject.carries_hashes.then(|| hashes.into());
                    let flow = operator.on_batch(*port, Batch { records, hashes }, &mut output).unwrap();
                    finish(operator, flow, &mut output, &mut shown);
                }
            }
            let barrier = Barrier { epoch: number as u64, kind, has_data };
            let flow = operator.on_barrier(&barrier, &mut output).unwrap();
            finish(operator, flow, &mut output, &mut shown);
            shown.state_rows += operator.take_stats().state_rows.unwrap();
            assert_eq!(operator.state_identity().as_ref(), Some(&self.identity));
        }
        shown.rows.sort_unstable();
        shown
    }

    fn save(&mut self, start: usize, epoch: usize) -> Vec<File> {
        let of = |(instance, operator): (usize, &mut Checked)| File { start, instance, epoch, parts: saved(operator) };
        self.operators.iter_mut().enumerate().map(of).collect()
    }

    fn restore(&mut self, parts: &[(RecordBatch, Vec<u64>)]) {
        let parallelism = self.operators.len();
        for (instance, operator) in self.operators.iter_mut().enumerate() {
            for (rows, hashes) in parts {
                let (rows, hashes) = routed(rows, hashes, instance, parallelism);
                operator.restore(StatePart { rows, hashes }).unwrap();
            }
        }
    }

    /// The whole state of the only instance, which saw no epoch since it came back.
    fn save_all(&mut self, epoch: &Epoch) -> Vec<(RecordBatch, Vec<u64>)> {
        let operator = &mut self.operators[0];
        let mut output = Output::default();
        operator.on_watermark(time(epoch), &mut output).unwrap();
        assert!(operator.save_all());
        let parts = saved(operator);
        assert!(output.take_batches().is_empty());
        operator.expect_snapshot();
        assert!(saved(operator).is_empty(), "all of it was saved");
        parts
    }
}

fn saved(operator: &mut Checked) -> Vec<(RecordBatch, Vec<u64>)> {
    let parts = operator.snapshot().unwrap().unwrap().changed;
    assert!(parts.windows(2).all(|pair| pair[0].0.schema() == pair[1].0.schema()), "a file has one schema");
    parts
}

fn time(epoch: &Epoch) -> EpochTime {
    EpochTime { here: epoch.here, query: epoch.here.unwrap_or_default(), ..EpochTime::default() }
}

fn finish(operator: &mut Checked, mut flow: Flow, output: &mut Output, shown: &mut Shown) {
    loop {
        shown.rows.extend(output.take_batches().iter().flat_map(texts));
        for (reason, count) in output.take_dropped().0 {
            *shown.dropped.entry(reason).or_default() += count;
        }
        if flow == Flow::Done {
            return;
        }
        flow = operator.resume(output).unwrap();
    }
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let text = |row| batch.columns().iter().map(move |column| array_value_to_string(column, row).unwrap());
    (0..batch.num_rows()).map(|row| text(row).collect::<Vec<_>>().join(", ")).collect()
}

/// The rows whose key group this instance owns.
fn routed(records: &RecordBatch, hashes: &[u64], instance: usize, parallelism: usize) -> (RecordBatch, Vec<u64>) {
    let is_own = |row: &usize| instance_of(key_group(hashes[*row]), parallelism) == instance;
    let rows: Vec<usize> = (0..records.num_rows()).filter(is_own).collect();
    let indices: UInt32Array = rows.iter().map(|&row| u32::try_from(row).unwrap()).collect();
    let columns = records.columns().iter().map(|column| take(column, &indices, None).unwrap()).collect();
    // State may have no columns at all.
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let own = RecordBatch::try_new_with_options(records.schema(), columns, &options).unwrap();
    (own, rows.iter().map(|&row| hashes[row]).collect())
}
