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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::connector::sink::MemorySink;
    use crate::connector::{Sink, SinkContext};
    use crate::plan::Catalog;
    use crate::plan::datafusion::analyze;
    use crate::plan::logical::{LogicalPlan, Relation};
    use crate::protocol::OutputMode;
    use crate::types::Zone;

    /// A session's tables, each with a column `n`.
    struct Tables {
        context: PlanContext,
        clock: Arc<ManualClock>,
    }

    impl Tables {
        fn new(names: &[&str]) -> Self {
            let clock = Arc::new(ManualClock::starting_at_millis(0));
            let context = PlanContext {
                catalog: Arc::new(Catalog::default()),
                zone: Zone::default(),
                ansi: false,
                max_ahead: None,
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
            };
            let tables = Self { context, clock };
            for name in names {
                tables.write(name, &[]);
            }
            tables
        }

        /// Makes these rows all that is in a table.
        fn write(&self, name: &str, numbers: &[i64]) {
            let sink = MemorySink::new(name, self.context.catalog.tables.clone());
            let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
            let rows = RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap();
            let mode = OutputMode::Complete;
            let context = SinkContext::new("", mode, rows.schema());
            let mut writer = sink.open(&context).unwrap();
            writer.begin(0).unwrap();
            writer.write(&rows).unwrap();
            writer.prepare().unwrap();
            sink.committer(&context).unwrap().commit(0, &[]).unwrap();
        }

        fn planned(&self, sql: &str) -> PlannedTable {
            let plan = LogicalPlan::new(Relation::Sql(sql.to_string()));
            let analyzed = analyze(&plan, &self.context).unwrap();
            PlannedTable::new(analyzed.typed, self.context.clone()).unwrap()
        }
    }

    fn numbers(table: &PlannedTable, projection: Option<&[usize]>) -> Vec<i64> {
        let batches = table.read(projection).unwrap();
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_plan_is_a_table_of_the_columns_it_declares() {
        let tables = Tables::new(&["t"]);
        tables.write("t", &[1, 2, 3]);
        let table = tables.planned("SELECT 'a' AS text, n + 1 AS next FROM t WHERE n > 1 ORDER BY n");
        assert_eq!(table.schema().field(0).data_type(), &DataType::Utf8View);
        for batch in table.read(None).unwrap() {
            assert_eq!(batch.schema(), table.schema());
        }
        assert_eq!(numbers(&table, Some(&[1])), [3, 4]);
        assert_eq!(table.description(), "MemoryTable[t]");
        assert_eq!(tables.planned("SELECT 1 AS n").description(), "1 rows in memory");
    }

    #[test]
    fn the_version_is_that_of_every_table_in_the_plan() {
        let tables = Tables::new(&["t", "u", "v", "w"]);
        let sql = "WITH x AS (SELECT n FROM v) SELECT t.n, row_number() OVER (ORDER BY t.n) AS place FROM t \
                   JOIN x ON t.n = x.n WHERE t.n IN (SELECT n FROM u)";
        let table = tables.planned(sql);
        for name in ["MemoryTable[t]", "MemoryTable[u]", "MemoryTable[v]"] {
            assert!(table.description().contains(name), "{}", table.description());
        }
        assert!(!table.description().contains("MemoryTable[w]"));
        let version = table.version().unwrap();
        assert_eq!(table.version().unwrap(), version);
        for leaf in &table.leaves {
            assert_eq!(leaf.version().unwrap(), TableVersion::of(1_u64), "written once");
        }
        assert_eq!(table.leaves.len(), 3);
    }

    #[test]
    fn each_read_sees_its_own_time() {
        let tables = Tables::new(&[]);
        let table = tables.planned("SELECT current_timestamp() AS now");
        let now = || table.read(None).unwrap()[0].column(0).as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!(now(), 0);
        tables.clock.advance(Duration::from_secs(1));
        assert_eq!(now(), 1_000_000);
    }
}
