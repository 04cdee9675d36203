//! Sends each row to the instance that owns its key.
//!
//! Owns: hashing key columns, sorting rows by receiver, and not sending crumbs. Does not own: the hash itself and which
//! instance owns a key group (`protocol::key_group`), or queues and credit (`protocol::outbox`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::project::one_input;
use super::{Balance, Barrier, Batch, Flow, Operator, OperatorStats, Output};
use crate::error::{Error, Result};
use crate::protocol::key_group::{KEY_GROUPS, hash_rows, instance_of, key_group};

/// Fewer rows than this for one receiver wait for more, at most until the barrier.
const WORTH_SENDING: usize = 1024;

/// Routes rows to the instances of the next operator by the hash of key columns.
///
/// | input    | output                                             | state                        | late rows     |
/// |----------|----------------------------------------------------|------------------------------|---------------|
/// | any rows | every row once, to the owner of its key, with hash | none: all is out by barrier  | not looked at |
///
/// Rows for one receiver stay in order. Without key columns all rows go to instance 0. A call puts out at most two
/// batches a receiver, so it never pauses before the barrier.
///
/// Hashes that came with a batch, as from a partial aggregation, are used again if those of some rows prove to be of just
/// these columns.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    columns: Vec<usize>,
    parallelism: usize,
    /// The owner of each key group.
    owners: Vec<u8>,
    held: Vec<Held>,
    /// The next receiver whose rows go out, at a barrier.
    flushing: usize,
}

/// Rows that wait for more rows for the same receiver.
#[derive(Debug, Clone, Default)]
struct Held {
    pieces: Vec<RecordBatch>,
    hashes: Vec<u64>,
}

impl Exchange {
    /// Routes by the columns of these indices to `parallelism` instances, 1 to [`KEY_GROUPS`].
    pub(crate) fn new(columns: Vec<usize>, parallelism: usize) -> Self {
        let owner = |group: u8| u8::try_from(instance_of(group, parallelism)).unwrap_or(u8::MAX);
        let owners = (0..=u8::MAX).map(owner).collect();
        Self { columns, parallelism, owners, held: vec![Held::default(); parallelism], flushing: 0 }
    }

    fn owner(&self, hash: u64) -> usize {
        usize::from(self.owners[usize::from(key_group(hash))])
    }

    fn hashes(&self, batch: &Batch) -> Arc<[u64]> {
        if self.columns.is_empty() {
            return vec![0; batch.rows()].into();
        }
        match &batch.hashes {
            Some(hashes) if self.are_of_these_columns(hashes, &batch.records) => hashes.clone(),
            _ => hash_rows(&self.keys(&batch.records)).into(),
        }
    }

    fn keys(&self, records: &RecordBatch) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| records.column(*column).clone()).collect()
    }

    fn are_of_these_columns(&self, hashes: &[u64], records: &RecordBatch) -> bool {
        let rows = records.num_rows();
        let probes = [0, rows / 2, rows.saturating_sub(1)];
        let fits = |row: usize| hash_rows(&self.keys(&records.slice(row, 1))).first() == hashes.get(row);
        hashes.len() == rows && probes.into_iter().all(fits)
    }

    /// Sorts the rows by receiver and cuts the batch accordingly.
    fn split(&mut self, records: &RecordBatch, hashes: &[u64], output: &mut Output) -> Result<()> {
        let (rows, ends) = self.rows_by_owner(hashes)?;
        let rows = ScalarBuffer::from(rows);
        let mut start = 0;
        for (instance, end) in ends.into_iter().enumerate() {
            let own = rows.slice(start, end - start);
            start = end;
            if !own.is_empty() {
                let own_hashes = own.iter().map(|row| hashes[*row as usize]).collect();
                let piece = take_record_batch(records, &UInt32Array::new(own, None))?;
                self.route(instance, piece, own_hashes, output)?;
            }
        }
        Ok(())
    }

    /// The row numbers sorted by receiver, and where each receiver's end. A counting sort, so order is kept.
    fn rows_by_owner(&self, hashes: &[u64]) -> Result<(Vec<u32>, Vec<usize>)> {
        let count = u32::try_from(hashes.len()).map_err(|_| Error::internal("a batch of more than 4 billion rows"))?;
        let mut places = vec![0; self.parallelism + 1];
        for hash in hashes {
            places[self.owner(*hash) + 1] += 1;
        }
        for instance in 1..places.len() {
            places[instance] += places[instance - 1];
        }
        let mut rows = vec![0; hashes.len()];
        for (row, hash) in (0..count).zip(hashes) {
            let place = &mut places[self.owner(*hash)];
            rows[*place] = row;
            *place += 1;
        }
        places.pop();
        Ok((rows, places))
    }

    fn route(&mut self, instance: usize, piece: RecordBatch, hashes: Arc<[u64]>, output: &mut Output) -> Result<()> {
        if piece.num_rows() >= WORTH_SENDING {
            self.flush(instance, output)?;
            output.batch_to(instance, Batch { records: piece, hashes: Some(hashes) });
            return Ok(());
        }
        let held = &mut self.held[instance];
        held.hashes.extend_from_slice(&hashes);
        held.pieces.push(compacted(&piece)?);
        if held.hashes.len() >= WORTH_SENDING { self.flush(instance, output) } else { Ok(()) }
    }

    fn flush(&mut self, instance: usize, output: &mut Output) -> Result<()> {
        let Held { pieces, hashes } = std::mem::take(&mut self.held[instance]);
        if let Some(first) = pieces.first() {
            let records = if pieces.len() == 1 { first.clone() } else { concat_batches(&first.schema(), &pieces)? };
            output.batch_to(instance, Batch { records, hashes: Some(hashes.into()) });
        }
        Ok(())
    }
}

