//! The columns an expression may name.
//!
//! Owns: lookup by name, without case, with or without a qualifier; the user's names beside the internal ones.

use std::fmt;

use datafusion::common::Column;
use datafusion::logical_expr::Expr as TypedExpr;

use crate::error::{Error, Result, suggestion};

/// One column of a relation.
#[derive(Debug, Clone)]
pub(super) struct ScopeColumn {
    /// The alias of the relation it came from.
    pub(super) qualifier: Option<String>,
    /// The user's name.
    pub(super) name: String,
    /// The unique name in the typed plan.
    pub(super) internal: String,
}

impl ScopeColumn {
    /// A reference to it.
    pub(super) fn reference(&self) -> TypedExpr {
        TypedExpr::Column(Column::new_unqualified(&self.internal))
    }
}

/// The columns of a relation, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<ScopeColumn>,
}

/// A column and the names of struct fields that follow it.
pub(super) struct Found<'a> {
    pub(super) column: &'a ScopeColumn,
    pub(super) fields: &'a [String],
}

impl Scope {
    /// The users' names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The column that `parts` name: `column`, `alias.column`, each with struct fields behind it.
    pub(super) fn lookup<'a>(&'a self, parts: &'a [String]) -> Result<Found<'a>> {
        let Some(first) = parts.first() else { return Err(Error::plan("a column without a name")) };
        if let [qualifier, name, fields @ ..] = parts {
            let matches = |column: &&ScopeColumn| {
                column.qualifier.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(qualifier))
                    && same(&column.name, name)
            };
            if let Some(column) = Self::only(self.columns.iter().filter(matches), parts)? {
                return Ok(Found { column, fields });
            }
        }
        match Self::only(self.columns.iter().filter(|column| same(&column.name, first)), parts)? {
            Some(column) => Ok(Found { column, fields: &parts[1..] }),
            None => Err(self.unknown(parts)),
        }
    }

    /// The columns of one alias, or all.
    pub(super) fn star(&self, qualifier: Option<&str>) -> Result<Vec<&ScopeColumn>> {
        let Some(qualifier) = qualifier else { return Ok(self.columns.iter().collect()) };
        let of =
            |column: &&ScopeColumn| column.qualifier.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(qualifier));
        let columns: Vec<_> = self.columns.iter().filter(of).collect();
        if columns.is_empty() {
            let known = self.columns.iter().filter_map(|column| column.qualifier.as_deref());
            return Err(Error::plan(format!("no table `{qualifier}` here{}", suggestion(qualifier, known))));
        }
        Ok(columns)
    }

    fn only<'a>(
        mut matches: impl Iterator<Item = &'a ScopeColumn>,
        parts: &[String],
    ) -> Result<Option<&'a ScopeColumn>> {
        let first = matches.next();
        match (first, matches.next()) {
            (Some(one), Some(other)) => {
                let name = parts.join(".");
                let remedy = match (&one.qualifier, &other.qualifier) {
                    (Some(a), Some(b)) if a != b => format!("write `{a}.{name}` or `{b}.{name}`"),
                    _ => "give the tables an alias() and write `alias.column`, or rename one of them".to_string(),
                };
                Err(Error::plan(format!("column `{name}` is ambiguous; {remedy}")))
            }
            (first, _) => Ok(first),
        }
    }

    fn unknown(&self, parts: &[String]) -> Error {
        let name = parts.join(".");
        let near =
            suggestion(parts.last().map_or("", String::as_str), self.columns.iter().map(|column| column.name.as_str()));
        Error::plan(format!("no column `{name}`{near}; known columns: {self}"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}
