//! Cuts a file, or a byte range of one, into blocks of whole records.
//!
//! Owns: reading, the limits of a byte range, line ends, valid UTF-8. Does not own: what a record says; that is a
//! [`Decode`] of a format.
//!
//! A range `begin..end` owns the lines that *start* in it: its reader looks for the first line start at or after
//! `begin` and reads on to the end of the last line that starts before `end`. So any cut of a file gives every line
//! once.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;

use super::csv::Dialect;
use super::separator::Separator;
use super::{Counters, Part, compression};
use crate::connector::SplitReader;
use crate::error::{Error, Result};

/// How much is read at a time; a record that is longer makes its block longer.
const BLOCK_BYTES: usize = 1 << 20;
/// The most a block may hold, because places in it are counted in 32 bits.
const MAX_BLOCK_BYTES: usize = i32::MAX as usize;
/// The rows of one batch.
pub(super) const BATCH_ROWS: usize = 8192;
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// What a record is.
#[derive(Debug, Clone)]
pub(super) enum Framing {
    /// A line.
    Lines(Separator),
    /// A CSV record, whose quoted values may hold line ends.
    Quoted(Dialect),
    /// The whole file.
    File,
}

impl Framing {
    /// Whether a file can be read from the middle.
    pub(super) fn can_split(&self) -> bool {
        matches!(self, Self::Lines(separator) if separator.can_split())
    }

    fn whole_records(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Lines(separator) => separator.whole_lines(bytes),
            Self::Quoted(dialect) => dialect.whole_records(bytes),
            Self::File => 0,
        }
    }
}

/// Some whole records of a file, as valid UTF-8.
#[derive(Debug)]
pub(super) struct Block {
    /// The records with their ends; the last of a file may lack its end.
    pub(super) text: Buffer,
    /// Where the next record to decode begins.
    pub(super) at: usize,
    /// The place of the block's first byte in the unpacked file.
    pub(super) offset: u64,
}

/// Reads the blocks of one [`Part`].
pub(super) struct Blocks {
    path: PathBuf,
    input: Box<dyn Read + Send>,
    framing: Framing,
    counters: Arc<Counters>,
    /// Bytes that were read but belong to the next block.
    rest: Vec<u8>,
    /// The place of `rest` in the unpacked file.
    offset: u64,
    begin: u64,
    end: u64,
    is_at_end: bool,
}

impl Blocks {
    /// Starts reading `part` of `file`.
    ///
    /// # Errors
    /// When the file cannot be read or is packed in an unknown way.
    pub(super) fn open(file: std::fs::File, part: &Part, framing: Framing, counters: &Arc<Counters>) -> Result<Self> {
        let offset = part.begin.saturating_sub(1);
        let input = compression::unpack(file, &part.path, offset).map_err(|error| read_error(&part.path, error))?;
        Ok(Self {
            path: part.path.clone(),
            input,
            framing,
            counters: Arc::clone(counters),
            rest: Vec::new(),
            offset,
            begin: part.begin,
            end: part.end,
            is_at_end: false,
        })
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next block, or `None` at the end of the part.
    ///
    /// # Errors
    /// When the file cannot be read, or one record is longer than 2 GiB.
    pub(super) fn next(&mut self) -> Result<Option<Block>> {
        if self.offset < self.begin {
            self.skip_to_line_start()?;
        }
        if self.offset >= self.end {
            return Ok(None);
        }
        let mut bytes = self.read_records()?;
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.cut_at_end(&mut bytes, offset);
        if bytes.is_empty() {
            return Ok(None);
        }
        if offset == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        if let Framing::Lines(separator) = &self.framing {
            separator.normalize(&mut bytes);
        }
        Ok(Some(Block { text: self.valid(bytes).into(), at: 0, offset }))
    }

    /// Drops the end of the line that began before this part.
    fn skip_to_line_start(&mut self) -> Result<()> {
        let Framing::Lines(separator) = &self.framing else {
            return Err(Error::internal("only files of lines are read in parts"));
        };
        let separator = separator.clone();
        let mut bytes = std::mem::take(&mut self.rest);
        let start = loop {
            match separator.line_start(&bytes, 1) {
                Some(start) => break start,
                None if self.is_at_end => break bytes.len(),
                None => self.read_more(&mut bytes, BLOCK_BYTES)?,
            }
        };
        self.offset += start as u64;
        self.rest = bytes.split_off(start);
        if self.rest.is_empty() && self.is_at_end {
            self.offset = self.end;
        }
        Ok(())
    }

    /// Whole records from `rest` and the file; nothing at the end of the file.
    fn read_records(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES.max(self.rest.len()));
        bytes.append(&mut self.rest);
        let mut target = BLOCK_BYTES;
        while !self.is_at_end {
            let missing = target.saturating_sub(bytes.len());
            self.read_more(&mut bytes, missing)?;
            let whole = if self.is_at_end { bytes.len() } else { self.framing.whole_records(&bytes) };
            if whole > 0 {
                self.rest = bytes.split_off(whole);
                break;
            }
            target = target.saturating_mul(2);
        }
        if bytes.len() > MAX_BLOCK_BYTES {
            let path = self.path.display();
            return Err(Error::data(format!("{path}: a record that begins at byte {} is over 2 GiB", self.offset)));
        }
        Ok(bytes)
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>, count: usize) -> Result<()> {
        bytes.reserve(count);
        let mut input = self.input.as_mut().take(count as u64);
        let read = input.read_to_end(bytes).map_err(|error| read_error(&self.path, error))?;
        self.is_at_end = read < count;
        Ok(())
    }

