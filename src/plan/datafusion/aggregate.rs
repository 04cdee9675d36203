//! DataFusion's aggregate functions as accumulators: any function that is not native.
//!
//! Owns: keeping their states across epochs. Does not own: which function is meant and what its arguments are (the
//! planner built the call).
//!
//! DataFusion's accumulators give up their values when asked for them, so none can be kept and read. Hence:
//!
//! ```text
//!                    touched groups' rows                     all of it, when anything is read
//!  states by group ───────────────────────▶ live accumulator ──────────────────────────────────▶ new rows of states
//!        ▲                                   ▲ update, merge                                            │
//!        └───────────────────────────────────┼──────────────────────────────────────────────────────────┘
//! ```
//!
//! States are rows in chunks of columns, found by (chunk, row). A group that is touched leaves its old row dead; when
//! half of the rows are dead, or chunks are many and small, all live rows are copied together. Results come from
//! throw-away accumulators into which the states are merged.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::{Error, Result};
use crate::operator::aggregate::{Accumulator, AccumulatorFactory};

/// A call of a DataFusion aggregate function.
#[derive(Clone)]
pub(crate) struct DataFusionAggregate {
    call: Arc<AggregateFunctionExpr>,
    argument_types: Vec<DataType>,
    state_fields: Vec<FieldRef>,
}

impl DataFusionAggregate {
    /// Wraps a call over columns of `input`. Its accumulators take the call's arguments and, after them, the
    /// expressions it is sorted by.
    ///
    /// # Errors
    /// When the call does not fit the columns.
    pub(crate) fn new(call: Arc<AggregateFunctionExpr>, input: &Schema) -> Result<Self> {
        let expressions = call.all_expressions();
        let arguments = expressions.args.iter().chain(&expressions.order_by_exprs);
        let argument_types = arguments.map(|argument| argument.data_type(input)).collect::<Result<_, _>>();
        let argument_types = argument_types.map_err(|error| failed(&call, error))?;
        let state_fields = call.state_fields().map_err(|error| failed(&call, error))?;
        Ok(Self { call, argument_types, state_fields })
    }

    fn live(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.call.groups_accumulator_supported() {
            return self.call.create_groups_accumulator().map_err(|error| failed(&self.call, error));
        }
        let call = self.call.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || call.create_accumulator())))
    }

    /// The state of no rows, as one row: what a filter leaves that lets no row pass. A group without any row would not
    /// do, as DataFusion takes it that there is none.
    fn empty_state(&self) -> Result<Vec<ArrayRef>> {
        let mut live = self.live()?;
        let nulls: Vec<_> = self.argument_types.iter().map(|data_type| new_null_array(data_type, 1)).collect();
        let none = BooleanArray::from(vec![false]);
        live.update_batch(&nulls, &[0], Some(&none), 1).map_err(|error| failed(&self.call, error))?;
        live.state(EmitTo::All).map_err(|error| failed(&self.call, error))
    }
}

impl fmt::Debug for DataFusionAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataFusionAggregate({})", self.call.name())
    }
}

fn failed(call: &AggregateFunctionExpr, error: DataFusionError) -> Error {
    Error::data(format!("{}: {}", call.name(), error.strip_backtrace())).with_source(error)
}

/// The functions whose result depends on the order of the rows, by DataFusion's names.
const ORDERED: [&str; 5] = ["first_value", "last_value", "nth_value", "array_agg", "collect_list"];

