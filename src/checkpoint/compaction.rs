//! Many small files of state become few.
//!
//! Owns: which files, and how. Does not own: when there is time for it (`runtime`), or what a row of state means: an operator of
//! its own takes the files back and hands the state out again.
//!
//! Rows that the watermark has made final go on the way. Two kinds of choice are right whatever the operator, because later
//! files only add to what their own instance wrote before: files of one instance of one run that follow each other, and all
//! files up to some commit.
//!
//! Cost: a change is written once for each factor of [`FAN_IN`] files (log-structured merge trees, O'Neil et al. 1996), and the
//! whole state again when the changes outweigh it, so a bounded number of times for each byte that changed.

use std::sync::Arc;
use std::time::Duration;

use super::log::StateWriter;
use super::reader::CheckpointReader;
use super::records::{FileKind, StateFile};
use super::state_file;
use crate::error::Result;
use crate::operator::{EpochTime, Operator, Output};
use crate::protocol::Watermark;
use crate::protocol::key_group::KEY_GROUPS;
use crate::state::{ColdStore, StateDelta, StatePart};

/// So many files of one level become one of the next.
pub(super) const FAN_IN: usize = 16;

/// So many files of older runs are enough to write the whole state anew.
const OLD_FILES: usize = 64;

/// Who chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) generation: u64,
    /// So many files of one level become one of the next.
    pub(crate) fan_in: usize,
    /// What is larger than this is more than one file again.
    pub(crate) file_bytes: u64,
}

/// What making files fewer may hold in memory.
#[derive(Clone)]
pub(crate) struct CompactionMemory {
    /// So many bytes of files are taken into memory at a time; of more, one part of the keys after the other.
    pub(crate) pass_bytes: u64,
    /// Makes places where rows can wait for their part's turn; without, the files are read again for each part.
    pub(crate) scratch: Option<Scratch>,
}

/// Makes a place for rows outside memory.
pub(crate) type Scratch = Arc<dyn Fn() -> Result<Box<dyn ColdStore>> + Send + Sync>;

impl Default for CompactionMemory {
    fn default() -> Self {
        Self { pass_bytes: u64::MAX, scratch: None }
    }
}

/// Files to be made one, or few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compaction {
    pub(crate) operator: usize,
    pub(crate) instance: usize,
    pub(crate) files: Vec<StateFile>,
    pub(crate) kind: FileKind,
}

/// Files and what took their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compacted {
    pub(crate) operator: usize,
    pub(crate) replaced: Vec<StateFile>,
    pub(crate) result: Vec<StateFile>,
}

impl Compaction {
    /// What to do about the files of an operator, in order; nothing if they are few enough.
    pub(crate) fn choose(operator: usize, files: &[StateFile], run: Run, is_by_key: bool) -> Option<Self> {
        if is_by_key {
            return Self::of_part(operator, 0, files.to_vec(), run);
        }
        // Rows of such an operator stay with their instance.
        let instances = files.iter().map(|file| file.instance).max().map_or(0, |last| last + 1);
        (0..instances).find_map(|instance| {
            let own = files.iter().filter(|file| file.instance == instance).cloned().collect();
            Self::of_part(operator, instance as usize, own, run)
        })
    }

    fn of_part(operator: usize, instance: usize, files: Vec<StateFile>, run: Run) -> Option<Self> {
        let Run { generation, fan_in, file_bytes } = run;
        let bytes = |is_base: bool| -> u64 {
            files.iter().filter(|file| (file.kind == FileKind::Base) == is_base).map(|file| file.bytes).sum()
        };
        let changes = files.iter().filter(|file| file.kind != FileKind::Base);
        let old = changes.clone().filter(|file| file.generation != generation).count();
        if old >= OLD_FILES || changes.count() >= fan_in && bytes(false) > bytes(true) {
            return Some(Self { operator, instance, files, kind: FileKind::Base });
        }
        let mut runs: Vec<(u32, u8, Vec<&StateFile>)> = Vec::new();
        for file in files.iter().filter(|file| file.generation == generation) {
            let FileKind::Changes { level } = file.kind else { continue };
            match runs.iter_mut().find(|(instance, of, _)| (*instance, *of) == (file.instance, level)) {
                Some((_, _, run)) => run.push(file),
                None => runs.push((file.instance, level, vec![file])),
            }
        }
        // Large files do not become fewer; they wait for the whole state to be written anew.
        let become_fewer = |run: &[&StateFile]| {
            let bytes: u64 = run.iter().map(|file| file.bytes).sum();
            bytes.div_ceil(file_bytes.max(1)) * 2 <= run.len() as u64
        };
        let (instance, level, run) = runs.into_iter().find(|(_, _, run)| run.len() >= fan_in && become_fewer(run))?;
        let kind = FileKind::Changes { level: level.saturating_add(1) };
        Some(Self { operator, instance: instance as usize, files: run.into_iter().cloned().collect(), kind })
    }