    /// Drops the lines that start at or after the end of the part.
    fn cut_at_end(&mut self, bytes: &mut Vec<u8>, offset: u64) {
        if self.offset <= self.end {
            return;
        }
        // Below the length of `bytes`, because the block goes beyond the end.
        let owned = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        if let Framing::Lines(separator) = &self.framing
            && let Some(start) = separator.line_start(bytes, owned)
        {
            bytes.truncate(start);
        }
    }

    /// Replaces what is not UTF-8 by U+FFFD and counts the lines that had such bytes.
    fn valid(&self, bytes: Vec<u8>) -> Vec<u8> {
        if std::str::from_utf8(&bytes).is_ok() {
            return bytes;
        }
        let mut valid = Vec::with_capacity(bytes.len() + bytes.len() / 8);
        let (mut lines, mut is_counted) = (0, false);
        for chunk in bytes.utf8_chunks() {
            is_counted &= memchr::memchr(b'\n', chunk.valid().as_bytes()).is_none();
            valid.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                valid.extend_from_slice("\u{FFFD}".as_bytes());
                lines += u64::from(!is_counted);
                is_counted = true;
            }
        }
        Counters::add(&self.counters.invalid_utf8_lines, lines);
        valid
    }
}

/// Turns the records of a block into rows.
pub(super) trait Decode: Send {
    /// Decodes about [`BATCH_ROWS`] records from `block.at` on and moves it; `None` once the block has no more.
    ///
    /// # Errors
    /// When a row is malformed and the mode is FAILFAST.
    fn decode(&mut self, path: &Path, block: &mut Block) -> Result<Option<RecordBatch>>;
}

/// Reads one part of a file as rows.
pub(super) struct Rows<D> {
    blocks: Blocks,
    block: Option<Block>,
    decoder: D,
    /// Rows that were decoded beyond the size of a batch.
    decoded: Option<RecordBatch>,
}

impl<D: Decode> Rows<D> {
    /// Decodes the blocks with `decoder`.
    pub(super) fn new(blocks: Blocks, decoder: D) -> Self {
        Self { blocks, block: None, decoder, decoded: None }
    }

    /// All rows that one step of the decoder gives, or `None` at the end.
    fn decode(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(block) = &mut self.block
                && let Some(batch) = self.decoder.decode(self.blocks.path(), block)?
            {
                return Ok(Some(batch));
            }
            self.block = self.blocks.next()?;
            if self.block.is_none() {
                return Ok(None);
            }
        }
    }
}

