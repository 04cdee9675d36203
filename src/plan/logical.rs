//! The unresolved plan: what the user's calls and SQL text grew, before anyone looked at a schema.
//!
//! Owns: the relations and the lines of the program that made them. Does not own: names, types or anything of
//! DataFusion's. Shaped like Spark Connect's relations, so the same tree can be sent elsewhere.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::connector::SourceFactory;
use crate::connector::options::Options;
use crate::expr::Expr;
pub use crate::operator::JoinType;
use crate::types::SchemaInput;

/// An unresolved relation and the line of the program that made it.
#[derive(Debug, Clone)]
pub(crate) struct LogicalPlan {
    relation: Arc<Relation>,
    location: &'static Location<'static>,
}

impl LogicalPlan {
    #[track_caller]
    pub(crate) fn new(relation: Relation) -> Self {
        Self { relation: Arc::new(relation), location: Location::caller() }
    }

    pub(crate) fn with_location(relation: Relation, location: &'static Location<'static>) -> Self {
        Self { relation: Arc::new(relation), location }
    }

    /// The outermost relation.
    pub(crate) fn relation(&self) -> &Relation {
        &self.relation
    }

    /// The line of the program that made it.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// What a reader was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadSpec {
    /// The format's name.
    pub format: String,
    /// The options as written.
    pub options: Options,
    /// The schema as given.
    pub schema: Option<SchemaInput>,
    /// Paths given to `load_path`, `text`, `csv`, …
    pub paths: Vec<String>,
}

/// What a join compares.
#[derive(Debug, Clone)]
pub(crate) enum JoinOn {
    /// Any condition over both sides.
    Condition(Expr),
    /// Columns of the same name, which appear once in the result.
    Using(Vec<String>),
    /// Every row with every row.
    Cross,
}

/// How `group_by` groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// By the keys.
    Simple,
    /// By every prefix of the keys.
    Rollup,
    /// By every subset of the keys.
    Cube,
}

/// Set operations on static tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetOperation {
    /// Rows of the left that are not in the right, without repeats.
    Except,
    /// Rows in both, without repeats.
    Intersect,
}

/// One relation of the unresolved plan.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) enum Relation {
    /// A stream or table read by format and options.
    Read {
        /// What the reader was told.
        spec: ReadSpec,
        /// `read_stream()` or `read()`.
        streaming: bool,
    },
    /// A stream given as a value: a `MemoryStream` or a user's own source.
    Stream(Arc<dyn SourceFactory>),
    /// Rows given as batches.
    Rows(SchemaInput, Vec<RecordBatch>),
    /// A temporary view or a memory sink's table, by name.
    Table(String),
    /// A whole SQL query, parsed at analysis.
    Sql(String),
    /// A plan that could not be built, kept to be reported where errors are.
    Invalid(crate::error::Error),
    /// New columns from old ones; `*` and explode may be among them.
    Project {
        /// The input.
        input: LogicalPlan,
        /// The columns.
        columns: Vec<Expr>,
    },
    /// All columns, with these added or replaced.
    WithColumns {
        /// The input.
        input: LogicalPlan,
        /// Name and value of each.
        columns: Vec<(String, Expr)>,
    },
    /// All columns, some under another name; names that are not there change nothing.
    Rename {
        /// The input.
        input: LogicalPlan,
        /// Old and new names.
        names: Vec<(String, String)>,
    },
    /// All columns but these; names that are not there change nothing.
    Drop {
        /// The input.
        input: LogicalPlan,
        /// The columns to leave out.
        columns: Vec<Expr>,
    },
    /// The rows for which the condition is true.
    Filter {
        /// The input.
        input: LogicalPlan,
        /// The condition.
        condition: Expr,
    },
    /// One row a group. `columns` is what the SELECT list or `agg` shows after the keys; `keys_in_output` tells
    /// whether the keys come first (`DataFrame` API) or only `columns` are shown (SQL).
    Aggregate {
        /// The input.
        input: LogicalPlan,
        /// How the keys group.
        grouping: Grouping,
        /// The keys; none for one group of all rows.
        keys: Vec<Expr>,
        /// Expressions over aggregate functions (and keys).
        columns: Vec<Expr>,
        /// Whether the keys are columns of the result, before `columns`.
        keys_in_output: bool,
        /// SQL's HAVING, over aggregates and keys.
        having: Option<Expr>,
    },
    /// Two relations side by side.
    Join {
        /// The left side.
        left: LogicalPlan,
        /// The right side.
        right: LogicalPlan,
        /// What is compared.
        on: JoinOn,
        /// Which rows are kept.
        kind: JoinType,
    },
    /// All rows of both.
    Union {
        /// The first.
        left: LogicalPlan,
        /// The second.
        right: LogicalPlan,
        /// Columns are matched by name instead of place.
        by_name: bool,
    },
    /// A set operation.
    SetOperation {
        /// The first.
        left: LogicalPlan,
        /// The second.
        right: LogicalPlan,
        /// Which.
        operation: SetOperation,
    },
    /// The first row of each key.
    Deduplicate {
        /// The input.
        input: LogicalPlan,
        /// The key columns; all columns when empty.
        columns: Vec<String>,
        /// Keys are forgotten once the watermark passes them.
        within_watermark: bool,
    },
    /// Marks the event-time column and how late rows may come.
    WithWatermark {
        /// The input.
        input: LogicalPlan,
        /// The event-time column.
        column: Expr,
        /// The delay, as Spark's text or a duration in text.
        delay: String,
    },
    /// Sorted rows.
    Sort {
        /// The input.
        input: LogicalPlan,
        /// The keys.
        keys: Vec<Expr>,
    },
    /// At most so many rows, after leaving out `offset`.
    Limit {
        /// The input.
        input: LogicalPlan,
        /// How many rows; `None` is all.
        count: Option<usize>,
        /// How many to leave out first.
        offset: usize,
    },
    /// A random part of the rows.
    Sample {
        /// The input.
        input: LogicalPlan,
        /// The share of rows to keep, 0 to 1.
        fraction: f64,
        /// The seed.
        seed: u64,
    },
    /// A name for the relation, by which columns can be qualified.
    Alias {
        /// The input.
        input: LogicalPlan,
        /// The name.
        name: String,
    },
    /// Named measures over the rows that pass, reported in progress.
    Observe {
        /// The input.
        input: LogicalPlan,
        /// The name of the set of measures.
        name: String,
        /// Aggregates.
        columns: Vec<Expr>,
    },
}