impl Operator for Exchange {
    fn output_schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let input = one_input(inputs)?;
        if let Some(column) = self.columns.iter().find(|column| **column >= input.fields().len()) {
            return Err(Error::internal(format!("exchange by column {column} of {}", input.fields().len())));
        }
        if !(1..=KEY_GROUPS).contains(&self.parallelism) {
            let message = format!("a parallelism of {} is not in 1 to {KEY_GROUPS}", self.parallelism);
            return Err(Error::config(message));
        }
        Ok(input.clone())
    }

    fn describe(&self) -> String {
        format!("by {:?} to {}", self.columns, self.parallelism)
    }

    fn on_batch(&mut self, _: usize, batch: Batch, output: &mut Output) -> Result<Flow> {
        let hashes = self.hashes(&batch);
        let Some(first) = hashes.first() else { return Ok(Flow::Done) };
        let first = self.owner(*first);
        if self.parallelism == 1 {
            output.batch_to(0, Batch { records: batch.records, hashes: Some(hashes) });
        } else if hashes.iter().all(|hash| self.owner(*hash) == first) {
            self.route(first, batch.records, hashes, output)?;
        } else {
            self.split(&batch.records, &hashes, output)?;
        }
        Ok(Flow::Done)
    }

    fn resume(&mut self, output: &mut Output) -> Result<Flow> {
        while self.flushing < self.parallelism {
            if output.is_full() {
                return Ok(Flow::More);
            }
            self.flush(self.flushing, output)?;
            self.flushing += 1;
        }
        Ok(Flow::Done)
    }

    fn on_barrier(&mut self, _: &Barrier, output: &mut Output) -> Result<Flow> {
        self.flushing = 0;
        self.resume(output)
    }

    fn take_stats(&mut self) -> OperatorStats {
        OperatorStats { balance: Some(Balance::default()), ..OperatorStats::default() }
    }
}

/// The same rows without a share in the text buffers of the batch they were taken from, which a few waiting rows would
/// keep in memory.
pub(super) fn compacted(piece: &RecordBatch) -> Result<RecordBatch> {
    if piece.num_columns() == 0 {
        return Ok(piece.clone());
    }
    Ok(RecordBatch::try_new(piece.schema(), piece.columns().iter().map(compacted_column).collect())?)
}

