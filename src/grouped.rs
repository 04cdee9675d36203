//! What `group_by` gives: groups waiting for their aggregates.

use crate::dataframe::DataFrame;
use crate::expr::{Expr, IntoExprs, IntoNames, functions};
use crate::plan::logical::{Grouping, LogicalPlan, Relation};

/// Rows grouped by keys. Each method gives one row a group: the keys, then the aggregates.
#[derive(Debug, Clone)]
#[must_use = "groups do nothing until they are aggregated"]
pub struct GroupedData {
    input: DataFrame,
    grouping: Grouping,
    keys: Vec<Expr>,
}

/// Declares `sum`, `avg`, …: one aggregate of each named column.
macro_rules! aggregates {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self, columns: impl IntoNames) -> DataFrame {
            let columns = columns.into_names();
            self.aggregated(columns.iter().map(|column| functions::$name(column.as_str())).collect())
        }
    )*};
}

impl GroupedData {
    pub(crate) fn new(input: DataFrame, grouping: Grouping, keys: Vec<Expr>) -> Self {
        Self { input, grouping, keys }
    }

    /// The number of rows of each group, as the column `count BIGINT`.
    #[track_caller]
    pub fn count(&self) -> DataFrame {
        self.aggregated(vec![functions::count_all().alias("count")])
    }

    aggregates! {
        /// The sum of each column: BIGINT for whole numbers, DOUBLE, or DECIMAL; null when a group has no value.
        sum;
        /// The mean of each column as DOUBLE; null when a group has no value.
        avg;
        /// The smallest value of each column; null when a group has none.
        min;
        /// The largest value of each column; null when a group has none.
        max;
    }

    /// The same as [`avg`](Self::avg).
    #[track_caller]
    pub fn mean(&self, columns: impl IntoNames) -> DataFrame {
        self.avg(columns)
    }

    /// These aggregates, and expressions over them and the keys.
    #[track_caller]
    pub fn agg(&self, columns: impl IntoExprs) -> DataFrame {
        self.aggregated(columns.into_exprs())
    }

    #[track_caller]
    fn aggregated(&self, columns: Vec<Expr>) -> DataFrame {
        let relation = Relation::Aggregate {
            input: self.input.plan().clone(),
            grouping: self.grouping,
            keys: self.keys.clone(),
            columns,
            keys_in_output: true,
            having: None,
        };
        self.input.session().data_frame(LogicalPlan::new(relation))
    }
}
