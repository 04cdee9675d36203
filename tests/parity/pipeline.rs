//! Builds a case's plan through the public interface, step by step as the generator does on Spark.

use millstream::prelude::*;

use crate::golden::{Kind, Step};

/// Applies the steps; `read` makes the table of an input.
pub(crate) fn build(steps: &[Step], read: &dyn Fn(&str) -> DataFrame) -> DataFrame {
    let Some((Step::Read { input }, rest)) = steps.split_first() else { panic!("a pipeline begins by reading") };
    rest.iter().fold(read(input), |frame, step| apply(&frame, step, read))
}

fn apply(frame: &DataFrame, step: &Step, read: &dyn Fn(&str) -> DataFrame) -> DataFrame {
    match step {
        Step::Read { .. } => panic!("only the first step reads"),
        Step::WithWatermark { column, delay } => frame.with_watermark(column, delay.as_str()),
        Step::Select { exprs } => frame.select_expr(exprs),
        Step::Filter { condition } => frame.filter(condition.as_str()),
        Step::WithColumn { name, expr: value } => frame.with_column(name, expr(value)),
        Step::Rename { from, to } => frame.with_column_renamed(from, to),
        Step::Alias { name } => frame.alias(name),
        Step::Drop { columns } => frame.drop(columns),
        Step::Aggregate { keys, aggs } => frame.group_by(expressions(keys)).agg(expressions(aggs)),
        Step::DropDuplicates { columns } => frame.drop_duplicates(columns),
        Step::DropDuplicatesWithinWatermark { columns } => frame.drop_duplicates_within_watermark(columns),
        Step::Distinct => frame.distinct(),
        Step::Union { with } => frame.union(&build(with, read)),
        Step::Limit { n } => frame.limit(*n),
        Step::Join { with, on, r#type } => frame.join(&build(with, read), on.as_str(), kind(*r#type)),
    }
}

fn expressions(texts: &[String]) -> Vec<Expr> {
    texts.iter().map(expr).collect()
}

fn kind(kind: Kind) -> JoinType {
    match kind {
        Kind::Inner => JoinType::Inner,
        Kind::Left => JoinType::Left,
        Kind::Right => JoinType::Right,
        Kind::Full => JoinType::Full,
        Kind::LeftSemi => JoinType::LeftSemi,
        Kind::LeftAnti => JoinType::LeftAnti,
    }
}
