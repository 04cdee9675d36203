//! The streaming queries that are refused before anything runs, one variant each.

use std::panic::Location;

use super::logical::{LogicalPlan, Relation};
use crate::error::Error;
use crate::protocol::OutputMode;

/// Why a plan cannot be run; the text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "append mode cannot show an aggregation whose groups never become final; use update or complete mode, or \
         group by a column with a watermark"
    )]
    AppendAggregationWithoutWatermark,
    #[error(
        "drop_duplicates_within_watermark needs a watermark, which says how long a key is remembered; call \
         with_watermark(column, delay) before it, or use drop_duplicates"
    )]
    DeduplicationWithoutWatermark,
    #[error("a second watermark above another one; give a stream one with_watermark(column, delay)")]
    SecondWatermark,
    #[error(
        "{0} sees two event-time columns, {1}, and cannot know which one rows are late by; keep one of them, or cast the other \
         to make it an ordinary column"
    )]
    TwoEventTimes(&'static str, String),
    #[error("session windows cannot be shown in update mode, because sessions merge; use append or complete mode")]
    SessionInUpdate,
    #[error(
        "a session window needs another grouping key on a stream, or all rows would be one long session; add the column that says \
         whose session it is to group_by"
    )]
    SessionWithoutKey,
    #[error("complete mode needs an aggregation, because it keeps the whole result; use append or update mode")]
    CompleteWithoutAggregation,
    #[error(
        "a DISTINCT aggregate cannot be maintained on a stream; use approx_count_distinct, or drop_duplicates first"
    )]
    DistinctAggregate,
    #[error("{0} cannot be used on a stream; write one query for each grouping")]
    GroupingSets(&'static str),
    #[error("a stream can be sorted only after an aggregation and in complete mode; sort the result instead")]
    Sort,
    #[error("limit cannot be used in update mode, because a row already shown may change; use append or complete mode")]
    LimitInUpdate,
    #[error("offset cannot be used on a stream; filter the rows instead")]
    Offset,
    #[error("sample cannot be used on a stream; filter by a hash or rand() of a column instead")]
    Sample,
    #[error("`{0}` is an analytic window over all rows, which a stream never has; group by window(time, …) instead")]
    AnalyticWindow(String),
    #[error("`{0}` works on static tables only; a stream has no end to look at")]
    StaticOnly(String),
    #[error("monotonically increasing ids cannot be given on a stream; use a key of the data")]
    MonotonicId,
    #[error(
        "a stream and a static table cannot be put together by union; write them by two queries, or read both as streams"
    )]
    UnionOfStreamAndStatic,
    #[error("{0} cannot be used with a stream; use a join or drop_duplicates instead")]
    SetOperation(&'static str),
    #[error("{0} above an aggregation works in append mode only; in {1} mode its input would change under it")]
    StatefulAboveAggregation(&'static str, OutputMode),
    #[error(
        "a join of two streams works in append mode only, because in {0} mode rows already shown would have to change; use \
         append mode, or read one side as a static table"
    )]
    JoinOfStreamsOutsideAppend(OutputMode),
    #[error(
        "a join of two streams needs an equality between their columns, by which rows are kept and found; add one such as \
         `left.id = right.id`, or read one side as a static table"
    )]
    JoinOfStreamsWithoutEquality,
    #[error(
        "a {kind} of two streams keeps rows of the {side} side until nothing can match them any more, and nothing says when \
         that is; {remedy}"
    )]
    UnboundedJoin { kind: &'static str, side: String, remedy: String },
    #[error(
        "a full join of a stream with a static table cannot run, because a table's row without a match may still get one; use \
         a left or right join that keeps the rows of the stream, or read both as streams"
    )]
    FullJoinWithStatic,
    #[error(
        "a {0} keeps rows of its {1} side, which is a static table here, and its rows without a match may still get one from \
         the stream; put the stream on the {1} side, or use an inner join"
    )]
    JoinKeepsStatic(&'static str, &'static str),
    #[error(
        "a left anti join needs a static table on the right, because a stream may still bring a match; use a left join with \
         watermarks on both sides and a range condition, and keep the rows whose right columns are null"
    )]
    LeftAntiWithStream,
    #[error("the query reads no stream; use collect() or write() for static tables, or start from read_stream()")]
    NoStream,
    #[error("a stream has no end; use write_stream() and start() instead of {0}")]
    StreamUsedAsTable(&'static str),
    #[error("{0} with FILTER is not supported on streams; filter the rows before the aggregation")]
    FilteredFirst(String),
    #[error("{0} is not supported on streams yet")]
    NotYet(&'static str),
}

impl Refusal {
    /// Names, in an error that is a refusal, the line of the program that made what is refused: the first such relation from
    /// the output down. A relation inside SQL text or a view is not found, and the error stays as it is.
    pub(crate) fn located(error: Error, plan: &LogicalPlan) -> Error {
        let refusal = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Self>());
        match refusal.and_then(|refusal| refusal.culprit(plan)) {
            Some(location) => error.at(location),
            None => error,
        }
    }

    fn culprit(&self, plan: &LogicalPlan) -> Option<&'static Location<'static>> {
        if self.is_about(plan.relation()) {
            return Some(plan.location());
        }
        plan.relation().inputs().into_iter().find_map(|input| self.culprit(input))
    }

    fn is_about(&self, relation: &Relation) -> bool {
        match self {
            Self::Sort => matches!(relation, Relation::Sort { .. }),
            Self::LimitInUpdate => matches!(relation, Relation::Limit { .. }),
            Self::SecondWatermark => matches!(relation, Relation::WithWatermark { .. }),
            Self::DeduplicationWithoutWatermark => {
                matches!(relation, Relation::Deduplicate { within_watermark: true, .. })
            }
            Self::AppendAggregationWithoutWatermark
            | Self::DistinctAggregate
            | Self::SessionInUpdate
            | Self::SessionWithoutKey => matches!(relation, Relation::Aggregate { .. }),
            Self::JoinOfStreamsOutsideAppend(_)
            | Self::JoinOfStreamsWithoutEquality
            | Self::UnboundedJoin { .. }
            | Self::FullJoinWithStatic
            | Self::JoinKeepsStatic(..)
            | Self::LeftAntiWithStream => matches!(relation, Relation::Join { .. }),
            Self::TwoEventTimes(what, _) | Self::StatefulAboveAggregation(what, _) if what.contains("join") => {
                matches!(relation, Relation::Join { .. })
            }
            Self::TwoEventTimes(..) | Self::StatefulAboveAggregation(..) => {
                matches!(relation, Relation::Aggregate { .. } | Relation::Deduplicate { .. })
            }
            _ => false,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::plan(refusal.to_string()).with_source(refusal)
    }
}
