//! What the condition of a streaming join says.
//!
//! Owns: its parts by the sides they read, how long the rows of each side can still match, and what to add where nothing says.
//! Does not own: which joins a stream may run (`checks`), or the operators (`lower`).

mod bounds;
mod conditions;
mod linear;
mod remedy;

use datafusion::logical_expr::{Join, JoinType, LogicalPlan as TypedPlan};

use super::checks::is_streaming;

pub(in crate::plan::datafusion) use bounds::{BoundValue, SideBound, bounds};
pub(in crate::plan::datafusion) use conditions::{JoinParts, parts};
pub(in crate::plan::datafusion) use remedy::remedy;

/// One input of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan::datafusion) enum Side {
    Left,
    Right,
}

impl Side {
    /// The word for it.
    pub(in crate::plan::datafusion) fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    fn input(self, join: &Join) -> &TypedPlan {
        match self {
            Self::Left => &join.left,
            Self::Right => &join.right,
        }
    }
}

/// Whether rows of streams come in on both sides.
pub(in crate::plan::datafusion) fn is_of_streams(join: &Join) -> bool {
    is_streaming(&join.left) && is_streaming(&join.right)
}

/// A kind of join as users call it.
pub(in crate::plan::datafusion) fn kind_name(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Inner => "inner join",
        JoinType::Left => "left join",
        JoinType::Right => "right join",
        JoinType::Full => "full join",
        JoinType::LeftSemi => "left semi join",
        JoinType::LeftAnti => "left anti join",
        _ => "join",
    }
}

#[cfg(test)]
mod tests;
