//! Conditions as SQL text over two small streams `a` and `b`, and what is found in them.

mod bounds;
mod refusals;

use datafusion::logical_expr::{Expr as TypedExpr, Join, JoinType, LogicalPlan as TypedPlan, LogicalPlanBuilder};

use super::super::event_time::shown;
use super::super::expressions::ExpressionResolver;
use super::super::optimize::optimize_stream;
use super::super::relations::Resolver;
use super::super::with_deep_stack;
use super::conditions::KeyPair;
use super::{BoundValue, JoinParts, SideBound, bounds as bounds_of, parts};
use crate::expr::ExprNode;
use crate::prelude::*;

/// The streams `a` and `b` that most conditions read: `t` is watermarked, `u` and the others are not.
const COLUMNS: &str = "id BIGINT, t TIMESTAMP, u TIMESTAMP, n BIGINT, word STRING, day DATE";

/// How the two sides are made of streams of those columns.
struct Bench {
    session: Session,
    left: DataFrame,
    right: DataFrame,
}

impl Bench {
    fn new(prepare: impl Fn(&DataFrame, &str) -> DataFrame) -> Self {
        Self::with(Session::builder(), prepare)
    }

    fn with(session: SessionBuilder, prepare: impl Fn(&DataFrame, &str) -> DataFrame) -> Self {
        let session = session.build().unwrap();
        let side = |name: &str| prepare(&MemoryStream::new(&session, COLUMNS).to_df(), name).alias(name);
        let (left, right) = (side("a"), side("b"));
        Self { session, left, right }
    }

    /// Both sides watermarked on `t`.
    fn watermarked() -> Self {
        Self::new(|stream, _| stream.with_watermark("t", "10 minutes"))
    }

    fn join(&self, kind: JoinType, condition: &str) -> Join {
        let plan = with_deep_stack(|| Ok(joined(&self.session, [&self.left, &self.right], kind, condition)));
        as_join(plan.unwrap())
    }

    /// The bounds as text, which have to be the same before and after optimisation.
    fn bounds(&self, condition: &str) -> String {
        let join = self.join(JoinType::Left, &format!("a.id = b.id AND {condition}"));
        let before = shown_bounds(&join);
        let optimized = with_deep_stack(|| optimize_stream(TypedPlan::Join(join)));
        assert_eq!(shown_bounds(&as_join(optimized.unwrap())), before, "after optimisation: {condition}");
        before
    }

    fn parts(&self, condition: &str) -> [String; 4] {
        shown_parts(&parts(&self.join(JoinType::Left, condition)))
    }
}

fn joined(session: &Session, sides: [&DataFrame; 2], kind: JoinType, condition: &str) -> TypedPlan {
    let context = session.plan_context();
    let mut resolver = Resolver::new(&context);
    let [left, right] = sides.map(|side| resolver.resolve(side.plan()).unwrap());
    let mut scope = left.scope.clone();
    scope.columns.extend(right.scope.columns.iter().cloned());
    let schema = left.plan.schema().join(right.plan.schema()).unwrap();
    let registry = &resolver.registry;
    let resolver = ExpressionResolver { scope: &scope, schema: &schema, registry, context: &context };
    let condition = resolver.condition(&Expr::new(ExprNode::Sql(condition.to_string()))).unwrap();
    let builder = LogicalPlanBuilder::from(left.plan).join_on(right.plan, kind, [condition]);
    builder.and_then(LogicalPlanBuilder::build).unwrap()
}

/// The topmost join of a plan.
fn as_join(plan: TypedPlan) -> Join {
    match plan {
        TypedPlan::Join(join) => join,
        other => as_join(other.inputs()[0].clone()),
    }
}

fn shown_bounds(join: &Join) -> String {
    let found = bounds_of(join, &parts(join));
    let side = |bound: &Option<SideBound>| match bound {
        None => "-".to_string(),
        Some(SideBound { value: BoundValue::Key(key), offset_ms }) => format!("key {key} {offset_ms}"),
        Some(SideBound { value: BoundValue::Column(name), offset_ms }) => {
            format!("{} {offset_ms}", shown(name))
        }
    };
    format!("{} | {}", side(&found.left), side(&found.right))
}

