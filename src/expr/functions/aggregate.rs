//! Aggregate functions: one value of a group of rows. Nulls are left out unless said otherwise.

use super::of_one_column;
use crate::expr::{Expr, ExprNode, IntoCondition, IntoExprs};

/// The aggregate functions of SQL text and of [`call_udf`](super::call_udf), sorted.
const AGGREGATES: [&str; 45] = [
    "any",
    "any_value",
    "approx_count_distinct",
    "approx_percentile",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "collect_list",
    "collect_set",
    "corr",
    "count",
    "count_if",
    "covar_pop",
    "covar_samp",
    "every",
    "first",
    "first_value",
    "last",
    "last_value",
    "listagg",
    "max",
    "max_by",
    "mean",
    "median",
    "min",
    "min_by",
    "mode",
    "percentile",
    "percentile_approx",
    "some",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "try_avg",
    "try_sum",
    "var_pop",
    "var_samp",
    "variance",
];

/// Whether a function, named in any case, makes one value of a group of rows.
pub(crate) fn is_aggregate_name(name: &str) -> bool {
    AGGREGATES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

of_one_column! {
    /// How many values are not null, as BIGINT; `count("*")` counts rows.
    count => "count";
    /// The sum: BIGINT of whole numbers, DOUBLE, or DECIMAL. Null without values.
    sum => "sum";
    /// The mean as DOUBLE, or DECIMAL of decimals. Null without values.
    avg => "avg";
    /// The same as [`avg`].
    mean => "mean";
    /// The smallest value. Null without values.
    min => "min";
    /// The largest value. Null without values.
    max => "max";
    /// The value of the first row, null or not. Which row is first depends on the order of arrival.
    first => "first";
    /// The value of the last row, null or not. Which row is last depends on the order of arrival.
    last => "last";
    /// The value of any one row.
    any_value => "any_value";
    /// All values as an ARRAY, in the order of arrival; empty without values.
    collect_list => "collect_list";
    /// The distinct values as an ARRAY, in no order; empty without values.
    collect_set => "collect_set";
    /// About how many distinct values there are, as BIGINT.
    approx_count_distinct => "approx_count_distinct";
    /// The same as [`stddev_samp`].
    stddev => "stddev";
    /// The standard deviation of a sample as DOUBLE. Null for fewer than two values.
    stddev_samp => "stddev_samp";
    /// The standard deviation of all there is, as DOUBLE. Null without values.
    stddev_pop => "stddev_pop";
    /// The same as [`var_samp`].
    variance => "variance";
    /// The variance of a sample as DOUBLE. Null for fewer than two values.
    var_samp => "var_samp";
    /// The variance of all there is, as DOUBLE. Null without values.
    var_pop => "var_pop";
    /// The middle value as DOUBLE. Null without values.
    median => "median";
}

/// How many rows there are, as BIGINT: `count(1)`.
#[track_caller]
pub fn count_all() -> Expr {
    count("*")
}

/// How many distinct combinations of these columns there are, as BIGINT; those with a null are left out. Not on
/// streams: there [`approx_count_distinct`] stands in.
#[track_caller]
pub fn count_distinct(columns: impl IntoExprs) -> Expr {
    Expr::new(ExprNode::Function { name: "count".into(), args: columns.into_exprs(), distinct: true, filter: None })
}

/// How many rows fulfil a condition, as BIGINT.
#[track_caller]
pub fn count_if(condition: impl IntoCondition) -> Expr {
    Expr::function("count_if", [condition.into_condition()])
}
