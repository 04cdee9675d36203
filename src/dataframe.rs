//! A table that may be a stream, and what can be asked of it.

use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::expr::{Expr, ExprNode, IntoCondition, IntoExprs, IntoNames};
use crate::grouped::GroupedData;
use crate::plan::logical::{Grouping, JoinOn, JoinType, LogicalPlan, Relation, SetOperation};
use crate::plan::{Analyzed, StateBound, analyze};
use crate::protocol::OutputMode;
use crate::session::Session;
use crate::static_writer::DataFrameWriter;
use crate::types::{IntoDuration, TableOptions, schema_tree, table_text, user_batch, user_schema};
use crate::writer::DataStreamWriter;

/// A lazy, immutable table: static, or a stream that grows for ever.
///
/// Every method only grows a plan and never fails; what is wrong is said by `start()`, `schema()`, `collect()`, `show()` or
/// `explain()`, with the line of the call that is to blame.
#[derive(Clone)]
#[must_use = "a DataFrame does nothing until it is written, collected or shown"]
pub struct DataFrame {
    session: Session,
    plan: LogicalPlan,
}

impl DataFrame {
    pub(crate) fn new(session: Session, plan: LogicalPlan) -> Self {
        Self { session, plan }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    #[track_caller]
    fn grown(&self, grow: impl FnOnce(LogicalPlan) -> Relation) -> Self {
        Self { session: self.session.clone(), plan: LogicalPlan::new(grow(self.plan.clone())) }
    }

    pub(crate) fn analyzed(&self) -> Result<Analyzed> {
        analyze(&self.plan, &self.session.plan_context())
    }

    /// New columns from old ones: names, expressions, `"*"`, one `explode`. With aggregate functions, one row of all rows.
    #[track_caller]
    pub fn select(&self, columns: impl IntoExprs) -> Self {
        let columns = columns.into_exprs();
        self.grown(|input| Relation::Project { input, columns })
    }

    /// New columns from SQL text, such as `"value AS word"`.
    #[track_caller]
    pub fn select_expr(&self, columns: impl IntoNames) -> Self {
        let columns = columns.into_names().into_iter().map(|text| Expr::new(ExprNode::Sql(text))).collect();
        self.grown(|input| Relation::Project { input, columns })
    }

    /// All columns and this one, in the place of one of that name if there is one.
    #[track_caller]
    pub fn with_column(&self, name: impl Into<String>, value: impl Into<Expr>) -> Self {
        let columns = vec![(name.into(), value.into())];
        self.grown(|input| Relation::WithColumns { input, columns })
    }

    /// All columns, one under another name; nothing changes if there is none of that name.
    #[track_caller]
    pub fn with_column_renamed(&self, from: impl Into<String>, to: impl Into<String>) -> Self {
        let names = vec![(from.into(), to.into())];
        self.grown(|input| Relation::Rename { input, names })
    }

    /// All columns but these; names that are not there change nothing.
    #[track_caller]
    pub fn drop(&self, columns: impl IntoExprs) -> Self {
        let columns = columns.into_exprs();
        self.grown(|input| Relation::Drop { input, columns })
    }

    /// The rows for which the condition is true; SQL text or an expression.
    #[track_caller]
    pub fn filter(&self, condition: impl IntoCondition) -> Self {
        let condition = condition.into_condition();
        self.grown(|input| Relation::Filter { input, condition })
    }

    /// The same as [`filter`](Self::filter).
    #[track_caller]
    pub fn where_(&self, condition: impl IntoCondition) -> Self {
        self.filter(condition)
    }

    /// Marks the event-time column, whose rows may come as late as `delay` behind the newest (Spark's guide, "Handling Late Data and
    /// Watermarking").
    ///
    /// The column is a TIMESTAMP, or a window, which counts as the last microsecond it holds; null times are ignored. After each
    /// epoch the watermark is the highest time seen, in whole milliseconds, less `delay`; of several such nodes in one query the
    /// lowest, or with `millstream.multipleWatermarkPolicy = max` the highest; never below 1970-01-01 00:00 UTC and never going
    /// back. Operators with state below it drop rows that are late by it, show what is final by it, and forget that. The mark
    /// follows the column through renaming, `window` and `window_time`, and not through casts or other expressions. `delay` is a
    /// duration of zero or more; a month counts as 31 days. On a static table this changes nothing.
    #[track_caller]
    pub fn with_watermark(&self, column: impl Into<Expr>, delay: impl IntoDuration) -> Self {
        let (column, delay) = (column.into(), delay.into_duration_text());
        self.grown(|input| Relation::WithWatermark { input, column, delay })
    }

    /// Groups rows with equal keys; `()` makes one group of all rows. Nulls are equal to each other.
    #[track_caller]
    pub fn group_by(&self, keys: impl IntoExprs) -> GroupedData {
        GroupedData::new(self.clone(), Grouping::Simple, keys.into_exprs())
    }

    /// Groups by every prefix of the keys; static tables only.
    #[track_caller]
    pub fn rollup(&self, keys: impl IntoExprs) -> GroupedData {
        GroupedData::new(self.clone(), Grouping::Rollup, keys.into_exprs())
    }

    /// Groups by every subset of the keys; static tables only.
    #[track_caller]
    pub fn cube(&self, keys: impl IntoExprs) -> GroupedData {
        GroupedData::new(self.clone(), Grouping::Cube, keys.into_exprs())
    }

    /// Aggregates all rows into one.
    #[track_caller]
    pub fn agg(&self, columns: impl IntoExprs) -> Self {
        self.group_by(()).agg(columns)
    }

    /// Pairs of rows of both tables for which `on` is true, and by `kind` rows without a partner beside nulls (Spark's guide, "Join
    /// Operations"). A condition that is null is not true: `=` never matches null, `<=>` does. The columns are those of both
    /// tables, of a semi or anti join those of this one.
    ///
    /// A stream and a static table: inner, the stream's side kept (left or right), semi and anti with the stream on the left; in
    /// every output mode. The table is read again between two epochs when it has changed.
    ///
    /// Two streams: inner, left, right, full and left semi, in append mode, with at least one equality between the sides. Rows
    /// wait for partners; a watermark frees them if the time it stands on is among the equalities, or if `on` gives a lower limit of their
    /// own time by the other side's, such as `eventTime >= postTime AND eventTime <= postTime + interval 1 hour`, of which each
    /// half bounds one side. Times count by the millisecond, in UTC. A row of a kept side comes out beside nulls when it is freed;
    /// one whose time is null never is. `explain()` tells the bounds. What cannot run is refused at `start()`, with the line of this call.
    #[track_caller]
    pub fn join(&self, other: &Self, on: impl IntoCondition, kind: JoinType) -> Self {
        let (right, on) = (other.plan.clone(), JoinOn::Condition(on.into_condition()));
        self.grown(|left| Relation::Join { left, right, on, kind })
    }

    /// Pairs of rows of both tables with equal values in these columns, which appear once, in front.
    #[track_caller]
    pub fn join_using(&self, other: &Self, columns: impl IntoNames, kind: JoinType) -> Self {
        let (right, on) = (other.plan.clone(), JoinOn::Using(columns.into_names()));
        self.grown(|left| Relation::Join { left, right, on, kind })
    }

    /// Every row beside every row of the other table. Two streams cannot be joined so.
    #[track_caller]
    pub fn cross_join(&self, other: &Self) -> Self {
        let right = other.plan.clone();
        self.grown(|left| Relation::Join { left, right, on: JoinOn::Cross, kind: JoinType::Inner })
    }

    /// All rows of both, columns matched by place.
    #[track_caller]
    pub fn union(&self, other: &Self) -> Self {
        let right = other.plan.clone();
        self.grown(|left| Relation::Union { left, right, by_name: false })
    }

    /// All rows of both, columns matched by name.
    #[track_caller]
    pub fn union_by_name(&self, other: &Self) -> Self {
        let right = other.plan.clone();
        self.grown(|left| Relation::Union { left, right, by_name: true })
    }

    /// Rows that are not in the other table, without repeats; static tables only.
    #[track_caller]
    pub fn except(&self, other: &Self) -> Self {
        let right = other.plan.clone();
        self.grown(|left| Relation::SetOperation { left, right, operation: SetOperation::Except })
    }

    /// Rows that are in both tables, without repeats; static tables only.
    #[track_caller]
    pub fn intersect(&self, other: &Self) -> Self {
        let right = other.plan.clone();
        self.grown(|left| Relation::SetOperation { left, right, operation: SetOperation::Intersect })
    }

    /// Rows without repeats.
    #[track_caller]
    pub fn distinct(&self) -> Self {
        self.drop_duplicates(())
    }

    /// The first row of each combination of values in these columns; of all columns when none are named. Nulls are equal to each other.
    ///
    /// On a stream the columns should include the event-time column, or every combination is remembered for ever: with it, one is
    /// forgotten when the watermark passes its time. Rows behind the watermark are dropped as late. The first row is the first that
    /// a source has; one reader reads each source of such a query, so that its order is kept at any parallelism. Of several sources,
    /// rows come in the order of arrival.
    #[track_caller]
    pub fn drop_duplicates(&self, columns: impl IntoNames) -> Self {
        let columns = columns.into_names();
        self.grown(|input| Relation::Deduplicate { input, columns, within_watermark: false })
    }

    /// The first row of each combination of values, remembered until the watermark has come to the event time of that row and the
    /// watermark's delay; later ones do not prolong it. Streams with a watermark only.
    #[track_caller]
    pub fn drop_duplicates_within_watermark(&self, columns: impl IntoNames) -> Self {
        let columns = columns.into_names();
        self.grown(|input| Relation::Deduplicate { input, columns, within_watermark: true })
    }

    /// Sorted rows; on a stream only after an aggregation, in complete mode. Nulls come first ascending, last descending.
    #[track_caller]
    pub fn sort(&self, keys: impl IntoExprs) -> Self {
        let keys = keys.into_exprs();
        self.grown(|input| Relation::Sort { input, keys })
    }

    /// The same as [`sort`](Self::sort).
    #[track_caller]
    pub fn order_by(&self, keys: impl IntoExprs) -> Self {
        self.sort(keys)
    }

    /// At most `count` rows; on a stream, over its whole life.
    #[track_caller]
    pub fn limit(&self, count: usize) -> Self {
        self.grown(|input| Relation::Limit { input, count: Some(count), offset: 0 })
    }

    /// The rows after the first `count`; static tables only.
    #[track_caller]
    pub fn offset(&self, count: usize) -> Self {
        self.grown(|input| Relation::Limit { input, count: None, offset: count })
    }

    /// A random part of the rows; static tables only.
    #[track_caller]
    pub fn sample(&self, fraction: f64, seed: u64) -> Self {
        self.grown(|input| Relation::Sample { input, fraction, seed })
    }

    /// A name by which columns can be qualified: `a.id`.
    #[track_caller]
    pub fn alias(&self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.grown(|input| Relation::Alias { input, name })
    }

    /// Measures over the rows that pass, reported in progress under `name`.
    #[track_caller]
    pub fn observe(&self, name: impl Into<String>, columns: impl IntoExprs) -> Self {
        let (name, columns) = (name.into(), columns.into_exprs());
        self.grown(|input| Relation::Observe { input, name, columns })
    }

    /// Names this table for SQL text; a view of that name is replaced.
    pub fn create_or_replace_temp_view(&self, name: &str) {
        self.session.catalog().set_view(name, self.plan.clone());
    }

    /// Whether a stream is read; false for a plan that is wrong, whose error comes out elsewhere.
    pub fn is_streaming(&self) -> bool {
        self.analyzed().is_ok_and(|analyzed| analyzed.is_streaming())
    }

    /// The columns, STRING as `Utf8`, TIMESTAMP as microseconds in UTC.
    ///
    /// # Errors
    /// When the plan is wrong.
    pub fn schema(&self) -> Result<SchemaRef> {
        Ok(user_schema(&self.analyzed()?.schema()).into())
    }

    /// The names of the columns.
    ///
    /// # Errors
    /// When the plan is wrong.
    pub fn columns(&self) -> Result<Vec<String>> {
        Ok(self.schema()?.fields().iter().map(|field| field.name().clone()).collect())
    }

    /// Prints the columns as a tree.
    ///
    /// # Errors
    /// When the plan is wrong or standard output is closed.
    pub fn print_schema(&self) -> Result<()> {
        print(&schema_tree(self.schema()?.as_ref()))
    }

    /// The plan as it was written, as it was understood, and, for a stream, as a topology of operators.
    ///
    /// # Errors
    /// When the plan is wrong.
    #[track_caller]
    pub fn explain(&self) -> Result<String> {
        let location = std::panic::Location::caller();
        self.explained().map_err(|error| error.at(location))
    }

    fn explained(&self) -> Result<String> {
        let analyzed = self.analyzed()?;
        let mut text = format!("== Unresolved plan ==\n{}\n== Analyzed plan ==\n{}\n", self.plan, analyzed.explain());
        if analyzed.is_streaming() {
            let modes = [OutputMode::Append, OutputMode::Complete, OutputMode::Update];
            let drafts: Vec<_> = modes.into_iter().map(|mode| analyzed.draft_topology(mode)).collect();
            match drafts.iter().find_map(|draft| draft.as_ref().ok()) {
                Some(topology) => {
                    text.push_str(&state_text(&analyzed.state_bounds(topology.output_mode())));
                    text.push_str(&format!("\n== Topology ==\n{topology}"));
                }
                None => return drafts.into_iter().next().map_or(Ok(text), |draft| draft.map(|_| String::new())),
            }
        }
        Ok(text)
    }

    /// All rows of a static table. STRING columns come as `Utf8`.
    ///
    /// # Errors
    /// When the plan is wrong, reads a stream, or a row cannot be read or computed.
    #[track_caller]
    pub fn collect(&self) -> Result<Vec<RecordBatch>> {
        let location = std::panic::Location::caller();
        let batches = self.analyzed()?.collect().map_err(|error| error.at(location))?;
        batches.into_iter().map(user_batch).collect()
    }

    /// The number of rows of a static table.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn count_rows(&self) -> Result<usize> {
        Ok(self.collect()?.iter().map(RecordBatch::num_rows).sum())
    }

