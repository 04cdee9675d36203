//! Does a batch fit the schema it was promised to have?
//!
//! Owns: which type changes keep every value, and the errors that name the first column that does not fit. Does not
//! own: the conversion itself (`convert`).

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::convert::{batch_with, engine_type};
use super::name::{map_fields, type_name};
use crate::error::{Error, Result};

/// Checks that batches of the schema `got` can be read as `expected`, a schema in engine types.
///
/// Columns are matched by position and must have the same names without case. A type fits when each of its values can
/// be kept: the same Spark type in any Arrow form, a wider number, or VOID. A timestamp without zone fits a TIMESTAMP
/// column and the other way round: it is read as UTC.
///
/// # Errors
/// Names the first column that does not fit, the expected and the found type.
pub fn check_batch_schema(expected: &Schema, got: &Schema) -> Result<()> {
    for (index, (want, have)) in expected.fields().iter().zip(got.fields()).enumerate() {
        if !same_name(want, have) {
            return Err(Error::data(format!(
                "column {} of the batch is called `{}`, expected `{}`; the columns must be ({})",
                index + 1,
                have.name(),
                want.name(),
                columns(expected)
            )));
        }
        if !keeps_values(&engine_type(have.data_type()), want.data_type()) {
            return Err(Error::data(format!(
                "column `{}` of the batch is {}, expected {}; change the schema or convert the column",
                want.name(),
                type_name(have.data_type()),
                type_name(want.data_type())
            )));
        }
    }
    match (expected.fields().len(), got.fields().len()) {
        (want, have) if want == have => Ok(()),
        (want, have) => Err(Error::data(format!(
            "the batch has {have} columns ({}), expected {want} ({})",
            columns(got),
            columns(expected)
        ))),
    }
}

/// Converts a batch to exactly `schema`, a schema in engine types. See [`check_batch_schema`] for what fits.
///
/// # Errors
/// When it does not fit, a value is out of range, or a column that is NOT NULL holds a null.
pub fn fit_batch(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    check_batch_schema(schema, batch.schema_ref())?;
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        check_nulls(field, column)?;
    }
    batch_with(SchemaRef::clone(schema), &batch)
}

fn check_nulls(field: &Field, column: &dyn Array) -> Result<()> {
    if field.is_nullable() {
        return Ok(());
    }
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    match nulls.and_then(|nulls| nulls.iter().position(|valid| !valid)) {
        None => Ok(()),
        Some(row) => Err(Error::data(format!(
            "column `{}` is NOT NULL, but row {} of the batch has a null there",
            field.name(),
            row + 1
        ))),
    }
}

/// True when each value of `from` is a value of `to`. Both are engine types.
fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Null, _) | (T::Timestamp(..), T::Timestamp(..)) | (T::Float32, T::Float64) => true,
        (T::Decimal128(p, s), T::Decimal128(to_p, to_s) | T::Decimal256(to_p, to_s)) => {
            let digits = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
            s <= to_s && digits(*p, *s) <= digits(*to_p, *to_s)
        }
        (T::List(from), T::List(to)) => keeps_values(from.data_type(), to.data_type()),
        (T::Struct(from), T::Struct(to)) => from.len() == to.len() && from.iter().zip(to).all(|(a, b)| part_fits(a, b)),
        (T::Map(from, _), T::Map(to, _)) => match (map_fields(from), map_fields(to)) {
            (Some(from), Some(to)) => part_fits(from.0, to.0) && part_fits(from.1, to.1),
            _ => false,
        },
        (from, to) if from == to => true,
        (from, to) => integer_fits(from, to),
    }
}

fn part_fits(from: &Field, to: &Field) -> bool {
    same_name(from, to) && keeps_values(from.data_type(), to.data_type())
}

/// True when `from` is an integer type and `to` a number that can hold all of them.
fn integer_fits(from: &DataType, to: &DataType) -> bool {
    let Some((bits, digits)) = integer_size(from) else { return false };
    match to {
        DataType::Float32 => bits <= 16,
        DataType::Float64 => bits <= 32,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            i16::from(*precision) - i16::from(*scale) >= digits
        }
        to => integer_size(to).is_some_and(|(wider, _)| wider >= bits),
    }
}

