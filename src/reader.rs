//! `read()` and `read_stream()`: format, options, schema, load.

use crate::dataframe::DataFrame;
use crate::plan::logical::{LogicalPlan, ReadSpec, Relation};
use crate::session::Session;
use crate::types::IntoSchema;

/// Declares a reader: the two differ only in what `load` makes.
macro_rules! reader {
    ($(#[$doc:meta])* $name:ident, streaming: $streaming:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[must_use = "a reader reads nothing until load()"]
        pub struct $name {
            session: Session,
            spec: ReadSpec,
        }

        impl $name {
            pub(crate) fn new(session: Session) -> Self {
                Self { session, spec: ReadSpec::default() }
            }

            /// The kind of source, by name; see [`connector`](crate::connector).
            pub fn format(mut self, format: impl Into<String>) -> Self {
                self.spec.format = format.into();
                self
            }

            /// An option by Spark's name, matched without case.
            pub fn option(mut self, key: &str, value: impl ToString) -> Self {
                self.spec.options.set(key, value);
                self
            }

            /// Several options.
            pub fn options<K: AsRef<str>, V: ToString>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Self {
                for (key, value) in options {
                    self.spec.options.set(key.as_ref(), value);
                }
                self
            }

            /// The columns: a DDL string, an Arrow schema or a built one.
            #[track_caller]
            pub fn schema(mut self, schema: impl IntoSchema) -> Self {
                self.spec.schema = Some(schema.into_schema());
                self
            }

            /// The rows as a table; nothing is opened yet.
            #[track_caller]
            pub fn load(self) -> DataFrame {
                let relation = Relation::Read { spec: self.spec, streaming: $streaming };
                self.session.data_frame(LogicalPlan::new(relation))
            }

            /// The rows at `path`: a file, a directory or a glob.
            #[track_caller]
            pub fn load_path(mut self, path: impl Into<String>) -> DataFrame {
                self.spec.paths.push(path.into());
                self.load()
            }

            /// Lines of text files: one column, `value STRING`.
            #[track_caller]
            pub fn text(self, path: impl Into<String>) -> DataFrame {
                self.format("text").load_path(path)
            }

            /// Rows of CSV files.
            #[track_caller]
            pub fn csv(self, path: impl Into<String>) -> DataFrame {
                self.format("csv").load_path(path)
            }

            /// Rows of files with one JSON object a line.
            #[track_caller]
            pub fn json(self, path: impl Into<String>) -> DataFrame {
                self.format("json").load_path(path)
            }

            /// Rows of Parquet files; needs the feature `parquet`.
            #[track_caller]
            pub fn parquet(self, path: impl Into<String>) -> DataFrame {
                self.format("parquet").load_path(path)
            }

            /// A temporary view, or the table of a memory sink, by name.
            #[track_caller]
            pub fn table(self, name: impl Into<String>) -> DataFrame {
                self.session.data_frame(LogicalPlan::new(Relation::Table(name.into())))
            }
        }
    };
}

reader! {
    /// Reads static tables.
    DataFrameReader, streaming: false
}

reader! {
    /// Reads streams.
    DataStreamReader, streaming: true
}
