//! A stream that a program feeds by hand, for tests and for embedding.

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

use crate::connector::Offset;
use crate::connector::source::memory::{MemoryStreamCore, MemoryStreamFactory};
use crate::dataframe::DataFrame;
use crate::error::Result;
use crate::plan::logical::{LogicalPlan, Relation};
use crate::session::Session;
use crate::types::IntoSchema;

/// Rows given by the program, as a stream. It outlives the queries that read it and keeps all its rows.
///
/// ```
/// use millstream::prelude::*;
/// use millstream::arrow::array::{ArrayRef, StringArray};
/// use std::sync::Arc;
///
/// let session = Session::builder().build()?;
/// let words = MemoryStream::new(&session, "word STRING");
/// let query = words.to_df().group_by("word").count()
///     .write_stream().format("memory").query_name("counts").output_mode(OutputMode::Complete)
///     .start()?;
/// words.add_rows([Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef])?;
/// query.process_all_available()?;
/// assert_eq!(session.table("counts").count_rows()?, 2);
/// query.stop()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStream {
    session: Session,
    core: Result<MemoryStreamCore>,
    relation: LogicalPlan,
}

impl MemoryStream {
    /// A stream without rows. A schema that cannot be parsed is reported by [`add`](Self::add) and by queries.
    #[track_caller]
    pub fn new(session: &Session, schema: impl IntoSchema) -> Self {
        let core = schema.into_schema().resolve().map(MemoryStreamCore::new);
        let relation = match &core {
            Ok(core) => Relation::Stream(Arc::new(MemoryStreamFactory { core: core.clone() })),
            Err(error) => Relation::Invalid(error.clone()),
        };
        Self { session: session.clone(), core, relation: LogicalPlan::new(relation) }
    }

    /// Adds rows; they are never split over two epochs. The answer is their offset.
    ///
    /// # Errors
    /// When the rows do not fit the schema; nothing is added then.
    #[track_caller]
    pub fn add(&self, rows: RecordBatch) -> Result<Offset> {
        let location = std::panic::Location::caller();
        self.core.clone()?.add(rows).map(Offset::from).map_err(|error| error.at(location))
    }

    /// Adds rows given as columns in the order of the schema.
    ///
    /// # Errors
    /// As [`add`](Self::add), and when the columns are not of one length.
    #[track_caller]
    pub fn add_rows(&self, columns: impl IntoIterator<Item = ArrayRef>) -> Result<Offset> {
        let location = std::panic::Location::caller();
        self.add_columns(columns.into_iter().collect()).map_err(|error| error.at(location))
    }

    fn add_columns(&self, columns: Vec<ArrayRef>) -> Result<Offset> {
        let core = self.core.clone()?;
        let schema = core.schema();
        let named = schema.fields().iter().map(|field| field.name().as_str()).zip(columns.iter().cloned());
        if columns.len() != schema.fields().len() {
            let (wanted, got) = (schema.fields().len(), columns.len());
            return Err(crate::Error::data(format!("the stream has {wanted} columns, but {got} were given")));
        }
        core.add(RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true)))?)
            .map(Offset::from)
    }

    /// Adds rows to several streams so that every epoch sees all of them or none.
    ///
    /// # Errors
    /// When rows do not fit their stream's schema; nothing is added then.
    #[track_caller]
    pub fn add_together<'a>(additions: impl IntoIterator<Item = (&'a Self, RecordBatch)>) -> Result<()> {
        let location = std::panic::Location::caller();
        let additions: Vec<(MemoryStreamCore, RecordBatch)> =
            additions.into_iter().map(|(stream, rows)| Ok((stream.core.clone()?, rows))).collect::<Result<_>>()?;
        let additions: Vec<_> = additions.iter().map(|(core, rows)| (core, rows.clone())).collect();
        MemoryStreamCore::add_together(&additions).map_err(|error| error.at(location))
    }

    /// The stream as a table. Used twice in one plan it is one source whose rows feed both places.
    pub fn to_df(&self) -> DataFrame {
        self.session.data_frame(self.relation.clone())
    }
}