impl Relation {
    /// The relations this one reads, left first.
    pub(crate) fn inputs(&self) -> Vec<&LogicalPlan> {
        match self {
            Self::Read { .. } | Self::Stream(_) | Self::Rows(..) | Self::Table(_) | Self::Sql(_) | Self::Invalid(_) => {
                Vec::new()
            }
            Self::Project { input, .. }
            | Self::WithColumns { input, .. }
            | Self::Rename { input, .. }
            | Self::Drop { input, .. }
            | Self::Filter { input, .. }
            | Self::Aggregate { input, .. }
            | Self::Deduplicate { input, .. }
            | Self::WithWatermark { input, .. }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. }
            | Self::Sample { input, .. }
            | Self::Alias { input, .. }
            | Self::Observe { input, .. } => vec![input],
            Self::Join { left, right, .. }
            | Self::Union { left, right, .. }
            | Self::SetOperation { left, right, .. } => {
                vec![left, right]
            }
        }
    }

    /// One line: the relation and what it was given.
    fn headline(&self) -> String {
        match self {
            Self::Read { spec, streaming } => {
                let word = if *streaming { "ReadStream" } else { "Read" };
                let options: Vec<_> = spec.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{word} format={} paths={:?} options=[{}]", spec.format, spec.paths, options.join(", "))
            }
            Self::Stream(factory) => format!("ReadStream {}", factory.description()),
            Self::Rows(_, batches) => {
                format!("Rows {}", batches.iter().map(RecordBatch::num_rows).sum::<usize>())
            }
            Self::Table(name) => format!("Table {name}"),
            Self::Sql(text) => format!("Sql {text:?}"),
            Self::Invalid(error) => format!("Invalid {error}"),
            Self::Project { columns, .. } => format!("Project {columns:?}"),
            Self::WithColumns { columns, .. } => format!("WithColumns {columns:?}"),
            Self::Rename { names, .. } => format!("Rename {names:?}"),
            Self::Drop { columns, .. } => format!("Drop {columns:?}"),
            Self::Filter { condition, .. } => format!("Filter {condition}"),
            Self::Aggregate { grouping, keys, columns, having, .. } => {
                let having = having.as_ref().map_or_else(String::new, |having| format!(" having {having}"));
                format!("Aggregate {grouping:?} by {keys:?} show {columns:?}{having}")
            }
            Self::Join { on, kind, .. } => format!("Join {kind:?} {on:?}"),
            Self::Union { by_name, .. } => if *by_name { "Union by name" } else { "Union" }.to_string(),
            Self::SetOperation { operation, .. } => format!("{operation:?}"),
            Self::Deduplicate { columns, within_watermark, .. } => {
                format!("Deduplicate {columns:?}{}", if *within_watermark { " within watermark" } else { "" })
            }
            Self::WithWatermark { column, delay, .. } => format!("WithWatermark {column} delay {delay}"),
            Self::Sort { keys, .. } => format!("Sort {keys:?}"),
            Self::Limit { count, offset, .. } => {
                let count = count.map_or_else(|| "all".to_string(), |count| count.to_string());
                format!("Limit {count} offset {offset}")
            }
            Self::Sample { fraction, seed, .. } => format!("Sample {fraction} seed {seed}"),
            Self::Alias { name, .. } => format!("Alias {name}"),
            Self::Observe { name, columns, .. } => format!("Observe {name} {columns:?}"),
        }
    }
}

impl fmt::Display for LogicalPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tree(self, 0, f)
    }
}

fn write_tree(plan: &LogicalPlan, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let relation = plan.relation();
    writeln!(f, "{}{}", "  ".repeat(depth), relation.headline())?;
    relation.inputs().into_iter().try_for_each(|input| write_tree(input, depth + 1, f))
}