/// Each class of conjuncts as text, without the numbers of internal names but with the sides they are of.
fn shown_parts(parts: &JoinParts) -> [String; 4] {
    let all = |exprs: &[TypedExpr]| exprs.iter().map(|expr| plain(&expr.to_string())).collect::<Vec<_>>().join("; ");
    let key = |key: &KeyPair| {
        let equals = if key.null_safe { "<=>" } else { "=" };
        format!("{} {equals} {}", plain(&key.left.to_string()), plain(&key.right.to_string()))
    };
    let keys: Vec<String> = parts.keys.iter().map(key).collect();
    [keys.join("; "), all(&parts.left_only), all(&parts.right_only), all(&parts.residual)]
}

/// `t#2` as `a.t` and `t#9` as `b.t`.
fn plain(text: &str) -> String {
    let columns = COLUMNS.split(", ").map(|column| column.split_once(' ').unwrap().0).enumerate();
    columns.fold(text.to_string(), |text, (place, name)| {
        let (left, right) = (place + 1, place + 8); // a table takes a number itself
        text.replace(&format!("{name}#{right}"), &format!("b.{name}"))
            .replace(&format!("{name}#{left}"), &format!("a.{name}"))
    })
}

#[test]
fn conjuncts_go_by_the_sides_they_read() {
    let bench = Bench::watermarked();
    let cases = [
        ("a.id = b.id", ["a.id = b.id", "", "", ""]),
        ("b.id = a.id", ["a.id = b.id", "", "", ""]),
        ("a.id <=> b.id", ["a.id <=> b.id", "", "", ""]),
        ("equal_null(b.id, a.id)", ["a.id <=> b.id", "", "", ""]),
        ("NOT (a.id != b.id)", ["a.id = b.id", "", "", ""]),
        ("a.id = b.id AND a.word = b.word", ["a.id = b.id; a.word = b.word", "", "", ""]),
        ("a.id + 1 = b.id * b.n", ["a.id + Int64(1) = b.id * b.n", "", "", ""]),
        ("a.id - b.id = 0", ["", "", "", "a.id - b.id = Int64(0)"]),
        ("a.id = b.id AND a.n > 1 AND b.n > 2", ["a.id = b.id", "a.n > Int64(1)", "b.n > Int64(2)", ""]),
        ("a.id = 5 AND b.id = 5", ["", "a.id = Int64(5)", "b.id = Int64(5)", ""]),
        ("a.id = a.n AND a.id = b.n", ["a.id = b.n", "a.id = a.n", "", ""]),
        ("a.n < b.n OR a.id = b.id", ["", "", "", "a.n < b.n OR a.id = b.id"]),
        ("a.n BETWEEN b.id AND b.n", ["", "", "", "a.n >= b.id; a.n <= b.n"]),
        ("a.n BETWEEN 1 AND b.n", ["", "a.n >= Int64(1)", "", "a.n <= b.n"]),
        ("a.n NOT BETWEEN b.id AND b.n", ["", "", "", "NOT a.n >= b.id AND a.n <= b.n"]),
        ("TRUE AND a.id = b.id", ["a.id = b.id", "", "", ""]),
        ("TRUE", ["", "", "", ""]),
        ("FALSE", ["", "", "", "Boolean(false)"]),
        ("a.t = b.t AND a.t < current_timestamp()", ["a.t = b.t", "", "", "a.t < current_timestamp()"]),
        ("a.t = b.t - (b.t - current_timestamp())", ["", "", "", "?"]),
        ("a.word IS NULL AND b.word IS NOT NULL", ["", "a.word IS NULL", "b.word IS NOT NULL", ""]),
    ];
    for (condition, mut expected) in cases {
        let found = bench.parts(condition);
        if expected[3] == "?" {
            assert_eq!(found[..3], expected[..3], "{condition}");
            expected[3] = &found[3];
        }
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn pairs_of_a_join_are_keys_by_its_rule_for_nulls() {
    use datafusion::common::{JoinConstraint, NullEquality};
    let join = Bench::watermarked().join(JoinType::Inner, "a.id = b.id AND a.n > b.n");
    let [keys, ..] = shown_parts(&parts(&join));
    assert_eq!(keys, "a.id = b.id");
    let key = parts(&join).keys.remove(0);
    for (null_equality, expected) in
        [(NullEquality::NullEqualsNothing, "a.id = b.id"), (NullEquality::NullEqualsNull, "a.id <=> b.id")]
    {
        let (left, right) = (join.left.clone(), join.right.clone());
        let on = vec![(key.left.clone(), key.right.clone())];
        let constraint = JoinConstraint::On;
        let join = Join::try_new(left, right, on, None, JoinType::Inner, constraint, null_equality, false).unwrap();
        assert_eq!(shown_parts(&parts(&join)), [expected, "", "", ""]);
    }
}
