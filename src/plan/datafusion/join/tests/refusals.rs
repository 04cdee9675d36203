//! Which joins a stream may run, and what is said of their state.

use std::sync::Arc;

use datafusion::logical_expr::{Extension, JoinType, LogicalPlan as TypedPlan, LogicalPlanBuilder, col as typed_col};

use super::super::super::checks::{check, check_event_times};
use super::super::super::event_time::DeduplicatePlan;
use super::super::super::state_bound;
use super::super::super::with_deep_stack;
use super::{Bench, joined};
use crate::prelude::*;

const RANGE: &str = "a.id = b.id AND a.t BETWEEN b.t - interval 1 hour AND b.t + interval 2 hours";

/// What is said of a plan, empty if nothing.
fn message<T>(result: Result<T>) -> String {
    result.err().map_or_else(String::new, |error| error.to_string())
}

fn watermarked(stream: &DataFrame, _: &str) -> DataFrame {
    stream.with_watermark("t", "10 minutes")
}

/// A static table with the columns `id`, `n` and `t`, on the side that `name` says.
fn table_on(name: &'static str) -> Bench {
    Bench::new(move |stream, side| {
        if side != name {
            return watermarked(stream, side);
        }
        let rows = "SELECT bigint(1) AS id, bigint(2) AS n, timestamp'2024-01-01 00:00:00' AS t";
        Session::builder().build().unwrap().sql(rows)
    })
}

fn refusal(bench: &Bench, kind: JoinType, mode: OutputMode, condition: &str) -> String {
    message(check(&TypedPlan::Join(bench.join(kind, condition)), mode))
}

#[test]
fn a_join_with_a_static_table_keeps_rows_of_the_stream_only() {
    let (left, right) = (table_on("a"), table_on("b"));
    let outer = "put the stream on the";
    let cases = [
        (JoinType::Inner, "", ""),
        (JoinType::Left, "a left join keeps rows of its left side, which is a static table", ""),
        (JoinType::Right, "", "put the stream on the right side, or use an inner join"),
        (JoinType::Full, "a full join of a stream with a static table", "a full join of a stream with a static table"),
        (JoinType::LeftSemi, "a left semi join keeps rows of its left side", ""),
        (JoinType::LeftAnti, "a left anti join needs a static table on the right", ""),
    ];
    assert!(refusal(&left, JoinType::Left, OutputMode::Append, "a.id = b.id").contains(outer));
    for (kind, with_left, with_right) in cases {
        // Neither an equality nor a range is needed.
        for condition in ["a.id = b.id", "a.id < b.id", RANGE] {
            for (bench, expected) in [(&left, with_left), (&right, with_right)] {
                let said = refusal(bench, kind, OutputMode::Append, condition);
                assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{kind}: `{said}`");
                let update = refusal(bench, kind, OutputMode::Update, condition);
                assert_eq!(update, said, "{kind}: in update mode");
            }
        }
    }
}

#[test]
fn two_streams_are_joined_by_an_equality_in_append_mode_and_never_anti() {
    let bench = Bench::new(watermarked);
    let kinds = [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full, JoinType::LeftSemi];
    for kind in kinds {
        assert_eq!(refusal(&bench, kind, OutputMode::Append, RANGE), "", "{kind}");
        let said = refusal(&bench, kind, OutputMode::Update, RANGE);
        assert!(said.contains("works in append mode only, because in update mode"), "{kind}: `{said}`");
        for condition in ["a.n < b.n", "a.id = 5 AND b.id = 5", "TRUE"] {
            let said = refusal(&bench, kind, OutputMode::Append, condition);
            assert!(said.contains("needs an equality between their columns"), "{kind}: `{said}`");
        }
    }
    let said = refusal(&bench, JoinType::LeftAnti, OutputMode::Append, RANGE);
    assert!(said.contains("a left anti join needs a static table on the right"), "`{said}`");
    let join = bench.join(JoinType::Inner, "TRUE");
    let cross = LogicalPlanBuilder::from(join.left.as_ref().clone()).cross_join(join.right.as_ref().clone());
    let said = message(check(&cross.and_then(LogicalPlanBuilder::build).unwrap(), OutputMode::Append));
    assert!(said.contains("needs an equality between their columns"), "`{said}`");
}