    /// Reads the files into an `operator`, a fresh instance that is open, and writes what it then holds. `evicted` is what the state
    /// was cleaned by. `None` if the operator cannot do that.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the store cannot keep the result.
    pub(crate) fn run(
        self,
        operator: impl Fn() -> Result<Box<dyn Operator>>,
        evicted: Option<Watermark>,
        (reader, writer): (&CheckpointReader, &StateWriter),
        memory: &CompactionMemory,
        pause: impl FnMut(Duration) + Copy,
    ) -> Result<Option<Compacted>> {
        let here = evicted.map(|watermark| Watermark { late_ms: watermark.evict_ms, ..watermark });
        let time = EpochTime { query: here.unwrap_or_default(), here, processing_micros: 0 };
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        let passes = usize::try_from(bytes.div_ceil(memory.pass_bytes.max(1)));
        let passes = passes.map_or(KEY_GROUPS, |passes| passes.clamp(1, KEY_GROUPS));
        let mut rows = match &memory.scratch {
            Some(scratch) if passes > 1 => Passes::Sorted(self.sorted(reader, passes, scratch()?)?),
            _ => Passes::Reread(reader),
        };
        let mut result = Vec::new();
        for pass in 0..passes {
            let mut operator = operator()?;
            let mut is_empty = true;
            rows.each(&self, passes, pass, &mut |part| {
                is_empty = false;
                operator.restore(part)
            })?;
            // What an operator holds without any rows is of no part of the keys.
            if is_empty && passes > 1 {
                continue;
            }
            operator.on_watermark(time, &mut Output::default())?;
            if !operator.save_all() {
                return Ok(None);
            }
            let state = state_file::encode(&operator.snapshot()?.unwrap_or_default())?;
            result.extend(writer.write(self.operator, self.instance, self.kind, &state, pause)?);
        }
        Ok(Some(Compacted { operator: self.operator, replaced: self.files, result }))
    }
}

impl Compaction {
    /// Puts the rows of all files outside memory, part by part and in order.
    fn sorted(
        &self,
        reader: &CheckpointReader,
        passes: usize,
        mut store: Box<dyn ColdStore>,
    ) -> Result<Box<dyn ColdStore>> {
        let mut number = 0_u64;
        for file in &self.files {
            for rows in reader.state(self.operator, file)? {
                let mut pieces = Vec::new();
                for (pass, part) in state_file::route(rows, passes)?.into_iter().enumerate() {
                    let changed = vec![(part.rows, part.hashes)];
                    for encoded in state_file::encode(&StateDelta { changed })? {
                        pieces.push((piece_key(pass, number), encoded.content));
                    }
                }
                number += 1;
                store.put(&mut pieces.iter().map(|(key, content)| (key.as_slice(), content.as_slice())))?;
            }
        }
        Ok(store)
    }
}

/// Where the rows of each part of the keys come from.
enum Passes<'a> {
    /// From the files, again for each part.
    Reread(&'a CheckpointReader),
    Sorted(Box<dyn ColdStore>),
}

/// So many pieces are taken at a time from where they wait.
const PIECES: usize = 64;

impl Passes<'_> {
    /// Hands the rows of one part over, in the order of the files.
    fn each(
        &mut self,
        compaction: &Compaction,
        passes: usize,
        pass: usize,
        take: &mut dyn FnMut(StatePart) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Reread(reader) => {
                for file in &compaction.files {
                    for rows in reader.state(compaction.operator, file)? {
                        let part = state_file::route(rows, passes)?.into_iter().nth(pass);
                        part.filter(|part| part.rows.num_rows() > 0).map_or(Ok(()), &mut *take)?;
                    }
                }
                Ok(())
            }
            Self::Sorted(store) => {
                let (mut next, end) = (piece_key(pass, 0), piece_key(pass + 1, 0));
                loop {
                    let mut pieces: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
                    store.scan(&next, &end, PIECES, &mut |key, content| {
                        pieces.push((key.to_vec(), content.to_vec()));
                    })?;
                    let Some((last, _)) = pieces.last() else { return Ok(()) };
                    next = [last.as_slice(), &[0]].concat();
                    for (_, content) in &pieces {
                        for (rows, hashes) in state_file::rows_of("a piece of state", content)? {
                            take(StatePart { rows, hashes })?;
                        }
                    }
                }
            }
        }
    }
}

