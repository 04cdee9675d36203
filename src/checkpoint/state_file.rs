//! State as files: Arrow IPC, with each row's key hash as its first column.
//!
//! Owns: encoding and decoding, cutting large states into several files, and giving each row to the instance that owns its key.
//! Does not own: names and places of files (`records`, `log`) or what the rows mean (operators).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use xxhash_rust::xxh3::xxh3_64;

use super::records::StateFile;
use crate::error::{Error, Result};
use crate::protocol::key_group::{instance_of, key_group};
use crate::state::{StateDelta, StatePart};

/// The name of the column of hashes.
const HASH: &str = "key_hash";

/// A file is closed once it is this large, so that a large state can be read by several threads.
pub(super) const FILE_BYTES: usize = 32 << 20;

/// Rows of state and their key hashes.
pub(crate) type StateRows = (RecordBatch, Vec<u64>);

/// A file about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) content: Vec<u8>,
    pub(crate) rows: u64,
    pub(crate) checksum: u64,
}

/// The changes as files; none for no rows.
pub(crate) fn encode(delta: &StateDelta) -> Result<Vec<Encoded>> {
    let mut files = Vec::new();
    let mut open: Option<(StreamWriter<Vec<u8>>, u64)> = None;
    for (rows, hashes) in delta.changed.iter().filter(|(rows, _)| rows.num_rows() > 0) {
        let batch = with_hashes(rows, hashes)?;
        let (mut writer, before) = match open.take() {
            Some(open) => open,
            None => (StreamWriter::try_new(Vec::new(), &batch.schema())?, 0),
        };
        writer.write(&batch)?;
        let count = before + rows.num_rows() as u64;
        if writer.get_ref().len() < FILE_BYTES {
            open = Some((writer, count));
        } else {
            files.push(close(writer, count)?);
        }
    }
    if let Some((writer, count)) = open {
        files.push(close(writer, count)?);
    }
    Ok(files)
}

fn close(writer: StreamWriter<Vec<u8>>, rows: u64) -> Result<Encoded> {
    let content = writer.into_inner()?;
    let checksum = xxh3_64(&content);
    Ok(Encoded { content, rows, checksum })
}

fn with_hashes(rows: &RecordBatch, hashes: &[u64]) -> Result<RecordBatch> {
    if hashes.len() != rows.num_rows() {
        return Err(Error::internal(format!("{} key hashes for {} rows of state", hashes.len(), rows.num_rows())));
    }
    let mut fields = vec![Arc::new(Field::new(HASH, DataType::UInt64, false))];
    fields.extend(rows.schema().fields().iter().cloned());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(hashes.to_vec()))];
    columns.extend(rows.columns().iter().map(compact));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Views can keep alive, and would write, far more text than theirs.
