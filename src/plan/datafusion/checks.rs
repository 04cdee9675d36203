//! Which typed plans a stream may run, in which output mode (Spark's `UnsupportedOperationChecker` has the same rules).
//!
//! Owns: one function for each rule. Relations that no stream may use at all are refused where they are resolved.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr as TypedExpr, Join, JoinType, LogicalPlan as TypedPlan};

use super::event_time::{as_deduplicate, as_watermark, event_time_keys, marks, session_key, shown};
use super::join::{bounds, is_of_streams, kind_name, parts, remedy};
use super::tables::StreamTable;
use crate::error::Result;
use crate::operator::JoinSide;
use crate::plan::Refusal;
use crate::protocol::OutputMode;

/// Refuses what a stream cannot run in `mode`.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    check_output_mode(plan, mode)?;
    check_watermarks(plan)?;
    check_joins(plan, mode)?;
    check_deduplication(plan)?;
    check_sessions(plan, mode)?;
    check_stacked_operators(plan, mode)?;
    check_distinct_aggregates(plan)?;
    check_sort(plan, mode)?;
    check_limit(plan, mode)?;
    Ok(())
}

/// Whether rows of a stream come out of `plan`.
pub(super) fn is_streaming(plan: &TypedPlan) -> bool {
    let mut found = false;
    visit(plan, &mut |node| found |= matches!(node, TypedPlan::TableScan(scan) if stream_of(scan).is_some()));
    found
}

/// Hands the stream behind a scan to `use_it`.
pub(super) fn stream_of(
    scan: &datafusion::logical_expr::TableScan,
) -> Option<std::sync::Arc<dyn crate::connector::SourceFactory>> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<StreamTable>().map(|stream| std::sync::Arc::clone(&stream.factory))
}

fn visit(plan: &TypedPlan, see: &mut impl FnMut(&TypedPlan)) {
    see(plan);
    for input in plan.inputs() {
        visit(input, see);
    }
}

fn count(plan: &TypedPlan, is_wanted: impl Fn(&TypedPlan) -> bool) -> usize {
    let mut count = 0;
    visit(plan, &mut |node| count += usize::from(is_wanted(node)));
    count
}

fn is_aggregation(node: &TypedPlan) -> bool {
    matches!(node, TypedPlan::Aggregate(_)) && is_streaming(node)
}

fn check_output_mode(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let aggregations = count(plan, is_aggregation);
    match mode {
        OutputMode::Append => check_append(plan),
        OutputMode::Complete if aggregations == 0 => Err(Refusal::CompleteWithoutAggregation.into()),
        OutputMode::Update | OutputMode::Complete => Ok(()),
    }
}

/// In append mode every aggregation needs a key by which its groups become final.
fn check_append(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        if is_aggregation(node) && !marks(node).values().any(|mark| mark.delay.is_some()) {
            result = Err(Refusal::AppendAggregationWithoutWatermark.into());
        }
    });
    result
}

fn check_stacked_operators(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let below = || node.inputs().into_iter().any(|input| count(input, is_aggregation) > 0);
        if let (true, Some(what)) = (mode != OutputMode::Append, stateful(node))
            && below()
        {
            result = Err(Refusal::StatefulAboveAggregation(what, mode).into());
        }
    });
    result
}

/// What a node that keeps state across epochs is called.
fn stateful(node: &TypedPlan) -> Option<&'static str> {
    if is_aggregation(node) {
        Some("an aggregation")
    } else if as_deduplicate(node).is_some() {
        Some("drop_duplicates")
    } else if matches!(node, TypedPlan::Join(join) if is_of_streams(join)) {
        Some("a join of two streams")
    } else {
        None
    }
}

fn check_watermarks(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let is_watermark = |node: &TypedPlan| as_watermark(node).is_some();
        if as_watermark(node).is_some_and(|watermark| count(&watermark.input, is_watermark) > 0) {
            result = Err(Refusal::SecondWatermark.into());
        }
    });
    result
}

/// Refuses what a stream cannot run whatever filters found their way into joins, and whichever columns are left when nobody's are
/// gone.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check_optimized(plan: &TypedPlan) -> Result<()> {
    check_equalities(plan)?;
    check_event_times(plan)
}

/// An equality may come from a filter above the join.
fn check_equalities(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        if let TypedPlan::Join(join) = node
            && is_of_streams(join)
            && parts(join).keys.is_empty()
        {
            result = Err(Refusal::JoinOfStreamsWithoutEquality.into());
        }
    });
    result
}

/// Refuses an operator that would judge rows by two times: of the columns that are left when nobody's are gone.
///
/// # Errors
/// When an operator reads two watermarked columns.
fn check_event_times(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let Some(what) = stateful(node) else { return };
        // An aggregation judges by its keys, which are all that is marked of its output; one key twice is one. Each side of a
        // join is judged by its own time.
        let judged = match node {
            TypedPlan::Aggregate(aggregate) => vec![event_time_keys(aggregate)],
            _ => node.inputs().into_iter().map(event_times).collect(),
        };
        for mut names in judged {
            names.sort_unstable();
            if names.len() > 1 {
                result = Err(Refusal::TwoEventTimes(what, names.join(" and ")).into());
            }
        }
    });
    result
}