impl<D: Decode> SplitReader for Rows<D> {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let decoded = self.decoded.take();
            let Some(batch) = decoded.map_or_else(|| self.decode(), |batch| Ok(Some(batch)))? else { return Ok(None) };
            let rows = batch.num_rows();
            if rows > BATCH_ROWS {
                self.decoded = Some(batch.slice(BATCH_ROWS, rows - BATCH_ROWS));
                return Ok(Some(batch.slice(0, BATCH_ROWS)));
            }
            if rows > 0 {
                return Ok(Some(batch));
            }
        }
    }
}

/// The number of the line, from 1, that holds byte `at` of `block`. Reads the file again up to there.
pub(super) fn line_number(path: &Path, block: &Block, at: usize) -> Option<u64> {
    let file = std::fs::File::open(path).ok()?;
    let mut before = compression::unpack(file, path, 0).ok()?.take(block.offset);
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut lines = 1 + newlines(&block.text[..at]);
    loop {
        match before.read(&mut buffer).ok()? {
            0 => return Some(lines),
            count => lines += newlines(&buffer[..count]),
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

fn read_error(path: &Path, error: io::Error) -> Error {
    Error::connector(format!("cannot read `{}`: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of the parts that `cuts` make of `text`, part after part.
    fn lines(text: &[u8], cuts: &[u64]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, text).unwrap();
        let separator = Separator::Newline;
        let mut found = Vec::new();
        for (index, begin) in cuts.iter().enumerate() {
            let end = cuts.get(index + 1).copied().unwrap_or(u64::MAX);
            let part = Part { path: path.clone(), begin: *begin, end };
            let file = std::fs::File::open(&path).unwrap();
            let framing = Framing::Lines(separator.clone());
            let mut blocks = Blocks::open(file, &part, framing, &Arc::default()).unwrap();
            while let Some(block) = blocks.next().unwrap() {
                let text = block.text.as_slice();
                let line = |(start, end): (usize, usize)| String::from_utf8(text[start..end].to_vec()).unwrap();
                found.extend(separator.lines(text, 0).map(line));
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_cut_of_a_file_gives_every_line_once(
            pieces in prop::collection::vec(prop_oneof![
                Just("\n"), Just("\r\n"), Just("\r"), Just("a"), Just("wörter"), Just("日本"), Just("😀 b")
            ], 0..40),
            places in prop::collection::vec(0u64..120, 0..5),
        ) {
            let text = pieces.concat();
            let mut cuts = vec![0];
            cuts.extend(places);
            cuts.sort_unstable();
            prop_assert_eq!(lines(text.as_bytes(), &cuts), lines(text.as_bytes(), &[0]));
        }
    }

    #[test]
    fn lines_longer_than_a_block_and_lines_across_blocks_are_whole() {
        let long = "x".repeat(3 * BLOCK_BYTES);
        let text = format!("{long}\n{}{long}", "short line\r\n".repeat(200_000));
        let found = lines(text.as_bytes(), &[0, 7, 4_000_000]);
        assert_eq!(found.len(), 200_002);
        assert!(found[0] == long && found[200_001] == long && found[1..200_001].iter().all(|l| l == "short line"));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        assert_eq!(lines("\u{FEFF}a\nb".as_bytes(), &[0]), ["a", "b"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_their_lines_counted_once() {
        let counters = Arc::new(Counters::default());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"ok\n\xff\xff x\nok\n\xe6\x97\n").unwrap();
        let part = Part::whole(file.path());
        let framing = Framing::Lines(Separator::Newline);
        let mut blocks = Blocks::open(file.reopen().unwrap(), &part, framing, &counters).unwrap();
        let block = blocks.next().unwrap().unwrap();
        assert_eq!(block.text.as_slice(), "ok\n\u{FFFD}\u{FFFD} x\nok\n\u{FFFD}\n".as_bytes());
        assert_eq!(counters.snapshot()["invalidUtf8Lines"], 2);
        assert_eq!(line_number(file.path(), &block, 4), Some(2));
    }
}
