//! File formats: bytes in, rows out.
//!
//! Owns: what a record is, how values are written, what happens to malformed rows. Does not own: which files are read
//! and when (`source::files`).
//!
//! ```text
//! file ─▶ compression ─▶ blocks (whole records, valid UTF-8) ─▶ text │ csv │ json ─▶ RecordBatch
//!                                                     parquet ─────────────────────▶
//! ```
//!
//! Only the projected columns are decoded. STRING columns point into the block they were read from.

mod blocks;
mod compression;
pub(crate) mod csv;
pub(crate) mod json;
mod malformed;
#[cfg(feature = "parquet")]
mod parquet;
mod separator;
mod strings;
pub(crate) mod text;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use self::separator::Separator;
use super::SplitReader;
use super::options::Options;
use crate::error::{Error, Result};
use crate::types::{Zone, type_name};

pub(crate) use self::compression::is_compressed;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// Lines of text.
    Text,
    /// Values between separators.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Parquet; needs the cargo feature `parquet`.
    Parquet,
}

impl FileFormat {
    /// The name users give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// Takes the options of the format. Without a schema it is found out from the files `sample` lists; a stream has no
    /// sample.
    ///
    /// # Errors
    /// When an option is bad, a column has a type the format cannot hold, or there is no schema to be had.
    pub(crate) fn configure(
        self,
        options: &Options,
        schema: Option<SchemaRef>,
        zone: Zone,
        sample: Option<&Sample<'_>>,
    ) -> Result<Arc<dyn Format>> {
        let schema = schema.map(|schema| nullable(&schema));
        if schema.is_none() && sample.is_none() && self != Self::Text {
            let name = self.name();
            let text = format!("a schema must be given for a streaming {name} source; add .schema(\"name TYPE, …\")");
            return Err(Error::config(text));
        }
        Ok(match self {
            Self::Text => Arc::new(text::Text::from_options(options, schema)?),
            Self::Csv => Arc::new(csv::Csv::from_options(options, schema, zone, sample)?),
            Self::Json => Arc::new(json::Json::from_options(options, schema, zone, sample)?),
            #[cfg(feature = "parquet")]
            Self::Parquet => Arc::new(parquet::Parquet::new(schema, sample)?),
            #[cfg(not(feature = "parquet"))]
            Self::Parquet => return Err(Error::config("reading parquet needs the cargo feature `parquet`; enable it")),
        })
    }
}

/// Lists the files from which a schema is found out.
pub(crate) type Sample<'a> = dyn Fn() -> Result<Vec<PathBuf>> + 'a;

/// A configured format: knows its columns and opens files.
pub(crate) trait Format: fmt::Debug + Send + Sync {
    /// The columns.
    fn schema(&self) -> &SchemaRef;

    /// Whether an uncompressed file can be read in parts.
    fn can_split(&self) -> bool;

    /// Starts reading one part of `file`; only the columns `projection` names by index, in that order.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn open(
        &self,
        file: File,
        part: &Part,
        projection: &[usize],
        counters: &Arc<Counters>,
    ) -> Result<Box<dyn SplitReader>>;
}

/// A file, or the lines that start in a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The file.
    pub(crate) path: PathBuf,
    /// The first byte, inclusive.
    pub(crate) begin: u64,
    /// The end, exclusive; `u64::MAX` is the end of the file.
    pub(crate) end: u64,
}

impl Part {
    /// All of a file.
    pub(crate) fn whole(path: &Path) -> Self {
        Self { path: path.to_path_buf(), begin: 0, end: u64::MAX }
    }
}

/// What all readers of a source count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    malformed_rows: AtomicU64,
    dropped_malformed_rows: AtomicU64,
    invalid_utf8_lines: AtomicU64,
    missing_files: AtomicU64,
}

impl Counters {
    /// Counts a file that was listed and then not there.
    pub(crate) fn add_missing_file(&self) {
        Self::add(&self.missing_files, 1);
    }

    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// The counts so far, by the names they have in the progress.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, u64> {
        let counts = [
            ("malformedRows", &self.malformed_rows),
            ("droppedMalformedRows", &self.dropped_malformed_rows),
            ("invalidUtf8Lines", &self.invalid_utf8_lines),
            ("missingFiles", &self.missing_files),
        ];
        counts.iter().map(|(name, count)| ((*name).to_string(), count.load(Ordering::Relaxed))).collect()
    }
}

/// The option `lineSep`.
fn line_separator(options: &Options) -> Result<Separator> {
    let separator = options.parsed("lineSep", "one or more characters", Separator::parse)?;
    Ok(separator.unwrap_or(Separator::Newline))
}

