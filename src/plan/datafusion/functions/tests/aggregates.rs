use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Accumulator, Expr, lit};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::physical_expr::create_physical_expr;

use super::{Bench, bench};
use crate::types::{cell_text, type_name};

impl Bench {
    /// The aggregate of all rows, each half of them in an accumulator of its own and the states merged.
    fn aggregate(&self, name: &str, args: &[&str], distinct: bool, filter: Option<&str>) -> String {
        let args = args.iter().map(|arg| self.build(arg).unwrap()).collect();
        let filter = filter.map(|filter| self.build(filter).unwrap());
        match self.registry.aggregate(name, args, distinct, filter, &self.schema) {
            Ok(expr) => self.run(&expr.unwrap()),
            Err(error) => format!("error: {}", error.message()),
        }
    }

    fn run(&self, expr: &Expr) -> String {
        let over_values = expr.clone().transform_up(|node| match &node {
            Expr::AggregateFunction(_) => Ok(Transformed::yes(lit(self.value_of(&node)))),
            _ => Ok(Transformed::no(node)),
        });
        let over_values = over_values.unwrap().data;
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let physical = create_physical_expr(&over_values, &self.schema, &properties, &planning).unwrap();
        let value = physical.evaluate(&self.batch).unwrap().into_array(1).unwrap();
        format!("{} {}", cell_text(&value, 0, self.zone), type_name(value.data_type()))
    }

    fn value_of(&self, call: &Expr) -> ScalarValue {
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let builder = LoweredAggregateBuilder::new(call, &self.schema, self.schema.as_arrow(), &properties, &planning);
        let lowered = builder.build().unwrap();
        let (call, filter) = (lowered.aggregate, lowered.filter);
        let accumulator = || call.create_accumulator().unwrap();
        let mut merged = accumulator();
        for half in [self.batch.slice(0, 2), self.batch.slice(2, 2), self.batch.slice(0, 0)] {
            let half = match &filter {
                Some(filter) => {
                    let kept = filter.evaluate(&half).unwrap().into_array(half.num_rows()).unwrap();
                    arrow::compute::filter_record_batch(&half, kept.as_any().downcast_ref().unwrap()).unwrap()
                }
                None => half,
            };
            let mut partial = accumulator();
            partial.update_batch(&arguments(&call, &half)).unwrap();
            merge(merged.as_mut(), &partial.state().unwrap());
        }
        let value = merged.evaluate().unwrap();
        assert_eq!(&value.data_type(), call.field().data_type());
        value
    }
}

fn arguments(call: &AggregateFunctionExpr, batch: &RecordBatch) -> Vec<ArrayRef> {
    let value = |expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
        expr.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap()
    };
    call.expressions().iter().map(value).collect()
}

fn merge(into: &mut dyn Accumulator, state: &[ScalarValue]) {
    let columns: Vec<ArrayRef> = state.iter().map(|value| value.to_array().unwrap()).collect();
    into.merge_batch(&columns).unwrap();
}

