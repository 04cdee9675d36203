//! How much state a streaming plan can come to hold, told before it runs.
//!
//! Owns: one line for each stateful operator, and the remedy where nothing bounds it. Does not own: measuring what is held
//! (progress does).
//!
//! Event time bounds state: a group lives from its first row until the watermark, which is `delay` behind, passes its end. So
//! what is held at once are the keys of a span of event time.

use datafusion::logical_expr::{Aggregate, Expr as TypedExpr, Join, LogicalPlan as TypedPlan};

use super::checks::is_streaming;
use super::event_time::{DeduplicatePlan, Mark, Marks, Shape, as_deduplicate, marks, session_key, shown, time_key};
use super::join::{self, BoundValue, JoinParts, SideBound};
use crate::operator::{JoinSide, Micros};
use crate::protocol::OutputMode;

/// What bounds the state of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateBound {
    /// The operator as the user wrote it.
    pub(crate) operator: String,
    /// What it holds at most; the remedy, if nothing bounds it.
    pub(crate) text: String,
    pub(crate) is_bounded: bool,
}

impl std::fmt::Display for StateBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unbounded = if self.is_bounded { "" } else { "UNBOUNDED: " };
        write!(f, "{}: {unbounded}{}", self.operator, self.text)
    }
}

/// The bounds of all stateful operators of a plan, from the output down.
pub(super) fn bounds(plan: &TypedPlan, mode: OutputMode) -> Vec<StateBound> {
    let mut bounds = Vec::new();
    match plan {
        TypedPlan::Aggregate(aggregate) if is_streaming(plan) => bounds.push(of_aggregation(aggregate, mode)),
        TypedPlan::Join(join) if join::is_of_streams(join) => bounds.push(of_join(join)),
        _ => bounds.extend(as_deduplicate(plan).map(|node| of_deduplication(node, mode))),
    }
    bounds.extend(plan.inputs().into_iter().flat_map(|input| self::bounds(input, mode)));
    bounds
}

fn of_aggregation(aggregate: &Aggregate, mode: OutputMode) -> StateBound {
    let names: Vec<&str> =
        aggregate.schema.fields()[..aggregate.group_expr.len()].iter().map(|field| shown(field.name())).collect();
    if names.is_empty() {
        return bounded("aggregation of all rows".to_string(), "1 row".to_string());
    }
    let operator = format!("aggregation by {}", names.join(", "));
    let key = time_key(aggregate).map(|(_, mark)| mark).filter(|mark| mark.delay.is_some());
    match key {
        _ if mode == OutputMode::Complete => unbounded(
            operator,
            "complete mode keeps every group for ever; use update or append mode, grouped by a window over a column \
             with a watermark",
        ),
        None => unbounded(
            operator,
            "every key is kept for ever; group by window(time, …) too, with with_watermark(time, delay) before it",
        ),
        Some(mark) if session_key(aggregate).is_some() => {
            bounded(operator, format!("sessions of the last gap + {}", delay(mark)))
        }
        Some(mark) => bounded(operator, format!("keys x {}", span(mark))),
    }
}

fn of_deduplication(node: &DeduplicatePlan, mode: OutputMode) -> StateBound {
    let names: Vec<&str> = node.keys.iter().map(|key| shown(key)).collect();
    let operator = format!("drop_duplicates by {}", names.join(", "));
    let marks = marks(&node.input);
    let of_keys = node.keys.iter().find_map(|key| marks.get(key).filter(|mark| mark.delay.is_some()));
    let of_any = marks.values().find(|mark| mark.delay.is_some());
    match (of_keys, of_any) {
        _ if mode == OutputMode::Complete => unbounded(operator, "in complete mode every key is kept for ever"),
        (_, Some(mark)) if node.is_within_watermark => bounded(operator, format!("keys x {}", delay(*mark))),
        (Some(mark), _) => bounded(operator, format!("keys x {}", span(*mark))),
        (None, _) => unbounded(
            operator,
            "every key is kept for ever; add the event-time column to the keys, or use drop_duplicates_within_watermark",
        ),
    }
}

fn of_join(join: &Join) -> StateBound {
    let parts = join::parts(join);
    let bounds = join::bounds(join, &parts);
    let operator = format!("{} by {}", join::kind_name(join.join_type), key_names(&parts));
    let sides = [JoinSide::Left, JoinSide::Right];
    let remedies = sides.into_iter().filter(|side| bounds.of(*side).is_none());
    let remedies: Vec<String> = remedies
        .map(|side| format!("every row of the {} side is kept for ever; {}", side.name(), join::remedy(join, side)))
        .collect();
    if !remedies.is_empty() {
        return unbounded(operator, &remedies.join("; "));
    }
    let held = sides.into_iter().filter_map(|side| Some((side, held(join, &parts, bounds.of(side)?))));
    let held: Vec<String> = held.map(|(side, span)| format!("{} side: rows of the last {span}", side.name())).collect();
    bounded(operator, held.join("; "))
}

/// The columns of the left side that have to be equal to something.
fn key_names(parts: &JoinParts) -> String {
    let mut names = Vec::new();
    for key in &parts.keys {
        let mut columns: Vec<&str> = key.left.column_refs().into_iter().map(|column| shown(&column.name)).collect();
        columns.sort_unstable();
        names.extend(columns);
    }
    names.dedup();
    names.join(", ")
}

/// The span of event time that the rows of a side stay.
fn held(join: &Join, parts: &JoinParts, bound: &SideBound) -> String {
    let (left, right) = (marks(&join.left), marks(&join.right));
    let slowest = left.values().chain(right.values()).max_by_key(|mark| mark.delay);
    let Some(slowest) = slowest.copied() else { return "0 seconds".to_string() };
    match &bound.value {
        BoundValue::Key(key) => {
            let pair = &parts.keys[*key];
            let of_key = mark_of(&pair.left, &left).or_else(|| mark_of(&pair.right, &right)).unwrap_or(slowest);
            span(Mark { delay: slowest.delay, ..of_key }).trim_matches(['(', ')']).to_string()
        }
        // The millisecond more that `>=` waits is left out.
        BoundValue::Column(_) => match -bound.offset_ms - i64::from(bound.offset_ms.rem_euclid(1000) == 999) {
            ..=0 => delay(slowest),
            behind => format!("{} + {}", Micros(behind.saturating_mul(1000)), delay(slowest)),
        },
    }
}

fn mark_of(key: &TypedExpr, marks: &Marks) -> Option<Mark> {
    let TypedExpr::Column(column) = key else { return None };
    marks.get(&column.name).copied()
}

fn bounded(operator: String, text: String) -> StateBound {
    StateBound { operator, text, is_bounded: true }
}

fn unbounded(operator: String, remedy: &str) -> StateBound {
    StateBound { operator, text: remedy.to_string(), is_bounded: false }
}

/// The span of event time that a group of this key stays.
fn span(mark: Mark) -> String {
    match (mark.shape, mark.size_micros) {
        (Shape::Window | Shape::Session, Some(size)) => format!("({} + {})", Micros(size), delay(mark)),
        (Shape::Window | Shape::Session, None) => format!("(window + {})", delay(mark)),
        (Shape::Time, _) => delay(mark),
    }
}

fn delay(mark: Mark) -> String {
    let delay = mark.delay.unwrap_or_default();
    Micros(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX)).to_string()
}
