//! What can be seen of a running query: progress, events, and the log of its actors.
//!
//! Owns: the form in which this is shown. Does not own: counting (tasks and operators do) or the time, which is handed
//! in.

mod latency;
mod listener;
mod progress;
pub mod trace;
mod watermark;

pub(crate) use latency::LatencyHistogram;
pub use latency::{Arrival, LatencyStats};
pub use listener::{QueryIdleEvent, QueryStartedEvent, QueryTerminatedEvent, StreamingQueryListener};
pub use progress::{
    EventTimeStats, OperatorRows, SinkProgress, SourceProgress, StateOperatorProgress, StreamingQueryProgress,
    StreamingQueryStatus,
};
pub use watermark::{WatermarkNodeStatus, WatermarkStatus};