/// Bits and decimal digits of an integer type.
fn integer_size(data_type: &DataType) -> Option<(u8, i16)> {
    match data_type {
        DataType::Int8 => Some((8, 3)),
        DataType::Int16 => Some((16, 5)),
        DataType::Int32 => Some((32, 10)),
        DataType::Int64 => Some((64, 19)),
        _ => None,
    }
}

fn same_name(a: &Field, b: &Field) -> bool {
    a.name() == b.name() || a.name().to_lowercase() == b.name().to_lowercase()
}

fn columns(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
    columns.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, AsArray, Int32Array, Int64Array, NullArray, StringArray, TimestampMillisecondArray, new_null_array,
    };

    use super::*;
    use crate::types::{parse_ddl, parse_type};

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    }

    fn fit(ddl: &str, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
        fit_batch(&Arc::new(parse_ddl(ddl).unwrap()), batch(columns))
    }

    #[test]
    fn types_fit_when_every_value_is_kept() {
        let fits = [
            ("int", "bigint"),
            ("tinyint", "float"),
            ("int", "double"),
            ("float", "double"),
            ("int", "decimal(10,0)"),
            ("decimal(5,2)", "decimal(7,3)"),
            ("timestamp_ntz", "timestamp"),
            ("timestamp", "timestamp_ntz"),
            ("void", "string"),
            ("array<int>", "array<bigint>"),
            ("struct<A int, b string>", "struct<a bigint, b string>"),
            ("map<string, int>", "map<string, double>"),
        ];
        let does_not = [
            ("string", "int"),
            ("int", "string"),
            ("bigint", "int"),
            ("bigint", "double"),
            ("int", "float"),
            ("double", "float"),
            ("int", "decimal(9,0)"),
            ("decimal(5,2)", "decimal(5,3)"),
            ("decimal(5,2)", "decimal(9,1)"),
            ("decimal(5,2)", "double"),
            ("date", "timestamp"),
            ("bigint", "timestamp"),
            ("binary", "string"),
            ("array<string>", "string"),
            ("struct<a int>", "struct<b int>"),
            ("struct<a int>", "struct<a int, b int>"),
        ];
        let cases = fits.map(|case| (case, true)).into_iter().chain(does_not.map(|case| (case, false)));
        for ((from, to), expected) in cases {
            let (from_type, to_type) = (parse_type(from).unwrap(), parse_type(to).unwrap());
            assert_eq!(keeps_values(&from_type, &to_type), expected, "{from} into {to}");
            if expected {
                let converted = fit(&format!("c {to}"), vec![("c", new_null_array(&from_type, 2))]).unwrap();
                assert_eq!(converted.column(0).data_type(), &to_type);
            }
        }
    }

    #[test]
    fn a_batch_takes_the_names_and_types_of_the_schema() {
        let times = TimestampMillisecondArray::from(vec![1_500]);
        let fitted = fit(
            "userId BIGINT, name STRING NOT NULL, at TIMESTAMP, none STRUCT<a: INT>",
            vec![
                ("USERID", Arc::new(Int32Array::from(vec![7]))),
                ("name", Arc::new(StringArray::from(vec!["x"]))),
                ("at", Arc::new(times)),
                ("none", Arc::new(NullArray::new(1))),
            ],
        )
        .unwrap();
        assert_eq!(fitted.schema().field(0).name(), "userId");
        assert_eq!(fitted.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 7);
        assert_eq!(fitted.column(1).as_string_view().value(0), "x");
        assert_eq!(fitted.column(2).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0), 1_500_000);
        assert!(fitted.column(3).is_null(0));
    }

    #[test]
    fn an_error_names_the_first_column_that_does_not_fit() {
        let ints = || Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef;
        let cases = [
            (
                fit("a BIGINT, b INT", vec![("a", ints()), ("b", ints())]),
                "column `b` of the batch is BIGINT, expected INT; change the schema or convert the column",
            ),
            (
                fit("a BIGINT, b BIGINT", vec![("b", ints()), ("a", ints())]),
                "column 1 of the batch is called `b`, expected `a`; the columns must be (a BIGINT, b BIGINT)",
            ),
            (
                fit("a BIGINT, b INT", vec![("a", ints())]),
                "the batch has 1 columns (a BIGINT), expected 2 (a BIGINT, b INT)",
            ),
            (
                fit("a BIGINT NOT NULL", vec![("a", ints())]),
                "column `a` is NOT NULL, but row 2 of the batch has a null there",
            ),
        ];
        for (result, expected) in cases {
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }
}
