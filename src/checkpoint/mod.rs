//! Checkpoints: what makes a query go on as if nothing had happened.
//!
//! Owns: what a checkpoint says, in which order its objects are made, what a run that continues does first, and what may be
//! deleted when. Pure but for the calls of a [`CheckpointStore`](crate::store::CheckpointStore): no threads, no clock. Does not own:
//! when epochs end (`coordinator`), who calls on which thread (`runtime`), where objects lie (`store`).
//!
//! ```text
//! metadata                 the query's id; made once
//! runs/<generation>        made by every run before anything else: the plan, for comparison; numbered 1, 2, …
//! offsets/<n>              what is read between commits n-1 and n, and what sources need to read it again
//! state/<operator>/<n>-<generation>-<k>.arrow      changes of an operator's state, or all of it
//! commits/<n>              THE decision: offsets/<n> are in the state made of these files and in this output
//! ```
//!
//! Commits are numbered 0, 1, 2, … without gaps, whatever the epochs: a trigger of continuous processing commits some epochs only.
//!
//! # One commit, and a crash at each of its points
//!
//! | step | after a crash behind it |
//! |---|---|
//! | 1 `offsets/n` is made                               | the next run reads the same range again, as its first epoch |
//! | 2 the epoch runs; at its aligned barrier operators hand out their changes, sinks prepare rows that nobody sees | as 1: nothing that was made is named by a commit |
//! | 3 files of state are made                            | as 1 |
//! | 4 `runs` has no higher generation than ours          | as 1 |
//! | 5 `commits/n` is made, naming the files and what was prepared; `runs` still has none | the epoch has happened: the next run publishes it and goes on behind it |
//! | 6 sinks publish                                      | the next run publishes again, which changes nothing |
//! | 7 sources are told                                   | they are told with the next epoch |
//! | 8 `offsets/n+1` says that n is published              | nothing is left to do for n |
//! | 9 what no kept commit needs is deleted               | the rest is swept behind the first commit of the next run |
//!
//! # Why it is exactly once
//!
//! *Invariants*, asserted by the simulation after every step:
//!
//! - **A commit is never another.** `commits/n` is made exclusively and never deleted before n + retained commits exist, so of all
//!   processes that ever ran n, one made it, and all that follow continue from what it says.
//! - **A commit is whole.** All it names is durable before it is made (2, 3 before 5; stores create durably), and nothing that a kept
//!   commit names is deleted (9).
//! - **State, input and output agree.** `commits/n` decides all three at once: the state files hold exactly the rows up to its
//!   offsets, because snapshots are taken on aligned barriers; the prepared rows are those of the same epochs.
//! - **Output is published once.** Only rows named by a commit are published; commits are published in order; publishing twice
//!   changes nothing, which sinks promise and the conformance kit checks.
//! - **No row is lost.** Offsets of n + 1 begin where those of n end, by construction from the commit.
//!
//! *Zombies.* A process that is thought dead and is not may do any step late. Before 5 it does no harm: its names carry its
//! generation, so it overwrites nothing. At 5 it wins or loses like anybody. If it loses, it stops, and what it made is
//! garbage. If it wins after a newer run has begun, the second look at `runs` tells it so and it stops without publishing; the newer
//! run loses at 5 and stops, and its next start publishes the winner's commit and goes on from there. The first look (4) only
//! makes that rare. The second one is needed: a zombie that slept while newer runs made n, went on, and deleted it again could make
//! another `commits/n`. That stray is seen by nobody: readers follow the commits back from the newest as long as each names the
//! one before by its checksum, and the next clean-up deletes what is older. (The simulation found this one.)
//!
//! *Deleting.* A run deletes what others made only behind its own first commit n: then every older run has lost, because it would
//! have to make n or an earlier number first. What it made is named by a kept commit or garbage.
//!
//! *Lost answers.* A store may make an object and fail to say so. Whoever finds its object in place reads it: the same bytes are
//! its own success.

mod codec;
mod commits;
mod compaction;
mod gathering;
mod inspect;
mod log;
mod plan;
mod reader;
mod records;
mod state_file;
mod state_table;

pub(crate) use commits::{Commits, DurableEnd, EpochEnd, SinkEnd, persist};
pub(crate) use compaction::{Compacted, Compaction, CompactionMemory, Scratch};
pub(crate) use gathering::Gathering;
pub use inspect::{Checkpoint, CommitInfo, OperatorInfo};
#[cfg(test)]
pub(crate) use log::Defect;
pub(crate) use log::{CheckpointLog, Opening, PlannedRange, SavedSources, StateWriter};
pub(crate) use reader::{CheckpointReader, Found};
pub(crate) use records::{
    CommitRecord, EventTimeRecord, FileKind, OffsetsRecord, OperatorRecord, PlanRecord, StateFile, offsets_from_text,
};
pub(crate) use state_file::{encode as encode_state, route};
pub(crate) use state_table::open_state_table;
