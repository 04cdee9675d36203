//! The rules a streaming plan is optimised by.
//!
//! Owns: an allow-list. Rules that replace a scan by nothing, change state (distinct into grouping) or push limits past
//! state are left out, because on a stream they change results or checkpoints.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan as TypedPlan;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use super::infer::infer_filters;
use super::translated;
use crate::error::Result;

/// Simplified expressions, filters near the sources, also those that follow from joins, and no column that nobody reads.
pub(super) fn optimize_stream(plan: TypedPlan) -> Result<TypedPlan> {
    let simplify: Rule = Arc::new(SimplifyExpressions::new());
    let push_down: Rule = Arc::new(PushDownFilter::new());
    // What a filter above a join says of one side has to be there before it can be said of the other.
    let outer: Rule = Arc::new(EliminateOuterJoin::new());
    let plan = optimized(plan, vec![Arc::clone(&simplify), outer, Arc::clone(&push_down)])?;
    let plan = infer_filters(plan)?;
    optimized(plan, vec![simplify, push_down, Arc::new(OptimizeProjections::new())])
}

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

fn optimized(plan: TypedPlan, rules: Vec<Rule>) -> Result<TypedPlan> {
    let optimizer = Optimizer::with_rules(rules);
    optimizer.optimize(plan, &OptimizerContext::new(), |_, _| ()).map_err(translated)
}
