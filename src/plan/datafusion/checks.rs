//! Which typed plans a stream may run, in which output mode (Spark's `UnsupportedOperationChecker` has the same rules).
//!
//! Owns: one function for each rule. Relations that no stream may use at all are refused where they are resolved.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr as TypedExpr, Join, JoinType as TypedJoin, LogicalPlan as TypedPlan};

use super::event_time::{as_deduplicate, as_watermark, event_time_keys, marks, session_key, shown};
use super::join::bounds::bounds;
use super::join::conditions::parts;
use super::tables::StreamTable;
use crate::error::Result;
use crate::operator::{JoinSide, JoinType};
use crate::plan::Refusal;
use crate::protocol::OutputMode;

type Refused = std::result::Result<(), Refusal>;

/// Refuses what a stream cannot run in `mode`.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    check_output_mode(plan, mode)?;
    check_watermarks(plan)?;
    check_deduplication(plan)?;
    check_sessions(plan, mode)?;
    check_stacked_operators(plan, mode)?;
    check_joins(plan, mode)?;
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
    } else if join_of_streams(node).is_some() {
        Some("a join of streams")
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

/// Refuses an operator that would judge rows by two times: of the columns that are left when nobody's are gone.
///
/// # Errors
/// When an operator reads two watermarked columns.
pub(super) fn check_event_times(plan: &TypedPlan) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let Some(what) = stateful(node) else { return };
        // Each side of a join is judged by its own time. An aggregation judges by its keys, which are all that is marked of its
        // output; one key twice is one.
        let names: Vec<Vec<String>> = match node {
            TypedPlan::Aggregate(aggregate) => vec![event_time_keys(aggregate)],
            _ => node.inputs().into_iter().map(watermarked).collect(),
        };
        if let Err(error) = names.into_iter().try_for_each(|names| one_event_time(what, names)) {
            result = Err(error);
        }
    });
    result
}

/// The users' names of the columns of `plan` that stand under a watermark.
fn watermarked(plan: &TypedPlan) -> Vec<String> {
    let columns = marks(plan).into_iter().filter(|(_, mark)| mark.delay.is_some());
    columns.map(|(name, _)| shown(&name).to_string()).collect()
}

fn one_event_time(what: &'static str, mut names: Vec<String>) -> Result<()> {
    names.sort_unstable();
    if names.len() > 1 {
        return Err(Refusal::TwoEventTimes(what, names.join(" and ")).into());
    }
    Ok(())
}

/// The join that `node` is, if both of its sides are streams.
pub(super) fn join_of_streams(node: &TypedPlan) -> Option<&Join> {
    match node {
        TypedPlan::Join(join) if is_streaming(&join.left) && is_streaming(&join.right) => Some(join),
        _ => None,
    }
}

fn check_joins(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let TypedPlan::Join(join) = node else { return };
        let checked = match (is_streaming(&join.left), is_streaming(&join.right)) {
            (true, true) => check_join_of_streams(join, mode),
            (false, false) => Ok(()),
            (is_left, _) => check_join_with_table(join, if is_left { JoinSide::Left } else { JoinSide::Right }),
        };
        if let Err(refusal) = checked {
            result = Err(refusal.into());
        }
    });
    result
}

/// Rows of a table are never known to stay alone, so only the stream's can be put out for it.
fn check_join_with_table(join: &Join, stream: JoinSide) -> Refused {
    let kind = join_type(join.join_type);
    let refused = |side| Err(Refusal::TableOnKeptSide(kind, side));
    match (kind, stream) {
        (JoinType::Full, _) => Err(Refusal::FullJoinWithTable),
        (JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti, JoinSide::Right) => refused("left"),
        (JoinType::Right, JoinSide::Left) => refused("right"),
        _ => Ok(()),
    }
}

fn check_join_of_streams(join: &Join, mode: OutputMode) -> Refused {
    let kind = join_type(join.join_type);
    if mode != OutputMode::Append {
        return Err(Refusal::JoinOfStreamsInMode(mode));
    }
    if kind == JoinType::LeftAnti {
        return Err(Refusal::AntiJoinOfStreams);
    }
    let parts = parts(join);
    if parts.keys.is_empty() {
        return Err(Refusal::JoinWithoutEquality);
    }
    let bounds = bounds(join, &parts);
    let (side, is_bounded) = match kind {
        JoinType::Left | JoinType::LeftSemi => ("left", bounds.left.is_some()),
        JoinType::Right => ("right", bounds.right.is_some()),
        JoinType::Full => ("left or right", bounds.left.is_some() || bounds.right.is_some()),
        JoinType::Inner | JoinType::LeftAnti => return Ok(()),
    };
    if is_bounded {
        return Ok(());
    }
    let kept = if kind == JoinType::Right { JoinSide::Right } else { JoinSide::Left };
    Err(Refusal::JoinWithoutBound { kind, side, remedy: bound_remedy(join, kept) })
}

/// What would bound the rows of one side of a join of streams.
pub(super) fn bound_remedy(join: &Join, side: JoinSide) -> String {
    let other = side.other();
    let times = watermarked(other.of(&join.left, &join.right));
    let (own, other) = (side.of("left", "right"), other.of("left", "right"));
    match times.first() {
        None => format!(
            "call with_watermark(column, delay) on the {other} side, and compare its time with the {own} side's in the condition, such \
             as `{own}_time >= {other}_time - interval 1 hour`, or put the time among the equalities"
        ),
        Some(time) => format!(
            "add a lower limit for a time of the {own} side to the condition, such as `{own}_time >= {time} - interval 1 hour`, or put \
             {time} among the equalities"
        ),
    }
}

pub(super) fn join_type(kind: TypedJoin) -> JoinType {
    match kind {
        TypedJoin::Left => JoinType::Left,
        TypedJoin::Right => JoinType::Right,
        TypedJoin::Full => JoinType::Full,
        TypedJoin::LeftSemi => JoinType::LeftSemi,
        TypedJoin::LeftAnti => JoinType::LeftAnti,
        // The others are made by no relation of ours.
        _ => JoinType::Inner,
    }
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
