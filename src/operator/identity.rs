//! The words in which operators say what their state means.
//!
//! Owns: how columns and expressions are told so that they stay the same over restarts. Does not own: what is to be told
//! (each operator's `state_identity`).
//!
//! Inside a plan a column is `word#3`, and in a compiled expression `word#3@0`: both numbers may be others after a restart, and
//! are left out.

use std::fmt::Debug;

use arrow::datatypes::{Field, FieldRef, Schema};

use crate::types::type_name;

/// The text without the numbers that a planner gives to columns.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['#', '@']) {
        let (before, mark) = rest.split_at(at);
        let behind = mark[1..].trim_start_matches(|letter: char| letter.is_ascii_digit());
        kept.push_str(before);
        if behind.len() + 1 == mark.len() {
            kept.push_str(&mark[..1]);
        }
        rest = behind;
    }
    kept + rest
}

/// An expression as it writes itself, without such numbers.
pub(crate) fn expression(expression: &dyn Debug) -> String {
    without_numbers(&format!("{expression:?}"))
}

/// `word STRING`.
pub(crate) fn column(field: &Field) -> String {
    format!("{} {}", without_numbers(field.name()), type_name(field.data_type()))
}

/// The column at this place, or its place if there is none.
pub(crate) fn column_at(schema: &Schema, index: usize) -> String {
    schema.fields().get(index).map_or_else(|| format!("column {index}"), |field| column(field))
}

/// `word STRING, time TIMESTAMP`.
pub(crate) fn columns<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> String {
    fields.into_iter().map(|field| column(field)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_numbers_of_columns_are_left_out() {
        for (text, kept) in [
            ("word#3", "word"),
            ("upper(word#31@7) < a b#2@0", "upper(word) < a b"),
            ("no number # here, a@home 5#", "no number # here, a@home 5#"),
            ("ünïcode#12é", "ünïcodeé"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(text), kept);
        }
    }
}