/// The users' names of the watermarked columns that come out of `input`.
fn event_times(input: &TypedPlan) -> Vec<String> {
    let columns = marks(input).into_iter().filter(|(_, mark)| mark.delay.is_some()).map(|(name, _)| name);
    let columns = columns.filter(|name| input.schema().has_column_with_unqualified_name(name));
    columns.map(|name| shown(&name).to_string()).collect()
}

fn check_joins(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let TypedPlan::Join(join) = node else { return };
        let refusal = match (is_streaming(&join.left), is_streaming(&join.right)) {
            (true, true) => refusal_of_streams(join, mode),
            (true, false) => refusal_with_static(join.join_type, JoinSide::Right),
            (false, true) => refusal_with_static(join.join_type, JoinSide::Left),
            (false, false) => None,
        };
        if let Some(refusal) = refusal {
            result = Err(refusal.into());
        }
    });
    result
}

/// Why a stream cannot be joined with a static table that stands on the side `table`.
fn refusal_with_static(kind: JoinType, table: JoinSide) -> Option<Refusal> {
    let kept = match kind {
        JoinType::Inner => return None,
        JoinType::Full => return Some(Refusal::FullJoinWithStatic),
        JoinType::LeftAnti if table == JoinSide::Left => return Some(Refusal::LeftAntiWithStream),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => JoinSide::Left,
        JoinType::Right => JoinSide::Right,
        _ => return Some(Refusal::NotYet("this kind of join")),
    };
    (kept == table).then(|| Refusal::JoinKeepsStatic(kind_name(kind), kept.name()))
}

/// Why two streams cannot be joined.
fn refusal_of_streams(join: &Join, mode: OutputMode) -> Option<Refusal> {
    let kept: &[JoinSide] = match join.join_type {
        JoinType::Inner => &[],
        JoinType::Left | JoinType::LeftSemi => &[JoinSide::Left],
        JoinType::Right => &[JoinSide::Right],
        JoinType::Full => &[JoinSide::Left, JoinSide::Right],
        JoinType::LeftAnti => return Some(Refusal::LeftAntiWithStream),
        _ => return Some(Refusal::NotYet("this kind of join")),
    };
    if mode != OutputMode::Append {
        return Some(Refusal::JoinOfStreamsOutsideAppend(mode));
    }
    let bounds = bounds(join, &parts(join));
    if kept.is_empty() || kept.iter().any(|side| bounds.of(*side).is_some()) {
        return None;
    }
    let names: Vec<&str> = kept.iter().map(|side| side.name()).collect();
    let remedies: Vec<String> = kept.iter().map(|side| remedy(join, *side)).collect();
    Some(Refusal::UnboundedJoin {
        kind: kind_name(join.join_type),
        side: names.join(" or the "),
        remedy: remedies.join("; or "),
    })
}

fn check_deduplication(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        if let Some(node) = as_deduplicate(node)
            && node.is_within_watermark
            && !marks(&node.input).values().any(|mark| mark.delay.is_some())
        {
            result = Err(Refusal::DeduplicationWithoutWatermark.into());
        }
    });
    result
}

fn check_sessions(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let (TypedPlan::Aggregate(aggregate), true) = (node, is_aggregation(node)) else { return };
        if session_key(aggregate).is_none() {
            return;
        }
        if mode == OutputMode::Update {
            result = Err(Refusal::SessionInUpdate.into());
        } else if aggregate.group_expr.len() == 1 {
            result = Err(Refusal::SessionWithoutKey.into());
        }
    });
    result
}

fn check_distinct_aggregates(plan: &TypedPlan) -> Result<()> {
    let mut found = false;
    visit(plan, &mut |node| {
        if let (TypedPlan::Aggregate(aggregate), true) = (node, is_streaming(node)) {
            found |= aggregate.aggr_expr.iter().any(is_distinct);
        }
    });
    if found { Err(Refusal::DistinctAggregate.into()) } else { Ok(()) }
}

fn is_distinct(expr: &TypedExpr) -> bool {
    let mut found = false;
    let _ = expr.apply(|node| {
        found |= matches!(node, TypedExpr::AggregateFunction(call) if call.params.distinct);
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn check_sort(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let allowed = mode == OutputMode::Complete && count(node, is_aggregation) > 0;
        if matches!(node, TypedPlan::Sort(_)) && is_streaming(node) && !allowed {
            result = Err(Refusal::Sort.into());
        }
    });
    result
}

fn check_limit(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let limits = count(plan, |node| matches!(node, TypedPlan::Limit(_)) && is_streaming(node));
    if mode == OutputMode::Update && limits > 0 {
        return Err(Refusal::LimitInUpdate.into());
    }
    Ok(())
}
