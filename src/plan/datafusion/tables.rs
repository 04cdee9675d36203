//! Leaves of the typed plan: our sources and tables as DataFusion sees them.
//!
//! Owns: two providers. A stream's is a marker the lowering looks for; a table's reads rows when a static plan runs.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as TypedResult};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr as TypedExpr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::connector::{BatchTable, SourceFactory};
use crate::error::Result;

/// A stream, with its columns under internal names.
pub(super) struct StreamTable {
    pub(super) factory: Arc<dyn SourceFactory>,
    pub(super) schema: SchemaRef,
}

/// A static table, with its columns under internal names.
pub(super) struct StaticTable {
    pub(super) table: Arc<dyn BatchTable>,
    pub(super) schema: SchemaRef,
}

/// The schema of `fields` under the internal names.
pub(super) fn renamed(fields: &Schema, names: &[String]) -> SchemaRef {
    let named = |(field, name): (&Arc<Field>, &String)| field.as_ref().clone().with_name(name);
    Arc::new(Schema::new(fields.fields().iter().zip(names).map(named).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[TypedExpr],
        _: Option<usize>,
    ) -> TypedResult<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Internal("a stream cannot be scanned as a table".to_string()))
    }
}

#[async_trait]
impl TableProvider for StaticTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[TypedExpr],
        _: Option<usize>,
    ) -> TypedResult<Arc<dyn ExecutionPlan>> {
        let external = |error: crate::Error| DataFusionError::External(Box::new(error));
        let batches = self.table.read(projection.map(Vec::as_slice)).map_err(external)?;
        let schema = match projection {
            None => Arc::clone(&self.schema),
            Some(columns) => Arc::new(self.schema.project(columns)?),
        };
        let batches =
            batches.iter().map(|batch| under(batch, &schema)).collect::<Result<Vec<_>>>().map_err(external)?;
        Ok(MemorySourceConfig::try_new_exec(&[batches], schema, None)?)
    }
}

/// The same columns under the names of `schema`.
pub(super) fn under(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns: Vec<ArrayRef> = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamTable({})", self.factory.description())
    }
}

impl fmt::Debug for StaticTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticTable({})", self.table.description())
    }
}

/// Rows given by the user.
pub(super) struct RowsTable {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
}

impl BatchTable for RowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn description(&self) -> String {
        format!("{} rows in memory", self.batches.iter().map(RecordBatch::num_rows).sum::<usize>())
    }

    fn read(&self, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let Some(columns) = projection else { return Ok(self.batches.clone()) };
        self.batches.iter().map(|batch| Ok(batch.project(columns)?)).collect()
    }
}
