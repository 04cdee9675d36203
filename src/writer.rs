//! `write_stream()`: where the rows of a query go, when, and in which mode.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::connector::Sink;
use crate::connector::options::Options;
use crate::connector::sink::{ForeachBatch, ForeachSink, ForeachWriter, SinkEnvironment, open_sink};
use crate::coordinator::Trigger;
use crate::dataframe::{DataFrame, state_text};
use crate::error::{Error, Result, suggestion};
use crate::expr::IntoNames;
use crate::plan::Refusal;
use crate::plan::logical::{LogicalPlan, Relation};
use crate::plan::topology::Topology;
use crate::protocol::OutputMode;
use crate::query::{self, QueryStart, StreamingQuery};
use crate::session::Session;
use crate::types::IntoSchema;

/// The option that names a query's checkpoint.
const CHECKPOINT_LOCATION: &str = "checkpointLocation";

/// Describes a query; [`start`](Self::start) starts it.
#[derive(Clone)]
#[must_use = "a query runs only after start()"]
pub struct DataStreamWriter {
    input: DataFrame,
    format: Option<String>,
    options: Options,
    mode: OutputMode,
    trigger: Trigger,
    name: Option<String>,
    partition_by: Vec<String>,
    path: Option<String>,
    /// A sink of the user's, instead of a format.
    sink: Option<Arc<dyn Sink>>,
}

impl DataStreamWriter {
    pub(crate) fn new(input: DataFrame) -> Self {
        Self {
            input,
            format: None,
            options: Options::new(),
            mode: OutputMode::default(),
            trigger: Trigger::default(),
            name: None,
            partition_by: Vec::new(),
            path: None,
            sink: None,
        }
    }

