//! The sources of the house, under the names users give them.
//!
//! Owns: which format name makes which source, and cutting rows at hand into batches and readers. Does not own: what a
//! source does (its own module), or when it is read (`runtime`).

pub mod files;
pub mod memory;
pub mod rate;
pub mod rate_micro_batch;
pub mod socket;

use std::sync::Arc;
use std::vec;

use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;

use self::files::{FilesFactory, FilesTable};
use self::rate::RateFactory;
use self::rate_micro_batch::RateMicroBatchFactory;
use self::socket::SocketFactory;
use super::format::FileFormat;
use super::options::Options;
use super::{BatchTable, Offset, SourceFactory, SplitReader};
use crate::checkpoint::open_state_table;
use crate::clock::Clock;
use crate::error::{Error, Result, suggestion};
use crate::types::Zone;

/// What a source takes from its session.
#[derive(Debug, Clone)]
pub struct SourceEnvironment {
    /// The zone in which times without one are read.
    pub zone: Zone,
    /// Where processing time comes from.
    pub clock: Arc<dyn Clock>,
}

/// The names of all formats that can be read.
const FORMATS: [&str; 7] = ["socket", "rate", "rate-micro-batch", "text", "csv", "json", "parquet"];

enum Format {
    Socket,
    Rate,
    RateMicroBatch,
    Files(FileFormat),
}

impl Format {
    fn named(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "socket" => Ok(Self::Socket),
            "rate" => Ok(Self::Rate),
            "rate-micro-batch" => Ok(Self::RateMicroBatch),
            "text" => Ok(Self::Files(FileFormat::Text)),
            "csv" => Ok(Self::Files(FileFormat::Csv)),
            "json" => Ok(Self::Files(FileFormat::Json)),
            "parquet" => parquet(),
            _ => Err(Error::config(format!(
                "no source has the format `{name}`{}; known formats: {}",
                suggestion(name, FORMATS),
                FORMATS.join(", "),
            ))),
        }
    }

    /// The columns of a format that has the same ones always, as DDL.
    fn fixed_columns(&self) -> Option<&'static str> {
        match self {
            Self::Socket => Some("value STRING, and timestamp TIMESTAMP with includeTimestamp"),
            Self::Rate | Self::RateMicroBatch => Some("timestamp TIMESTAMP, value BIGINT"),
            Self::Files(FileFormat::Text) => Some("value STRING"),
            Self::Files(_) => None,
        }
    }

    fn check(&self, name: &str, schema: Option<&SchemaRef>, paths: &[String]) -> Result<()> {
        if let (Some(columns), Some(_)) = (self.fixed_columns(), schema) {
            return Err(Error::config(format!(
                "the {name} source always has the columns {columns}; remove .schema(…)"
            )));
        }
        if !matches!(self, Self::Files(_)) && !paths.is_empty() {
            return Err(Error::config(format!("the {name} source reads no path; use .load() without one")));
        }
        Ok(())
    }
}

#[cfg(feature = "parquet")]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as without the feature")]
fn parquet() -> Result<Format> {
    Ok(Format::Files(FileFormat::Parquet))
}

#[cfg(not(feature = "parquet"))]
fn parquet() -> Result<Format> {
    Err(Error::config("reading Parquet needs the cargo feature `parquet` of millstream; enable it in Cargo.toml"))
}

/// Makes the streaming source that a reader describes. `schema` is what the user gave, if anything.
///
/// # Errors
/// When the format or an option is unknown, missing or bad, or the format takes no schema or path.
pub fn open_stream(
    format: &str,
    options: &Options,
    schema: Option<SchemaRef>,
    paths: &[String],
    environment: &SourceEnvironment,
) -> Result<Arc<dyn SourceFactory>> {
    let kind = Format::named(format)?;
    kind.check(format, schema.as_ref(), paths)?;
    let SourceEnvironment { zone, clock } = environment.clone();
    Ok(match kind {
        Format::Socket => Arc::new(SocketFactory::new(options, clock)?),
        Format::Rate => Arc::new(RateFactory::new(options, clock)?),
        Format::RateMicroBatch => Arc::new(RateMicroBatchFactory::new(options)?),
        Format::Files(kind) => Arc::new(FilesFactory::new(kind, options, schema, paths, zone, clock)?),
    })
}

