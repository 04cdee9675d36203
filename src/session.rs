//! The entry point: settings, names, queries.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use crate::clock::{Clock, SystemClock, lock};
use crate::connector::options::Options;
use crate::coordinator::Trigger;
use crate::dataframe::DataFrame;
use crate::error::Result;
use crate::expr::ScalarUdf;
use crate::plan::logical::{LogicalPlan, Relation};
use crate::plan::topology::Topology;
use crate::plan::{Catalog, PlanContext};
use crate::query::{QueryStart, StreamingQuery};
use crate::query_manager::StreamingQueryManager;
use crate::reader::{DataFrameReader, DataStreamReader};
use crate::runtime::Engine;
use crate::settings::Settings;
use crate::types::{IntoSchema, engine_schema};

/// Where every query starts. Cheap to clone; all clones are the same session.
///
/// ```
/// use millstream::prelude::*;
///
/// let session = Session::builder().app_name("tour").parallelism(2).build()?;
/// let two = session.sql("SELECT 1 + 1 AS two").collect()?;
/// assert_eq!(two[0].num_rows(), 1);
/// # session.stop()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    app_name: String,
    settings: Mutex<Settings>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    queries: StreamingQueryManager,
}

impl Session {
    /// Starts a session with default settings.
    pub fn builder() -> SessionBuilder {
        SessionBuilder { app_name: "millstream".to_string(), settings: Options::new(), clock: Arc::new(SystemClock) }
    }

    /// The name given to the builder.
    pub fn app_name(&self) -> &str {
        &self.inner.app_name
    }

    /// Reads static tables: files, now.
    pub fn read(&self) -> DataFrameReader {
        DataFrameReader::new(self.clone())
    }

    /// Reads streams: sockets, directories that grow, generated rows.
    pub fn read_stream(&self) -> DataStreamReader {
        DataStreamReader::new(self.clone())
    }

    /// A query in Spark SQL over temporary views and the tables of memory sinks; over streams too.
    ///
    /// What only static tables can run (`OVER`, subqueries in conditions, …) is planned by DataFusion as a whole and follows its rules
    /// where they differ from Spark's: integers divide as integers, and column names keep their case.
    #[track_caller]
    pub fn sql(&self, text: impl Into<String>) -> DataFrame {
        self.data_frame(LogicalPlan::new(Relation::Sql(text.into())))
    }

    /// A temporary view, or the table of a memory sink, by name.
    #[track_caller]
    pub fn table(&self, name: impl Into<String>) -> DataFrame {
        self.data_frame(LogicalPlan::new(Relation::Table(name.into())))
    }

    /// A static table of these rows. All batches must have the schema of the first; without any, the table has no columns.
    #[track_caller]
    pub fn create_data_frame(&self, batches: Vec<RecordBatch>) -> DataFrame {
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let schema = engine_schema(&schema).into_schema();
        self.data_frame(LogicalPlan::new(Relation::Rows(schema, batches)))
    }

    /// Makes a Rust closure a function of this session, for SQL text and [`call_udf`](crate::expr::functions::call_udf); one of
    /// that name is replaced.
    pub fn register_udf(&self, udf: ScalarUdf) {
        self.inner.catalog.set_udf(udf);
    }

    /// Changes a setting for queries started from now on.
    ///
    /// # Errors
    /// When the key is unknown or the value is not one it can have.
    #[track_caller]
    pub fn set_config(&self, key: &str, value: impl ToString) -> Result<()> {
        let location = std::panic::Location::caller();
        lock(&self.inner.settings).set(key, &value.to_string()).map_err(|error| error.at(location))
    }

    /// The queries of this session.
    pub fn streams(&self) -> &StreamingQueryManager {
        &self.inner.queries
    }

    /// Runs a topology written by hand.
    ///
    /// # Errors
    /// When a source, operator or sink cannot be opened, or a query of the topology's name is active.
    #[track_caller]
    pub fn run(&self, topology: Topology, trigger: Trigger) -> Result<StreamingQuery> {
        let location = std::panic::Location::caller();
        let name = Some(topology.name().to_string());
        crate::query::start(self, topology, &trigger, name, QueryStart::default()).map_err(|error| error.at(location))
    }

    /// Stops all queries of this session, each after its running epoch.
    ///
    /// # Errors
    /// The first error of a query that could not be stopped.
    pub fn stop(&self) -> Result<()> {
        self.inner.queries.stop_all()
    }

    pub(crate) fn data_frame(&self, plan: LogicalPlan) -> DataFrame {
        DataFrame::new(self.clone(), plan)
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.inner.catalog
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub(crate) fn settings(&self) -> Settings {
        lock(&self.inner.settings).clone()
    }

    pub(crate) fn plan_context(&self) -> PlanContext {
        let settings = self.settings();
        PlanContext {
            catalog: Arc::clone(&self.inner.catalog),
            zone: settings.zone,
            ansi: settings.ansi,
            max_ahead: settings.max_ahead,
            clock: Arc::clone(&self.inner.clock),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("app_name", &self.inner.app_name).finish_non_exhaustive()
    }
}

/// Settings of a [`Session`] to be.
#[derive(Debug, Clone)]
#[must_use = "a session is made by build()"]
pub struct SessionBuilder {
    app_name: String,
    settings: Options,
    clock: Arc<dyn Clock>,
}

impl SessionBuilder {
    /// The name of the program, for people.
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = name.into();
        self
    }

    /// How many instances parallel operators have, 1 to 256; the number of cores unless said otherwise.
    pub fn parallelism(self, instances: usize) -> Self {
        self.config("millstream.parallelism", instances)
    }

    /// A setting by its key; checked by [`build`](Self::build).
    pub fn config(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.set(key, value);
        self
    }

    /// Where processing time comes from; the machine's clock unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the session.
    ///
    /// # Errors
    /// When a setting is unknown or has a bad value.
    #[track_caller]
    pub fn build(self) -> Result<Session> {
        let location = std::panic::Location::caller();
        let mut settings = Settings::new(Engine::cores());
        for (key, value) in self.settings.iter() {
            settings.set(key, value).map_err(|error| error.at(location))?;
        }
        let inner = Inner {
            app_name: self.app_name,
            settings: Mutex::new(settings),
            catalog: Arc::default(),
            clock: self.clock,
            queries: StreamingQueryManager::new(),
        };
        Ok(Session { inner: Arc::new(inner) })
    }
}