/// The functions whose result is the same in whatever order states are merged, by DataFusion's names. Others may round,
/// keep items in the order they came, or the first of equal ones.
const UNORDERED: [&str; 7] = ["count", "approx_distinct", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"];

impl AccumulatorFactory for DataFusionAggregate {
    fn depends_on_order(&self) -> bool {
        ORDERED.contains(&self.call.fun().name())
    }

    fn merges_in_any_order(&self) -> bool {
        UNORDERED.contains(&self.call.fun().name())
    }

    fn create(&self) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(StoredStates::new(self.clone())?))
    }

    /// Not the name of the result, which is the user's and may change.
    fn identity(&self) -> String {
        let distinct = if self.call.is_distinct() { "distinct " } else { "" };
        let nulls = if self.call.ignore_nulls() { " ignore nulls" } else { "" };
        format!("{distinct}{}{nulls}", self.call.fun().name())
    }

    fn state_fields(&self) -> Vec<FieldRef> {
        self.state_fields.clone()
    }

    fn output_type(&self) -> DataType {
        self.call.field().data_type().clone()
    }
}

/// Where a group's state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Locator {
    chunk: u32,
    row: u32,
}

/// The state of a group that was never touched: the only row of the first chunk.
const EMPTY: Locator = Locator { chunk: 0, row: 0 };

/// No place in the live accumulator.
const NOT_LIVE: u32 = u32::MAX;

/// How many chunks there may be before their size is looked at, and how many rows each should have then.
const FEW_CHUNKS: usize = 256;
const CHUNK_ROWS: usize = 8192;

struct StoredStates {
    factory: DataFusionAggregate,
    locators: Vec<Locator>,
    chunks: Vec<Vec<ArrayRef>>,
    chunk_rows: usize,
    dead_rows: usize,
    chunk_bytes: usize,
    /// Takes rows of the touched groups under their places, which count from 0.
    live: Option<Box<dyn GroupsAccumulator>>,
    /// The group at each place.
    touched: Vec<u32>,
    /// The place of each group, or [`NOT_LIVE`].
    places: Vec<u32>,
    /// The place of each row of the batch at hand.
    scratch: Vec<usize>,
}

impl StoredStates {
    fn new(factory: DataFusionAggregate) -> Result<Self> {
        let mut states = Self {
            factory,
            locators: Vec::new(),
            chunks: Vec::new(),
            chunk_rows: 0,
            dead_rows: 0,
            chunk_bytes: 0,
            live: None,
            touched: Vec::new(),
            places: Vec::new(),
            scratch: Vec::new(),
        };
        let empty = states.factory.empty_state()?;
        states.add_chunk(empty)?;
        Ok(states)
    }

    fn failed(&self, error: DataFusionError) -> Error {
        failed(&self.factory.call, error)
    }

    fn add_chunk(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let fields = &self.factory.state_fields;
        if !columns.iter().map(Array::data_type).eq(fields.iter().map(|field| field.data_type())) {
            let found: Vec<_> = columns.iter().map(Array::data_type).collect();
            let name = self.factory.call.name();
            return Err(Error::internal(format!("{name} gave the state columns {found:?} and promised {fields:?}")));
        }
        self.chunk_rows += columns.first().map_or(0, Array::len);
        self.chunk_bytes += columns.iter().map(Array::get_array_memory_size).sum::<usize>();
        self.chunks.push(columns);
        Ok(())
    }

    /// The stored rows of these groups.
    fn gather(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let place = |&group: &u32| {
            let Locator { chunk, row } = self.locators[group as usize];
            (chunk as usize, row as usize)
        };
        let rows: Vec<_> = groups.iter().map(place).collect();
        let column = |index: usize| {
            let chunks: Vec<_> = self.chunks.iter().map(|chunk| chunk[index].as_ref()).collect();
            Ok(interleave(&chunks, &rows)?)
        };
        (0..self.factory.state_fields.len()).map(column).collect()
    }

