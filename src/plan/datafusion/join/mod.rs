//! What the condition of a streaming join says.
//!
//! Owns: its parts by the sides they read, how long the rows of each side can still match, and what to add where nothing says.
//! Does not own: which joins a stream may run (`checks`), or the operators (`lower`).

mod bounds;
mod conditions;
mod linear;
mod remedy;

use datafusion::logical_expr::{Join, JoinType as TypedJoin};

use super::checks::is_streaming;
use crate::error::{Error, Result};
use crate::operator::JoinType;

pub(in crate::plan::datafusion) use bounds::{BoundValue, SideBound, bounds};
pub(in crate::plan::datafusion) use conditions::{JoinParts, KeyPair, conjuncts, parts};
pub(in crate::plan::datafusion) use remedy::remedy;

/// Whether rows of streams come in on both sides.
pub(in crate::plan::datafusion) fn is_of_streams(join: &Join) -> bool {
    is_streaming(&join.left) && is_streaming(&join.right)
}

/// The kind of a join as operators know it.
///
/// # Errors
/// For a kind that no relation of ours makes.
pub(in crate::plan::datafusion) fn join_type(kind: TypedJoin) -> Result<JoinType> {
    Ok(match kind {
        TypedJoin::Inner => JoinType::Inner,
        TypedJoin::Left => JoinType::Left,
        TypedJoin::Right => JoinType::Right,
        TypedJoin::Full => JoinType::Full,
        TypedJoin::LeftSemi => JoinType::LeftSemi,
        TypedJoin::LeftAnti => JoinType::LeftAnti,
        other => return Err(Error::internal(format!("no streaming operator for a {other} join"))),
    })
}

/// A kind of join as users call it.
pub(in crate::plan::datafusion) fn kind_name(kind: TypedJoin) -> &'static str {
    match kind {
        TypedJoin::Inner => "inner join",
        TypedJoin::Left => "left join",
        TypedJoin::Right => "right join",
        TypedJoin::Full => "full join",
        TypedJoin::LeftSemi => "left semi join",
        TypedJoin::LeftAnti => "left anti join",
        _ => "join",
    }
}

#[cfg(test)]
mod tests;