#[test]
fn aggregates_have_sparks_types_and_nulls() {
    let bench = bench();
    let table: [(&str, &[&str], &str); 42] = [
        ("count", &["1"], "4 BIGINT"),
        ("count", &[], "4 BIGINT"),
        ("count", &["b"], "2 BIGINT"),
        ("COUNT", &["b", "i"], "2 BIGINT"),
        ("count_if", &["b"], "1 BIGINT"),
        ("sum", &["j"], "5 BIGINT"),
        ("sum", &["l"], "-9223372036854775808 BIGINT"),
        ("sum", &["dec"], "22.28 DECIMAL(20,2)"),
        ("sum", &["n"], "8.5 DOUBLE"),
        ("sum", &["NULL"], "NULL DOUBLE"),
        ("avg", &["j"], "1.6666666666666667 DOUBLE"),
        ("mean", &["dec"], "7.426667 DECIMAL(14,6)"),
        ("min", &["s"], " STRING"),
        ("max", &["day"], "2024-02-29 DATE"),
        ("max", &["t"], "2024-12-30 00:00:00 TIMESTAMP"),
        ("first", &["b"], "true BOOLEAN"),
        ("last", &["i"], "NULL INT"),
        ("last", &["i", "true"], "2147483647 INT"),
        ("first_value", &["if(=(j, 2), NULL, j)"], "NULL INT"),
        ("any_value", &["if(=(j, 2), NULL, j)", "true"], "3 INT"),
        ("max_by", &["s", "j"], " STRING"),
        ("min_by", &["s", "j"], "naïve café STRING"),
        ("stddev", &["*(nullif(j, 2), 2)"], "4.242640687119285 DOUBLE"),
        ("stddev", &["if(=(j, 2), j, NULL)"], "NULL DOUBLE"),
        ("stddev_pop", &["if(=(j, 2), j, NULL)"], "0.0 DOUBLE"),
        ("variance", &["nullif(j, 2)"], "4.5 DOUBLE"),
        ("var_pop", &["nullif(j, 2)"], "2.25 DOUBLE"),
        ("corr", &["nullif(j, 2)", "j"], "1.0 DOUBLE"),
        ("covar_pop", &["nullif(j, 2)", "j"], "2.25 DOUBLE"),
        ("collect_list", &["j"], "[2, 3, 0] ARRAY<INT>"),
        ("collect_list", &["if(=(j, 9), j, NULL)"], "[] ARRAY<INT>"),
        ("collect_set", &["isnull(i)"], "[false, true] ARRAY<BOOLEAN>"),
        ("collect_set", &["s"], "[hello world, , naïve café] ARRAY<STRING>"),
        ("approx_count_distinct", &["s"], "3 BIGINT"),
        ("approx_count_distinct", &["d"], "3 BIGINT"),
        ("listagg", &["n", "','"], "7,x, 1.5  STRING"),
        ("median", &["j"], "2.0 DOUBLE"),
        ("percentile", &["j", "0.5"], "2.0 DOUBLE"),
        ("bool_and", &["b"], "false BOOLEAN"),
        ("any", &["b"], "true BOOLEAN"),
        ("bit_or", &["j"], "3 INT"),
        ("percentile_approx", &["j", "0.5"], "2 INT"),
    ];
    for (name, args, expected) in table {
        assert_eq!(bench.aggregate(name, args, false, None), expected, "{name} {args:?}");
    }
}

#[test]
fn distinct_and_filters_are_kept() {
    let bench = bench();
    assert_eq!(bench.aggregate("count", &["isnull(i)"], true, None), "2 BIGINT");
    assert_eq!(bench.aggregate("count", &["isnull(i)", "1"], true, None), "2 BIGINT");
    assert_eq!(bench.aggregate("collect_list", &["isnull(i)"], true, None), "[false, true] ARRAY<BOOLEAN>");
    assert_eq!(bench.aggregate("sum", &["j"], false, Some(">(j, 2)")), "3 BIGINT");
    assert_eq!(bench.aggregate("count", &["1"], false, Some("b")), "1 BIGINT");
}

#[test]
fn wrong_arguments_of_aggregates_are_refused() {
    let bench = bench();
    let refused = |name, args: &[&str]| bench.aggregate(name, args, false, None);
    assert!(refused("sum", &["b"]).contains("`sum` cannot be applied to BOOLEAN"));
    assert!(refused("sum", &["i", "j"]).contains("`sum` takes 1 argument, 2 given"));
    assert!(refused("first", &["i", "b"]).contains("must be true or false"));
}

#[test]
fn a_count_is_never_null() {
    let bench = bench();
    let count = bench.registry.aggregate("count", vec![], false, None, &bench.schema).unwrap().unwrap();
    assert!(!datafusion::logical_expr::ExprSchemable::nullable(&count, &bench.schema).unwrap());
}
