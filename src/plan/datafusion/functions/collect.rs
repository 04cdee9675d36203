//! `collect_list` and `collect_set`.
//!
//! Owns: the items of a group in the order they come, nulls left out; a set keeps the first of equal ones. The state
//! is the array itself, so states are merged one behind the other.

use std::collections::HashSet;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, filter, is_not_null, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::coerce::{array_of, item_of};

/// More pieces than these are joined to one.
const MOST_PIECES: usize = 64;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Collect {
    is_set: bool,
    signature: Signature,
}

impl Collect {
    /// `collect_set`, or `collect_list`.
    pub(super) fn new(is_set: bool) -> Self {
        Self { is_set, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &'static str {
        if self.is_set { "collect_set" } else { "collect_list" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(array_of(arg_types[0].clone()))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        let item = item_of(data_type).cloned().unwrap_or(DataType::Null);
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&[], &item)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let data_type = args.return_type().clone();
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "items"), data_type, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let item = item_of(args.return_type()).cloned().unwrap_or(DataType::Null);
        let seen = if self.is_set { Some(Seen::new(&item)?) } else { None };
        Ok(Box::new(Collected { item, pieces: Vec::new(), seen }))
    }
}

/// The items of one group.
#[derive(Debug)]
struct Collected {
    item: DataType,
    pieces: Vec<ArrayRef>,
    /// For sets.
    seen: Option<Seen>,
}

/// The items of a set, as bytes that are equal when the items are.
#[derive(Debug)]
struct Seen {
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
}

impl Seen {
    fn new(item: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(item.clone())])?;
        Ok(Self { converter, rows: HashSet::new() })
    }

    /// The items that were not there before.
    fn admit(&mut self, items: &ArrayRef) -> Result<ArrayRef> {
        let rows = self.converter.convert_columns(std::slice::from_ref(items))?;
        let mut new = UInt32Array::builder(0);
        for (index, row) in (0_u32..).zip(rows.iter()) {
            if !self.rows.contains(row.as_ref()) {
                self.rows.insert(row.as_ref().into());
                new.append_value(index);
            }
        }
        Ok(take(items, &new.finish(), None)?)
    }
}

impl Collected {
    fn add(&mut self, items: &ArrayRef) -> Result<()> {
        let items = match items.logical_null_count() {
            0 => Arc::clone(items),
            _ => filter(items, &is_not_null(items)?)?,
        };
        let items = match &mut self.seen {
            Some(seen) => seen.admit(&items)?,
            None => items,
        };
        if !items.is_empty() {
            self.pieces.push(items);
        }
        if self.pieces.len() > MOST_PIECES {
            self.pieces = vec![self.joined()?];
        }
        Ok(())
    }

    fn joined(&self) -> Result<ArrayRef> {
        let pieces: Vec<&dyn Array> = self.pieces.iter().map(AsRef::as_ref).collect();
        let joined = if pieces.is_empty() { arrow::array::new_empty_array(&self.item) } else { concat(&pieces)? };
        // Views keep whole input buffers alive, of which a group needs little.
        Ok(match joined.as_string_view_opt() {
            Some(views) => Arc::new(views.gc()),
            None => joined,
        })
    }

    fn array(&self) -> Result<ScalarValue> {
        let items = self.joined()?;
        let field = Arc::new(Field::new_list_field(self.item.clone(), true));
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|items| self.add(&items))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.array()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.array()
    }

    fn size(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Array::get_array_memory_size).sum();
        let seen = self.seen.as_ref().map_or(0, |seen| {
            seen.converter.size() + seen.rows.iter().map(|row| row.len() + size_of_val(row)).sum::<usize>()
        });
        size_of_val(self) + pieces + seen
    }
}
