//! Everything that names DataFusion: parsing, types, functions, static execution, compiled expressions.
//!
//! Owns: turning the unresolved plan into a typed one and that into rows or a topology. Does not own: streaming
//! operators; DataFusion's execution plans run static tables only.
//!
//! Columns get unique internal names, `word#3`, when they are made, as Spark's expression ids: two columns of one name, case
//! and qualifiers are settled in [`scope`] once, and DataFusion never sees an ambiguous name. The user's names come back
//! at the edges.

mod aggregate;
mod checks;
mod compile;
mod event_time;
mod expressions;
mod functions;
mod grouping;
mod infer;
mod join;
mod lower;
mod optimize;
mod relations;
mod scope;
mod sql;
mod state_bound;
mod statics;
mod tables;
mod windowing;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan as TypedPlan;

use super::logical::LogicalPlan;
use super::topology::Topology;
use super::{PlanContext, Refusal};
use crate::connector::Sink;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::OutputMode;
pub(crate) use state_bound::StateBound;

/// A plan whose names and types are settled.
#[derive(Debug, Clone)]
pub(crate) struct Analyzed {
    typed: TypedPlan,
    /// The user's names of the output columns.
    names: Vec<String>,
    is_streaming: bool,
    context: PlanContext,
}

/// Settles names and types.
///
/// # Errors
/// The first thing wrong with the plan, with the user's line.
pub(crate) fn analyze(plan: &LogicalPlan, context: &PlanContext) -> Result<Analyzed> {
    with_deep_stack(|| {
        let mut resolver = relations::Resolver::new(context);
        let resolved = resolver.resolve(plan)?;
        Ok(Analyzed {
            names: resolved.scope.names(),
            is_streaming: resolved.is_streaming,
            typed: resolved.plan,
            context: context.clone(),
        })
    })
}

impl Analyzed {
    /// Whether a stream is read.
    pub(crate) fn is_streaming(&self) -> bool {
        self.is_streaming
    }

    /// The columns under the user's names, with engine types.
    pub(crate) fn schema(&self) -> SchemaRef {
        let fields = self.typed.schema().fields().iter().zip(&self.names);
        let named =
            |(field, name): (&Arc<Field>, &String)| field.as_ref().clone().with_name(name).with_metadata([].into());
        Arc::new(Schema::new(fields.map(named).collect::<Vec<_>>()))
    }

    /// The typed plan as a tree of text.
    pub(crate) fn explain(&self) -> String {
        self.typed.display_indent().to_string()
    }

    /// The rows of a static plan, under the user's names.
    ///
    /// # Errors
    /// When a stream is read, or a table or a value cannot be read or computed.
    pub(crate) fn collect(&self) -> Result<Vec<RecordBatch>> {
        if self.is_streaming {
            return Err(Refusal::StreamUsedAsTable("collect() and show()").into());
        }
        let batches = with_deep_stack(|| statics::collect(&self.typed, &self.context))?;
        batches.into_iter().map(|batch| self.rename(batch)).collect()
    }

    fn rename(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let fields = batch.schema_ref().fields().iter().zip(&self.names);
        let fields: Vec<Field> = fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
        let rows = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), batch.columns().to_vec(), &rows)?)
    }

    /// The streaming plan as a graph of operators that ends in `sink`.
    ///
    /// # Errors
    /// When the plan cannot run in this output mode, or has no stream.
    pub(crate) fn to_topology(&self, name: &str, mode: OutputMode, sink: Arc<dyn Sink>) -> Result<Topology> {
        if !self.is_streaming {
            return Err(Refusal::NoStream.into());
        }
        with_deep_stack(|| {
            checks::check(&self.typed, mode)?;
            let optimized = optimize::optimize_stream(self.typed.clone())?;
            checks::check_optimized(&optimized)?;
            lower::lower(&optimized, &self.names, name, mode, &self.context, sink)
        })
    }

    /// What bounds the state of each stateful operator in this mode, from the output down. A condition that stands above a join
    /// counts where it goes.
    pub(crate) fn state_bounds(&self, mode: OutputMode) -> Vec<StateBound> {
        let optimized = with_deep_stack(|| optimize::optimize_stream(self.typed.clone()));
        state_bound::bounds(optimized.as_ref().unwrap_or(&self.typed), mode)
    }

    /// The same without a sink that does anything: for `explain`.
    pub(crate) fn draft_topology(&self, mode: OutputMode) -> Result<Topology> {
        self.to_topology("explain", mode, Arc::new(crate::connector::sink::Noop))
    }
}

/// DataFusion's planner recurses deeply, more than a test thread's two megabytes allow in an unoptimised build.
const STACK_BYTES: usize = 16 << 20;

/// Runs `work` on a thread with a deep stack.
fn with_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("millstream-planner".to_string()).stack_size(STACK_BYTES);
        let planner = builder.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(work)));
        let planner = planner.map_err(|error| Error::internal("cannot start a planner thread").with_source(error))?;
        match planner.join() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) | Err(panic) => resume_unwind(panic),
        }
    })
}

/// What DataFusion says, in our words: our own errors that travelled through it come back as they were.
fn translated(error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => {
            if let Some(own) = inner.downcast_ref::<Error>() {
                return own.clone();
            }
        }
        DataFusionError::ArrowError(arrow, _) => {
            if let arrow::error::ArrowError::ExternalError(inner) = arrow.as_ref()
                && let Some(own) = inner.downcast_ref::<Error>()
            {
                return own.clone();
            }
        }
        _ => {}
    }
    let kind = match error.find_root() {
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
            ErrorKind::Plan
        }
        DataFusionError::Internal(_) => ErrorKind::Internal,
        _ => ErrorKind::Data,
    };
    let text = error.strip_backtrace();
    let text = text.trim_start_matches("Error during planning: ").trim_start_matches("Execution error: ").to_string();
    Error::new(kind, text).with_source(error)
}
