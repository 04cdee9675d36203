//! One item, value or field out of each row's array, map or struct.
//!
//! Owns: numbering from 0 or 1 and what lies outside. Does not own: searches in arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::Expr;

use super::super::call::{Call, constant_text};
use super::super::coerce::array_of;
use super::super::kernel::{self, Kernel, int_rows, ints};
use crate::error::{Error, Result, suggestion};
use crate::types::type_name;

/// How the items of an array are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Numbering {
    /// As in `array[0]`: what is outside is null, an error under ANSI.
    FromZero,
    /// As in `element_at(array, 1)`: negative numbers count from the end, 0 is an error.
    FromOne,
}

/// The item of an array at an index.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ItemAt {
    pub(super) numbering: Numbering,
    pub(super) ansi: bool,
}

impl Kernel for ItemAt {
    fn name(&self) -> &'static str {
        match self.numbering {
            Numbering::FromZero => "getitem",
            Numbering::FromOne => "element_at",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (list, indices) = (arguments[0].as_list::<i32>(), ints(&arguments[1]));
        let mut chosen = UInt32Array::builder(list.len());
        for row in 0..list.len() {
            if list.is_null(row) || indices.is_null(row) {
                chosen.append_null();
                continue;
            }
            let length = list.value_length(row);
            let place = self.place(indices.value(row), length)?;
            chosen.append_option(place.and_then(|place| u32::try_from(list.value_offsets()[row] + place).ok()));
        }
        Ok(take(list.values(), &chosen.finish(), None)?)
    }
}

impl ItemAt {
    /// The place from 0, if there is one.
    fn place(&self, index: i32, length: i32) -> Result<Option<i32>> {
        let place = match self.numbering {
            Numbering::FromZero => index,
            Numbering::FromOne if index == 0 => {
                return Err(Error::data("element_at counts from 1, but was given the index 0"));
            }
            Numbering::FromOne if index > 0 => index - 1,
            Numbering::FromOne => length.saturating_add(index),
        };
        if (0..length).contains(&place) {
            return Ok(Some(place));
        }
        if !self.ansi {
            return Ok(None);
        }
        Err(Error::data(format!(
            "the index {index} is outside an array of {length} items; use try_element_at to get null instead"
        )))
    }
}

/// The value of a key in a map; null when it is not there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MapValue;

impl Kernel for MapValue {
    fn name(&self) -> &'static str {
        "map_value"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (map, keys) = (arguments[0].as_map(), &arguments[1]);
        let compare = make_comparator(map.keys(), keys, SortOptions::default())?;
        let chosen = (0..map.len()).map(|row| {
            if map.is_null(row) || keys.is_null(row) {
                return None;
            }
            let offsets = map.value_offsets();
            // Of equal keys the last one counts.
            let found = (offsets[row]..offsets[row + 1]).rev().filter_map(|place| usize::try_from(place).ok());
            let found = found.into_iter().find(|place| compare(*place, row).is_eq());
            found.and_then(|place| u32::try_from(place).ok())
        });
        let chosen: UInt32Array = chosen.collect();
        Ok(take(map.values(), &chosen, None)?)
    }
}

/// How many items an array or entries a map has.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Size;

impl Kernel for Size {
    fn name(&self) -> &'static str {
        "size"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let offsets = match arguments[0].as_map_opt() {
            Some(map) => map.offsets(),
            None => arguments[0].as_list::<i32>().offsets(),
        };
        Ok(int_rows(arguments, |row| Some(offsets[row + 1] - offsets[row])))
    }
}

/// `array.field` where the items are structs: the array of that field.
pub(super) fn field_of_items(call: &Call<'_>, array: Expr, item: &DataType, name: &Expr) -> Result<Expr> {
    let DataType::Struct(fields) = item else { return Err(call.mismatch(std::slice::from_ref(item))) };
    let name = constant_text(name).unwrap_or_default();
    let Some(index) = fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)) else {
        let near = suggestion(name, fields.iter().map(|field| field.name().as_str()));
        return Err(Error::plan(format!("no field `{name}` in {}{near}", type_name(item))));
    };
    let returns = array_of(fields[index].data_type().clone());
    Ok(kernel::call(FieldOfItems { index, name: fields[index].name().clone() }, returns, vec![array]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FieldOfItems {
    index: usize,
    name: String,
}

impl Kernel for FieldOfItems {
    fn name(&self) -> &'static str {
        "field_of_items"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let list = arguments[0].as_list::<i32>();
        let items = list.values().as_struct();
        let column =
            arrow::compute::kernels::nullif::nullif(items.column(self.index), &arrow::compute::is_null(items)?)?;
        let field = Arc::new(Field::new_list_field(column.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), column, list.nulls().cloned())?))
    }

    fn label(&self, argument: &str) -> String {
        format!("{argument}.{}", self.name)
    }
}