    /// Gives every group of the batch a place in the live accumulator. Those with a stored state come first, and it
    /// goes in before the others have places: DataFusion takes it that every place it is told of has had a row.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        if self.live.is_none() {
            self.live = Some(self.factory.live()?);
        }
        let first_new = self.touched.len();
        for &group in groups {
            if self.locators[group as usize] != EMPTY {
                self.give_place(group);
            }
        }
        self.bring_back(first_new)?;
        self.scratch.clear();
        for &group in groups {
            let place = self.give_place(group);
            self.scratch.push(place as usize);
        }
        Ok(())
    }

    fn give_place(&mut self, group: u32) -> u32 {
        let place = &mut self.places[group as usize];
        if *place == NOT_LIVE {
            *place = number(self.touched.len());
            self.touched.push(group);
        }
        *place
    }

    fn bring_back(&mut self, first_new: usize) -> Result<()> {
        let total = self.touched.len();
        if first_new == total {
            return Ok(());
        }
        let states = self.gather(&self.touched[first_new..])?;
        let places: Vec<usize> = (first_new..total).collect();
        self.feed(|live, total| live.merge_batch(&states, &places, total))
    }

    fn feed(
        &mut self,
        feed: impl FnOnce(&mut dyn GroupsAccumulator, usize) -> Result<(), DataFusionError>,
    ) -> Result<()> {
        let total = self.touched.len();
        let outcome = self.live.as_mut().map_or(Ok(()), |live| feed(live.as_mut(), total));
        outcome.map_err(|error| self.failed(error))
    }

    /// Stores what the live accumulator holds and lets go of it.
    fn settle(&mut self) -> Result<()> {
        let Some(mut live) = self.live.take() else { return Ok(()) };
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Ok(());
        }
        let columns = live.state(EmitTo::All).map_err(|error| self.failed(error))?;
        let chunk = number(self.chunks.len());
        self.add_chunk(columns)?;
        for (row, &group) in touched.iter().enumerate() {
            let locator = &mut self.locators[group as usize];
            self.dead_rows += usize::from(*locator != EMPTY);
            *locator = Locator { chunk, row: number(row) };
            self.places[group as usize] = NOT_LIVE;
        }
        self.compact()
    }

    fn compact(&mut self) -> Result<()> {
        let is_scattered = self.chunks.len() > FEW_CHUNKS && self.chunk_rows < self.chunks.len() * CHUNK_ROWS / 2;
        if self.dead_rows * 2 <= self.chunk_rows && !is_scattered {
            return Ok(());
        }
        let stored = (0..number(self.locators.len())).filter(|&group| self.locators[group as usize] != EMPTY);
        let stored: Vec<u32> = stored.collect();
        let chunks = stored.chunks(CHUNK_ROWS).map(|groups| self.gather(groups)).collect::<Result<Vec<_>>>()?;
        self.forget_chunks();
        for (groups, columns) in stored.chunks(CHUNK_ROWS).zip(chunks) {
            let chunk = number(self.chunks.len());
            self.add_chunk(columns)?;
            for (row, &group) in groups.iter().enumerate() {
                self.locators[group as usize] = Locator { chunk, row: number(row) };
            }
        }
        Ok(())
    }

    /// Drops all chunks but the one of the empty state.
    fn forget_chunks(&mut self) {
        self.chunks.truncate(1);
        (self.chunk_rows, self.dead_rows) = (1, 0);
        self.chunk_bytes = self.chunks.iter().flatten().map(Array::get_array_memory_size).sum();
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("the key table bounds the number of groups")
}

impl Accumulator for StoredStates {
    fn grow(&mut self, groups: usize) {
        self.locators.resize(groups, EMPTY);
        self.places.resize(groups, NOT_LIVE);
    }

    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.touch(groups)?;
        let places = std::mem::take(&mut self.scratch);
        let fed = self.feed(|live, total| live.update_batch(arguments, &places, None, total));
        self.scratch = places;
        fed
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<()> {
        self.touch(groups)?;
        let places = std::mem::take(&mut self.scratch);
        let fed = self.feed(|live, total| live.merge_batch(states, &places, total));
        self.scratch = places;
        fed
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.settle()?;
        self.gather(groups)
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let states = self.state(groups)?;
        let places: Vec<usize> = (0..groups.len()).collect();
        let mut passing = self.factory.live()?;
        passing.merge_batch(&states, &places, groups.len()).map_err(|error| self.failed(error))?;
        passing.evaluate(EmitTo::All).map_err(|error| self.failed(error))
    }

