//! The sinks of the house, under the names users give them.
//!
//! Owns: which format name makes which sink, and catching panics of functions that users gave a sink. Does not own:
//! what a sink does (its own module), or when epochs are committed (`checkpoint`).

pub mod console;
pub mod files;
pub mod foreach;
pub mod foreach_batch;
pub mod memory;
pub mod noop;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::console::Console;
pub use self::files::FileSink;
pub use self::foreach::{ForeachSink, ForeachWriter, Row};
pub use self::foreach_batch::ForeachBatch;
pub use self::memory::{MemorySink, MemoryTable, MemoryTables};
pub use self::noop::Noop;
use super::Sink;
use super::options::Options;
use crate::clock::Clock;
use crate::error::{Error, Result, suggestion};
use crate::types::Zone;

/// What a sink takes from its session.
#[derive(Debug, Clone)]
pub struct SinkEnvironment {
    /// The zone in which times are shown.
    pub zone: Zone,
    /// Where processing time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where `memory` sinks leave their tables.
    pub tables: MemoryTables,
}

/// The names of all formats that can be written.
const FORMATS: [&str; 7] = ["console", "memory", "noop", "text", "csv", "json", "parquet"];

/// Makes the sink that a writer describes. `path` is what the user gave to `start_path`, if anything.
///
/// # Errors
/// When the format or an option is unknown, missing or bad, or the format takes no path or partitions.
pub fn open_sink(
    format: &str,
    options: &Options,
    partition_by: &[String],
    path: Option<&str>,
    environment: &SinkEnvironment,
) -> Result<Arc<dyn Sink>> {
    let name = format.to_ascii_lowercase();
    if matches!(name.as_str(), "console" | "memory" | "noop") {
        check_no_files(&name, partition_by, path)?;
    }
    Ok(match name.as_str() {
        "console" => Arc::new(Console::from_options(options, environment.zone)?),
        "memory" => Arc::new(MemorySink::from_options(options, environment.tables.clone())?),
        "noop" => Arc::new(Noop::from_options(options)?),
        "text" | "csv" | "json" | "parquet" => {
            Arc::new(FileSink::from_options(&name, options, partition_by, path, environment.zone)?)
        }
        _ => {
            let known = FORMATS.join(", ");
            let near = suggestion(format, FORMATS);
            return Err(Error::config(format!("no sink has the format `{format}`{near}; known formats: {known}")));
        }
    })
}

fn check_no_files(name: &str, partition_by: &[String], path: Option<&str>) -> Result<()> {
    if !partition_by.is_empty() {
        return Err(Error::config(format!("the {name} sink writes no files to partition; remove .partition_by(…)")));
    }
    match path {
        None => Ok(()),
        Some(path) => Err(Error::config(format!("the {name} sink takes no path, got `{path}`; use .start()"))),
    }
}

/// Calls a function of the user's; a panic in it becomes an error that says where, in `what`.
fn catch_panic<T>(what: &str, call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| Error::user(format!("{what} panicked: {}", panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn environment() -> SinkEnvironment {
        SinkEnvironment {
            zone: Zone::default(),
            clock: Arc::new(ManualClock::default()),
            tables: MemoryTables::default(),
        }
    }

    fn open(format: &str, pairs: &[(&str, &str)], partitions: &[&str], path: Option<&str>) -> Result<String> {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.set(name, value);
        }
        let partitions: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        open_sink(format, &options, &partitions, path, &environment()).map(|sink| sink.description())
    }

    #[test]
    fn formats_are_found_without_case() {
        assert_eq!(open("CONSOLE", &[], &[], None).unwrap(), "Console[numRows: 20, truncate: 20]");
        assert_eq!(open("noop", &[], &[], None).unwrap(), "Noop");
        assert_eq!(open("csv", &[], &[], Some("/data/out")).unwrap(), "FileSink[csv: /data/out]");
        assert_eq!(open("json", &[("path", "/data/out")], &["day"], None).unwrap(), "FileSink[json: /data/out]");
    }

    #[test]
    fn an_unknown_format_names_the_nearest_and_all_known_ones() {
        let error = open("consoel", &[], &[], None).unwrap_err().to_string();
        assert!(error.contains("did you mean `console`?") && error.contains("memory, noop, text"), "{error}");
    }

    #[test]
    fn sinks_without_files_take_no_path_and_no_partitions() {
        for format in ["console", "memory", "noop"] {
            let error = open(format, &[], &["day"], None).unwrap_err().to_string();
            assert!(error.contains("remove .partition_by(…)"), "{error}");
            let error = open(format, &[], &[], Some("/data/out")).unwrap_err().to_string();
            assert!(error.contains("takes no path"), "{error}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_by_every_sink() {
        for format in ["console", "memory", "noop", "text", "csv", "json"] {
            let path = matches!(format, "text" | "csv" | "json").then_some("/data/out");
            let error = open(format, &[("colour", "red")], &[], path).unwrap_err().to_string();
            assert!(error.contains("no option `colour`"), "{error}");
        }
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_names_the_cargo_feature() {
        let error = open("parquet", &[], &[], Some("/data/out")).unwrap_err().to_string();
        assert!(error.contains("cargo feature `parquet`"), "{error}");
    }
}
