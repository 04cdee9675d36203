//! Spark's functions and operators as DataFusion's expressions.
//!
//! Owns: the tables of names, how many arguments each takes, implicit casts, and the functions DataFusion has not or
//! has with another meaning. Does not own: names of columns, plans, the evaluation of expressions.
//!
//! Each theme module has a table of [`Function`]s: names, count of arguments, and a builder that makes a fully typed
//! expression, so that nothing is left to coerce. What no table names is looked up among the functions DataFusion
//! ships. Functions of our own are [`kernel::Kernel`]s.

mod aggregates;
mod arithmetic;
mod call;
mod cast;
mod coerce;
mod collect;
mod collections;
mod conditional;
mod datetime;
mod extreme;
mod kernel;
mod math;
mod operators;
mod regex;
mod split;
mod strings;
mod user;
pub(super) mod window;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::common::{DFSchema, DataFusionError};
use datafusion::functions::all_default_functions;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::functions_nested::all_default_nested_functions;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};

use crate::error::{Error, Result};
use crate::types::Zone;
use call::{Call, Function};

pub(in crate::plan::datafusion) use arithmetic::shifted_by_constant;
pub(crate) use cast::written_cast;
pub(crate) use datetime::CURRENT_TIMESTAMP;
pub(crate) use split::SPLIT;
pub(crate) use user::rust_udf;

/// DataFusion's functions that need what only its own runtime has, or that read the clock.
const NOT_OURS: [&str; 10] = [
    "now",
    "current_date",
    "current_time",
    "today",
    "current_timestamp",
    "version",
    "input_file_name",
    "file_row_index",
    "grouping",
    "coalesce",
];

/// Spark's functions that give null where the function without `try_` fails under ANSI.
const TRY_FUNCTIONS: [(&str, &str); 7] = [
    ("try_divide", "/"),
    ("try_mod", "%"),
    ("try_remainder", "%"),
    ("try_element_at", "element_at"),
    ("try_to_timestamp", "to_timestamp"),
    ("try_to_date", "to_date"),
    ("try_make_timestamp", "make_timestamp"),
];

/// Every function and operator a query may name, for one session's time zone and error rule.
pub(crate) struct FunctionRegistry {
    zone: Zone,
    ansi: bool,
    scalars: HashMap<&'static str, &'static Function>,
    shipped: HashMap<String, Arc<ScalarUDF>>,
    shipped_aggregates: HashMap<String, Arc<AggregateUDF>>,
}

impl FunctionRegistry {
    /// Gathers the tables. Strings are read and times shown in `zone`; `ansi` turns values that cannot be computed
    /// from nulls into errors.
    pub(crate) fn new(zone: Zone, ansi: bool) -> Self {
        let tables = [
            operators::FUNCTIONS,
            arithmetic::FUNCTIONS,
            conditional::FUNCTIONS,
            math::FUNCTIONS,
            strings::FUNCTIONS,
            regex::FUNCTIONS,
            split::FUNCTIONS,
            datetime::FUNCTIONS,
            collections::FUNCTIONS,
            cast::FUNCTIONS,
            window::FUNCTIONS,
        ];
        let functions = tables.into_iter().flatten();
        let scalars = functions.flat_map(|function| function.names.iter().map(move |name| (*name, function)));
        let shipped = all_default_functions().into_iter().chain(all_default_nested_functions());
        let shipped = shipped.flat_map(|udf| {
            let names: Vec<_> = std::iter::once(udf.name()).chain(udf.aliases().iter().map(String::as_str)).collect();
            names.into_iter().map(|name| (name.to_string(), Arc::clone(&udf))).collect::<Vec<_>>()
        });
        let aggregates = all_default_aggregate_functions().into_iter().flat_map(|udaf| {
            let names: Vec<_> = std::iter::once(udaf.name()).chain(udaf.aliases().iter().map(String::as_str)).collect();
            names.into_iter().map(|name| (name.to_string(), Arc::clone(&udaf))).collect::<Vec<_>>()
        });
        Self {
            zone,
            ansi,
            scalars: scalars.collect(),
            shipped: shipped.collect(),
            shipped_aggregates: aggregates.filter(|(name, _)| !NOT_OURS.contains(&name.as_str())).collect(),
        }
    }

    /// The expression a scalar function or operator makes of typed arguments; `None` when there is none of that name
    /// (in any case).
    ///
    /// # Errors
    /// When the count or the types of the arguments do not fit, or a constant one (a pattern, a unit) is wrong.
    pub(crate) fn scalar(&self, name: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Option<Expr>> {
        let lower = name.to_lowercase();
        let strict = TRY_FUNCTIONS.iter().find(|(lenient, _)| *lenient == lower).map(|(_, strict)| *strict);
        let ansi = self.ansi && strict.is_none();
        let name = strict.unwrap_or(&lower);
        let call = Call { name, schema, zone: self.zone, ansi, shipped: &self.shipped };
        if let Some(function) = self.scalars.get(name) {
            function.check_count(name, args.len())?;
            return (function.build)(&call, args).map(Some);
        }
        if !self.shipped.contains_key(name) || NOT_OURS.contains(&name) {
            return Ok(None);
        }
        call.shipped(name, args).map(Some)
    }

    /// The expression an aggregate function makes of typed arguments: an aggregate call, or for a few functions a cast
    /// above one; `None` when there is none of that name (in any case).
    ///
    /// # Errors
    /// When the count or the types of the arguments do not fit.
    pub(crate) fn aggregate(
        &self,
        name: &str,
        args: Vec<Expr>,
        distinct: bool,
        filter: Option<Expr>,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        let name = name.to_lowercase();
        let call = Call { name: &name, schema, zone: self.zone, ansi: self.ansi, shipped: &self.shipped };
        aggregates::build(&call, &self.shipped_aggregates, args, distinct, filter)
    }

    /// Every name that [`scalar`](Self::scalar) or [`aggregate`](Self::aggregate) knows and that is a word, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let tables = self.scalars.keys().copied().chain(aggregates::NAMES.iter().copied());
        let tries = TRY_FUNCTIONS.iter().map(|(name, _)| *name);
        let shipped = self.shipped.keys().chain(self.shipped_aggregates.keys()).map(String::as_str);
        let shipped = shipped.filter(|name| !NOT_OURS.contains(name));
        let words =
            tables.chain(tries).chain(shipped).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
        words.map(str::to_string).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What DataFusion refuses while an expression is built; errors of ours come back as they were.
fn plan_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::plan(error.to_string()),
        },
        error => {
            let text = error.strip_backtrace();
            let text = text.split("\n\n").next().unwrap_or_default(); // hints about DataFusion's own SQL follow
            Error::plan(text.trim_start_matches("Error during planning: "))
        }
    }
}

#[cfg(test)]
mod tests;
