//! Joins: rows of two sides that belong together.
//!
//! Owns: what a join is ([`JoinSpec`]), finding pairs, and both joins: a stream with a stream and a stream with a table. Does
//! not own: what a condition says about keys and times (`plan`), or reading tables (`runtime`).
//!
//! ```text
//! a batch of one side ──hashes──▶ chains of stored rows with the same hash ──▶ candidate pairs, at most CHUNK at once
//!                     ──keys equal? condition true?──▶ pairs ──▶ rows put out; both rows marked as matched
//! ```
//!
//! Candidates are found, judged and put out in columns. A probing row may have any number of partners: after each chunk the
//! join looks whether its output has room, and pauses in the middle of a row if not.

mod cold;
mod pairs;
mod rows;
mod saved;
mod static_index;
mod static_join;
mod stream_join;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::ExpressionRef;
use super::identity;
use crate::error::{Error, Result};
use crate::types::type_name;

pub use static_index::{StaticIndex, StaticSide};
pub use static_join::StaticJoin;
pub use stream_join::{JoinBound, JoinInput, StreamJoin};

/// How two relations are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinType {
    /// Pairs that match.
    Inner,
    /// Pairs that match, and left rows without a match beside nulls.
    Left,
    /// Pairs that match, and right rows without a match beside nulls.
    Right,
    /// Pairs that match, and rows of either side without a match beside nulls.
    Full,
    /// Left rows that have a match.
    LeftSemi,
    /// Left rows that have none.
    LeftAnti,
}

impl JoinType {
    /// Whether rows of this side are put out beside nulls when they have no match.
    pub(crate) fn keeps(self, side: JoinSide) -> bool {
        match self {
            Self::Inner | Self::LeftSemi | Self::LeftAnti => false,
            Self::Left => side == JoinSide::Left,
            Self::Right => side == JoinSide::Right,
            Self::Full => true,
        }
    }

    /// Whether only rows of the left side are put out, without the right's columns.
    pub(crate) fn is_left_only(self) -> bool {
        matches!(self, Self::LeftSemi | Self::LeftAnti)
    }
}

impl std::fmt::Display for JoinType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::LeftSemi => "left semi",
            Self::LeftAnti => "left anti",
        })
    }
}

/// One of the two sides; also the input port of a stream's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinSide {
    /// The first input.
    Left,
    /// The second input.
    Right,
}

impl JoinSide {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// `left` or `right`.
    pub fn name(self) -> &'static str {
        self.of("left", "right")
    }

    /// What belongs to this side of a pair.
    pub(crate) fn of<T>(self, left: T, right: T) -> T {
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }
}

/// Two columns, by index, that have to be equal; of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinKey {
    /// The column of the left side.
    pub left: usize,
    /// The column of the right side.
    pub right: usize,
    /// Whether null equals null (SQL's `<=>`); otherwise null equals nothing.
    pub null_safe: bool,
}

/// A condition over pairs, beyond equal keys.
#[derive(Debug, Clone)]
pub struct JoinCondition {
    /// The columns it reads, in the order of the schema it was compiled for.
    pub columns: Vec<(JoinSide, usize)>,
    /// That schema.
    pub schema: SchemaRef,
    /// A BOOLEAN expression; null is no match.
    pub expression: ExpressionRef,
}

/// A column that a join puts out.
#[derive(Debug, Clone)]
pub struct JoinColumn {
    /// Its name and type.
    pub field: FieldRef,
    /// The side it comes from.
    pub side: JoinSide,
    /// Its index there.
    pub index: usize,
}

/// What both kinds of join have to know.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Which rows are put out.
    pub kind: JoinType,
    /// The equalities; without any, every row meets every row.
    pub keys: Vec<JoinKey>,
    /// What else a pair has to fulfil.
    pub condition: Option<JoinCondition>,
    /// The columns put out. Of a semi or anti join, of the left side only.
    pub columns: Vec<JoinColumn>,
}

impl JoinSpec {
    /// All columns of both sides, or of the left one where the kind puts out nothing else; `left` and `right` are theirs.
    pub fn new(kind: JoinType, keys: Vec<JoinKey>, left: &Schema, right: &Schema) -> Self {
        let of = |side: JoinSide, schema: &Schema| {
            let fields = schema.fields().iter().enumerate();
            fields.map(|(index, field)| JoinColumn { field: nullable(field), side, index }).collect::<Vec<_>>()
        };
        let mut columns = of(JoinSide::Left, left);
        if !kind.is_left_only() {
            columns.extend(of(JoinSide::Right, right));
        }
        Self { kind, keys, condition: None, columns }
    }

    /// The columns of the output.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
    }

    /// The key columns of a side, by index.
    pub(crate) fn key_columns(&self, side: JoinSide) -> Vec<usize> {
        self.keys.iter().map(|key| side.of(key.left, key.right)).collect()
    }

    /// Refuses columns that are not there or do not fit.
    ///
    /// # Errors
    /// When an index is beyond its side, a pair of keys differs in type, or a semi or anti join puts out a right column.
    pub(crate) fn check(&self, left: &Schema, right: &Schema) -> Result<()> {
        let field = |side: JoinSide, index: usize, role: &str| {
            let fields = side.of(left, right).fields();
            let missing =
                || format!("a join reads column {index} as {role}, but its {side:?} side has {}", fields.len());
            fields.get(index).ok_or_else(|| Error::plan(missing()))
        };
        for key in &self.keys {
            let own = field(JoinSide::Left, key.left, "a key")?;
            let other = field(JoinSide::Right, key.right, "a key")?;
            if own.data_type() != other.data_type() {
                let (own_type, other_type) = (type_name(own.data_type()), type_name(other.data_type()));
                let (own, other) = (own.name(), other.name());
                let message =
                    format!("a join compares `{own}`, which is {own_type}, with `{other}`, which is {other_type}");
                return Err(Error::plan(message + "; cast one of them"));
            }
        }
        for (side, index) in self.condition.iter().flat_map(|condition| &condition.columns) {
            field(*side, *index, "part of its condition")?;
        }
        for column in &self.columns {
            field(column.side, column.index, "output")?;
            if self.kind.is_left_only() && column.side == JoinSide::Right {
                let name = column.field.name();
                return Err(Error::plan(format!("a {} join has no column `{name}` of its right side", self.kind)));
            }
        }
        Ok(())
    }

    /// The equalities as a checkpoint has them.
    pub(crate) fn key_identity(&self, left: &Schema, right: &Schema) -> String {
        let of = |key: &JoinKey| {
            let sign = if key.null_safe { "<=>" } else { "=" };
            format!("{} {sign} {}", identity::column_at(left, key.left), identity::column_at(right, key.right))
        };
        self.keys.iter().map(of).collect::<Vec<_>>().join(" and ")
    }

    /// The equalities in words.
    pub(crate) fn describe_keys(&self, left: &Schema, right: &Schema) -> String {
        let name = |schema: &Schema, index: usize| {
            schema.fields().get(index).map_or_else(|| format!("column {index}"), |field| field.name().clone())
        };
        let of = |key: &JoinKey| {
            let sign = if key.null_safe { "<=>" } else { "=" };
            format!("{} {sign} {}", name(left, key.left), name(right, key.right))
        };
        self.keys.iter().map(of).collect::<Vec<_>>().join(" AND ")
    }
}

/// Either side may be nulls where an outer join found no partner.
fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_nullable(true))
}
