//! What to add to a join of two streams so that a side is bounded.
//!
//! Owns: the words, with the columns of the join as examples. Does not own: finding bounds (`bounds`).

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Join, LogicalPlan as TypedPlan};

use super::super::event_time::{Shape, marks, shown};
use crate::operator::JoinSide;

/// What the rows of `side`, which nothing bounds, lack.
pub(in crate::plan::datafusion) fn remedy(join: &Join, side: JoinSide) -> String {
    let other = side.other();
    let (own_time, _) = time_of(side.of(&join.left, &join.right));
    let (other_time, is_watermarked) = time_of(other.of(&join.left, &join.right));
    let (own, other) = (side.name(), other.name());
    let watermark = if is_watermarked {
        String::new()
    } else {
        format!("call with_watermark(\"{other_time}\", delay) on the {other} side and ")
    };
    format!(
        "{watermark}add a range condition such as `{own}.{own_time} >= {other}.{other_time} - INTERVAL 1 HOUR`, or put a \
         watermarked time among the equalities"
    )
}

/// The user's name of the time of a side, and whether it is watermarked: any TIMESTAMP if none is.
fn time_of(input: &TypedPlan) -> (&str, bool) {
    let marks = marks(input);
    let is_time = |name: &str| marks.get(name).is_some_and(|mark| mark.delay.is_some() && mark.shape == Shape::Time);
    let fields = input.schema().fields();
    if let Some(field) = fields.iter().find(|field| is_time(field.name())) {
        return (shown(field.name()), true);
    }
    let time = fields.iter().find(|field| matches!(field.data_type(), DataType::Timestamp(..)));
    (time.map_or("time", |field| shown(field.name())), false)
}
