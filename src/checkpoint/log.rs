//! Writing a checkpoint: plan, decision, clean-up.
//!
//! Owns: which object is made when, what is made of an object that was there before, and what may be deleted. Does not own: when
//! epochs end (`coordinator`), retries (`runtime`). The argument why any crash between two calls is safe is in the
//! [module](super) above.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::codec::encode;
use super::commits::persist;
use super::compaction::{Compacted, Compaction, FAN_IN, Run};
use super::reader::{CheckpointReader, Commit, Found};
use super::records::{
    CommitRecord, EventTimeRecord, FileKind, HASH_VERSION, KEY_GROUPS, Metadata, OffsetsRecord, PlanRecord, RunRecord,
    SavedSource, SinkEpoch, StateFile, offsets_to_text,
};
use super::state_file::{Encoded, FILE_BYTES};
use crate::connector::{Offset, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Epoch, Watermark};
use crate::store::{CheckpointStore, Created, StoreLock};

/// Deliberate defects of the protocol, to show that the simulation finds such things.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Files of state are made after the commit that names them.
    StateAfterCommit,
    /// A range is read without having been kept.
    NoPlan,
    /// Somebody else's commit is taken for one's own.
    IgnoresOthers,
    /// A run that continues does not publish the last commit again.
    ForgetsToPublish,
    /// What is not named is deleted before the first own commit.
    SweepsEarly,
    /// Rows are published before it is decided that they are.
    PublishesFirst,
    /// The result of a compaction goes behind newer files.
    CompactsOutOfOrder,
    /// Files of a commit that is too old are deleted although newer ones name them.
    DeletesNeeded,
    /// Files are made fewer again before the log knows that they were.
    CompactsTwice,
}

/// Files that are made too late.
#[cfg(test)]
type LateFiles = Arc<std::sync::Mutex<Vec<(String, Vec<u8>)>>>;

/// Who opens a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    /// The query's id if it has none yet.
    pub(crate) new_id: u128,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) started_micros: i64,
    pub(crate) plan: PlanRecord,
    /// How many commits to keep; at least one.
    pub(crate) retain: usize,
}

/// A range about to be read.
#[derive(Debug, Clone)]
pub(crate) struct PlannedRange {
    pub(crate) epoch: Epoch,
    pub(crate) from: Vec<Offset>,
    pub(crate) to: Vec<Offset>,
    pub(crate) has_data: bool,
    pub(crate) watermark: Watermark,
    pub(crate) processing_micros: i64,
    pub(crate) sources: SavedSources,
}

/// What the sources saved of a range.
#[derive(Debug, Clone)]
pub(crate) struct SavedSources {
    saved: Vec<SavedSource>,
    /// All there was before it, too.
    is_base: bool,
}

impl SavedSources {
    /// Lets each source save its part of the range, with `is_base` everything before it, too.
    ///
    /// # Errors
    /// When a source cannot.
    pub(crate) fn of(sources: &mut [Box<dyn Source>], from: &[Offset], to: &[Offset], is_base: bool) -> Result<Self> {
        let mut saved = Vec::new();
        for ((source, from), to) in sources.iter_mut().zip(from).zip(to) {
            let base = if is_base { source.save_all(from)? } else { None };
            let range = if from == to { None } else { source.save(from, to)? };
            saved.push(SavedSource { base, range });
        }
        Ok(Self { saved, is_base })
    }
}

/// What is to be committed.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) epoch: Epoch,
    pub(crate) to: Vec<Offset>,
    pub(crate) event_time: EventTimeRecord,
    /// For each operator with state, the files of what it changed.
    pub(crate) changes: Vec<Vec<StateFile>>,
    /// For each sink, the epochs to publish.
    pub(crate) sinks: Vec<Vec<SinkEpoch>>,
}

