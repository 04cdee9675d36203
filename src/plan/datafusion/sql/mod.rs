//! SQL text to the unresolved plan.
//!
//! Owns: parsing, and the shape of a query: which clause becomes which relation. Does not own: names and types, which
//! are settled later as for any other plan. What a stream can never run, such as `rank() OVER (…)`, is not in our tree:
//! a query with it is handed back by name, and DataFusion runs it over static tables.
//!
//! ```text
//! text ──dialect──▶ parsed ──query, select, expression, literal──▶ LogicalPlan
//!                      └────────────────────────────────────────▶ Beyond
//! ```

mod dialect;
mod expression;
mod literal;
mod query;
mod select;
#[cfg(test)]
mod tests;
mod tree;

use std::panic::Location;

use datafusion::sql::parser::Statement as AnyStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Result};
use crate::expr::{Expr, ExprNode};
use crate::plan::logical::LogicalPlan;
use dialect::Spark;
use expression::Expressions;
use query::Queries;

/// What a SQL query is.
#[derive(Debug, Clone)]
pub(crate) enum SqlOutcome {
    /// A plan that streams may run.
    Plan(LogicalPlan),
    /// Valid SQL that only static tables can run.
    Beyond {
        /// What is beyond streams: `rank() OVER (…)`, `EXISTS (subquery)`.
        construct: String,
        /// Whether it is a function `OVER` a window.
        is_window: bool,
        /// The name of every table it reads.
        tables: Vec<String>,
    },
}

/// Why text was not lowered.
#[derive(Debug)]
enum Stop {
    /// Our tree cannot say this.
    Beyond(String),
    /// A function over an analytic window.
    Window(String),
    /// It is wrong.
    Wrong(Error),
}

type Lowered<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

fn beyond<T>(construct: impl Into<String>) -> Lowered<T> {
    Err(Stop::Beyond(construct.into()))
}

/// Reads one expression, with a name (`x AS y`) or an order (`x DESC NULLS LAST`); `*` is all columns.
///
/// # Errors
/// What is wrong and where in the text, or the construct that no expression of a `DataFrame` can hold.
pub(crate) fn parse_expression(text: &str, location: &'static Location<'static>) -> Result<Expr> {
    let expressions = Expressions::new(location);
    let lowered = match sort_key(text, &expressions) {
        Some(key) => key,
        None => select_item(text, &expressions).map_err(|error| error.at(location))?,
    };
    match lowered {
        Ok(expr) => Ok(expr),
        Err(Stop::Window(call)) => Ok(expressions.node(ExprNode::Unsupported(call))),
        Err(Stop::Beyond(construct)) => {
            let remedy = "only a whole query over static tables, given to sql(…), can hold it";
            Err(Error::plan(format!("SQL: {construct} cannot be part of an expression; {remedy}")).at(location))
        }
        Err(Stop::Wrong(error)) => Err(error.at(location)),
    }
}

/// Reads `x ASC`, `x DESC NULLS FIRST`, …; `None` when there is no order.
fn sort_key(text: &str, expressions: &Expressions) -> Option<Lowered<Expr>> {
    let key = parsed(text, Parser::parse_order_by_expr).ok()?;
    let has_order = key.options.asc.is_some() || key.options.nulls_first.is_some();
    has_order.then(|| {
        let ascending = key.options.asc.unwrap_or(true);
        let nulls_first = key.options.nulls_first.unwrap_or(ascending);
        let expr = expressions.lower(&key.expr)?;
        Ok(expressions.node(ExprNode::Sort { expr, ascending, nulls_first }))
    })
}

fn select_item(text: &str, expressions: &Expressions) -> Result<Lowered<Expr>> {
    let item = parsed(text, Parser::parse_select_item)?;
    Ok(select::item(expressions, &item))
}

/// Reads one query.
///
/// # Errors
/// What is wrong and where in the text.
pub(crate) fn parse_query(text: &str, location: &'static Location<'static>) -> Result<SqlOutcome> {
    let statement = parsed(text, Parser::parse_statement).map_err(|error| error.at(location))?;
    let Statement::Query(query) = &statement else {
        let first = text.split_whitespace().next().unwrap_or_default().to_uppercase();
        let remedy = "write a SELECT; tables are written with write() and write_stream()";
        return Err(Error::plan(format!("SQL: {first} is not a query; {remedy}")).at(location));
    };
    match Queries::new(location).query(query) {
        Ok(plan) => Ok(SqlOutcome::Plan(plan)),
        Err(Stop::Beyond(construct)) => beyond_query(statement, construct, false).map_err(|error| error.at(location)),
        Err(Stop::Window(construct)) => beyond_query(statement, construct, true).map_err(|error| error.at(location)),
        Err(Stop::Wrong(error)) => Err(error.at(location)),
    }
}

fn beyond_query(statement: Statement, construct: String, is_window: bool) -> Result<SqlOutcome> {
    Ok(SqlOutcome::Beyond { construct, is_window, tables: tables_of(statement)? })
}

/// Every table a statement reads; not the names it gives to queries of its own by WITH.
fn tables_of(statement: Statement) -> Result<Vec<String>> {
    let statement = AnyStatement::Statement(Box::new(statement));
    let (tables, _) = resolve_table_references(&statement, false).map_err(super::translated)?;
    let name = |table: datafusion::common::TableReference| {
        let parts = [table.catalog(), table.schema(), Some(table.table())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(".")
    };
    Ok(tables.into_iter().map(name).collect())
}

/// All of the text, read by one of the parser's rules; a semicolon may follow.
fn parsed<T>(text: &str, rule: impl FnOnce(&mut Parser<'static>) -> std::result::Result<T, ParserError>) -> Result<T> {
    let all = || {
        let tokens = Tokenizer::new(&Spark, text).with_unescape(false).tokenize_with_location()?;
        let mut parser = Parser::new(&Spark).with_tokens_with_locations(tokens);
        let value = rule(&mut parser)?;
        while parser.consume_token(&Token::SemiColon) {}
        parser.expect_token(&Token::EOF)?;
        Ok(value)
    };
    all().map_err(|error: ParserError| {
        let what = match error {
            ParserError::ParserError(what) | ParserError::TokenizerError(what) => what,
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_string(),
        };
        Error::plan(format!("SQL: {what}, in `{}`", text.trim()))
    })
}