    /// The kind of sink, by name; see [`connector`](crate::connector).
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// An option by Spark's name, matched without case.
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.options.set(key, value);
        self
    }

    /// Several options.
    pub fn options<K: AsRef<str>, V: ToString>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Self {
        for (key, value) in options {
            self.options.set(key.as_ref(), value);
        }
        self
    }

    /// What the sink sees of the result; append unless said otherwise.
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.mode = mode;
        self
    }

    /// When epochs run; as soon as there are rows unless said otherwise.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// The query's name, unique among the active queries of the session; the memory sink's table has it too.
    pub fn query_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Columns by whose values a file sink makes directories.
    pub fn partition_by(mut self, columns: impl IntoNames) -> Self {
        self.partition_by = columns.into_names();
        self
    }

    /// Calls `function` with the rows of each epoch and its number, once an epoch, also for one without rows. An `Err` or a panic
    /// fails the query with nothing of the epoch committed. After a crash an epoch can come again, with the same number and rows.
    pub fn foreach_batch<F, E>(mut self, function: F) -> Self
    where
        F: Fn(DataFrame, u64) -> Result<(), E> + Send + Sync + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let session = self.input.session().clone();
        let call = move |schema: SchemaRef, rows: Vec<RecordBatch>, epoch: u64| {
            function(batch_frame(&session, &schema, rows), epoch).map_err(|error| {
                let cause = error.into();
                Error::user(format!("foreach_batch failed in epoch {epoch}: {cause}")).with_source(cause)
            })
        };
        self.sink = Some(Arc::new(ForeachBatch::new(Arc::new(call))));
        self
    }

    /// Hands each row to a writer; every parallel instance and epoch gets a clone of it.
    pub fn foreach<W: ForeachWriter + Clone + Sync + 'static>(mut self, writer: W) -> Self {
        let zone = self.input.session().settings().zone;
        self.sink = Some(Arc::new(ForeachSink::new(move || writer.clone()).zone(zone)));
        self
    }

    /// Writes to a sink of the user's.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Checks the plan and starts the query. Nothing has run when this is an error.
    ///
    /// # Errors
    /// When the plan is wrong or not possible in this output mode, an option is unknown or bad, a source or sink cannot be opened,
    /// or a query of this name is active.
    #[track_caller]
    pub fn start(self) -> Result<StreamingQuery> {
        let location = Location::caller();
        self.start_here().map_err(|error| error.at(location))
    }

    /// The same, writing to `path`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn start_path(mut self, path: impl Into<String>) -> Result<StreamingQuery> {
        let location = Location::caller();
        self.path = Some(path.into());
        self.start_here().map_err(|error| error.at(location))
    }

    /// What keeps this query from going on from its checkpoint, one sentence each; nothing if it can, or if nothing is committed there
    /// yet. Starts nothing and changes nothing.
    ///
    /// # Errors
    /// When the plan or an option is wrong, or the checkpoint cannot be read.
    #[track_caller]
    pub fn checkpoint_differences(&self) -> Result<Vec<String>> {
        let location = Location::caller();
        let differences = || {
            let (session, name) = (self.input.session(), self.name.as_deref());
            query::checkpoint_differences(session, &self.plan()?.0, name, self.checkpoint_location())
        };
        differences().map_err(|error| error.at(location))
    }

    fn checkpoint_location(&self) -> Option<String> {
        let location = self.options.iter().find(|(key, _)| key.eq_ignore_ascii_case(CHECKPOINT_LOCATION));
        location.map(|(_, value)| value.to_string())
    }

    /// The topology, and the plan in words.
    fn plan(&self) -> Result<(Topology, String)> {
        let analyzed = self.input.analyzed()?;
        if !analyzed.is_streaming() {
            return Err(Refusal::NoStream.into());
        }
        self.check_partitions(analyzed.schema().as_ref())?;
        let sink = self.open()?;
        let name = self.name.clone().unwrap_or_else(|| "query".to_string());
        let topology = analyzed.to_topology(&name, self.mode, sink);
        let topology = topology.map_err(|error| Refusal::located(error, self.input.plan()))?;
        let bounds = analyzed.state_bounds(self.mode);
        for bound in bounds.iter().filter(|bound| !bound.is_bounded) {
            log::warn!(target: "millstream::plan", "the state of query `{name}` grows without end: {bound}");
        }
        let explained = format!(
            "== Unresolved plan ==\n{}\n== Analyzed plan ==\n{}\n{}",
            self.input.plan(),
            analyzed.explain(),
            state_text(&bounds)
        );
        Ok((topology, explained))
    }

    fn start_here(self) -> Result<StreamingQuery> {
        self.trigger.resolve()?;
        let (topology, explained) = self.plan()?;
        let with = QueryStart { location: self.checkpoint_location(), explained };
        query::start(self.input.session(), topology, &self.trigger, self.name, with)
    }

    fn check_partitions(&self, schema: &arrow::datatypes::Schema) -> Result<()> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let unknown = |column: &&String| !names.iter().any(|name| name.eq_ignore_ascii_case(column));
        match self.partition_by.iter().find(unknown) {
            None => Ok(()),
            Some(column) => {
                let near = suggestion(column, names.iter().copied());
                Err(Error::plan(format!(
                    "no column `{column}` to partition by{near}; known columns: {}",
                    names.join(", ")
                )))
            }
        }
    }

    fn open(&self) -> Result<Arc<dyn Sink>> {
        let session = self.input.session();
        let mut options = Options::new();
        for (key, value) in self.options.iter() {
            if !key.eq_ignore_ascii_case(CHECKPOINT_LOCATION) {
                options.set(key, value);
            }
        }
        match (&self.sink, &self.format) {
            (Some(_), Some(format)) => {
                Err(Error::config(format!("the query has a sink of its own and the format `{format}`; choose one")))
            }
            (Some(_), None) if self.path.is_some() || !self.partition_by.is_empty() => {
                Err(Error::config("only files have a path and partition_by; this query has a sink of its own"))
            }
            (Some(sink), None) => {
                options.finish("a sink given as a value")?;
                Ok(Arc::clone(sink))
            }
            (None, None) => {
                let remedy = "say .format(\"console\"), \"memory\", \"csv\", …, .foreach_batch(…) or .foreach(…)";
                Err(Error::config(format!("the query has nowhere to write to; {remedy}")))
            }
            (None, Some(format)) => {
                if format.eq_ignore_ascii_case("memory") {
                    let no_name = || Error::config("the memory sink needs a name for its table; say .query_name(…)");
                    let name = self.name.as_ref().ok_or_else(no_name)?;
                    options.set("queryName", name);
                }
                let zone = session.settings().zone;
                let tables = session.catalog().tables.clone();
                let environment = SinkEnvironment { zone, clock: Arc::clone(session.clock()), tables };
                open_sink(format, &options, &self.partition_by, self.path.as_deref(), &environment)
            }
        }
    }
}

fn batch_frame(session: &Session, schema: &SchemaRef, rows: Vec<RecordBatch>) -> DataFrame {
    let schema = crate::types::engine_schema(schema).into_schema();
    session.data_frame(LogicalPlan::new(Relation::Rows(schema, rows)))
}

impl fmt::Debug for DataStreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataStreamWriter")
            .field("format", &self.format)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