/// Makes the static table that a reader describes. `schema` is what the user gave, if anything.
///
/// # Errors
/// As [`open_stream`], and when the format is a stream only.
pub fn open_table(
    format: &str,
    options: &Options,
    schema: Option<SchemaRef>,
    paths: &[String],
    environment: &SourceEnvironment,
) -> Result<Arc<dyn BatchTable>> {
    if format.eq_ignore_ascii_case(STATE_STORE) {
        return open_state_table(options, schema.is_some(), paths);
    }
    let kind = Format::named(format)?;
    kind.check(format, schema.as_ref(), paths)?;
    let Format::Files(kind) = kind else {
        return Err(Error::config(format!(
            "the {format} source is a stream and cannot be read as a table; use session.read_stream()"
        )));
    };
    let SourceEnvironment { zone, clock } = environment.clone();
    Ok(Arc::new(FilesTable::new(kind, options, schema, paths, zone, clock)?))
}

/// The format under which the state in a checkpoint is read, as Spark calls it.
const STATE_STORE: &str = "statestore";

/// The type of TIMESTAMP columns.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads an offset that `source` wrote.
pub(crate) fn parse_offset<T: DeserializeOwned>(offset: &Offset, source: &str) -> Result<T> {
    serde_json::from_value(offset.0.clone()).map_err(|error| {
        let text =
            format!("`{offset}` is not an offset of the {source} source; does the checkpoint belong to this query?");
        Error::state(text).with_source(error)
    })
}

/// The columns that stay, in the order of `projection`.
pub(crate) fn project_schema(schema: &SchemaRef, projection: Option<&[usize]>) -> Result<SchemaRef> {
    Ok(match projection {
        None => Arc::clone(schema),
        Some(columns) => Arc::new(schema.project(columns)?),
    })
}

/// The columns that stay, in the order of `projection`.
pub(crate) fn project_batch(batch: RecordBatch, projection: Option<&[usize]>) -> Result<RecordBatch> {
    match projection {
        None => Ok(batch),
        Some(columns) => Ok(batch.project(columns)?),
    }
}

/// The rows of a batch made here.
const BATCH_ROWS: usize = 8192;

/// Batches smaller than these are put together.
const SMALL_ROWS: usize = BATCH_ROWS / 4;
const SMALL_BYTES: usize = 64 << 10;

/// The bytes after which small batches are not put together any further.
const BATCH_BYTES: usize = 1 << 20;

/// Cuts and joins batches of one schema, in order, so that each is worth handling and none is huge.
pub(crate) fn regroup(batches: impl IntoIterator<Item = RecordBatch>) -> Result<Vec<RecordBatch>> {
    let mut regrouped = Regrouped::default();
    for batch in batches {
        for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let rows = BATCH_ROWS.min(batch.num_rows() - start);
            regrouped.push(batch.slice(start, rows))?;
        }
    }
    regrouped.flush()?;
    Ok(regrouped.done)
}

#[derive(Default)]
struct Regrouped {
    done: Vec<RecordBatch>,
    small: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Regrouped {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
        let is_small = rows < SMALL_ROWS && bytes < SMALL_BYTES;
        if !is_small || self.rows + rows > BATCH_ROWS || self.bytes + bytes > BATCH_BYTES {
            self.flush()?;
        }
        if is_small {
            self.rows += rows;
            self.bytes += bytes;
            self.small.push(batch);
        } else {
            self.done.push(batch);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match self.small.as_slice() {
            [] => {}
            [one] => self.done.push(one.clone()),
            [first, ..] => self.done.push(concat_batches(&first.schema(), &self.small)?),
        }
        self.small.clear();
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// Hands out rows that are at hand already.
#[derive(Debug)]
pub(crate) struct BatchReader(vec::IntoIter<RecordBatch>);

impl SplitReader for BatchReader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.next())
    }

    fn never_blocks(&self) -> bool {
        true
    }
}

/// How many readers `rows` rows are worth, at most `parallelism`.
pub(crate) fn reader_count(rows: usize, parallelism: usize) -> usize {
    rows.div_ceil(2 * BATCH_ROWS).clamp(1, parallelism.max(1))
}

