//! The laws every operator keeps, asserted around each call in debug builds and tests.
//!
//! Owns: the order of calls, and that rows are as declared. Does not own: the laws of channels (`protocol::laws`).
//! Release builds pass every call straight on.
//!
//! ```text
//! calls  = restore* (on_watermark? save_all snapshot)? epoch*
//! epoch  = on_watermark? on_batch* on_barrier snapshot?        each on_… that answers More: resume until Done
//! ```

use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{
    Barrier, BarrierKind, Batch, Epoch, EpochTime, Flow, Operator, OperatorContext, OperatorStats, Output, StateBudget,
    StateDelta, StatePart, StaticSide, Watermark,
};
use crate::error::{Error, Result};
use crate::types::type_name;

/// An operator under observation.
///
/// A broken law is an [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) error that names the operator, and the
/// column where there is one.
pub(crate) struct Checked {
    operator: Box<dyn Operator>,
    laws: Laws,
}

struct Laws {
    name: String,
    schema: SchemaRef,
    ports: usize,
    place: Place,
    /// The operator answered [`Flow::More`] last.
    is_paused: bool,
    has_started: bool,
    last_epoch: Option<Epoch>,
    last_watermark: Option<Watermark>,
    last_answer: Option<Watermark>,
}

/// Where in the order of calls an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BetweenEpochs,
    AfterDurableBarrier,
    AfterWatermark,
    AmongBatches,
}

impl Checked {
    /// Puts `operator`, whose input ports have the columns `inputs`, under observation as `name`.
    ///
    /// # Errors
    /// When the inputs do not fit the operator.
    pub(crate) fn new(name: String, operator: Box<dyn Operator>, inputs: &[SchemaRef]) -> Result<Self> {
        let schema = operator.output_schema(inputs)?;
        let laws = Laws {
            name,
            schema,
            ports: inputs.len(),
            place: Place::BetweenEpochs,
            is_paused: false,
            has_started: false,
            last_epoch: None,
            last_watermark: None,
            last_answer: None,
        };
        Ok(Self { operator, laws })
    }

    fn flow(
        &mut self,
        output: &mut Output,
        call: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<Flow>,
    ) -> Result<Flow> {
        let before = output.items.len();
        let flow = call(self.operator.as_mut(), output)?;
        if cfg!(debug_assertions) {
            self.laws.is_paused = flow == Flow::More;
            self.laws.rows(output, before)?;
        }
        Ok(flow)
    }
}

