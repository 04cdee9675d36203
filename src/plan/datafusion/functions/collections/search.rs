//! Items searched in arrays.
//!
//! Owns: Spark's answer where nulls are among the items. Does not own: keys of maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::super::kernel::Kernel;
use crate::error::Result;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SearchKind {
    /// Null when it is not found but could be one of the nulls.
    Contains,
    /// From 1; 0 when it is not found.
    Position,
}

impl SearchKind {
    /// The type of the answer.
    pub(super) fn returns(self) -> DataType {
        match self {
            Self::Contains => DataType::Boolean,
            Self::Position => DataType::Int64,
        }
    }
}

/// Searches each row's item in its array.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Search(pub SearchKind);

impl Kernel for Search {
    fn name(&self) -> &'static str {
        match self.0 {
            SearchKind::Contains => "array_contains",
            SearchKind::Position => "array_position",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (list, wanted) = (arguments[0].as_list::<i32>(), &arguments[1]);
        let items = list.values();
        let compare = make_comparator(items, wanted, SortOptions::default())?;
        // Where in its array each row's item is, from 0; and whether the array has nulls.
        let found = |row: usize| {
            if list.is_null(row) || wanted.is_null(row) {
                return None;
            }
            let places = list.value_offsets()[row]..list.value_offsets()[row + 1];
            let mut places = places.filter_map(|place| usize::try_from(place).ok()).enumerate();
            let mut has_nulls = false;
            let found = places.find(|(_, place)| {
                has_nulls |= items.is_null(*place);
                items.is_valid(*place) && compare(*place, row).is_eq()
            });
            Some((found.map(|(index, _)| index), has_nulls))
        };
        let rows = 0..list.len();
        Ok(match self.0 {
            SearchKind::Contains => {
                let contains =
                    |row| found(row).and_then(|(at, has_nulls)| (at.is_some() || !has_nulls).then_some(at.is_some()));
                Arc::new(rows.map(contains).collect::<BooleanArray>())
            }
            SearchKind::Position => {
                let position = |at: Option<usize>| at.map_or(Some(0), |at| i64::try_from(at + 1).ok());
                Arc::new(rows.map(|row| found(row).and_then(|(at, _)| position(at))).collect::<Int64Array>())
            }
        })
    }
}