fn piece_key(pass: usize, number: u64) -> Vec<u8> {
    [(pass as u64).to_be_bytes(), number.to_be_bytes()].concat()
}

impl Compacted {
    /// Puts the result where the last of the replaced files is.
    pub(crate) fn take_place(&self, files: &mut Vec<StateFile>) {
        // What is not whole there was replaced before.
        if self.replaced.iter().all(|file| files.contains(file)) {
            self.take_place_of_what_is_left(files);
        }
    }

    /// The same although some of the files are not there any more.
    pub(super) fn take_place_of_what_is_left(&self, files: &mut Vec<StateFile>) {
        let Some(last) = files.iter().rposition(|file| self.replaced.contains(file)) else { return };
        let behind = files.split_off(last + 1);
        files.retain(|file| !self.replaced.contains(file));
        files.extend(self.result.iter().cloned());
        files.extend(behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sequence: u64, generation: u64, instance: u32, kind: FileKind, bytes: u64) -> StateFile {
        StateFile { number: sequence, generation, sequence, instance, kind, rows: 1, bytes, checksum: 0 }
    }

    const RUN: Run = Run { generation: 2, fan_in: FAN_IN, file_bytes: 1000 };

    const FRESH: FileKind = FileKind::Changes { level: 0 };

    fn changes(range: std::ops::Range<u64>, instance: u32) -> Vec<StateFile> {
        range.map(|sequence| file(sequence, 2, instance, FRESH, 10)).collect()
    }

    #[test]
    fn few_files_stay_and_sixteen_of_one_instance_become_one() {
        let mut files = vec![file(100, 2, 0, FileKind::Base, 10_000)];
        files.extend(changes(0..15, 0));
        files.extend(changes(20..30, 1));
        assert_eq!(Compaction::choose(0, &files, RUN, true), None);
        files.push(file(50, 2, 0, FRESH, 10));
        let chosen = Compaction::choose(0, &files, RUN, true).unwrap();
        assert_eq!((chosen.files.len(), chosen.instance, chosen.kind), (16, 0, FileKind::Changes { level: 1 }));
        assert!(chosen.files.iter().all(|file| file.instance == 0));
    }

    #[test]
    fn large_files_that_would_not_become_fewer_stay() {
        let mut files = vec![file(100, 2, 0, FileKind::Base, 1_000_000)];
        files.extend((0..16).map(|sequence| file(sequence, 2, 0, FRESH, 600)));
        assert_eq!(Compaction::choose(0, &files, RUN, true), None);
        files.extend((20..36).map(|sequence| file(sequence, 2, 1, FRESH, 400)));
        assert_eq!(Compaction::choose(0, &files, RUN, true).unwrap().instance, 1);
    }

    #[test]
    fn the_whole_is_written_when_changes_outweigh_it_or_come_from_many_runs() {
        let mut files = vec![file(100, 2, 0, FileKind::Base, 100)];
        files.extend(changes(0..16, 0));
        let chosen = Compaction::choose(0, &files, RUN, true).unwrap();
        assert_eq!((chosen.files, chosen.kind), (files, FileKind::Base));
        let mut files = vec![file(100, 2, 0, FileKind::Base, 1_000_000)];
        files.extend((0..64).map(|run| file(run, run + 3, 0, FRESH, 10)));
        assert_eq!(Compaction::choose(0, &files, RUN, true).unwrap().kind, FileKind::Base);
    }

    #[test]
    fn rows_that_do_not_come_by_key_stay_with_their_instance() {
        let mut files = changes(0..10, 0);
        files.extend(changes(20..36, 1));
        let chosen = Compaction::choose(0, &files, RUN, false).unwrap();
        assert_eq!((chosen.instance, chosen.files.len(), chosen.kind), (1, 16, FileKind::Base));
    }

    #[test]
    fn the_result_stands_where_the_last_of_its_files_stood() {
        let files = changes(0..6, 0);
        let result = file(9, 2, 0, FileKind::Changes { level: 1 }, 20);
        let replaced = vec![files[1].clone(), files[3].clone()];
        let compacted = Compacted { operator: 0, replaced, result: vec![result] };
        let mut after = files;
        compacted.take_place(&mut after);
        assert_eq!(after.iter().map(|file| file.sequence).collect::<Vec<_>>(), [0, 2, 9, 4, 5]);
        let before = after.clone();
        compacted.take_place(&mut after);
        assert_eq!(after, before, "what was replaced is not replaced again");
    }
}
