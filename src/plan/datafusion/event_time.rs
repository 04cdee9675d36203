//! Event time in typed plans: the nodes a stream has for it, and which columns carry it where.
//!
//! Owns: the watermark and deduplication nodes, and the marking of columns. Does not own: what may be done with marked columns
//! (`checks`), or the operators (`lower`).
//!
//! A column is marked from the watermark node on, through renaming and through `window`, `session_window` and `window_time` of
//! it; any other expression makes an ordinary column (as Spark's column metadata does). The marks follow from the plan, so
//! they are derived anew wherever they are needed, before and after optimisation.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use datafusion::common::{Column, DFSchemaRef, DataFusionError, ExprSchema, ScalarValue};
use datafusion::logical_expr::{
    Aggregate, Expr as TypedExpr, JoinType, LogicalPlan as TypedPlan, UserDefinedLogicalNodeCore,
};

use super::functions::window::{SESSION_WINDOWS, WINDOW_TIME, WINDOWS};
use crate::operator::Micros;

/// Observes the event times of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(super) struct WatermarkPlan {
    pub(super) input: TypedPlan,
    /// The internal name of the column.
    pub(super) column: String,
    pub(super) delay: Duration,
}

/// Keeps the first row of each key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(super) struct DeduplicatePlan {
    pub(super) input: TypedPlan,
    /// The internal names of the key columns.
    pub(super) keys: Vec<String>,
    /// A key is remembered for the watermark's delay after its first row.
    pub(super) is_within_watermark: bool,
}

fn column(name: &str) -> TypedExpr {
    TypedExpr::Column(Column::new_unqualified(name))
}

/// The one input a node was given anew.
fn only(mut inputs: Vec<TypedPlan>) -> datafusion::common::Result<TypedPlan> {
    match (inputs.pop(), inputs.is_empty()) {
        (Some(input), true) => Ok(input),
        _ => Err(DataFusionError::Internal("a node over one input was given another number".to_string())),
    }
}

/// The columns of `input` that are wanted above a node, and those the node itself needs.
fn necessary(input: &TypedPlan, wanted: &[usize], own: &[String]) -> Vec<usize> {
    let own = own.iter().filter_map(|name| input.schema().maybe_index_of_column(&Column::new_unqualified(name)));
    let mut all: Vec<usize> = wanted.iter().copied().chain(own).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl UserDefinedLogicalNodeCore for WatermarkPlan {
    fn name(&self) -> &'static str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&TypedPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<TypedExpr> {
        vec![column(&self.column)]
    }

    /// Only conditions on the event time itself stay above: rows that go before are not observed (as Spark's optimizer does).
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.column.clone()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let delay = i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX);
        write!(f, "Watermark: {}, {} behind", self.column, Micros(delay))
    }

    fn with_exprs_and_inputs(&self, _: Vec<TypedExpr>, inputs: Vec<TypedPlan>) -> datafusion::common::Result<Self> {
        Ok(Self { input: only(inputs)?, ..self.clone() })
    }

    fn necessary_children_exprs(&self, wanted: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![necessary(&self.input, wanted, std::slice::from_ref(&self.column))])
    }
}

impl UserDefinedLogicalNodeCore for DeduplicatePlan {
    fn name(&self) -> &'static str {
        "Deduplicate"
    }

    fn inputs(&self) -> Vec<&TypedPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<TypedExpr> {
        self.keys.iter().map(|key| column(key)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let within = if self.is_within_watermark { " within the watermark" } else { "" };
        write!(f, "Deduplicate: {}{within}", self.keys.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<TypedExpr>, inputs: Vec<TypedPlan>) -> datafusion::common::Result<Self> {
        Ok(Self { input: only(inputs)?, ..self.clone() })
    }

    fn necessary_children_exprs(&self, wanted: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![necessary(&self.input, wanted, &self.keys)])
    }
}

