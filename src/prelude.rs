//! The names an application needs, for one `use millstream::prelude::*`.

pub use crate::clock::{Clock, SystemClock};
pub use crate::connector::sink::{Console, ForeachWriter, Row};
pub use crate::connector::source::files::TextFiles;
pub use crate::coordinator::Trigger;
pub use crate::dataframe::DataFrame;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::expr::functions::*;
pub use crate::expr::{Expr, IntoCondition, IntoExprs, IntoNames, IntoOperand, ScalarUdf};
pub use crate::grouped::GroupedData;
pub use crate::memory_stream::MemoryStream;
pub use crate::observability::{QueryIdleEvent, QueryStartedEvent, QueryTerminatedEvent};
pub use crate::observability::{
    StreamingQueryListener, StreamingQueryProgress, StreamingQueryStatus, WatermarkNodeStatus, WatermarkStatus,
};
pub use crate::operator::{CountBy, Explode};
pub use crate::plan::JoinType;
pub use crate::plan::topology::{Topology, TopologyBuilder};
pub use crate::protocol::OutputMode;
pub use crate::query::StreamingQuery;
pub use crate::query_manager::StreamingQueryManager;
pub use crate::reader::{DataFrameReader, DataStreamReader};
pub use crate::session::{Session, SessionBuilder};
pub use crate::static_writer::{DataFrameWriter, SaveMode};
pub use crate::types::{IntoDuration, IntoSchema, SchemaBuilder};
pub use crate::writer::DataStreamWriter;
