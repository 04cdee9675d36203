//! Which typed plans a stream may run, in which output mode (Spark's `UnsupportedOperationChecker` has the same rules).
//!
//! Owns: one function for each rule. Relations that no stream may use at all are refused where they are resolved.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr as TypedExpr, LogicalPlan as TypedPlan};

use super::tables::StreamTable;
use crate::error::Result;
use crate::plan::Refusal;
use crate::protocol::OutputMode;

/// Refuses what a stream cannot run in `mode`.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    check_output_mode(plan, mode)?;
    check_stacked_aggregations(plan, mode)?;
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
        OutputMode::Append if aggregations > 0 => Err(Refusal::AppendAggregationWithoutWatermark.into()),
        OutputMode::Complete if aggregations == 0 => Err(Refusal::CompleteWithoutAggregation.into()),
        OutputMode::Append | OutputMode::Update | OutputMode::Complete => Ok(()),
    }
}

fn check_stacked_aggregations(plan: &TypedPlan, mode: OutputMode) -> Result<()> {
    let mut result = Ok(());
    visit(plan, &mut |node| {
        let below = || node.inputs().into_iter().any(|input| count(input, is_aggregation) > 0);
        if mode != OutputMode::Append && is_aggregation(node) && below() {
            result = Err(Refusal::StatefulAboveAggregation(mode).into());
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
