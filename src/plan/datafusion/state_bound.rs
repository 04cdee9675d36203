//! How much state a streaming plan can come to hold, told before it runs.
//!
//! Owns: one line for each stateful operator, and the remedy where nothing bounds it. Does not own: measuring what is held
//! (progress does).
//!
//! Event time bounds state: a group lives from its first row until the watermark, which is `delay` behind, passes its end. So
//! what is held at once are the keys of a span of event time.

use datafusion::logical_expr::{Aggregate, Expr as TypedExpr, Join, LogicalPlan as TypedPlan};

use super::checks::{bound_remedy, is_streaming, join_of_streams};
use super::event_time::{DeduplicatePlan, Mark, Shape, as_deduplicate, marks, session_key, time_key};
use super::join::bounds::{SideBound, bounds as join_bounds};
use super::join::conditions::parts;
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
        TypedPlan::Join(join) if join_of_streams(plan).is_some() => bounds.push(of_join(join)),
        _ => bounds.extend(as_deduplicate(plan).map(|node| of_deduplication(node, mode))),
    }
    bounds.extend(plan.inputs().into_iter().flat_map(|input| self::bounds(input, mode)));
    bounds
}

fn of_aggregation(aggregate: &Aggregate, mode: OutputMode) -> StateBound {
    let names: Vec<&str> = aggregate.schema.fields()[..aggregate.group_expr.len()]
        .iter()
        .map(|field| super::event_time::shown(field.name()))
        .collect();
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
    let names: Vec<&str> = node.keys.iter().map(|key| super::event_time::shown(key)).collect();
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

/// A row of a side waits until the watermark is so far ahead of it that no partner can come.
fn of_join(join: &Join) -> StateBound {
    let parts = parts(join);
    let keys: Vec<String> =
        parts.keys.iter().map(|key| format!("{} = {}", shown_expr(&key.left), shown_expr(&key.right))).collect();
    let operator = format!("join on {}", keys.join(" and "));
    let bounds = join_bounds(join, &parts);
    let mut texts = Vec::new();
    for (side, bound) in [(JoinSide::Left, &bounds.left), (JoinSide::Right, &bounds.right)] {
        let name = side.of("left", "right");
        let Some(bound) = bound else {
            let remedy = bound_remedy(join, side);
            return unbounded(operator, &format!("every row of the {name} side is kept for ever; {remedy}"));
        };
        texts.push(format!("{name} rows of the last {}", waiting(join, bound)));
    }
    bounded(operator, texts.join(", "))
}

/// How far behind the newest event times a row is freed.
fn waiting(join: &Join, bound: &SideBound) -> String {
    let delays = [&join.left, &join.right].into_iter().flat_map(|side| marks(side).into_values());
    let delay = delays.filter_map(|mark| mark.delay).max().unwrap_or_default();
    let delay = Micros(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX));
    // The millisecond of `>=` is not worth a word.
    let wait_ms =
        if (bound.offset_ms + 1) % 1000 == 0 { bound.offset_ms + 1 } else { bound.offset_ms }.saturating_neg();
    match wait_ms {
        ..=0 => format!("{delay}"),
        wait_ms => format!("{} + {delay}", Micros(wait_ms.saturating_mul(1000))),
    }
}

/// An expression with the users' names of its columns.
fn shown_expr(expr: &TypedExpr) -> String {
    match expr {
        TypedExpr::Column(column) => super::event_time::shown(&column.name).to_string(),
        other => other.to_string(),
    }
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