/// The watermark node that `plan` is, if it is one.
pub(super) fn as_watermark(plan: &TypedPlan) -> Option<&WatermarkPlan> {
    match plan {
        TypedPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The deduplication that `plan` is, if it is one.
pub(super) fn as_deduplicate(plan: &TypedPlan) -> Option<&DeduplicatePlan> {
    match plan {
        TypedPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// What a column has to do with event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) shape: Shape,
    /// The delay of the watermark it stands under; `None` for windows over a time without.
    pub(super) delay: Option<Duration>,
    /// The length of windows in microseconds, where it is the same for all.
    pub(super) size_micros: Option<i64>,
}

/// What the values of a marked column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Time,
    Window,
    /// Sessions of single rows, to be merged by an aggregation.
    Session,
}

/// The marked columns of a plan's output, by internal name.
pub(super) type Marks = HashMap<String, Mark>;

/// Derives the marks of the columns that `plan` puts out.
pub(super) fn marks(plan: &TypedPlan) -> Marks {
    match plan {
        TypedPlan::Projection(projection) => {
            let input = marks(&projection.input);
            let columns = projection.expr.iter().zip(projection.schema.fields());
            columns.filter_map(|(expr, field)| Some((field.name().clone(), mark_of(expr, &input)?))).collect()
        }
        TypedPlan::Aggregate(aggregate) => {
            let input = marks(&aggregate.input);
            let keys = aggregate.group_expr.iter().zip(aggregate.schema.fields());
            let merged = |mark: Mark| match mark.shape {
                Shape::Session => Mark { shape: Shape::Window, ..mark },
                Shape::Time | Shape::Window => mark,
            };
            keys.filter_map(|(expr, field)| Some((field.name().clone(), merged(mark_of(expr, &input)?)))).collect()
        }
        TypedPlan::Union(union) => {
            // The first input names the columns and decides what they are.
            let Some(first) = union.inputs.first() else { return Marks::new() };
            let input = marks(first);
            let columns = first.schema().fields().iter().zip(union.schema.fields());
            columns.filter_map(|(own, field)| Some((field.name().clone(), *input.get(own.name())?))).collect()
        }
        TypedPlan::Extension(_) => {
            let mut columns = inherited(plan);
            if let Some(watermark) = as_watermark(plan) {
                let shape = columns.get(&watermark.column).map_or_else(|| shape_of(watermark), |mark| mark.shape);
                columns.retain(|_, mark| mark.shape != Shape::Time);
                for mark in columns.values_mut() {
                    mark.delay = None;
                }
                let size_micros = columns.get(&watermark.column).and_then(|mark| mark.size_micros);
                columns.insert(watermark.column.clone(), Mark { shape, delay: Some(watermark.delay), size_micros });
            }
            columns
        }
        _ => inherited(plan),
    }
}

/// The marks of all inputs; nodes that keep their columns keep the marks, a semi or anti join those of its left side.
fn inherited(plan: &TypedPlan) -> Marks {
    match plan {
        TypedPlan::Join(join) if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) => marks(&join.left),
        _ => plan.inputs().into_iter().flat_map(marks).collect(),
    }
}

fn shape_of(watermark: &WatermarkPlan) -> Shape {
    let column = Column::new_unqualified(&watermark.column);
    match watermark.input.schema().field_from_column(&column).map(|field| field.data_type().is_nested()) {
        Ok(true) => Shape::Window,
        Ok(false) | Err(_) => Shape::Time,
    }
}

/// The mark of what `expr` makes of marked columns.
fn mark_of(expr: &TypedExpr, input: &Marks) -> Option<Mark> {
    match expr {
        TypedExpr::Alias(alias) => mark_of(&alias.expr, input),
        TypedExpr::Column(column) => input.get(&column.name).copied(),
        TypedExpr::ScalarFunction(function) => {
            let delay = function.args.first().and_then(|time| mark_of(time, input)).and_then(|mark| mark.delay);
            match function.func.name() {
                WINDOWS => Some(Mark { shape: Shape::Window, delay, size_micros: literal(function.args.get(1)) }),
                SESSION_WINDOWS => Some(Mark { shape: Shape::Session, delay, size_micros: None }),
                WINDOW_TIME => delay.map(|delay| Mark { shape: Shape::Time, delay: Some(delay), size_micros: None }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn literal(expr: Option<&TypedExpr>) -> Option<i64> {
    match expr {
        Some(TypedExpr::Literal(ScalarValue::Int64(value), _)) => *value,
        _ => None,
    }
}

/// The user's name of an internal column.
pub(super) fn shown(internal: &str) -> &str {
    internal.rsplit_once('#').map_or(internal, |(name, _)| name)
}

/// Which grouping key of an aggregation is sessions that it has to merge.
pub(super) fn session_key(aggregate: &Aggregate) -> Option<usize> {
    let input = marks(&aggregate.input);
    let is_session = |expr: &TypedExpr| mark_of(expr, &input).is_some_and(|mark| mark.shape == Shape::Session);
    aggregate.group_expr.iter().position(is_session)
}

/// The users' names of the grouping keys that are watermarked; a key that stands there twice once.
pub(super) fn event_time_keys(aggregate: &Aggregate) -> Vec<String> {
    let input = marks(&aggregate.input);
    let mut keys: Vec<&TypedExpr> = Vec::new();
    let mut names = Vec::new();
    for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
        let key = if let TypedExpr::Alias(alias) = expr { alias.expr.as_ref() } else { expr };
        if mark_of(key, &input).is_some_and(|mark| mark.delay.is_some()) && !keys.contains(&key) {
            keys.push(key);
            names.push(shown(field.name()).to_string());
        }
    }
    names
}

/// The grouping key of an aggregation that is marked, and its mark: the watermarked one if there are several.
pub(super) fn time_key(aggregate: &Aggregate) -> Option<(usize, Mark)> {
    let input = marks(&aggregate.input);
    let marked = aggregate.group_expr.iter().enumerate();
    let marked: Vec<_> = marked.filter_map(|(index, expr)| Some((index, mark_of(expr, &input)?))).collect();
    marked.iter().find(|(_, mark)| mark.delay.is_some()).or(marked.first()).copied()
}