/// The same values, with the text of these only.
pub(super) fn compacted_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::buffer::Buffer;
    use arrow::datatypes::Int64Type;
    use arrow::record_batch::RecordBatchOptions;
    use proptest::prelude::*;

    use super::super::Route;
    use super::*;
    use crate::protocol::BarrierKind;

    type Row = (String, i64);

    fn batch(rows: &[Row]) -> Batch {
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0.as_str())).collect::<StringViewArray>());
        let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
        RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("n", numbers, true)]).unwrap().into()
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let keys = batch.column(0).as_string_view().iter().map(|key| key.unwrap().to_string());
        keys.zip(batch.column(1).as_primitive::<Int64Type>().values().iter().copied()).collect()
    }

    /// What each instance gets in one epoch.
    fn epoch(exchange: &mut Exchange, batches: impl IntoIterator<Item = Batch>) -> Vec<(usize, Batch)> {
        let (mut output, mut all) = (Output::default(), Vec::new());
        for batch in batches {
            assert_eq!(exchange.on_batch(0, batch, &mut output).unwrap(), Flow::Done);
            all.extend(output.take());
        }
        let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true };
        let mut flow = exchange.on_barrier(&barrier, &mut output).unwrap();
        loop {
            let out = output.take();
            assert!(out.len() <= 4, "memory stays bounded");
            all.extend(out);
            if flow == Flow::Done {
                break;
            }
            flow = exchange.resume(&mut output).unwrap();
        }
        let instance = |route| match route {
            Route::Instance(instance) => instance,
            Route::Edge => panic!("an exchange names the instance"),
        };
        all.into_iter().map(|(route, batch)| (instance(route), batch)).collect()
    }

    fn numbered(count: i64) -> Vec<Row> {
        (0..count).map(|n| (format!("key {}", n % 100), n)).collect()
    }

    #[test]
    fn with_one_receiver_batches_pass_without_copying() {
        let input = batch(&numbered(10));
        let out = epoch(&mut Exchange::new(vec![0], 1), [input.clone()]);
        assert!(Arc::ptr_eq(input.records.column(0), out[0].1.records.column(0)));
        assert_eq!(out[0].1.hashes.as_deref(), Some(hash_rows(&input.records.columns()[..1]).as_slice()));
    }

    #[test]
    fn a_large_batch_for_one_receiver_passes_without_copying() {
        let input = batch(&vec![("same".to_string(), 1); 2000]);
        let out = epoch(&mut Exchange::new(vec![0], 4), [input.clone()]);
        assert_eq!(out.len(), 1);
        assert!(Arc::ptr_eq(input.records.column(0), out[0].1.records.column(0)));
    }

    #[test]
    fn crumbs_are_gathered_until_they_are_worth_sending_or_the_barrier_comes() {
        let all = numbered(3000);
        let out = epoch(&mut Exchange::new(vec![0], 2), all.chunks(10).map(batch));
        for instance in 0..2 {
            let sizes: Vec<usize> = out.iter().filter(|(to, _)| *to == instance).map(|(_, b)| b.rows()).collect();
            let (last, full) = sizes.split_last().unwrap();
            assert!(*last > 0 && full.iter().all(|rows| *rows >= WORTH_SENDING), "{sizes:?}");
        }
        assert_eq!(out.iter().map(|(_, batch)| batch.rows()).sum::<usize>(), all.len());
    }

    #[test]
    fn waiting_rows_do_not_keep_the_texts_of_their_batch() {
        let all: Vec<Row> = (0..500).map(|n| (format!("a key that does not fit into a view {n}"), n)).collect();
        let mut exchange = Exchange::new(vec![0], 2);
        assert_eq!(exchange.on_batch(0, batch(&all), &mut Output::default()).unwrap(), Flow::Done);
        let total: usize = all.iter().map(|row| row.0.len()).sum();
        for held in &exchange.held {
            let buffers: usize = held.pieces[0].column(0).as_string_view().data_buffers().iter().map(Buffer::len).sum();
            assert!(buffers > 0 && buffers < total);
        }
    }

    #[test]
    fn without_keys_all_rows_go_to_the_first_instance() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let none = RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::empty()), vec![], &options);
        let none: Batch = none.unwrap().into();
        let out = epoch(&mut Exchange::new(vec![], 4), [none.clone(), none]);
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].0, out[0].1.rows(), out[0].1.hashes.as_deref()), (0, 6, Some([0; 6].as_slice())));
    }

    #[test]
    fn hashes_of_these_columns_are_used_again_and_others_are_not() {
        let mut input = batch(&numbered(2));
        let own: Arc<[u64]> = hash_rows(&input.records.columns()[..1]).into();
        input.hashes = Some(own.clone());
        let out = epoch(&mut Exchange::new(vec![0], 1), [input.clone()]);
        assert!(Arc::ptr_eq(out[0].1.hashes.as_ref().unwrap(), &own));
        input.hashes = Some(hash_rows(input.records.columns()).into());
        let out = epoch(&mut Exchange::new(vec![0], 1), [input]);
        assert_eq!(out[0].1.hashes.as_ref(), Some(&own));
    }

    #[test]
    fn a_key_that_is_no_column_is_refused() {
        let inputs = [batch(&[]).records.schema()];
        assert!(Exchange::new(vec![2], 1).output_schema(&inputs).is_err());
        assert!(Exchange::new(vec![1], 1).output_schema(&inputs).is_ok());
    }

    proptest! {
        #[test]
        fn every_row_arrives_once_in_order_at_the_one_owner_of_its_key(
            keys in prop::collection::vec("[a-f]{0,2}|[a-c]{13,15}", 0..200),
            parallelism in 1..9_usize,
            cut in 1..200_usize,
        ) {
            let all: Vec<Row> = keys.into_iter().zip(0..).collect();
            let out = epoch(&mut Exchange::new(vec![0], parallelism), all.chunks(cut).map(batch));
            let mut arrived = Vec::new();
            let mut owners = BTreeMap::new();
            for (instance, batch) in &out {
                let expected = hash_rows(&batch.records.columns()[..1]);
                prop_assert_eq!(batch.hashes.as_deref(), Some(expected.as_slice()));
                for (row, hash) in rows(&batch.records).into_iter().zip(expected) {
                    prop_assert_eq!(*instance, instance_of(key_group(hash), parallelism));
                    let last = owners.insert(row.0.clone(), (*instance, row.1));
                    prop_assert!(last.is_none_or(|(owner, number)| owner == *instance && number < row.1));
                    arrived.push(row);
                }
            }
            arrived.sort_by_key(|row| row.1);
            prop_assert_eq!(arrived, all);
        }
    }
}
