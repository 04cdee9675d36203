//! From what the user wrote to what actors run.
//!
//! ```text
//! LogicalPlan ──analysis──▶ Analyzed ──lowering──▶ Topology ──layout──▶ ExecutionGraph
//! (unresolved)   names,      (typed)    operators,             tasks,
//!                types,                 edges                  channels
//!                refusals      └────▶ rows (static tables)
//! ```
//!
//! Owns: each step as a type of its own, so that what was not checked cannot be run. Does not own: running. Only
//! `plan::datafusion` names DataFusion; everything else here is plain data.

mod catalog;
pub(crate) mod datafusion;
pub(crate) mod execution;
pub(crate) mod logical;
mod refusal;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use catalog::Catalog;
pub(crate) use datafusion::{Analyzed, StateBound, analyze};
pub use logical::JoinType;
pub(crate) use refusal::Refusal;

use crate::clock::Clock;
use crate::types::Zone;

/// What analysis needs to know of the session.
#[derive(Debug, Clone)]
pub(crate) struct PlanContext {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) zone: Zone,
    /// A bad cast or a division by zero is an error instead of null.
    pub(crate) ansi: bool,
    /// Event times further ahead of the clock than this do not move the watermark.
    pub(crate) max_ahead: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
}