impl Laws {
    fn broken<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        Err(Error::internal(format!("operator `{}` {what}", self.name)))
    }

    /// Nothing but `resume` may follow a pause.
    fn event(&mut self, call: &str) -> Result<()> {
        self.has_started = true;
        if self.is_paused { self.broken(format!("was paused, and got {call} before resume")) } else { Ok(()) }
    }

    fn watermark(&mut self, given: Option<Watermark>) -> Result<()> {
        self.event("on_watermark")?;
        if matches!(self.place, Place::AfterWatermark | Place::AmongBatches) {
            return self.broken("got a watermark in the middle of an epoch");
        }
        if went_back(self.last_watermark, given) {
            return self.broken(format!("got a watermark that went back to {given:?}"));
        }
        (self.place, self.last_watermark) = (Place::AfterWatermark, given);
        Ok(())
    }

    fn answer(&mut self, time: EpochTime, answer: Option<Watermark>) -> Result<()> {
        let given = time.here.unwrap_or(time.query);
        if answer.is_some_and(|answer| !given.is_at_least(answer)) {
            return self.broken(format!("made the watermark {answer:?} out of {given:?}"));
        }
        if went_back(self.last_answer, answer) {
            return self.broken(format!("let its watermark go back to {answer:?}"));
        }
        self.last_answer = answer;
        Ok(())
    }

    fn batch(&mut self, port: usize) -> Result<()> {
        self.event("on_batch")?;
        if port >= self.ports {
            return self.broken(format!("got rows on port {port} of {}", self.ports));
        }
        self.place = Place::AmongBatches;
        Ok(())
    }

    fn barrier(&mut self, barrier: &Barrier) -> Result<()> {
        self.event("on_barrier")?;
        if self.last_epoch.is_some_and(|last| barrier.epoch <= last) {
            return self.broken(format!("got barrier {} after {:?}", barrier.epoch, self.last_epoch));
        }
        self.last_epoch = Some(barrier.epoch);
        self.place = match barrier.kind {
            BarrierKind::Durable => Place::AfterDurableBarrier,
            BarrierKind::Light => Place::BetweenEpochs,
        };
        Ok(())
    }

    fn snapshot(&mut self) -> Result<()> {
        self.event("snapshot")?;
        if self.place != Place::AfterDurableBarrier {
            return self.broken("was asked for a snapshot without a durable barrier");
        }
        self.place = Place::BetweenEpochs;
        Ok(())
    }

    /// All of the state may be asked for, if no row came since the last snapshot.
    fn save_all(&mut self) {
        if self.place != Place::AmongBatches {
            self.place = Place::AfterDurableBarrier;
        }
    }

    /// Checks the batches put out since there were `before`.
    fn rows(&self, output: &Output, before: usize) -> Result<()> {
        output.items.iter().skip(before).try_for_each(|(_, batch)| self.records(batch))
    }

    fn records(&self, batch: &Batch) -> Result<()> {
        if batch.hashes.as_ref().is_some_and(|hashes| hashes.len() != batch.rows()) {
            return self.broken("put out another number of hashes than of rows");
        }
        match deviation(&self.schema, &batch.records) {
            Some(deviation) => self.broken(format!("put out {deviation}")),
            None => Ok(()),
        }
    }
}

fn went_back(last: Option<Watermark>, next: Option<Watermark>) -> bool {
    last.is_some_and(|last| !next.is_some_and(|next| next.is_at_least(last)))
}

/// How a batch differs from what was declared, if it does.
fn deviation(declared: &Schema, batch: &RecordBatch) -> Option<String> {
    let schema = batch.schema_ref();
    if schema.fields().len() != declared.fields().len() {
        let (actual, expected) = (schema.fields().len(), declared.fields().len());
        return Some(format!("{actual} columns where {expected} were declared"));
    }
    for ((field, column), expected) in schema.fields().iter().zip(batch.columns()).zip(declared.fields()) {
        let name = expected.name();
        if field.name() != name {
            return Some(format!("column `{}` where `{name}` was declared", field.name()));
        }
        if column.data_type() != expected.data_type() {
            let (actual, wanted) = (type_name(column.data_type()), type_name(expected.data_type()));
            let arrow = format!("{:?}, not {:?}", column.data_type(), expected.data_type());
            return Some(format!("column `{name}` as {actual} where {wanted} was declared ({arrow})"));
        }
        if column.null_count() > 0 && !expected.is_nullable() {
            return Some(format!("nulls in column `{name}`, which was declared without"));
        }
    }
    None
}

#[cfg(test)]
impl Checked {
    /// Lets a test look at what a snapshot would hold now.
    pub(super) fn expect_snapshot(&mut self) {
        self.laws.save_all();
    }
}

