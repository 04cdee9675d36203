//! Functions evaluated over one small batch, as tables of call and expected column.

mod aggregates;
mod cast;
mod collections;
mod datetime;
mod operators;
mod strings;
mod user;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;

use super::{FunctionRegistry, cast::cast as spark_cast, plan_error};
use crate::error::{Error, Result};
use crate::types::{Zone, cell_text, parse_type};

/// The columns of the batch: name, type and cells.
const COLUMNS: [(&str, &str, [&str; 4]); 11] = [
    ("i", "INT", ["7", "-7", "2147483647", "NULL"]),
    ("j", "INT", ["2", "3", "0", "NULL"]),
    ("l", "BIGINT", ["9223372036854775807", "1", "0", "NULL"]),
    ("d", "DOUBLE", ["2.5", "NaN", "-0.0", "NULL"]),
    ("dec", "DECIMAL(10,2)", ["12.34", "-0.05", "9.99", "NULL"]),
    ("s", "STRING", ["hello world", "", "naïve café", "NULL"]),
    ("n", "STRING", ["7", "x", " 1.5 ", "NULL"]),
    ("b", "BOOLEAN", ["true", "false", "NULL", "NULL"]),
    ("t", "TIMESTAMP", ["2024-03-05 14:07:09.012345", "1969-12-31 23:59:59", "2024-12-30 00:00:00", "NULL"]),
    ("u", "TIMESTAMP", ["2024-03-05 14:07:09", "1970-01-01 00:00:00", "2024-12-31 01:00:00", "NULL"]),
    ("day", "DATE", ["2024-02-29", "1970-01-01", "2023-12-31", "NULL"]),
];

/// A session and the batch.
struct Bench {
    registry: FunctionRegistry,
    zone: Zone,
    ansi: bool,
    batch: RecordBatch,
    schema: DFSchema,
}

fn bench() -> Bench {
    Bench::new(Zone::UTC, false)
}

fn ansi_bench() -> Bench {
    Bench::new(Zone::UTC, true)
}

impl Bench {
    fn new(zone: Zone, ansi: bool) -> Self {
        let none = DFSchema::empty();
        let column = |(name, data_type, cells): &(&str, &str, [&str; 4])| {
            let data_type = parse_type(data_type).unwrap();
            let cell = |cell: &&str| match *cell {
                "NULL" => ScalarValue::try_from(&data_type).unwrap(),
                cell => match spark_cast(lit(cell), &data_type, &none, Zone::UTC, true, false).unwrap() {
                    Expr::Literal(value, _) => value,
                    other => panic!("{other} is not constant"),
                },
            };
            let array = ScalarValue::iter_to_array(cells.iter().map(cell)).unwrap();
            (Field::new(*name, data_type.clone(), true), array)
        };
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = COLUMNS.iter().map(column).unzip();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let schema = DFSchema::try_from(schema).unwrap();
        Self { registry: FunctionRegistry::new(zone, ansi), zone, ansi, batch, schema }
    }

    fn build(&self, call: &str) -> Result<Expr> {
        let mut rest = call;
        let expr = self.parse(&mut rest)?;
        assert_eq!(rest.trim(), "", "what is left of {call}");
        Ok(expr)
    }