#[test]
fn complete_mode_shows_no_join_of_streams_either() {
    let join = Bench::new(watermarked).join(JoinType::Inner, RANGE);
    let key = typed_col(join.left.schema().columns()[0].clone());
    let builder = LogicalPlanBuilder::from(TypedPlan::Join(join));
    let counted = builder.aggregate([key], Vec::<super::TypedExpr>::new()).and_then(LogicalPlanBuilder::build).unwrap();
    for mode in [OutputMode::Complete, OutputMode::Update] {
        let said = message(check(&counted, mode));
        assert!(said.contains("works in append mode only, because in"), "{mode}: `{said}`");
    }
}

#[test]
fn rows_without_a_match_are_kept_only_as_long_as_something_bounds_them() {
    let both = Bench::new(watermarked);
    let left = Bench::new(|stream, name| if name == "a" { watermarked(stream, name) } else { stream.clone() });
    let none = Bench::new(|stream, _| stream.clone());
    let (lower, upper) = ("a.id = b.id AND a.t >= b.t", "a.id = b.id AND a.t <= b.t");
    let key = "a.id = b.id AND a.t = b.t";
    // The kinds that are refused: L(eft), R(ight), F(ull), S(emi).
    let cases = [
        (&both, "a.id = b.id", "LRFS"),
        (&both, lower, "R"),
        (&both, upper, "LS"),
        (&both, RANGE, ""),
        (&both, key, ""),
        (&left, lower, "LRFS"),
        (&left, upper, "LS"),
        (&left, key, ""),
        (&none, RANGE, "LRFS"),
        (&none, key, "LRFS"),
    ];
    let kinds = [('L', JoinType::Left), ('R', JoinType::Right), ('F', JoinType::Full), ('S', JoinType::LeftSemi)];
    for (bench, condition, refused) in cases {
        let is_refused =
            |kind| refusal(bench, kind, OutputMode::Append, condition).contains("of two streams keeps rows");
        let found: String = kinds.into_iter().filter(|(_, kind)| is_refused(*kind)).map(|(letter, _)| letter).collect();
        assert_eq!(found, refused, "{condition}");
        assert_eq!(refusal(bench, JoinType::Inner, OutputMode::Append, condition), "", "{condition}");
    }
}

#[test]
fn an_unbounded_join_is_refused_with_what_its_side_lacks() {
    let both = Bench::new(watermarked);
    let left = Bench::new(|stream, name| if name == "a" { watermarked(stream, name) } else { stream.clone() });
    let cases = [
        (
            &both,
            JoinType::Left,
            "a left join of two streams keeps rows of the left side until",
            "is; add a range condition such as `left.t >= right.t",
        ),
        (
            &both,
            JoinType::Right,
            "a right join of two streams keeps rows of the right side",
            "such as `right.t >= left.t",
        ),
        (
            &both,
            JoinType::LeftSemi,
            "a left semi join of two streams keeps rows of the left side",
            "`left.t >= right.t",
        ),
        (
            &both,
            JoinType::Full,
            "rows of the left or the right side until",
            "equalities; or add a range condition such as `right.t",
        ),
        (
            &left,
            JoinType::Left,
            "rows of the left side",
            "is; call with_watermark(\"t\", delay) on the right side and add",
        ),
    ];
    for (bench, kind, what, remedy) in cases {
        let said = refusal(bench, kind, OutputMode::Append, "a.id = b.id");
        assert!(said.contains(what) && said.contains(remedy), "{kind}: `{said}`");
    }
}

#[test]
fn the_static_side_of_a_join_may_be_anything() {
    let bench = Bench::new(|stream, name| {
        if name == "a" {
            return watermarked(stream, name);
        }
        let rows = Session::builder().build().unwrap().sql("SELECT * FROM VALUES (1L, 2L), (1L, 3L) AS v(id, n)");
        let rows = rows.drop_duplicates(["id", "n"]).group_by("id").agg(count_distinct("n").alias("n"));
        rows.group_by("id").agg(sum("n").alias("n")).sort("n").limit(3)
    });
    for mode in [OutputMode::Append, OutputMode::Update] {
        for kind in [JoinType::Inner, JoinType::Left, JoinType::LeftAnti] {
            assert_eq!(refusal(&bench, kind, mode, "a.id = b.id"), "", "{kind} in {mode} mode");
        }
    }
    let said = refusal(&bench, JoinType::Inner, OutputMode::Complete, "a.id = b.id");
    assert!(said.contains("complete mode needs an aggregation"), "`{said}`");
    assert!(
        state_bound::bounds(&TypedPlan::Join(bench.join(JoinType::Inner, "a.id = b.id")), OutputMode::Append)
            .is_empty()
    );
}