impl Operator for Checked {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.operator.output_schema(inputs)
    }

    fn describe(&self) -> String {
        self.operator.describe()
    }

    fn static_side(&mut self) -> Option<&mut Arc<StaticSide>> {
        self.operator.static_side()
    }

    fn open(&mut self, context: &OperatorContext) -> Result<()> {
        self.operator.open(context)
    }

    fn on_watermark(&mut self, time: EpochTime, output: &mut Output) -> Result<Option<Watermark>> {
        let before = output.items.len();
        if cfg!(debug_assertions) {
            self.laws.watermark(time.here)?;
        }
        let answer = self.operator.on_watermark(time, output)?;
        if cfg!(debug_assertions) {
            self.laws.answer(time, answer)?;
            self.laws.rows(output, before)?;
        }
        Ok(answer)
    }

    fn on_batch(&mut self, port: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        if cfg!(debug_assertions) {
            self.laws.batch(port)?;
        }
        self.flow(output, |operator, output| operator.on_batch(port, batch, output))
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        if cfg!(debug_assertions) && !self.laws.is_paused {
            return self.laws.broken("was resumed without a pause");
        }
        self.flow(output, <dyn Operator>::resume)
    }

    fn on_barrier(&mut self, barrier: &Barrier, output: &mut Output) -> Result<Flow> {
        if cfg!(debug_assertions) {
            self.laws.barrier(barrier)?;
        }
        self.flow(output, |operator, output| operator.on_barrier(barrier, output))
    }

    fn snapshot(&mut self) -> Result<Option<StateDelta>> {
        if cfg!(debug_assertions) {
            self.laws.snapshot()?;
        }
        let delta = self.operator.snapshot()?;
        let unequal = |(rows, hashes): &(RecordBatch, Vec<u64>)| rows.num_rows() != hashes.len();
        if cfg!(debug_assertions) && delta.iter().any(|delta| delta.changed.iter().any(unequal)) {
            return self.laws.broken("gave a snapshot with another number of hashes than of rows");
        }
        Ok(delta)
    }

    fn restore(&mut self, part: StatePart) -> Result<()> {
        if cfg!(debug_assertions) && self.laws.has_started {
            return self.laws.broken("was given state after its first epoch began");
        }
        self.operator.restore(part)
    }

    fn can_leave_memory(&self) -> bool {
        self.operator.can_leave_memory()
    }

    fn limit_memory(&mut self, budget: StateBudget) -> Result<()> {
        self.operator.limit_memory(budget)
    }

    fn save_all(&mut self) -> bool {
        self.laws.save_all();
        self.operator.save_all()
    }

    fn state_identity(&self) -> Option<String> {
        self.operator.state_identity()
    }

    fn uses_watermark(&self) -> bool {
        self.operator.uses_watermark()
    }

    fn depends_on_order(&self) -> bool {
        self.operator.depends_on_order()
    }

    fn dropped_columns(&self, inputs: &[SchemaRef]) -> Option<SchemaRef> {
        self.operator.dropped_columns(inputs)
    }

    fn watermark_delay(&self) -> Option<Duration> {
        self.operator.watermark_delay()
    }

    fn take_stats(&mut self) -> OperatorStats {
        self.operator.take_stats()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, Int64Array};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::error::ErrorKind;

    /// Passes rows on as it is told to.
    #[derive(Debug, Clone)]
    struct Obedient {
        answer: i64,
        flow: Flow,
        rows: RecordBatch,
    }

    impl Operator for Obedient {
        fn output_schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
            Ok(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])))
        }

        fn on_watermark(&mut self, time: EpochTime, _: &mut Output) -> Result<Option<Watermark>> {
            let raised = Watermark { evict_ms: self.answer, ..Watermark::default() };
            Ok(if self.answer > 0 { Some(raised) } else { time.here })
        }

        fn on_batch(&mut self, _: usize, _: Batch, output: &mut Output) -> Result<Flow> {
            output.batch(self.rows.clone());
            Ok(self.flow)
        }

        fn snapshot(&mut self) -> Result<Option<StateDelta>> {
            Ok(Some(StateDelta { changed: vec![(self.rows.clone(), vec![0])] }))
        }
    }

    fn longs(name: &str, values: Vec<Option<i64>>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
    }

    fn obedient() -> Obedient {
        Obedient { answer: 0, flow: Flow::Done, rows: longs("n", vec![Some(1)]) }
    }

    fn checked(operator: Obedient) -> Checked {
        let schema = operator.rows.schema();
        Checked::new("count".into(), Box::new(operator), &[schema]).unwrap()
    }

    /// One call by a letter: watermark, batch, resume, barrier (`d`urable or `l`ight), snapshot, restore (`S`).
    fn call(checked: &mut Checked, letter: char, epoch: Epoch) -> Result<()> {
        let mut output = Output::default();
        let barrier = |kind| Barrier { epoch, kind, has_data: true };
        let part = || StatePart { rows: longs("n", vec![]), hashes: vec![] };
        match letter {
            'w' => checked.on_watermark(EpochTime::default(), &mut output).map(|_| ()),
            'b' => checked.on_batch(0, longs("n", vec![Some(1)]).into(), &mut output).map(|_| ()),
            'r' => checked.resume(&mut output).map(|_| ()),
            'd' => checked.on_barrier(&barrier(BarrierKind::Durable), &mut output).map(|_| ()),
            'l' => checked.on_barrier(&barrier(BarrierKind::Light), &mut output).map(|_| ()),
            's' => checked.snapshot().map(|_| ()),
            _ => checked.restore(part()),
        }
    }

    /// The epoch rises with every barrier.
    fn calls(operator: Obedient, letters: &str) -> Result<()> {
        let mut checked = checked(operator);
        let mut epoch = 0;
        for letter in letters.chars() {
            call(&mut checked, letter, epoch)?;
            epoch += u64::from("dl".contains(letter));
        }
        Ok(())
    }

    fn assert_broken(result: Result<()>, about: &str) {
        let error = result.expect_err(about);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().starts_with("operator `count` ") && error.message().contains(about), "{error}");
    }

    #[test]
    fn calls_in_order_are_lawful() {
        calls(obedient(), "SSwbbdswlbdbl").unwrap();
    }

    #[test]
    fn calls_out_of_order_are_noticed() {
        for (letters, about) in [
            ("ww", "middle of an epoch"),
            ("bw", "middle of an epoch"),
            ("r", "without a pause"),
            ("wbs", "without a durable barrier"),
            ("wls", "without a durable barrier"),
            ("wdss", "without a durable barrier"),
            ("wS", "after its first epoch"),
        ] {
            assert_broken(calls(obedient(), letters), about);
        }
    }

    #[test]
    fn after_a_pause_only_resume_is_lawful() {
        let pausing = || Obedient { flow: Flow::More, ..obedient() };
        calls(pausing(), "wbrd").unwrap();
        for letters in ["wbb", "wbd", "wbw", "wbs"] {
            assert_broken(calls(pausing(), letters), "before resume");
        }
    }

    #[test]
    fn epochs_and_watermarks_never_go_back() {
        let mut same_epoch = checked(obedient());
        call(&mut same_epoch, 'd', 4).unwrap();
        assert_broken(call(&mut same_epoch, 'd', 4), "got barrier 4");
        let mut back = checked(obedient());
        let at = |evict_ms| EpochTime { here: Some(Watermark { late_ms: 0, evict_ms }), ..EpochTime::default() };
        back.on_watermark(at(5), &mut Output::default()).unwrap();
        call(&mut back, 'd', 0).unwrap();
        assert_broken(back.on_watermark(at(4), &mut Output::default()).map(|_| ()), "went back to");
        assert_broken(calls(Obedient { answer: 1, ..obedient() }, "w"), "made the watermark");
    }

    #[test]
    fn rows_have_to_be_as_declared() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let ints = RecordBatch::try_from_iter([("n", ints)]).unwrap();
        let two = RecordBatch::try_from_iter([("n", ints.column(0).clone()), ("m", ints.column(0).clone())]).unwrap();
        for (rows, about) in [
            (ints, "column `n` as"),
            (two, "2 columns"),
            (longs("x", vec![Some(1)]), "column `x`"),
            (longs("n", vec![None]), "nulls in column `n`"),
        ] {
            assert_broken(calls(Obedient { rows, ..obedient() }, "wb"), about);
        }
    }

    #[test]
    fn rows_on_a_port_that_is_not_there_are_noticed() {
        let result = checked(obedient()).on_batch(1, longs("n", vec![]).into(), &mut Output::default());
        assert_broken(result.map(|_| ()), "port 1 of 1");
    }

    #[test]
    fn state_needs_a_hash_for_each_row() {
        let rows = longs("n", vec![Some(1), Some(2)]);
        assert_broken(calls(Obedient { rows, ..obedient() }, "wds"), "number of hashes");
    }
}