/// Refuses other encodings than UTF-8.
fn check_encoding(options: &Options) -> Result<()> {
    for name in ["encoding", "charset"] {
        options.choice(name, &["UTF-8", "UTF8"], "UTF-8")?;
    }
    Ok(())
}

/// The index of the column that takes malformed rows as they were written, if the schema has it.
fn corrupt_column(options: &Options, schema: &Schema) -> Result<Option<usize>> {
    let name = options.text("columnNameOfCorruptRecord").unwrap_or(CORRUPT_RECORD);
    let Some((index, field)) = schema.column_with_name(name) else { return Ok(None) };
    if *field.data_type() == DataType::Utf8View {
        return Ok(Some(index));
    }
    let data_type = type_name(field.data_type());
    Err(Error::plan(format!("column `{name}` takes malformed records and must be STRING, not {data_type}")))
}

/// The column for malformed records when the option does not name another.
const CORRUPT_RECORD: &str = "_corrupt_record";

/// Files promise nothing, so every column and every part of one may be null.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(nullable_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn nullable_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(nullable_field(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nullable_field).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(nullable_entries(entries), *is_sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true))
}

/// Keys of a map are never null.
fn nullable_entries(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return Arc::clone(entries) };
    let part = |(index, field)| if index == 0 { Arc::clone(field) } else { nullable_field(field) };
    let fields = fields.iter().enumerate().map(part).collect();
    Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(fields)))
}

fn cannot_hold(format: &str, column: &str, data_type: &DataType) -> Error {
    let data_type = type_name(data_type);
    Error::plan(format!("column `{column}`: {format} files cannot hold {data_type}; read it as STRING and cast it"))
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::datatypes::Field;
    use arrow::record_batch::RecordBatch;
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    type Counts = BTreeMap<String, u64>;

    pub(crate) fn options(set: &[(&str, &str)]) -> Options {
        let mut options = Options::new();
        for (name, value) in set {
            options.set(name, value);
        }
        options
    }

    /// Reads `bytes` as a file called `name`.
    pub(crate) fn read_columns(
        format: &dyn Format,
        name: &str,
        bytes: &[u8],
        projection: &[usize],
    ) -> Result<(Vec<RecordBatch>, Counts)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let counters = Arc::default();
        let mut reader = format.open(File::open(&path).unwrap(), &Part::whole(&path), projection, &counters)?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next()? {
            batches.push(batch);
        }
        Ok((batches, counters.snapshot()))
    }

    /// Rows as text, values joined by `|`.
    pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<String> {
        let options = FormatOptions::new().with_null("NULL");
        let row = |batch: &RecordBatch, row: usize| {
            let value = |column: &arrow::array::ArrayRef| {
                ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string()
            };
            batch.columns().iter().map(value).collect::<Vec<_>>().join("|")
        };
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |index| row(batch, index))).collect()
    }

    /// Reads all columns of `bytes` as a file called `name`.
    pub(crate) fn read(format: &dyn Format, name: &str, bytes: &[u8]) -> Result<(Vec<String>, Counts)> {
        let all: Vec<_> = (0..format.schema().fields().len()).collect();
        let (batches, counts) = read_columns(format, name, bytes, &all)?;
        Ok((rows(&batches), counts))
    }

    #[test]
    fn a_stream_of_csv_json_or_parquet_needs_a_schema_and_one_of_text_does_not() {
        for format in [FileFormat::Csv, FileFormat::Json, FileFormat::Parquet] {
            let error = format.configure(&Options::new(), None, Zone::default(), None).unwrap_err().to_string();
            assert!(
                error.contains(&format!("a schema must be given for a streaming {} source", format.name())),
                "{error}"
            );
        }
        let text = FileFormat::Text.configure(&Options::new(), None, Zone::default(), None).unwrap();
        assert_eq!(text.schema().field(0).name(), "value");
    }

    #[test]
    fn everything_in_a_schema_but_map_keys_becomes_nullable() {
        let map = DataType::Map(
            Arc::new(Field::new_struct(
                "entries",
                vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Int32, false)],
                false,
            )),
            false,
        );
        let inner = DataType::Struct(vec![Field::new("map", map, false)].into());
        let schema = nullable(&Schema::new(vec![Field::new("list", DataType::new_list(inner, false), false)]));
        let text = format!("{schema:?}");
        assert_eq!(text.matches("nullable: true").count(), 4, "{text}");
    }

    #[test]
    fn other_encodings_are_refused() {
        assert!(check_encoding(&options(&[("encoding", "utf-8")])).is_ok());
        let error = check_encoding(&options(&[("charset", "ISO-8859-1")])).unwrap_err().to_string();
        assert!(error.contains("`charset`=`ISO-8859-1`"), "{error}");
    }
}
