//! Static tables: DataFusion's own planner and execution.
//!
//! Owns: running a static plan to its rows, a plan as a table for others to read, and planning SQL that only static tables can
//! run.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result as TypedResult, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr as TypedExpr, LogicalPlan as TypedPlan, LogicalPlanBuilder};
use datafusion::physical_plan;
use datafusion::prelude::SessionConfig;
use tokio::runtime::Runtime;

use super::event_time::session_key;
use super::functions::CURRENT_TIMESTAMP;
use super::lower::spec;
use super::tables::{RowsTable, StaticTable, under};
use super::{translated, with_deep_stack};
use crate::connector::{BatchTable, TableVersion};
use crate::error::{Error, Result};
use crate::operator::aggregate::session::session_table;
use crate::plan::PlanContext;
use crate::types::{engine_batch, engine_schema};

/// A runtime on this thread, for one static query.
fn runtime() -> Result<Runtime> {
    let build = tokio::runtime::Builder::new_current_thread().build();
    build.map_err(|error| Error::internal("cannot start a static query").with_source(error))
}

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::common::config::Dialect::Spark;
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.parse_float_as_decimal = true;
    SessionContext::new_with_state(SessionStateBuilder::new().with_config(config).with_default_features().build())
}

/// The rows of a static plan.
///
/// # Errors
/// When a table cannot be read or a value cannot be computed.
pub(super) fn collect(plan: &TypedPlan, context: &PlanContext) -> Result<Vec<RecordBatch>> {
    let plan = with_time(plan.clone(), context.clock.now_micros())?;
    let plan = plan.transform_up(|node| merged_sessions(node).map_err(|e| DataFusionError::External(Box::new(e))));
    run(&plan.map_err(translated)?.data)
}

fn run(plan: &TypedPlan) -> Result<Vec<RecordBatch>> {
    let session = session();
    let batches = runtime()?.block_on(async {
        let plan = session.state().create_physical_plan(plan).await?;
        physical_plan::collect(plan, session.task_ctx()).await
    });
    batches.map_err(translated)?.into_iter().map(engine_batch).collect()
}

/// An aggregation by sessions, which DataFusion cannot merge, as the table of its result; any other node as it is.
fn merged_sessions(node: TypedPlan) -> Result<Transformed<TypedPlan>> {
    let TypedPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
    let Some(place) = session_key(aggregate) else { return Ok(Transformed::no(node)) };
    let input = run(&aggregate.input)?;
    let batches = session_table(spec(aggregate, None)?, place, &input)?;
    let own = |field: &FieldRef| field.as_ref().clone().with_name(format!("{}'", field.name()));
    let fields: Vec<Field> = aggregate.schema.fields().iter().map(own).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let table = Arc::new(RowsTable { schema: Arc::clone(&schema), batches });
    let provider = provider_as_source(Arc::new(StaticTable { table, schema }));
    let scan = LogicalPlanBuilder::scan("sessions", provider, None).map_err(translated)?;
    let plain: Vec<TypedExpr> = aggregate
        .schema
        .fields()
        .iter()
        .map(|field| TypedExpr::Column(Column::new(Some("sessions"), format!("{}'", field.name()))).alias(field.name()))
        .collect();
    let plan = scan.project(plain).and_then(LogicalPlanBuilder::build).map_err(translated)?;
    Ok(Transformed::yes(plan))
}

/// `current_timestamp()` is one moment for the whole query.
fn with_time(plan: TypedPlan, now_micros: i64) -> Result<TypedPlan> {
    let bind = |expr: TypedExpr| match &expr {
        TypedExpr::ScalarFunction(function) if function.func.name() == CURRENT_TIMESTAMP => {
            let now = ScalarValue::TimestampMicrosecond(Some(now_micros), Some("UTC".into()));
            Ok(Transformed::yes(TypedExpr::Literal(now, None)))
        }
        _ => Ok(Transformed::no(expr)),
    };
    let bound = plan.transform_up(|node| node.map_expressions(|expr| expr.transform_up(bind)));
    Ok(bound.map_err(translated)?.data)
}

/// A static plan as a table: what a stream is joined with.
pub(super) struct PlannedTable {
    plan: TypedPlan,
    context: PlanContext,
    schema: SchemaRef,
    leaves: Vec<Arc<dyn BatchTable>>,
}

impl PlannedTable {
    /// The rows of `plan`, which reads no stream, under its internal names.
    ///
    /// # Errors
    /// When the tables it reads cannot be found in it.
    pub(super) fn new(plan: TypedPlan, context: PlanContext) -> Result<Self> {
        let schema = Arc::new(engine_schema(plan.schema().as_arrow()));
        let mut leaves = Vec::new();
        collect_leaves(&plan, &mut leaves).map_err(translated)?;
        Ok(Self { plan, context, schema, leaves })
    }
}

impl BatchTable for PlannedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The tables that are read, each once.
    fn description(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for leaf in &self.leaves {
            let name = leaf.description();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { "a table of literals".to_string() } else { names.join(", ") }
    }

    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let batches = with_deep_stack(|| collect(&self.plan, &self.context))?;
        let named = |batch: RecordBatch| {
            let batch = under(&batch, &self.schema)?;
            projection.map_or_else(|| Ok(batch.clone()), |columns| Ok(batch.project(columns)?))
        };
        batches.into_iter().map(named).collect()
    }

    fn version(&self) -> Result<TableVersion> {
        let versions = self.leaves.iter().map(|leaf| leaf.version()).collect::<Result<Vec<_>>>()?;
        Ok(TableVersion::of(versions))
    }
}

/// The tables that a plan, its subqueries and the views in it read.
fn collect_leaves(plan: &TypedPlan, leaves: &mut Vec<Arc<dyn BatchTable>>) -> TypedResult<()> {
    plan.apply_with_subqueries(|node| {
        if let TypedPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = provider.downcast_ref::<StaticTable>() {
                leaves.push(Arc::clone(&table.table));
            } else if let Some(view) = provider.get_logical_plan() {
                collect_leaves(&view, leaves)?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Plans SQL text over these tables.
///
/// # Errors
/// What DataFusion says of the text.
pub(super) fn plan_sql(text: &str, tables: Vec<(String, TypedPlan)>) -> Result<TypedPlan> {
    let session = session();
    for (name, plan) in tables {
        let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, None));
        session.register_table(datafusion::common::TableReference::bare(name), view).map_err(translated)?;
    }
    let planned = runtime()?.block_on(async { session.state().create_logical_plan(text).await });
    planned.map_err(|error| translated(error).context("SQL"))
}