/// The log of one run. Dropping it lets other processes have the checkpoint.
#[derive(Debug)]
pub(crate) struct CheckpointLog {
    reader: CheckpointReader,
    id: u128,
    generation: u64,
    retain: usize,
    /// The commits that are kept, oldest first.
    commits: VecDeque<Commit>,
    is_by_key: Vec<bool>,
    /// For each operator, the files of the newest commit.
    files: Vec<Vec<StateFile>>,
    /// Operators whose files are being made fewer.
    compacting: BTreeSet<usize>,
    /// Operators whose files stay as they are.
    uncompacted: BTreeSet<usize>,
    /// Files that take the place of others with the next commit.
    compacted: Vec<Compacted>,
    sequence: Arc<AtomicU64>,
    /// The numbers of the offsets that sources can be restored from, oldest first.
    bases: VecDeque<u64>,
    published: Option<u64>,
    has_swept: bool,
    /// What is to be deleted.
    garbage: BTreeSet<String>,
    fan_in: usize,
    /// The largest files of state that are made.
    file_bytes: u64,
    #[cfg(test)]
    defect: Option<Defect>,
    #[cfg(test)]
    late: LateFiles,
    _lock: Option<StoreLock>,
}

/// Writes files of state for the next commit; any thread may have one.
#[derive(Debug, Clone)]
pub(crate) struct StateWriter {
    store: Arc<dyn CheckpointStore>,
    number: u64,
    generation: u64,
    sequence: Arc<AtomicU64>,
    #[cfg(test)]
    late: Option<LateFiles>,
}

impl StateWriter {
    /// Makes files of an operator's state, trying each again as [`persist`] does.
    ///
    /// # Errors
    /// When the store cannot keep them.
    pub(crate) fn write(
        &self,
        operator: usize,
        instance: usize,
        kind: FileKind,
        encoded: &[Encoded],
        mut pause: impl FnMut(Duration),
    ) -> Result<Vec<StateFile>> {
        let mut files = Vec::new();
        for encoded in encoded {
            let file = self.name(instance, kind, encoded);
            persist(&mut pause, || self.make(operator, &file, encoded))?;
            files.push(file);
        }
        Ok(files)
    }

    /// The file's name and facts, the same however often it is tried.
    fn name(&self, instance: usize, kind: FileKind, encoded: &Encoded) -> StateFile {
        StateFile {
            number: self.number,
            generation: self.generation,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            instance: u32::try_from(instance).unwrap_or(u32::MAX),
            kind,
            rows: encoded.rows,
            bytes: encoded.content.len() as u64,
            checksum: encoded.checksum,
        }
    }

    fn make(&self, operator: usize, file: &StateFile, encoded: &Encoded) -> Result<()> {
        #[cfg(test)]
        if let Some(late) = &self.late {
            crate::clock::lock(late).push((file.name(operator), encoded.content.clone()));
            return Ok(());
        }
        create(self.store.as_ref(), &file.name(operator), &encoded.content)
    }
}

impl CheckpointLog {
    /// Opens the checkpoint in a store for a new run, or begins one there.
    ///
    /// # Errors
    /// When another process has it, it is of another query or of a newer version, something in it is missing or damaged, or the
    /// store cannot keep it.
    pub(crate) fn open(store: Arc<dyn CheckpointStore>, opening: Opening) -> Result<(Self, Found)> {
        let lock = store.lock()?;
        let reader = CheckpointReader::new(Arc::clone(&store));
        let id = match reader.metadata()? {
            Some(metadata) => metadata.id,
            None => begin(&reader, opening.new_id)?,
        };
        // A query that is not this one is refused before it could push a run of the right one aside.
        find_checked(&reader, &opening.plan)?;
        let operators = opening.plan.operators.len();
        let is_by_key = opening.plan.operators.iter().map(|operator| operator.is_by_key).collect();
        let generation = begin_run(&reader, &opening)?;
        // Only now older runs stop: what they did in between counts.
        let found = find_checked(&reader, &opening.plan)?;
        let log = Self {
            id,
            generation,
            retain: opening.retain.max(1),
            commits: found.commits.iter().cloned().collect(),
            is_by_key,
            files: found.last().map_or_else(|| vec![Vec::new(); operators], |last| last.operators.clone()),
            compacting: BTreeSet::new(),
            uncompacted: BTreeSet::new(),
            compacted: Vec::new(),
            sequence: Arc::new(AtomicU64::new(0)),
            bases: VecDeque::from([found.base]),
            published: found.published,
            has_swept: false,
            garbage: BTreeSet::new(),
            fan_in: FAN_IN,
            file_bytes: FILE_BYTES as u64,
            #[cfg(test)]
            defect: None,
            #[cfg(test)]
            late: LateFiles::default(),
            _lock: lock,
            reader,
        };
        Ok((log, found))
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, defect: Option<Defect>) {
        self.defect = defect;
        if defect == Some(Defect::SweepsEarly) {
            self.sweep(self.next().saturating_sub(1));
        }
    }

