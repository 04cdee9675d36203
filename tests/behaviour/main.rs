//! Behaviour through the public interface. One binary; an index by behaviour:
//!
//! | module | what it shows |
//! |---|---|
//! | `word_count` | the lesson's first program over a real socket, in each output mode, at parallelism 1, 2 and 4 |
//! | `triggers` | when epochs run, by a clock set by hand |
//! | `aggregates` | every aggregate function against static results and across cuts into epochs |
//! | `expressions` | Spark's expression rules, in code and in SQL text |
//! | `bad_input` | unknown names, wrong types, malformed rows, closed ports, panics: a clear error or a counted row |
//! | `refusals` | streaming plans that are refused, with their remedy |
//! | `queries` | many queries: names, failures that stay alone, stopping, listeners, progress |
//! | `files` | directories as streams and as results |
//! | `sinks` | `foreach`, `foreach_batch`, memory |
//! | `static_joins` | joins of a stream with a table: versions of the table, its failures, drawings |
//! | `static_tables` | batch queries on the same session |
//! | `event_time` | watermarks, late rows as a stream, bounds of state, idle streams, and append mode against batch results |
//! | `joins` | joins of streams: pairs, rows that stay alone, state, late rows |
//! | `windows_static` | windows of event time and sessions of rows over static tables |
//! | `topologies` | graphs by hand, their errors and drawings |
//! | `memory_limit` | what a query with a limit reads at a time and holds |
//! | `resources` | idle queries use no CPU; a slow sink holds a fast source back |
//! | `plans` | one source twice, columns nobody reads, names twice, views of views |
//! | `layering` | which module may name what |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregates;
mod bad_input;
mod checkpoints;
mod conformance;
mod event_time;
mod expressions;
mod files;
mod joins;
mod layering;
#[cfg(feature = "spill")]
mod memory_limit;
mod plans;
mod queries;
mod refusals;
mod resources;
mod sinks;
mod static_joins;
mod static_tables;
mod support;
mod topologies;
mod triggers;
mod windows_static;
mod word_count;
