//! Spark's data types over Arrow's: their names, their text forms and the conversions between user and engine data.
//!
//! Owns: type names and DDL, schemas as users give them, the few Arrow types the engine computes with, intervals, and
//! Spark's rules from text to values and back, with Java's date patterns. Does not own: expressions and casts over columns (`expr`, `plan`), and
//! what time it is. Everything here is a pure function.
//!
//! ```text
//!   user's batch ──engine_batch / fit_batch──▶ engine's batch ──user_batch──▶ user's batch
//!   Utf8, any timestamp unit, …                Utf8View, Timestamp(µs, UTC), …   Utf8, …
//! ```

mod bytes;
mod calendar;
mod cell;
mod convert;
mod ddl;
mod eight;
mod fit;
mod interval;
mod name;
mod number;
mod pattern;
mod schema;
mod table;
mod time;
mod views;
mod zone;

pub use bytes::parse_bytes;
pub use cell::{CellWriter, cell_text};
pub use convert::{engine_batch, engine_schema, engine_type, user_batch, user_schema, user_type};
pub use ddl::{parse_ddl, parse_type};
pub(crate) use eight::{find_either, leading_digits};
pub use fit::{check_batch_schema, fit_batch};
pub use interval::{Interval, IntoDuration, parse_duration, parse_interval};
pub use name::{schema_tree, tree_name, type_name};
pub use number::{
    decimal_text, double_text, float_text, parse_boolean, parse_decimal, parse_double, parse_float, parse_integer,
};
pub(crate) use pattern::{Pattern, weekday_name};
pub use schema::{IntoSchema, SchemaBuilder, SchemaInput};
pub use table::{TableOptions, table_text};
pub use time::{date_text, parse_date, parse_timestamp, parse_timestamp_ntz, timestamp_text, timestamp_text_in};
pub(crate) use time::{time_of_day, usual_timestamp};
pub(crate) use views::{INLINE_BYTES, text_column, view_of};
pub use zone::Zone;