    /// Prints the first 20 rows of a static table, cells cut to 20 characters.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), or when standard output is closed.
    #[track_caller]
    pub fn show(&self) -> Result<()> {
        self.show_rows(20, true)
    }

    /// Prints the first `rows` rows of a static table; with `truncate`, cells are cut to 20 characters.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    #[track_caller]
    pub fn show_rows(&self, rows: usize, truncate: bool) -> Result<()> {
        let batches = self.collect()?;
        let schema = self.schema()?;
        let options = TableOptions {
            max_rows: rows,
            truncate: truncate.then_some(20),
            zone: self.session.settings().zone,
            total_rows: batches.iter().map(RecordBatch::num_rows).sum(),
        };
        print(&format!("{}\n", table_text(&schema, &batches, &options)))
    }

    /// Writes a static table.
    pub fn write(&self) -> DataFrameWriter {
        DataFrameWriter::new(self.clone())
    }

    /// Writes a stream: the start of a query.
    pub fn write_stream(&self) -> DataStreamWriter {
        DataStreamWriter::new(self.clone())
    }
}

/// Writes to standard output; a closed pipe is an error, not a panic.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| crate::Error::connector("standard output cannot be written").with_source(error))
}

/// The section of an explain that says what bounds the state; empty without state.
pub(crate) fn state_text(bounds: &[StateBound]) -> String {
    let lines: Vec<String> = bounds.iter().map(ToString::to_string).collect();
    if lines.is_empty() { String::new() } else { format!("\n== State ==\n{}\n", lines.join("\n")) }
}

impl fmt::Debug for DataFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plan)
    }
}