fn compact(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

/// The rows in the bytes of `file`, whose name is `name`.
///
/// # Errors
/// When they are not what was written.
pub(crate) fn decode(name: &str, file: &StateFile, content: &[u8]) -> Result<Vec<StateRows>> {
    let damaged = |how: &str| Error::state(format!("`{name}` of the checkpoint is damaged: {how}"));
    if content.len() as u64 != file.bytes {
        return Err(damaged(&format!("it has {} bytes of {}", content.len(), file.bytes)));
    }
    if xxh3_64(content) != file.checksum {
        return Err(damaged("its checksum does not fit"));
    }
    rows_of(name, content)
}

/// The rows in some bytes that are known to be whole.
///
/// # Errors
/// When they are not what was written.
pub(super) fn rows_of(name: &str, content: &[u8]) -> Result<Vec<StateRows>> {
    StreamReader::try_new(content, None)?.map(|batch| without_hashes(name, &batch?)).collect()
}

fn without_hashes(name: &str, batch: &RecordBatch) -> Result<StateRows> {
    let hashes = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let hashes = hashes.ok_or_else(|| Error::state(format!("`{name}` of the checkpoint has no column of hashes")))?;
    let schema = Arc::new(Schema::new(batch.schema().fields()[1..].to_vec()));
    let columns = batch.columns()[1..].to_vec();
    Ok((with_rows(schema, columns, batch.num_rows())?, hashes.values().to_vec()))
}

/// A batch that may have no columns.
fn with_rows(schema: Arc<Schema>, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The rows of each of `parallelism` instances, by the key groups they own.
pub(crate) fn route((rows, hashes): StateRows, parallelism: usize) -> Result<Vec<StatePart>> {
    if parallelism == 1 {
        return Ok(vec![StatePart { rows, hashes }]);
    }
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); parallelism];
    for (row, hash) in (0..).zip(&hashes) {
        indices[instance_of(key_group(*hash), parallelism)].push(row);
    }
    let part = |indices: Vec<u32>| {
        let hashes: Vec<u64> = indices.iter().map(|row| hashes[*row as usize]).collect();
        let indices = UInt32Array::from(indices);
        let columns = rows.columns().iter().map(|column| take(column, &indices, None));
        let rows = with_rows(rows.schema(), columns.collect::<std::result::Result<_, _>>()?, indices.len())?;
        Ok(StatePart { rows, hashes })
    };
    indices.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringViewArray, record_batch};
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::super::records::FileKind;
    use super::*;

    fn file(encoded: &Encoded) -> StateFile {
        StateFile {
            number: 0,
            generation: 1,
            sequence: 0,
            instance: 0,
            kind: FileKind::Changes { level: 0 },
            rows: encoded.rows,
            bytes: encoded.content.len() as u64,
            checksum: encoded.checksum,
        }
    }

    #[test]
    fn rows_come_back_with_their_hashes_and_a_flipped_bit_is_seen() {
        let rows = record_batch!(("word", Utf8, ["a", "b", "c"]), ("count", Int64, [1, 2, 3])).unwrap();
        let delta = StateDelta { changed: vec![(rows.clone(), vec![7, 8, 9]), (rows.slice(1, 1), vec![8])] };
        let files = encode(&delta).unwrap();
        assert_eq!((files.len(), files[0].rows), (1, 4));
        let back = decode("state/0/x", &file(&files[0]), &files[0].content).unwrap();
        assert_eq!(back, vec![(rows.clone(), vec![7, 8, 9]), (rows.slice(1, 1), vec![8])]);
        let mut content = files[0].content.clone();
        content[40] ^= 1;
        let error = decode("state/0/x", &file(&files[0]), &content).unwrap_err().to_string();
        assert!(error.contains("`state/0/x`") && error.contains("checksum"), "{error}");
        assert!(encode(&StateDelta { changed: vec![(rows.slice(0, 0), vec![])] }).unwrap().is_empty());
    }

    #[test]
    fn state_without_columns_keeps_its_rows() {
        let rows = with_rows(Arc::new(Schema::empty()), Vec::new(), 2).unwrap();
        let files = encode(&StateDelta { changed: vec![(rows, vec![1, u64::MAX])] }).unwrap();
        let back = decode("x", &file(&files[0]), &files[0].content).unwrap();
        assert_eq!((back[0].0.num_rows(), back[0].1.len()), (2, 2));
        let parts = route(back.into_iter().next().unwrap(), 2).unwrap();
        assert_eq!(parts.iter().map(|part| part.rows.num_rows()).sum::<usize>(), 2);
        assert!(parts.iter().all(|part| part.rows.num_rows() == part.hashes.len()));
    }

    #[test]
    fn each_row_goes_to_the_instance_of_its_key_group() {
        let count = 1000_u64;
        let ids: Vec<i64> = (0..1000).collect();
        let hashes: Vec<u64> = (0..count).map(|row| xxh3_64(&row.to_le_bytes())).collect();
        let rows = record_batch!(("id", Int64, ids)).unwrap();
        let parts = route((rows, hashes), 3).unwrap();
        assert_eq!(parts.iter().map(|part| part.hashes.len()).sum::<usize>(), 1000);
        for (instance, part) in parts.iter().enumerate() {
            assert!(part.hashes.iter().all(|hash| instance_of(key_group(*hash), 3) == instance));
        }
    }

    #[test]
    fn a_view_writes_its_own_text_only() {
        let text: Vec<String> =
            (0..1000).map(|row| format!("a text that is longer than a view, number {row}")).collect();
        let all = StringViewArray::from_iter_values(&text);
        let column: ArrayRef = Arc::new(all.slice(3, 1));
        let rows = RecordBatch::try_from_iter([("text", column)]).unwrap();
        let files = encode(&StateDelta { changed: vec![(rows, vec![1])] }).unwrap();
        assert!(files[0].content.len() < 2000, "{} bytes", files[0].content.len());
    }
}