    #[cfg(test)]
    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Files of state are made in parts of at most so many bytes.
    pub(crate) fn limit_files(&mut self, bytes: u64) {
        self.file_bytes = self.file_bytes.min(bytes);
    }

    /// Lets so many files be enough to make them fewer.
    #[cfg(test)]
    pub(crate) fn set_fan_in(&mut self, fan_in: usize) {
        self.fan_in = fan_in;
    }

    /// The query's id.
    pub(crate) fn id(&self) -> u128 {
        self.id
    }

    /// The number of this run, from 1.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of the next commit.
    pub(crate) fn next(&self) -> u64 {
        self.commits.back().map_or(0, |last| last.record.number + 1)
    }

    pub(crate) fn reader(&self) -> &CheckpointReader {
        &self.reader
    }

    /// Keeps what the next range is, so that it is read again if this run does not commit it.
    ///
    /// # Errors
    /// When another process planned another one, or the store cannot keep it.
    pub(crate) fn plan(&mut self, range: PlannedRange) -> Result<()> {
        let number = self.next();
        let record = OffsetsRecord {
            number,
            generation: self.generation,
            epoch: range.epoch,
            from: offsets_to_text(&range.from),
            to: offsets_to_text(&range.to),
            has_data: range.has_data,
            watermark: range.watermark.into(),
            processing_micros: range.processing_micros,
            is_base: range.sources.is_base,
            saved: range.sources.saved,
            published: self.published,
        };
        #[cfg(test)]
        if self.has(Defect::NoPlan) {
            return Ok(());
        }
        create(self.reader.store().as_ref(), &format!("offsets/{number}"), &encode(&record)?)?;
        if record.is_base && self.bases.back() != Some(&number) {
            self.bases.push_back(number);
        }
        Ok(())
    }

    /// What writes the state of the next commit.
    pub(crate) fn writer(&self) -> StateWriter {
        StateWriter {
            store: Arc::clone(self.reader.store()),
            number: self.next(),
            generation: self.generation,
            sequence: Arc::clone(&self.sequence),
            #[cfg(test)]
            late: self.has(Defect::StateAfterCommit).then(|| Arc::clone(&self.late)),
        }
    }

    /// Commits: from here on the epoch has happened, whatever else fails.
    ///
    /// # Errors
    /// When a newer run or another process is at work, or the store cannot keep the record. Calling again is safe.
    pub(crate) fn commit(&mut self, decision: &Decision) -> Result<()> {
        self.expect_newest()?;
        let files: Vec<Vec<StateFile>> =
            (0..self.files.len()).map(|operator| self.next_files(operator, decision)).collect();
        let number = self.next();
        let record = CommitRecord {
            number,
            generation: self.generation,
            epoch: decision.epoch,
            previous: self.commits.back().map_or(0, |last| last.checksum),
            to: offsets_to_text(&decision.to),
            event_time: decision.event_time.clone(),
            operators: files.clone(),
            sinks: decision.sinks.clone(),
        };
        let bytes = encode(&record)?;
        let made = create(self.reader.store().as_ref(), &format!("commits/{number}"), &bytes);
        #[cfg(test)]
        let made = if self.has(Defect::IgnoresOthers) { made.or(Ok(())) } else { made };
        made?;
        // Only now it is sure: a commit of this number may have been made and deleted long ago by a newer run.
        self.expect_newest()?;
        #[cfg(test)]
        for (name, content) in std::mem::take(&mut *crate::clock::lock(&self.late)) {
            create(self.reader.store().as_ref(), &name, &content)?;
        }
        self.commits.push_back(Commit { record, checksum: xxh3_64(&bytes) });
        self.files = files;
        self.compacted.clear();
        Ok(())
    }

