//! Sends rows to directories `column=value/…` by the values of some columns.
//!
//! Owns: which columns those are, the names of the directories, and splitting batches. Does not own: the files in them.

use arrow::array::{Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

use crate::error::{Error, Result, suggestion};
use crate::types::{Zone, cell_text, type_name};

/// The directory of rows whose value is null or the empty text.
const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which columns go into the names of directories and which into the files.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    partitions: Vec<usize>,
    data: Vec<usize>,
}

impl Layout {
    /// Finds the columns `partition_by` names without case.
    ///
    /// # Errors
    /// When there is no such column, its values make no names, or no column is left.
    pub(super) fn new(schema: &SchemaRef, partition_by: &[String]) -> Result<Self> {
        let partitions: Vec<usize> = partition_by.iter().map(|name| column(schema, name)).collect::<Result<_>>()?;
        let data: Vec<usize> = (0..schema.fields().len()).filter(|index| !partitions.contains(index)).collect();
        if data.is_empty() {
            return Err(Error::plan("partition_by names all columns; the files need at least one"));
        }
        Ok(Self { partitions, data })
    }

    /// The columns of the files.
    pub(super) fn data_schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        Ok(SchemaRef::new(schema.project(&self.data)?))
    }
}

fn column(schema: &SchemaRef, name: &str) -> Result<usize> {
    let fields = schema.fields();
    let index = fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let near = suggestion(name, names.iter().copied());
        Error::plan(format!("partition_by: there is no column `{name}`{near}; the columns are {}", names.join(", ")))
    })?;
    match fields[index].data_type() {
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            Err(no_name(name, fields[index].data_type()))
        }
        nested if nested.is_nested() => Err(no_name(name, nested)),
        _ => Ok(index),
    }
}

fn no_name(name: &str, data_type: &DataType) -> Error {
    let data_type = type_name(data_type);
    Error::plan(format!(
        "partition_by: column `{name}` is {data_type} and makes no directory names; use another column"
    ))
}

/// Splits batches of one writer.
pub(super) struct Partitioner {
    layout: Layout,
    zone: Zone,
    keys: RowConverter,
    known: HashMap<Box<[u8]>, usize>,
    directories: Vec<String>,
}

impl Partitioner {
    pub(super) fn new(layout: Layout, schema: &SchemaRef, zone: Zone) -> Result<Self> {
        let field = |index: &usize| SortField::new(schema.field(*index).data_type().clone());
        let keys = RowConverter::new(layout.partitions.iter().map(field).collect())?;
        Ok(Self { layout, zone, keys, known: HashMap::new(), directories: Vec::new() })
    }

    /// Forgets the directories seen.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.directories.clear();
    }

    /// The path of a directory below the sink's own, by the number [`split`](Self::split) gives it; empty for itself.
    pub(super) fn directory(&self, number: usize) -> &str {
        self.directories.get(number).map_or("", String::as_str)
    }

    /// The data columns of the rows of each directory, in order.
    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        let data = batch.project(&self.layout.data)?;
        if self.layout.partitions.is_empty() {
            return Ok(vec![(0, data)]);
        }
        let rows_of = self.rows_by_directory(batch)?;
        if let [(directory, rows)] = rows_of.as_slice()
            && rows.len() == data.num_rows()
        {
            return Ok(vec![(*directory, data)]);
        }
        let take = |(directory, rows)| Ok((directory, take_record_batch(&data, &UInt32Array::from(rows))?));
        rows_of.into_iter().map(take).collect()
    }

    fn rows_by_directory(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, Vec<u32>)>> {
        let columns: Vec<_> = self.layout.partitions.iter().map(|index| batch.column(*index).clone()).collect();
        let keys = self.keys.convert_columns(&columns)?;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); self.directories.len()];
        for (row, key) in (0u32..).zip(keys.iter()) {
            let directory = if let Some(known) = self.known.get(key.as_ref()) {
                *known
            } else {
                rows_of.push(Vec::new());
                self.add_directory(key.as_ref(), batch, row as usize)
            };
            rows_of[directory].push(row);
        }
        Ok(rows_of.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect())
    }

    fn add_directory(&mut self, key: &[u8], batch: &RecordBatch, row: usize) -> usize {
        let schema = batch.schema_ref();
        let part = |index: &usize| {
            let value = value_text(batch.column(*index).as_ref(), row, self.zone);
            format!("{}={value}", escape(schema.field(*index).name()))
        };
        let parts: Vec<String> = self.layout.partitions.iter().map(part).collect();
        let number = self.directories.len();
        self.directories.push(parts.join("/"));
        self.known.insert(key.into(), number);
        number
    }
}

fn value_text(array: &dyn Array, row: usize, zone: Zone) -> String {
    if array.is_null(row) {
        return NULL_VALUE.to_string();
    }
    match cell_text(array, row, zone) {
        text if text.is_empty() => NULL_VALUE.to_string(),
        text => escape(&text),
    }
}

/// Replaces what has a meaning in paths by `%` and its hexadecimal code, as Hive does.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(char) {
            escaped.push('%');
            escaped.extend([u32::from(char) >> 4, u32::from(char) & 15].map(hex_digit));
        } else {
            escaped.push(char);
        }
    }
    // These two are directories already.
    match escaped.as_str() {
        "." => "%2E".to_string(),
        ".." => "%2E%2E".to_string(),
        _ => escaped,
    }
}

fn hex_digit(value: u32) -> char {
    char::from_digit(value, 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_go_to_the_directory_of_their_values_without_those_columns() {
        let batch = record_batch!(
            ("day", Utf8, [Some("a/b"), None, Some("a/b"), Some("")]),
            ("n", Int64, [1, 2, 3, 4]),
            ("hour", Int32, [9, 9, 9, 9])
        )
        .unwrap();
        let layout = Layout::new(&batch.schema(), &names(&["DAY", "hour"])).unwrap();
        assert_eq!(layout.data_schema(&batch.schema()).unwrap().fields().len(), 1);
        let mut partitioner = Partitioner::new(layout, &batch.schema(), Zone::default()).unwrap();
        let parts = partitioner.split(&batch).unwrap();
        let rows: Vec<(&str, usize)> =
            parts.iter().map(|(number, rows)| (partitioner.directory(*number), rows.num_rows())).collect();
        let default = "day=__HIVE_DEFAULT_PARTITION__/hour=9";
        assert_eq!(rows, [("day=a%2Fb/hour=9", 2), (default, 1), (default, 1)]);
        let again = partitioner.split(&batch.slice(0, 1)).unwrap();
        assert_eq!((again[0].0, again.len()), (0, 1));
    }

    #[test]
    fn names_are_escaped_as_hive_does() {
        assert_eq!(escape("2021-10-01 09:30:00"), "2021-10-01 09%3A30%3A00");
        assert_eq!((escape(".."), escape("ü%")), ("%2E%2E".to_string(), "ü%25".to_string()));
    }

    #[test]
    fn columns_that_are_missing_or_all_are_refused() {
        let schema = record_batch!(("day", Utf8, ["a"]), ("n", Int64, [1])).unwrap().schema();
        let error = Layout::new(&schema, &names(&["dya"])).unwrap_err();
        assert!(error.message().contains("did you mean `day`?"), "{error}");
        assert!(Layout::new(&schema, &names(&["day", "n"])).is_err());
    }
}