    fn clear(&mut self) {
        self.forget_chunks();
        self.locators.clear();
        self.places.clear();
        self.touched.clear();
        self.live = None;
    }

    fn bytes(&self) -> usize {
        let live = self.live.as_ref().map_or(0, |live| live.size());
        let numbers = self.touched.capacity() + self.places.capacity();
        self.chunk_bytes + live + numbers * size_of::<u32>() + self.locators.capacity() * size_of::<Locator>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{AsArray, Float64Array, Int64Array};
    use arrow::compute::concat;
    use arrow::datatypes::{Field, Float64Type};
    use datafusion::common::ScalarValue;
    use datafusion::functions_aggregate::{
        approx_distinct, array_agg, average, count, first_last, median, stddev, string_agg, sum,
    };
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::{col, lit};
    use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
    use proptest::prelude::*;

    use super::*;

    fn build(function: Arc<AggregateUDF>, data_type: DataType, rest: &[ScalarValue]) -> DataFusionAggregate {
        let schema = Arc::new(Schema::new(vec![Field::new("x", data_type, true)]));
        let mut arguments: Vec<Arc<dyn PhysicalExpr>> = vec![col("x", &schema).unwrap()];
        arguments.extend(rest.iter().cloned().map(lit));
        let call = AggregateExprBuilder::new(function, arguments).schema(schema.clone()).alias("call").build();
        DataFusionAggregate::new(Arc::new(call.unwrap()), &schema).unwrap()
    }

    #[test]
    fn a_checkpoint_knows_the_function_and_not_the_name_of_its_result() {
        let of = |function| build(function, DataType::Int64, &[]).identity();
        assert_eq!(of(sum::sum_udaf()), "sum");
        assert_ne!(of(sum::sum_udaf()), of(median::median_udaf()));
    }

    #[test]
    fn functions_that_round_or_keep_items_cannot_be_merged_in_any_order() {
        let merging: Vec<_> = functions().iter().map(AccumulatorFactory::merges_in_any_order).collect();
        assert_eq!(merging, [false, false, true, false, false, false, false, false, true]);
    }

    fn functions() -> Vec<DataFusionAggregate> {
        let of = |function, data_type| build(function, data_type, &[]);
        vec![
            of(sum::sum_udaf(), DataType::Int64),
            of(average::avg_udaf(), DataType::Float64),
            of(count::count_udaf(), DataType::Int64),
            of(array_agg::array_agg_udaf(), DataType::Int64),
            of(stddev::stddev_udaf(), DataType::Float64),
            of(first_last::first_value_udaf(), DataType::Int64),
            of(first_last::last_value_udaf(), DataType::Int64),
            of(median::median_udaf(), DataType::Float64),
            of(approx_distinct::approx_distinct_udaf(), DataType::Int64),
        ]
    }

    /// What is done to the accumulator; rows are (group, value).
    #[derive(Debug, Clone)]
    enum Step {
        Update(Vec<(u32, Option<i8>)>),
        /// The rows come as states of an accumulator of their own.
        Merge(Vec<(u32, Option<i8>)>),
        /// Reads and drops the states of all groups.
        State,
        Evaluate,
        /// Goes on with a new accumulator that got the states.
        Restore,
    }

    const GROUPS: u32 = 5;

    fn step() -> impl Strategy<Value = Step> {
        let rows = || prop::collection::vec((0..GROUPS - 1, any::<Option<i8>>()), 0..12);
        prop_oneof![
            3 => rows().prop_map(Step::Update),
            3 => rows().prop_map(Step::Merge),
            1 => Just(Step::State),
            1 => Just(Step::Evaluate),
            1 => Just(Step::Restore),
        ]
    }

    fn column(factory: &DataFusionAggregate, values: impl Iterator<Item = Option<i8>>) -> ArrayRef {
        if factory.argument_types[0] == DataType::Float64 {
            return Arc::new(values.map(|value| value.map(f64::from)).collect::<Float64Array>());
        }
        Arc::new(values.map(|value| value.map(i64::from)).collect::<Int64Array>())
    }

    fn update(factory: &DataFusionAggregate, accumulator: &mut dyn Accumulator, rows: &[(u32, Option<i8>)]) {
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        accumulator.update(&[column(factory, rows.iter().map(|row| row.1))], &groups).unwrap();
    }

    fn fresh(factory: &DataFusionAggregate) -> Box<dyn Accumulator> {
        let mut accumulator = factory.create().unwrap();
        accumulator.grow(GROUPS as usize);
        accumulator
    }

    /// Each group's values through an accumulator of DataFusion's that sees nothing else.
    fn from_scratch(factory: &DataFusionAggregate, rows: &[(u32, Option<i8>)]) -> ArrayRef {
        let result = |group: u32| {
            let values = rows.iter().filter(|row| row.0 == group).map(|row| row.1);
            let mut accumulator = factory.call.create_accumulator().unwrap();
            accumulator.update_batch(&[column(factory, values)]).unwrap();
            accumulator.evaluate().unwrap()
        };
        ScalarValue::iter_to_array((0..GROUPS).map(result)).unwrap()
    }

    fn assert_alike(found: &ArrayRef, expected: &ArrayRef, what: &str) {
        assert_eq!(found.data_type(), expected.data_type(), "{what}");
        if found.data_type() != &DataType::Float64 {
            assert_eq!(found, expected, "{what}");
            return;
        }
        let pairs = found.as_primitive::<Float64Type>().iter().zip(expected.as_primitive::<Float64Type>());
        for pair in pairs {
            let is_near = match pair {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                (a, b) => a == b,
            };
            assert!(is_near, "{what}: {found:?} for {expected:?}");
        }
    }

    fn check(factory: &DataFusionAggregate, steps: &[Step]) {
        let all: Vec<u32> = (0..GROUPS).collect();
        let mut accumulator = fresh(factory);
        let mut rows = Vec::new();
        for step in steps {
            match step {
                Step::Update(more) => {
                    update(factory, accumulator.as_mut(), more);
                    rows.extend_from_slice(more);
                }
                Step::Merge(more) => {
                    let mut partial = fresh(factory);
                    update(factory, partial.as_mut(), more);
                    accumulator.merge(&partial.state(&all).unwrap(), &all).unwrap();
                    rows.extend_from_slice(more);
                }
                Step::State => assert_eq!(accumulator.state(&all[1..3]).unwrap()[0].len(), 2),
                Step::Evaluate => {
                    let found = accumulator.evaluate(&all).unwrap();
                    assert_alike(&found, &from_scratch(factory, &rows), &format!("{factory:?} {steps:?}"));
                }
                Step::Restore => {
                    let states = accumulator.state(&all).unwrap();
                    accumulator = fresh(factory);
                    accumulator.merge(&states, &all).unwrap();
                }
            }
        }
        let halves = [accumulator.evaluate(&all[..2]).unwrap(), accumulator.evaluate(&all[2..]).unwrap()];
        let found = concat(&[halves[0].as_ref(), halves[1].as_ref()]).unwrap();
        assert_alike(&found, &from_scratch(factory, &rows), &format!("{factory:?} {steps:?}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_order_of_calls_gives_what_all_rows_at_once_give(steps in prop::collection::vec(step(), 1..12)) {
            for factory in functions() {
                check(&factory, &steps);
            }
        }
    }

    #[test]
    fn a_sorted_call_takes_what_it_is_sorted_by_behind_its_arguments() {
        let fields = ["x", "at"].map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let by_time = PhysicalSortExpr::new_default(col("at", &schema).unwrap());
        let call = AggregateExprBuilder::new(first_last::first_value_udaf(), vec![col("x", &schema).unwrap()])
            .schema(schema.clone())
            .order_by(vec![by_time])
            .alias("call")
            .build();
        let factory = DataFusionAggregate::new(Arc::new(call.unwrap()), &schema).unwrap();
        let mut accumulator = fresh(&factory);
        for rows in [[(30, 3), (20, 2)], [(10, 1), (40, 4)]] {
            let column = |values: [i64; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
            let arguments = [column(rows.map(|row| row.0)), column(rows.map(|row| row.1))];
            accumulator.update(&arguments, &[0, 1]).unwrap();
            accumulator.state(&[0, 1]).unwrap();
        }
        let found = accumulator.evaluate(&[0, 1, 2]).unwrap();
        assert_eq!(found.as_ref(), &Int64Array::from(vec![Some(10), Some(20), None]) as &dyn Array);
    }

    #[test]
    fn strings_are_kept_across_reads() {
        let comma = ScalarValue::Utf8View(Some(",".to_string()));
        let factory = build(string_agg::string_agg_udaf(), DataType::Utf8View, std::slice::from_ref(&comma));
        let mut accumulator = fresh(&factory);
        for words in [["a word longer than 12", "b"], ["c", "d"]] {
            let words: ArrayRef = Arc::new(arrow::array::StringViewArray::from(words.to_vec()));
            accumulator.update(&[words, comma.to_array_of_size(2).unwrap()], &[0, 1]).unwrap();
            accumulator.state(&[0]).unwrap();
        }
        let found = accumulator.evaluate(&[0, 1]).unwrap();
        let found = arrow::compute::cast(&found, &DataType::Utf8).unwrap();
        let found: Vec<_> = found.as_string::<i32>().iter().flatten().collect();
        assert_eq!(found, ["a word longer than 12,c", "b,d"]);
    }

    #[test]
    fn rows_that_were_replaced_are_given_back() {
        let factory = build(sum::sum_udaf(), DataType::Int64, &[]);
        let mut states = StoredStates::new(factory.clone()).unwrap();
        let groups = 20_000;
        states.grow(groups as usize);
        let all: Vec<u32> = (0..groups).collect();
        let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; groups as usize]));
        let mut expected: HashMap<u32, i64> = HashMap::new();
        for round in 0..8_u32 {
            let touched = &all[..(groups / (round + 1)) as usize];
            states.update(&[ones.slice(0, touched.len())], touched).unwrap();
            states.state(&[0]).unwrap();
            for group in touched {
                *expected.entry(*group).or_default() += 1;
            }
            assert!(states.dead_rows * 2 <= states.chunk_rows, "{} of {}", states.dead_rows, states.chunk_rows);
        }
        let expected: Int64Array = all.iter().map(|group| expected.get(group).copied()).collect();
        assert_eq!(states.evaluate(&all).unwrap().as_ref(), &expected as &dyn Array);
    }

    #[test]
    fn many_small_chunks_are_copied_together() {
        let factory = build(sum::sum_udaf(), DataType::Int64, &[]);
        let mut states = StoredStates::new(factory).unwrap();
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        for group in 0..1000 {
            states.grow(group as usize + 1);
            states.update(std::slice::from_ref(&one), &[group]).unwrap();
            states.state(&[group]).unwrap();
        }
        assert!(states.chunks.len() <= FEW_CHUNKS + 1);
        let all: Vec<u32> = (0..1000).collect();
        let total: i64 =
            states.evaluate(&all).unwrap().as_primitive::<arrow::datatypes::Int64Type>().values().iter().sum();
        assert_eq!(total, 1000);
        states.clear();
        states.grow(1);
        assert!(states.evaluate(&[0]).unwrap().is_null(0));
    }
}
