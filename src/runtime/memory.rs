//! How a query's memory limit is shared out.
//!
//! Owns: who gets how much. Does not own: obeying it: sources read less at a time and rest (`coordinator`), channels hold less
//! (`protocol::credit`), operators let rows go (`operator`).
//!
//! | share  | for                                                                                              |
//! |--------|--------------------------------------------------------------------------------------------------|
//! | 1 / 2  | state, behind a durable end, in equal parts for the instances of operators whose rows can leave memory   |
//! | 1 / 8  | pages of the files where they go                                                                  |
//! | 1 / 16 | what one epoch reads; as rows on their way and as groups it takes several times that              |
//! | 1 / 16 | files of state that are made fewer at a time; as groups and columns they take several times that  |
//! | rest   | rows on their way, results, what a commit writes                                                  |

use std::collections::BTreeMap;
#[cfg(feature = "spill")]
use std::sync::Arc;

use crate::checkpoint::{CompactionMemory, Scratch};
use crate::coordinator::MemoryLimit;
use crate::error::Result;
use crate::protocol::credit::Window;
#[cfg(feature = "spill")]
use crate::state::StateBudget;
#[cfg(feature = "spill")]
use crate::store::SpillFile;
use crate::task::{OperatorTask, TaskId};

/// A channel holds at least so many bytes of rows.
const LEAST_WINDOW: u64 = 256 << 10;

/// What a channel may hold.
pub(super) fn window(limit: MemoryLimit) -> Window {
    let usual = Window::default();
    Window { bytes: usual.bytes.min((limit.bytes / 64).max(LEAST_WINDOW)), ..usual }
}

/// Files of state are made fewer in parts of at least so many bytes.
const LEAST_PASS: u64 = 1 << 20;

/// How large the files of state are, and the parts in which they are made fewer.
pub(super) fn pass_bytes(limit: MemoryLimit) -> u64 {
    (limit.bytes / 16).max(LEAST_PASS)
}

/// What making files of state fewer may hold.
pub(super) fn compaction(limit: MemoryLimit) -> CompactionMemory {
    CompactionMemory { pass_bytes: pass_bytes(limit), scratch: scratch(limit) }
}

#[cfg(feature = "spill")]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as without the feature")]
fn scratch(limit: MemoryLimit) -> Option<Scratch> {
    let cache = usize::try_from(limit.bytes / 16).unwrap_or(usize::MAX);
    Some(Arc::new(move || Ok(Box::new(SpillFile::create(&std::env::temp_dir(), cache)?))))
}

#[cfg(not(feature = "spill"))]
fn scratch(_: MemoryLimit) -> Option<Scratch> {
    None
}

/// Gives operators whose rows can leave memory their share.
///
/// # Errors
/// When there is no place for rows outside memory.
#[cfg(feature = "spill")]
pub(super) fn limit(limit: MemoryLimit, operators: &mut BTreeMap<TaskId, OperatorTask>) -> Result<()> {
    let instances = operators.values().filter(|task| task.can_leave_memory()).count().max(1);
    let share = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX) / instances;
    for task in operators.values_mut().filter(|task| task.can_leave_memory()) {
        let store = SpillFile::create(&std::env::temp_dir(), share(limit.bytes / 8))?;
        task.limit_memory(StateBudget { bytes: share(limit.bytes / 2), store: Box::new(store) })?;
    }
    Ok(())
}

/// Without the feature `spill` all state stays in memory, and only the sources are slowed down.
#[cfg(not(feature = "spill"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as with the feature")]
pub(super) fn limit(_: MemoryLimit, _: &mut BTreeMap<TaskId, OperatorTask>) -> Result<()> {
    Ok(())
}
