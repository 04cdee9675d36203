use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;

use super::super::rust_udf;
use super::{bench, own_error};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::ScalarUdf;
use crate::types::{Zone, cell_text};

fn run(udf: ScalarUdf, args: &[&str]) -> Result<String> {
    let bench = bench();
    let args = args.iter().map(|arg| bench.build(arg)).collect::<Result<Vec<_>>>()?;
    let expr = rust_udf(&Arc::new(udf), args, &bench.schema)?;
    assert!(expr.is_volatile());
    let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(&expr, &bench.schema, &properties, &planning).map_err(own_error)?;
    let column = physical.evaluate(&bench.batch).and_then(|value| value.into_array(4)).map_err(own_error)?;
    assert_eq!(column.data_type(), &physical.data_type(bench.schema.as_arrow()).unwrap());
    let cells: Vec<_> = (0..4).map(|row| cell_text(&column, row, Zone::UTC)).collect();
    Ok(cells.join(" | "))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a closure")]
fn doubled(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let doubled: Int64Array = columns[0].as_primitive::<Int64Type>().unary(|number| number * 2);
    Ok(Arc::new(doubled))
}

#[test]
fn a_closure_sees_its_declared_types_and_returns_strings_as_views() {
    let udf = ScalarUdf::new("double", vec![DataType::Int64], DataType::Int64, doubled);
    assert_eq!(run(udf, &["i"]).unwrap(), "14 | -14 | 4294967294 | NULL");
    let udf = ScalarUdf::new("shout", vec![DataType::Utf8], DataType::Utf8, |columns| {
        let texts = columns[0].as_string::<i32>().iter().map(|text| text.map(|text| format!("{text}!")));
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    assert_eq!(run(udf, &["j"]).unwrap(), "2! | 3! | 0! | NULL");
    let one = |_: &[ArrayRef]| -> Result<ArrayRef> { Ok(Arc::new(Int64Array::from(vec![1]))) };
    assert_eq!(run(ScalarUdf::new("one", vec![], DataType::Int64, one), &[]).unwrap(), "1 | 1 | 1 | 1");
}

#[test]
fn what_goes_wrong_in_a_closure_is_told_with_its_name() {
    let one = |_: &[ArrayRef]| -> Result<ArrayRef> { Ok(Arc::new(Int64Array::from(vec![1]))) };
    let number = || vec![DataType::Int64];
    let cases = [
        (ScalarUdf::new("f", number(), DataType::Int64, |_| panic!("no {}", 5)), "function `f` panicked: no 5"),
        (
            ScalarUdf::new("f", number(), DataType::Int64, |_| Err(Error::data("bad row"))),
            "function `f` failed: bad row",
        ),
        (ScalarUdf::new("f", number(), DataType::Int64, one), "function `f` returned 1 rows for 4"),
        (ScalarUdf::new("f", number(), DataType::Utf8, doubled), "returned BIGINT, but was declared to return STRING"),
    ];
    for (udf, expected) in cases {
        let error = run(udf, &["i"]).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert_eq!(error.kind(), ErrorKind::User);
    }
    let error = run(ScalarUdf::new("f", number(), DataType::Int64, doubled), &["i", "j"]).unwrap_err();
    assert!(error.message().contains("`f` takes 1 argument, 2 given"), "{error}");
}