/// Shares batches out to readers, each a stretch of them in order.
pub(crate) fn into_readers(batches: Vec<RecordBatch>, parallelism: usize) -> Vec<Box<dyn SplitReader>> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let stretch = batches.len().div_ceil(reader_count(rows, parallelism)).max(1);
    let mut batches = batches.into_iter();
    let mut readers: Vec<Box<dyn SplitReader>> = Vec::new();
    while batches.len() > 0 {
        let share: Vec<RecordBatch> = batches.by_ref().take(stretch).collect();
        readers.push(Box::new(BatchReader(share.into_iter())));
    }
    readers
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::array::cast::AsArray;
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;
    use crate::clock::ManualClock;

    fn environment() -> SourceEnvironment {
        SourceEnvironment { zone: Zone::default(), clock: Arc::new(ManualClock::default()) }
    }

    fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.set(name, value);
        }
        options
    }

    fn stream(format: &str, pairs: &[(&str, &str)], schema: Option<SchemaRef>, paths: &[String]) -> Result<String> {
        open_stream(format, &options(pairs), schema, paths, &environment()).map(|factory| factory.description())
    }

    fn numbers(from: i64, to: i64) -> RecordBatch {
        let values = Int64Array::from_iter_values(from..to);
        RecordBatch::try_from_iter([("n", Arc::new(values) as _)]).unwrap()
    }

    fn values(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn formats_are_found_without_case() {
        let text = stream("Socket", &[("host", "localhost"), ("port", "9999")], None, &[]).unwrap();
        assert_eq!(text, "TextSocketSource[host: localhost, port: 9999]");
        assert!(stream("RATE", &[], None, &[]).is_ok());
    }

    #[test]
    fn an_unknown_format_names_the_nearest_and_all_known_ones() {
        let error = stream("sokcet", &[], None, &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean `socket`?"), "{error}");
        assert!(error.contains("rate-micro-batch, text, csv, json, parquet"), "{error}");
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = stream("rate", &[("rowPerSecond", "1")], None, &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean `rowsPerSecond`?"), "{error}");
    }

    #[test]
    fn formats_with_fixed_columns_take_no_schema_and_no_path() {
        for format in ["socket", "rate", "rate-micro-batch", "text"] {
            let error = stream(format, &[], Some(Arc::new(Schema::empty())), &[]).unwrap_err().to_string();
            assert!(error.contains("remove .schema(…)"), "{error}");
        }
        let error = stream("rate", &[], None, &["/data".to_string()]).unwrap_err().to_string();
        assert!(error.contains("reads no path"), "{error}");
    }

    #[test]
    fn streams_are_no_tables() {
        let table = open_table("socket", &Options::new(), None, &[], &environment());
        let error = table.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("session.read_stream()"), "{error}");
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_names_the_cargo_feature() {
        let error = stream("parquet", &[], None, &[]).unwrap_err().to_string();
        assert!(error.contains("cargo feature `parquet`"), "{error}");
    }

    #[test]
    fn small_batches_are_joined_and_huge_ones_cut_in_order() {
        let small = (0..100).map(|i| numbers(i, i + 1));
        let all: Vec<_> = small.chain([numbers(100, 20_000), numbers(20_000, 20_001)]).collect();
        let regrouped = regroup(all).unwrap();
        let rows: Vec<usize> = regrouped.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [100, 8192, 8192, 3516, 1]);
        assert_eq!(values(&regrouped), (0..20_001).collect::<Vec<_>>());
    }

    #[test]
    fn readers_get_stretches_in_order_and_few_rows_get_one_reader() {
        let batches: Vec<_> = (0..7).map(|i| numbers(i * 8192, (i + 1) * 8192)).collect();
        let mut read = Vec::new();
        let readers = into_readers(batches, 2);
        assert_eq!(readers.len(), 2);
        for mut reader in readers {
            while let Some(batch) = reader.next().unwrap() {
                read.push(batch);
            }
        }
        assert_eq!(values(&read), (0..7 * 8192).collect::<Vec<_>>());
        assert_eq!(into_readers(vec![numbers(0, 3), numbers(3, 4)], 4).len(), 1);
        assert_eq!(into_readers(Vec::new(), 4).len(), 0);
    }
}
