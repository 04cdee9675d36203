//! Actors: the life and death of a query. The only place that knows actix.
//!
//! Owns: threads, mailboxes, placement, start, stop and containment of failures. Does not own: any decision; tasks
//! (`task`) and the coordinator (`coordinator`) are state machines that the actors here feed and obey.
//!
//! ```text
//!               engine thread (System)              worker arbiters 0..cores
//!  handle ─▶ CoordinatorActor ─ Begin ─▶ SourceActor ─▶ OperatorActor ─▶ … ─▶ SinkActor
//!               │      ▲                     └───────────── Ack ────────────────┘
//!               ▼      │ committed        instance i of every node lives on arbiter i; only exchanges cross
//!           CheckpointActor               blocking work of all of them: IO pool
//! ```
//!
//! Start, in `launch`, on the caller's thread, so that errors come out of `start()`: 1 lay out tasks and open operators; 2 open the
//! checkpoint, which compares the plan; 3 open sources, static tables and sinks; 4 publish the last commit again if need be; 5 restore
//! state. Then 6 start and wire the actors; 7 start the coordinator, which runs again what was planned and not committed.
//! Stop: 1 the running epoch is committed; 2 the end goes through the graph from the sources, and each task stops behind it;
//! 3 each reports that it is gone when its actor is dropped; 4 after the last one the checkpoint is let go; 5 the query is over. After an error, or when the
//! epoch outlasts the deadline, the coordinator instead tells every task in its table to stop. The first error is kept. A
//! panic in a task is caught, reported and ends its query alone.

mod checkpoint_actor;
mod coordinator_actor;
mod engine;
mod facts;
mod io_pool;
mod late_rows;
mod launch;
mod listeners;
mod memory;
mod post;
mod query_state;
mod recovery;
mod static_tables;
mod task_actor;
mod temporary;

pub(crate) use coordinator_actor::OnEnd;
pub(crate) use engine::Engine;
pub(crate) use late_rows::LateRows;
pub(crate) use launch::{CheckpointOptions, LaunchOptions, Launched, QueryControl, differences, launch};
#[cfg(test)]
pub(crate) use launch::{open_sources_at, prepare_operators, watermark_nodes};
pub(crate) use listeners::ListenerBus;
pub(crate) use query_state::QueryState;
#[cfg(test)]
pub(crate) use recovery::{StatefulNode, owner, plan_record, restore, stateful_nodes};
#[cfg(test)]
pub(crate) use static_tables::StaticTables;
pub(crate) use temporary::TemporaryDirectory;