    fn next_files(&self, operator: usize, decision: &Decision) -> Vec<StateFile> {
        let mut files = self.files[operator].clone();
        for compacted in self.compacted.iter().filter(|compacted| compacted.operator == operator) {
            #[cfg(test)]
            if self.has(Defect::CompactsTwice) {
                compacted.take_place_of_what_is_left(&mut files);
                continue;
            }
            compacted.take_place(&mut files);
            #[cfg(test)]
            if self.has(Defect::CompactsOutOfOrder) {
                files.rotate_left(1);
            }
        }
        files.extend(decision.changes[operator].iter().cloned());
        files
    }

    /// # Errors
    /// When a newer run has begun.
    fn expect_newest(&self) -> Result<()> {
        let newer = self.reader.generations()?.into_iter().rfind(|other| *other > self.generation);
        newer.map_or(Ok(()), |newer| {
            Err(Error::state(format!(
                "two processes run on the checkpoint in `{}`: run {newer} has taken over from run {}; stop one of them. What \
                 is committed is unharmed",
                self.reader.store().location(),
                self.generation
            )))
        })
    }

    /// The sinks show the newest commit.
    pub(crate) fn published(&mut self) {
        self.published = self.commits.back().map(|last| last.record.number);
    }

    /// Files that should become fewer; what comes of each goes to [`compacted`](Self::compacted). Of one operator there is one at a
    /// time, until a commit names its result: the same files twice would be the same rows twice.
    pub(crate) fn compactions(&mut self) -> Vec<Compaction> {
        let run = Run { generation: self.generation, fan_in: self.fan_in, file_bytes: self.file_bytes };
        let mut chosen = Vec::new();
        for (operator, files) in self.files.iter().enumerate() {
            if self.is_compacting(operator) {
                continue;
            }
            chosen.extend(Compaction::choose(operator, files, run, self.is_by_key[operator]));
        }
        self.compacting.extend(chosen.iter().map(|compaction| compaction.operator));
        chosen
    }

    fn is_compacting(&self, operator: usize) -> bool {
        #[cfg(test)]
        if self.has(Defect::CompactsTwice) {
            return false;
        }
        let is_done = self.compacted.iter().any(|compacted| compacted.operator == operator);
        is_done || self.compacting.contains(&operator) || self.uncompacted.contains(&operator)
    }

    /// The next commit names the result instead of the files it was made of. Without one the files of the operator stay; for good,
    /// unless it is the store that failed.
    pub(crate) fn compacted(&mut self, operator: usize, result: Result<Option<Compacted>>) -> Result<()> {
        self.compacting.remove(&operator);
        match result {
            Ok(Some(compacted)) => {
                self.compacted.push(compacted);
                Ok(())
            }
            Ok(None) => {
                self.uncompacted.insert(operator);
                Ok(())
            }
            Err(error) => {
                if error.kind() != ErrorKind::Connector {
                    self.uncompacted.insert(operator);
                }
                Err(error)
            }
        }
    }

    /// Deletes what no commit that is kept needs. To be called after a commit of this run: before its first one, an older run
    /// that is thought dead could still win with what it wrote.
    ///
    /// # Errors
    /// When the store does not delete; nothing is lost by that, and the next call tries again what is left of older runs.
    pub(crate) fn clean(&mut self) -> Result<()> {
        let store = Arc::clone(self.reader.store());
        while self.commits.len() > self.retain
            && let Some(commit) = self.commits.front()
        {
            // In order and without gaps, so that what is left can always be read.
            store.delete(&format!("commits/{}", commit.record.number))?;
            // A file that one commit names and the next does not is named by none after it.
            let needed: BTreeSet<String> =
                self.commits.get(1).map(|next| names(&next.record).collect()).unwrap_or_default();
            #[cfg(test)]
            let needed = if self.has(Defect::DeletesNeeded) { BTreeSet::new() } else { needed };
            self.garbage.extend(names(&commit.record).filter(|name| !needed.contains(name)));
            self.commits.pop_front();
        }
        let Some(oldest) = self.commits.front().map(|commit| commit.record.number) else { return Ok(()) };
        while self.bases.len() > 1 && self.bases[1] <= oldest + 1 {
            for number in self.bases[0]..self.bases[1] {
                store.delete(&format!("offsets/{number}"))?;
            }
            self.bases.pop_front();
        }
        if !self.has_swept {
            let strays = self.strays(oldest)?;
            self.garbage.extend(strays);
            self.has_swept = true;
        }
        while let Some(name) = self.garbage.first() {
            store.delete(name)?;
            self.garbage.pop_first();
        }
        Ok(())
    }

