//! Rows beside the windows they are in.
//!
//! Owns: where `window(…)` and `session_window(…)` may stand, that a relation has only one of them, and the relations
//! below it that make its column. Does not own: the calls (`functions`), or how a stream makes the column (`lower`).
//!
//! ```text
//! window(t, …)             Unnest window#k                             a row for each window a row is in
//!                            Projection *, windows(t, …) AS window#k
//!
//! session_window(t, gap)   Filter session_window#k IS NOT NULL         a row is a session of its own
//!                            Projection *, session_windows(t, gap) AS session_window#k
//! ```

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullHandling, UnnestOptions};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr as TypedExpr, LogicalPlanBuilder};

use super::functions::window;
use super::relations::{Resolved, Resolver};
use super::scope::ScopeColumn;
use super::translated;
use crate::error::{Error, Result};

/// The window of a relation: the mark in its expressions and the column in its place.
pub(super) struct WindowColumn {
    mark: TypedExpr,
    column: ScopeColumn,
}

impl Resolver<'_> {
    /// `expr` with a column in place of the window it calls. `window` is the relation's: when the first expression
    /// calls for it, `input` gets the column. What was resolved over `input` before stays right.
    ///
    /// # Errors
    /// When `expr` calls for another window than the expressions before it.
    pub(super) fn in_window(
        &mut self,
        input: &mut Resolved,
        window: &mut Option<WindowColumn>,
        expr: TypedExpr,
    ) -> Result<TypedExpr> {
        for mark in marks(&expr)? {
            match window {
                None => *window = Some(self.window_column(input, mark)?),
                Some(known) if known.mark == TypedExpr::ScalarFunction(mark.clone()) => {}
                Some(known) => return Err(second_window(&known.mark, &mark)),
            }
        }
        match window {
            Some(window) => window.replace_in(expr),
            None => Ok(expr),
        }
    }

    /// Puts the column that `mark` stands for behind those of `input`.
    fn window_column(&mut self, input: &mut Resolved, mark: ScalarFunction) -> Result<WindowColumn> {
        let name = mark.func.name().to_string();
        let internal = self.internal(&name);
        let call = window::computed(&mark, input.plan.schema())?.alias(&internal);
        let columns = input.plan.schema().columns().into_iter().map(TypedExpr::Column);
        let builder =
            LogicalPlanBuilder::from(input.plan.clone()).project(columns.chain([call])).map_err(translated)?;
        let column = Column::new_unqualified(&internal);
        let builder = if name == window::WINDOW {
            let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
            builder.unnest_columns_with_options(vec![column], options)
        } else {
            builder.filter(TypedExpr::Column(column).is_not_null())
        };
        input.plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        let column = ScopeColumn { qualifier: None, name, internal };
        Ok(WindowColumn { mark: TypedExpr::ScalarFunction(mark), column })
    }
}

impl WindowColumn {
    /// Lets expressions over `input` name the window as `window` or `session_window`, unless a column of that name is
    /// there already.
    pub(super) fn show_in(&self, input: &mut Resolved) {
        let columns = &mut input.scope.columns;
        if !columns.iter().any(|column| column.name.eq_ignore_ascii_case(&self.column.name)) {
            columns.push(self.column.clone());
        }
    }

    fn replace_in(&self, expr: TypedExpr) -> Result<TypedExpr> {
        let replaced = expr.transform_down(|node| {
            if node == self.mark {
                return Ok(Transformed::new(self.column.reference(), true, TreeNodeRecursion::Jump));
            }
            Ok(Transformed::no(node))
        });
        Ok(replaced.map_err(translated)?.data)
    }
}

/// Refuses a window in `expr`, which stands where no rows can be made.
///
/// # Errors
/// When there is one.
pub(super) fn refuse(expr: &TypedExpr) -> Result<()> {
    let Some(mark) = marks(expr)?.into_iter().next() else { return Ok(()) };
    let name = mark.func.name();
    let remedy = format!("make a column of it by with_column(\"{name}\", {name}(…)) first and use that");
    Err(Error::plan(format!("{name}(…) can stand only in select, with_column, group_by and agg; {remedy}")))
}

/// The windows an expression calls for.
fn marks(expr: &TypedExpr) -> Result<Vec<ScalarFunction>> {
    let mut marks = Vec::new();
    let walked = expr.apply(|node| {
        marks.extend(window::as_mark(node).cloned());
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(translated)?;
    Ok(marks)
}

fn second_window(first: &TypedExpr, second: &ScalarFunction) -> Error {
    let first = window::as_mark(first).map(described).unwrap_or_default();
    let second = described(second);
    let remedy = "write one query for each, or select one of them first and the other from its result";
    Error::plan(format!("{first} and {second} cannot stand in one select or group_by; {remedy}"))
}

fn described(mark: &ScalarFunction) -> String {
    let name = mark.func.name();
    match window::windows_of(mark) {
        Some((_, windows)) => format!("{name}(…) of {windows}"),
        None => format!("{name}(…)"),
    }
}
