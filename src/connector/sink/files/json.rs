//! Rows as JSON objects, one a line.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, WriterBuilder};
use arrow::record_batch::RecordBatch;

use super::rows::{RowFormat, TimeCells, TimeFormats, cannot_hold};
use crate::connector::options::Options;
use crate::error::Result;
use crate::types::Zone;

/// How nulls and times are written.
#[derive(Debug)]
pub(super) struct Json {
    ignores_nulls: bool,
    encoders: Arc<Encoders>,
}

impl Json {
    /// Reads the options `ignoreNullFields` (true) and those of times.
    pub(super) fn from_options(options: &Options, zone: Zone) -> Result<Self> {
        let encoders = Arc::new(Encoders { times: TimeFormats::from_options(options, zone)? });
        Ok(Self { ignores_nulls: options.flag("ignoreNullFields", true)?, encoders })
    }
}

impl RowFormat for Json {
    fn check(&self, schema: &Schema) -> Result<()> {
        let refused = |data_type: &DataType| matches!(data_type, DataType::Interval(_) | DataType::Duration(_));
        match schema.fields().iter().find(|field| holds(field.data_type(), &refused)) {
            None => Ok(()),
            Some(field) => Err(cannot_hold("json", field.name(), field.data_type(), "cast it to STRING")),
        }
    }

    fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let builder = WriterBuilder::new().with_explicit_nulls(!self.ignores_nulls);
        let builder = builder.with_encoder_factory(Arc::clone(&self.encoders) as _);
        let mut writer = builder.build::<_, LineDelimited>(out);
        writer.write(batch)?;
        Ok(writer.finish()?)
    }
}

/// Whether a type, or one inside it, is as asked for.
fn holds(data_type: &DataType, asked: &dyn Fn(&DataType) -> bool) -> bool {
    match data_type {
        DataType::List(field) | DataType::Map(field, _) => holds(field.data_type(), asked),
        DataType::Struct(fields) => fields.iter().any(|field| holds(field.data_type(), asked)),
        other => asked(other),
    }
}

/// The values that Spark writes in other words than Arrow, wherever they stand in a row.
#[derive(Debug)]
struct Encoders {
    times: TimeFormats,
}

impl EncoderFactory for Encoders {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Float32 => Box::new(Floats(array.as_primitive::<Float32Type>())),
            DataType::Float64 => Box::new(Floats(array.as_primitive::<Float64Type>())),
            DataType::Binary => Box::new(Base64(array)),
            _ => match self.times.cells(array) {
                Some(cells) => Box::new(Times { cells, text: String::new() }),
                None => return Ok(None),
            },
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Times {
    cells: TimeCells,
    text: String,
}

impl Encoder for Times {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.text.clear();
        self.cells.write(row, &mut self.text);
        push_string(&self.text, out);
    }
}

/// A pattern's quoted text can hold anything.
fn push_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text is always written to memory");
}

/// Numbers JSON has no words for become text instead of null.
struct Floats<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);

impl<T: ArrowPrimitiveType<Native: Into<f64> + fmt::Debug>> Encoder for Floats<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        let wide: f64 = value.into();
        if wide.is_nan() {
            out.extend_from_slice(b"\"NaN\"");
        } else if wide.is_infinite() {
            out.extend_from_slice(if wide > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
        } else {
            write!(out, "{value:?}").expect("a number is always written to memory");
        }
    }
}

struct Base64<'a>(&'a dyn Array);

impl Encoder for Base64<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        out.push(b'"');
        for bytes in self.0.as_binary::<i32>().value(row).chunks(3) {
            let bits = bytes.iter().zip([16, 8, 0]).fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
            for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = DIGITS[(bits >> shift & 63) as usize];
                out.push(if index <= bytes.len() { digit } else { b'=' });
            }
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Int64Type, IntervalUnit};

    use super::*;
    use crate::connector::sink::files::rows::tests::{options, written};

    fn json(pairs: &[(&str, &str)], columns: Vec<(&str, ArrayRef)>) -> String {
        let format = Json::from_options(&options(pairs), Zone::default()).unwrap();
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        written(&format, &RecordBatch::try_from_iter_with_nullable(columns).unwrap())
    }

    #[test]
    fn null_fields_are_left_out_unless_asked_for() {
        let columns = || -> Vec<(&str, ArrayRef)> {
            vec![
                ("word", Arc::new(StringArray::from(vec![Some("say \"hi\""), None]))),
                ("count", Arc::new(Int64Array::from(vec![None, Some(2)]))),
            ]
        };
        assert_eq!(json(&[], columns()), "{\"word\":\"say \\\"hi\\\"\"}\n{\"count\":2}\n");
        let all = "{\"word\":\"say \\\"hi\\\"\",\"count\":null}\n{\"word\":null,\"count\":2}\n";
        assert_eq!(json(&[("ignoreNullFields", "false")], columns()), all);
    }

    #[test]
    fn times_are_written_by_their_patterns_also_inside_structs() {
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_633_080_600_000_000]).with_timezone("UTC"));
        let field = Arc::new(Field::new("start", at.data_type().clone(), true));
        let window: ArrayRef = Arc::new(StructArray::from(vec![(field, at)]));
        let day: ArrayRef = Arc::new(Date32Array::from(vec![0]));
        assert_eq!(
            json(&[], vec![("window", Arc::clone(&window)), ("day", Arc::clone(&day))]),
            "{\"window\":{\"start\":\"2021-10-01T09:30:00.000Z\"},\"day\":\"1970-01-01\"}\n"
        );
        let pairs = [("timestampFormat", "HH:mm '\"'"), ("dateFormat", "yy")];
        assert_eq!(
            json(&pairs, vec![("window", window), ("day", day)]),
            "{\"window\":{\"start\":\"09:30 \\\"\"},\"day\":\"70\"}\n"
        );
    }

    #[test]
    fn numbers_lists_and_bytes_are_written_as_spark_does() {
        let floats = Float64Array::from(vec![1.0, 1e300, f64::NAN, f64::NEG_INFINITY]);
        let texts = json(&[], vec![("x", Arc::new(floats))]);
        assert_eq!(texts, "{\"x\":1.0}\n{\"x\":1e300}\n{\"x\":\"NaN\"}\n{\"x\":\"-Infinity\"}\n");

        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
        let decimal = Decimal128Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap();
        let bytes = BinaryArray::from_iter_values([b"any carnal pleas".as_slice()]);
        let row = json(&[], vec![("l", Arc::new(list)), ("d", Arc::new(decimal)), ("b", Arc::new(bytes))]);
        assert_eq!(row, "{\"l\":[1,null],\"d\":1.50,\"b\":\"YW55IGNhcm5hbCBwbGVhcw==\"}\n");
    }

    #[test]
    fn intervals_are_refused() {
        let format = Json::from_options(&options(&[]), Zone::default()).unwrap();
        let interval = Field::new("i", DataType::Interval(IntervalUnit::MonthDayNano), true);
        let schema = Schema::new(vec![Field::new_struct("s", vec![interval], true)]);
        let error = format.check(&schema).unwrap_err();
        assert!(error.message().contains("column `s`: json files cannot hold"), "{error}");
    }
}