#[test]
fn each_side_of_a_join_is_judged_by_one_time() {
    let twice = |stream: &DataFrame, name: &str| watermarked(stream, name).with_column("w", window("t", "5 minutes"));
    let one = Bench::new(watermarked).join(JoinType::Inner, RANGE);
    assert_eq!(message(check_event_times(&TypedPlan::Join(one))), "");
    for side in ["a", "b"] {
        let bench =
            Bench::new(|stream, name| if name == side { twice(stream, name) } else { watermarked(stream, name) });
        let said = message(check_event_times(&TypedPlan::Join(bench.join(JoinType::Inner, RANGE))));
        assert!(said.contains("a join of two streams sees two event-time columns, t and w"), "`{said}`");
    }
    let table = table_on("b");
    assert_eq!(message(check_event_times(&TypedPlan::Join(table.join(JoinType::Inner, "a.id = b.id")))), "");
}

#[test]
fn what_a_join_puts_out_is_judged_by_the_times_that_are_left() {
    let bench = Bench::new(watermarked);
    for (kind, expected) in
        [(JoinType::Inner, "drop_duplicates sees two event-time columns, t and t"), (JoinType::LeftSemi, "")]
    {
        let input = TypedPlan::Join(bench.join(kind, RANGE));
        let keys = vec![input.schema().field(0).name().clone()];
        let node = Arc::new(DeduplicatePlan { input, keys, is_within_watermark: false });
        let said = message(check_event_times(&TypedPlan::Extension(Extension { node })));
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{kind}: `{said}`");
    }
}

#[test]
fn the_state_of_a_join_is_told() {
    let both = Bench::new(watermarked);
    let slower =
        Bench::new(|stream, name| stream.with_watermark("t", if name == "a" { "10 minutes" } else { "1 hour" }));
    let windows = Bench::new(|stream, name| {
        let counted = watermarked(stream, name).group_by([window("t", "5 minutes"), col("id")]).count();
        counted.select(["window", "id"])
    });
    let cases = [
        (
            &both,
            "a.id = b.id AND a.t = b.t",
            "inner join by id, t: left side: rows of the last 10 minutes; right side: rows of the last 10 minutes",
        ),
        (
            &both,
            RANGE,
            "inner join by id: left side: rows of the last 1 hour + 10 minutes; right side: rows of the last 2 hours + 10 minutes",
        ),
        (
            &both,
            "a.id = b.id AND a.t > b.t + interval 1 hour AND a.t < b.t + interval 2 hours",
            "left side: rows of the last 10 minutes; right side: rows of the last 2 hours + 10 minutes",
        ),
        (
            &both,
            "a.id + 1 = b.id AND a.t BETWEEN b.t AND b.t + interval 90 seconds",
            "by id: left side: rows of the last 10 minutes; right side: rows of the last 90 seconds + 10 minutes",
        ),
        (&slower, RANGE, "rows of the last 1 hour + 1 hour; right side: rows of the last 2 hours + 1 hour"),
        (
            &slower,
            "a.id = b.id AND a.t = b.t",
            "left side: rows of the last 1 hour; right side: rows of the last 1 hour",
        ),
        (
            &windows,
            "a.id = b.id AND a.window = b.window",
            "by id, window: left side: rows of the last 5 minutes + 10 minutes; right",
        ),
        (
            &both,
            "a.id = b.id",
            "inner join by id: UNBOUNDED: every row of the left side is kept for ever; add a range condition such as `left.t",
        ),
        (
            &both,
            "a.id = b.id",
            "; every row of the right side is kept for ever; add a range condition such as `right.t",
        ),
        (
            &both,
            "a.id = b.id AND a.t > b.t",
            "inner join by id: UNBOUNDED: every row of the right side is kept for ever; add",
        ),
        (
            &both,
            "a.id = b.id AND a.t < b.t",
            "inner join by id: UNBOUNDED: every row of the left side is kept for ever; add",
        ),
    ];
    for (bench, condition, expected) in cases {
        let bounds = with_deep_stack(|| {
            let plan = joined(&bench.session, [&bench.left, &bench.right], JoinType::Inner, condition);
            Ok(state_bound::bounds(&plan, OutputMode::Append))
        });
        let bound = bounds.unwrap().remove(0);
        let said = bound.to_string();
        assert!(said.contains(expected), "{condition}: `{said}`");
        assert_eq!(bound.is_bounded, !said.contains("UNBOUNDED"));
    }
}