    /// Deletes what older runs left and no kept commit needs.
    #[cfg(test)]
    fn sweep(&self, oldest: u64) {
        let strays = self.strays(oldest).unwrap_or_default();
        let state = strays.iter().filter(|name| name.starts_with("state/"));
        state.for_each(|name| drop(self.reader.store().delete(name)));
    }

    /// What older runs left behind, and what a crash during an earlier clean-up did.
    fn strays(&self, oldest: u64) -> Result<Vec<String>> {
        let needed: BTreeSet<String> = self.commits.iter().flat_map(|commit| names(&commit.record)).collect();
        let mut strays = Vec::new();
        for operator in 0..self.files.len() {
            for file in self.reader.store().list(&format!("state/{operator}"))? {
                let generation = file.split('-').nth(1).and_then(|generation| generation.parse::<u64>().ok());
                let name = format!("state/{operator}/{file}");
                if generation.is_some_and(|generation| generation < self.generation) && !needed.contains(&name) {
                    strays.push(name);
                }
            }
        }
        let base = self.bases.front().copied().unwrap_or_default();
        let first_run = self.commits.iter().map(|commit| commit.record.generation).min().unwrap_or(self.generation);
        let below = |numbers: Vec<u64>, bound: u64| numbers.into_iter().filter(move |number| *number < bound);
        strays.extend(below(self.reader.commits()?, oldest).map(|number| format!("commits/{number}")));
        strays.extend(below(self.reader.offset_numbers()?, base).map(|number| format!("offsets/{number}")));
        strays.extend(below(self.reader.generations()?, first_run).map(|number| format!("runs/{number}")));
        Ok(strays)
    }
}

/// Where the query stands, if this is its checkpoint.
fn find_checked(reader: &CheckpointReader, plan: &PlanRecord) -> Result<Found> {
    let found = reader.find()?;
    if let Some(generation) = found.generation() {
        reader.run(generation)?.plan.check(plan, &reader.store().location())?;
    }
    Ok(found)
}

/// The objects that only a commit's name in them keeps alive.
fn names(commit: &CommitRecord) -> impl Iterator<Item = String> {
    let of = |(operator, files): (usize, &Vec<StateFile>)| {
        files.iter().map(move |file| file.name(operator)).collect::<Vec<_>>()
    };
    commit.operators.iter().enumerate().flat_map(of)
}

/// Makes an object; that it is there with the same content is as good, because an answer can be lost.
///
/// # Errors
/// When it is there with another content, which only another process can have made, or the store cannot keep it.
fn create(store: &dyn CheckpointStore, name: &str, content: &[u8]) -> Result<()> {
    if store.create(name, content)? == Created::New || store.read(name)?.is_some_and(|found| found == content) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::State,
        format!(
            "two processes run on the checkpoint in `{}`: another one made `{name}`; stop one of them. What is committed is \
             unharmed, and starting this one again goes on from there",
            store.location()
        ),
    ))
}

/// The id of a checkpoint that begins here.
fn begin(reader: &CheckpointReader, new_id: u128) -> Result<u128> {
    let store = reader.store();
    store.probe()?;
    let metadata = Metadata { id: new_id, key_groups: KEY_GROUPS, hash_version: HASH_VERSION };
    // Another process may have begun it at the same moment, with its id.
    match store.create("metadata", &encode(&metadata)?)? {
        Created::New => Ok(new_id),
        Created::Exists => Ok(reader.metadata()?.map_or(new_id, |metadata| metadata.id)),
    }
}

/// The number of a new run: one above all there were.
fn begin_run(reader: &CheckpointReader, opening: &Opening) -> Result<u64> {
    loop {
        let generation = reader.generations()?.last().map_or(1, |last| last + 1);
        let run = RunRecord {
            generation,
            host: opening.host.clone(),
            pid: opening.pid,
            started_micros: opening.started_micros,
            plan: opening.plan.clone(),
        };
        if reader.store().create(&format!("runs/{generation}"), &encode(&run)?)? == Created::New {
            return Ok(generation);
        }
    }
}
