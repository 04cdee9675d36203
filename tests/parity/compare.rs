//! Says where a run differs from Spark's.

use std::fmt::Write as _;

use serde_json::Value;

use crate::golden::{Case, Epoch};

/// The first difference.
pub(crate) fn difference(case: &Case, actual: &[Epoch]) -> Option<String> {
    let mut pairs = case.expected.iter().zip(actual);
    let differing = pairs.find_map(|(expected, actual)| of_epoch(case, expected, actual));
    differing.or_else(|| (case.expected.len() != actual.len()).then(|| of_lists(case, actual)))
}

fn of_lists(case: &Case, actual: &[Epoch]) -> String {
    let list = |epochs: &[Epoch]| {
        let mut text = String::new();
        for epoch in epochs {
            let watermark = epoch.watermark.as_deref().unwrap_or("none");
            let _ = write!(text, "\n    epoch {} under {watermark}: {} rows", epoch.batch, epoch.rows.len());
        }
        text
    };
    format!("other epochs\n  expected:{}\n  actual:{}", list(&case.expected), list(actual))
}

fn of_epoch(case: &Case, expected: &Epoch, actual: &Epoch) -> Option<String> {
    let mut text = String::new();
    let mut compare = |what: &str, expected: &dyn std::fmt::Debug, actual: &dyn std::fmt::Debug, is_equal: bool| {
        if !is_equal {
            let _ = write!(text, "\n  {what}\n    expected: {expected:?}\n    actual:   {actual:?}");
        }
    };
    compare("number", &expected.batch, &actual.batch, expected.batch == actual.batch);
    compare("watermark", &expected.watermark, &actual.watermark, expected.watermark == actual.watermark);
    let is_same_state = !case.compare.state_rows || expected.state_rows == actual.state_rows;
    compare("rows of state", &expected.state_rows, &actual.state_rows, is_same_state);
    compare("late rows", &expected.dropped, &actual.dropped, is_same_loss(expected.dropped, actual.dropped));
    let (wanted, found) = (sorted(&expected.rows), sorted(&actual.rows));
    if wanted != found {
        text.push_str(&of_rows(&wanted, &found));
    }
    (!text.is_empty()).then(|| format!("epoch {}{text}", expected.batch))
}

/// Spark counts late rows after a partial aggregation, so it may count less, but never none for some.
fn is_same_loss(expected: u64, actual: u64) -> bool {
    actual >= expected && (expected == 0) == (actual == 0)
}

fn sorted(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

fn of_rows(expected: &[String], actual: &[String]) -> String {
    let list = |name: &str, rows: &[String], others: &[String]| {
        let mark = |row: &String| if others.contains(row) { ' ' } else { '*' };
        rows.iter().fold(format!("\n  {name} rows"), |text, row| format!("{text}\n   {} {row}", mark(row)))
    };
    format!("{}{}", list("expected", expected, actual), list("actual", actual, expected))
}