    /// `f(x, 'text', 1)`: names are columns, functions are called by name, operators too. `cast(x, 'TYPE')` and
    /// `try_cast` are casts; digits with a point are DOUBLE, with `m` behind them DECIMAL.
    fn parse(&self, rest: &mut &str) -> Result<Expr> {
        *rest = rest.trim_start();
        if let Some(text) = rest.strip_prefix('\'') {
            let (text, after) = text.split_once('\'').unwrap();
            *rest = after;
            return Ok(lit(text));
        }
        let end = rest.find(['(', ')', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        let Some(mut after) = rest.strip_prefix('(') else { return Ok(constant_or_column(word.trim())) };
        let mut args = Vec::new();
        while !after.trim_start().starts_with(')') {
            args.push(self.parse(&mut after)?);
            after = after.trim_start();
            after = after.strip_prefix(',').unwrap_or(after);
        }
        *rest = &after.trim_start()[1..];
        if word == "cast" || word == "try_cast" {
            let to = parse_type(&constant(&args.pop().unwrap())).unwrap();
            return spark_cast(args.remove(0), &to, &self.schema, self.zone, self.ansi, word == "try_cast");
        }
        self.registry.scalar(word, args, &self.schema)?.ok_or_else(|| Error::plan(format!("no function {word}")))
    }

    /// The column, which is the same after the planner has coerced and simplified the expression.
    fn evaluate(&self, call: &str) -> Result<ArrayRef> {
        let expr = self.build(call)?;
        let column = self.column(&expr)?;
        let context = SimplifyContext::builder().with_schema(Arc::new(self.schema.clone())).build();
        let rules = ExprSimplifier::new(context);
        let simplified = rules.coerce(expr, &self.schema).and_then(|expr| rules.simplify(expr));
        assert_eq!(&self.column(&simplified.map_err(own_error)?)?, &column, "{call} simplified");
        assert_ne!(column.data_type(), &DataType::Utf8, "strings of {call} are views");
        Ok(column)
    }

    fn column(&self, expr: &Expr) -> Result<ArrayRef> {
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let physical = create_physical_expr(expr, &self.schema, &properties, &planning).map_err(own_error)?;
        let declared = physical.data_type(self.schema.as_arrow()).map_err(own_error)?;
        let column = physical.evaluate(&self.batch).and_then(|value| value.into_array(self.batch.num_rows()));
        let column = column.map_err(own_error)?;
        assert_eq!(column.data_type(), &declared, "the type of {expr}");
        Ok(column)
    }

    /// The column as text, rows apart by ` | `; one cell when it is the same in all rows of a call without columns.
    fn text(&self, call: &str) -> String {
        match self.evaluate(call) {
            Ok(column) => {
                let cells: Vec<_> = (0..column.len()).map(|row| cell_text(&column, row, self.zone)).collect();
                let constant = !COLUMNS.iter().any(|(name, ..)| mentions(call, name));
                if constant { cells[0].clone() } else { cells.join(" | ") }
            }
            Err(error) => format!("error: {}", error.message()),
        }
    }

    fn check(&self, table: &[(&str, &str)]) {
        let found: Vec<_> = table.iter().map(|(call, _)| (*call, self.text(call))).collect();
        let wrong = |((call, expected), (_, found)): (&(&str, &str), &(&str, String))| {
            (expected != found).then(|| format!("{call}\n  expected {expected}\n  found    {found}"))
        };
        let wrong: Vec<_> = table.iter().zip(&found).filter_map(wrong).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The calls fail, and say these words.
    fn check_errors(&self, table: &[(&str, &[&str])]) {
        for (call, words) in table {
            let text = self.text(call);
            assert!(text.starts_with("error: ") && words.iter().all(|word| text.contains(word)), "{call}: {text}");
        }
    }

    fn type_of(&self, call: &str) -> String {
        crate::types::type_name(self.evaluate(call).unwrap().data_type())
    }
}

fn own_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, error) => own_error(*error),
        error => plan_error(error),
    }
}

fn mentions(call: &str, column: &str) -> bool {
    let outside: String = call.split('\'').step_by(2).collect();
    outside.split(['(', ')', ',', ' ']).any(|word| word == column)
}

fn constant(expr: &Expr) -> String {
    match expr {
        Expr::Literal(value, _) => value.to_string(),
        other => panic!("{other} is not constant"),
    }
}

fn constant_or_column(word: &str) -> Expr {
    if let Some((whole, fraction)) = word.strip_suffix('m').and_then(|word| word.split_once('.')) {
        let scale = i8::try_from(fraction.len()).unwrap();
        let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
        let precision = u8::try_from(digits.to_string().len()).unwrap();
        return lit(ScalarValue::Decimal128(Some(digits), precision, scale));
    }
    match word {
        "NULL" => lit(ScalarValue::Null),
        "true" => lit(true),
        "false" => lit(false),
        word => match (word.parse::<i32>(), word.parse::<i64>(), word.parse::<f64>()) {
            (Ok(number), ..) => lit(number),
            (_, Ok(number), _) => lit(number),
            (.., Ok(number)) if word != "NaN" => lit(number),
            _ => col(word),
        },
    }
}

#[test]
fn a_wrong_count_of_arguments_names_the_function_and_both_counts() {
    bench().check_errors(&[
        ("substring(s)", &["`substring` takes 2 to 3 arguments, 1 given"]),
        ("coalesce()", &["`coalesce` takes at least 1 argument, 0 given"]),
        ("year(t, t)", &["`year` takes 1 argument, 2 given"]),
    ]);
}

#[test]
fn functions_are_found_in_any_case_and_strangers_are_not() {
    let bench = bench();
    bench.check(&[("UPPER('a')", "A"), ("Year(day)", "2024 | 1970 | 2023 | NULL")]);
    assert!(bench.registry.scalar("no_such", vec![], &bench.schema).unwrap().is_none());
    assert!(bench.registry.scalar("random_walk", vec![], &bench.schema).unwrap().is_none());
    assert!(bench.registry.aggregate("no_such", vec![], false, None, &bench.schema).unwrap().is_none());
}

#[test]
fn names_hold_sparks_and_datafusions_but_no_operators() {
    let names = bench().registry.names();
    for name in ["element_at", "collect_set", "to_hex", "try_divide", "count"] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    for name in ["+", "<=>", "version"] {
        assert!(!names.iter().any(|known| known == name), "{name}");
    }
    assert!(names.is_sorted());
}

#[test]
fn every_function_of_the_tables_that_takes_one_argument_can_be_given_null() {
    let bench = bench();
    let needs_type =
        ["size", "cardinality", "array_size", "flatten", "map", "create_map", "map_keys", "map_values", "map_entries"];
    for (name, function) in &bench.registry.scalars {
        if function.least <= 1
            && function.most >= 1
            && !needs_type.contains(name)
            && !name.starts_with("array")
            && *name != "sort_array"
        {
            let outcome = bench.text(&format!("{name}(NULL)"));
            assert!(!outcome.starts_with("error"), "{name}: {outcome}");
        }
    }
}
