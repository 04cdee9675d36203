//! Whether a source, a sink or a checkpoint store of one's own keeps what it promises.
//!
//! Owns: enumerating the moments at which a query may die around a connector's calls, and comparing what is shown in the end with
//! what was given; the questions that every store answers alike. It cannot see inside a call: what does several things in one call
//! should be tried with a failure between them, too.

mod sinks;
mod sources;
mod stores;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;

use crate::error::{Error, Result};

pub use sinks::{SinkUnderTest, check_sink, sink_schema};
pub use sources::check_source;
pub use stores::check_store;

/// Rows as text, sorted.
fn texts(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| array_value_to_string(column, row));
            rows.push(cells.collect::<std::result::Result<Vec<_>, _>>()?.join("|"));
        }
    }
    rows.sort();
    Ok(rows)
}

fn broken(what: &str) -> Error {
    Error::connector(format!("the promise is broken: {what}"))
}
