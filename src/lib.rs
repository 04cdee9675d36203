//! Spark Structured Streaming's model as an embeddable library, run as a graph of actors.
//!
//! A stream is a table that grows; a query is a plan over it; its result is kept up to date. Programs use Spark's words and need no
//! cluster, no JVM and no service: `cargo add`, ten lines, run.
//!
//! ```no_run
//! use millstream::prelude::*;
//!
//! fn main() -> Result<()> {
//!     let session = Session::builder().app_name("word-count").build()?;
//!     let lines = session.read_stream()
//!         .format("socket").option("host", "localhost").option("port", 9999)
//!         .load();
//!     let words = lines.select([explode(split(col("value"), " ")).alias("word")]);
//!     let counts = words.group_by(["word"]).count();
//!     let query = counts.write_stream()
//!         .format("console")
//!         .output_mode(OutputMode::Complete)
//!         .start()?;
//!     query.await_termination()
//! }
//! ```
//!
//! What it is not yet: state is kept in memory and a restarted query starts from the beginning; there is no event time and no join
//! with a stream. Each of these is refused with an error that says so.
//!
//! # Layers
//! Arrows point down only.
//! ```text
//! session dataframe reader writer query      what a program touches
//!        │                    │
//!       plan ──▶ Topology     │              names, types, refusals, operators and edges
//!                    │        ▼
//!                    └──▶ runtime            actors: the only place that knows actix
//!                             │
//!        coordinator task operator state protocol     pure state machines
//!        connector                                    sources and sinks
//! ```
#![warn(missing_docs, clippy::print_stdout)]

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So does the guide's.
#[cfg(doctest)]
#[doc = include_str!("../docs/checkpoints.md")]
struct CheckpointGuide;

pub mod checkpoint;
pub mod clock;
pub mod connector;
mod coordinator;
mod dataframe;
mod error;
pub mod expr;
mod grouped;
mod interrupt;
mod memory_stream;
pub mod observability;
pub mod operator;
mod plan;
pub mod prelude;
pub mod protocol;
mod query;
mod query_manager;
mod reader;
mod runtime;
mod session;
mod settings;
pub mod state;
mod static_writer;
pub mod store;
mod task;
pub mod testing;
pub mod types;
mod writer;

pub use arrow;
pub use uuid::Uuid;

pub use coordinator::Trigger;
pub use dataframe::DataFrame;
pub use error::{Error, ErrorKind, Result, nearest_name};
pub use grouped::GroupedData;
pub use memory_stream::MemoryStream;
pub use plan::JoinType;
pub use plan::topology;
pub use protocol::OutputMode;
pub use query::StreamingQuery;
pub use query_manager::{ListenerId, StreamingQueryManager};
pub use reader::{DataFrameReader, DataStreamReader};
pub use session::{Session, SessionBuilder};
pub use static_writer::{DataFrameWriter, SaveMode};
pub use writer::DataStreamWriter;
