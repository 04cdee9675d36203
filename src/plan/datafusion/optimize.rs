//! The rules a streaming plan is optimised by.
//!
//! Owns: an allow-list. Rules that replace a scan by nothing, change state (distinct into grouping) or push limits past
//! state are left out, because on a stream they change results or checkpoints.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan as TypedPlan;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use super::translated;
use crate::error::Result;

/// Simplified expressions, filters near the sources, and no column that nobody reads.
pub(super) fn optimize_stream(plan: TypedPlan) -> Result<TypedPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let optimizer = Optimizer::with_rules(rules);
    optimizer.optimize(plan, &OptimizerContext::new(), |_, _| ()).map_err(translated)
}
