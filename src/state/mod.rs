//! State as operators hand it over: columns by key group.
//!
//! Owns: the form in which state leaves and re-enters an operator. Does not own: where it is kept (`checkpoint`).

mod cold;
pub(crate) mod cold_rows;
mod index;
mod keys;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

pub use cold::{ColdStore, MapStore, StateBudget};
pub(crate) use keys::KeyTable;

/// The changes of one operator instance since its last snapshot.
#[derive(Debug, Clone, Default)]
pub struct StateDelta {
    /// New and changed rows: key columns first, then values. Each with the key hash of every row, which says its key group.
    pub changed: Vec<(RecordBatch, Vec<u64>)>,
}

/// State coming back, already cut to the key groups of the instance that receives it.
#[derive(Debug, Clone)]
pub struct StatePart {
    /// Rows as [`StateDelta::changed`] gave them.
    pub rows: RecordBatch,
    /// The key hash of every row.
    pub hashes: Vec<u64>,
}

impl StatePart {
    /// Checks that the rows are of the state of `what`, such as `an aggregation`, whose columns are `planned` now. Names may be
    /// others; `fixed` says what of the query may not.
    ///
    /// # Errors
    /// When the types of the columns are others, or hashes are missing.
    pub(crate) fn check(&self, what: &str, planned: &Schema, fixed: &str) -> Result<()> {
        let found = self.rows.schema();
        let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&found) != types(planned) {
            return Err(Error::state(format!(
                "the checkpoint holds the columns ({}) of {what} that now has ({}); {fixed} may not change: restore the query \
                 or use a new checkpoint",
                columns_text(&found),
                columns_text(planned)
            )));
        }
        let (hashes, rows) = (self.hashes.len(), self.rows.num_rows());
        if hashes != rows {
            return Err(Error::state(format!("{hashes} key hashes for {rows} rows of state")));
        }
        Ok(())
    }
}

/// The columns with Arrow's types, which tell apart what has one name in SQL.
pub(crate) fn columns_text(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use arrow::array::record_batch;
    use arrow::datatypes as arrow_schema; // the name by which record_batch! knows it

    use super::*;

    #[test]
    fn state_of_other_columns_is_refused_with_both_and_new_names_are_not() {
        let rows = record_batch!(("word", Utf8, ["a"]), ("count", Int64, [1])).unwrap();
        let part = StatePart { hashes: vec![7], rows };
        let renamed = record_batch!(("token", Utf8, ["a"]), ("n", Int64, [1])).unwrap().schema();
        part.check("an aggregation", &renamed, "keys").unwrap();
        let other = record_batch!(("word", Utf8, ["a"]), ("sum", Float64, [1.0])).unwrap().schema();
        let error = part.check("an aggregation", &other, "keys").unwrap_err().to_string();
        for word in ["count Int64) of an aggregation", "sum Float64)", "keys may not change"] {
            assert!(error.contains(word), "{error}");
        }
        let unhashed = StatePart { hashes: Vec::new(), ..part };
        assert!(unhashed.check("an aggregation", &renamed, "keys").is_err());
    }
}
