//! A session's settings: text under `millstream.` keys, checked once.
//!
//! Owns: the keys, their defaults and units. A key that is not here is an error that lists those that are.

use std::time::Duration;

use crate::coordinator::{WatermarkOptions, WatermarkPolicy};
use crate::error::{Error, Result, suggestion};
use crate::types::{Zone, parse_bytes, parse_duration};

/// The settings of a session.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Instances of each parallel operator.
    pub(crate) parallelism: usize,
    pub(crate) zone: Zone,
    pub(crate) ansi: bool,
    pub(crate) watermarks: WatermarkOptions,
    /// Event times further ahead of the clock than this do not move the watermark.
    pub(crate) max_ahead: Option<Duration>,
    /// Queries that are given no checkpointLocation have theirs below this place.
    pub(crate) checkpoint_location: Option<String>,
    /// So many commits are kept at least.
    pub(crate) epochs_to_retain: usize,
    /// What a query may hold in memory, in bytes.
    pub(crate) memory_limit: Option<u64>,
}

/// A smaller limit would leave nothing for rows on their way.
const LEAST_MEMORY: u64 = 16 << 20;

/// All keys.
const KEYS: [&str; 10] = [
    "millstream.parallelism",
    "millstream.checkpointLocation",
    "millstream.noDataEpochs.enabled",
    "millstream.multipleWatermarkPolicy",
    "millstream.session.timeZone",
    "millstream.ansi.enabled",
    "millstream.minEpochsToRetain",
    "millstream.memory.limit",
    "millstream.watermark.idleTimeout",
    "millstream.watermark.maxAhead",
];

impl Settings {
    /// The defaults: one instance a core, UTC, bad casts are null.
    pub(crate) fn new(cores: usize) -> Self {
        let watermarks = WatermarkOptions { no_data_epochs: true, ..WatermarkOptions::default() };
        Self {
            parallelism: cores,
            zone: Zone::UTC,
            ansi: false,
            watermarks,
            max_ahead: None,
            checkpoint_location: None,
            epochs_to_retain: 10,
            memory_limit: None,
        }
    }

    /// Sets one, matched without case.
    ///
    /// # Errors
    /// When the key is unknown or the value is not one it can have.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let Some(known) = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key)) else {
            let near = suggestion(key, KEYS);
            return Err(Error::config(format!("no setting `{key}`{near}; known settings: {}", KEYS.join(", "))));
        };
        match *known {
            "millstream.parallelism" => {
                self.parallelism = value.trim().parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| {
                    Error::config(format!("{known} must be a whole number from 1 to 256, got `{value}`"))
                })?;
            }
            "millstream.session.timeZone" => self.zone = value.parse()?,
            "millstream.ansi.enabled" => self.ansi = flag(known, value)?,
            "millstream.noDataEpochs.enabled" => self.watermarks.no_data_epochs = flag(known, value)?,
            "millstream.multipleWatermarkPolicy" => self.watermarks.policy = policy(known, value)?,
            "millstream.watermark.idleTimeout" => self.watermarks.idle_timeout = duration_or_off(known, value)?,
            "millstream.watermark.maxAhead" => self.max_ahead = duration_or_off(known, value)?,
            "millstream.checkpointLocation" => self.checkpoint_location = Some(place(value)?),
            "millstream.minEpochsToRetain" => {
                let bad = || Error::config(format!("{known} must be a whole number from 1, got `{value}`"));
                self.epochs_to_retain = value.trim().parse().ok().filter(|n| *n > 0).ok_or_else(bad)?;
            }
            "millstream.memory.limit" => self.memory_limit = memory_limit(known, value)?,
            other => return Err(Error::internal(format!("the setting `{other}` is listed and not known"))),
        }
        Ok(())
    }
}

fn flag(key: &str, value: &str) -> Result<bool> {
    let bad = || Error::config(format!("{key} must be true or false, got `{value}`"));
    value.trim().to_ascii_lowercase().parse().map_err(|_| bad())
}

/// A place that a checkpoint store knows.
fn place(value: &str) -> Result<String> {
    crate::store::open(value).map(|_| value.to_string())
}

fn policy(key: &str, value: &str) -> Result<WatermarkPolicy> {
    match value.trim().to_ascii_lowercase().as_str() {
        "min" => Ok(WatermarkPolicy::Min),
        "max" => Ok(WatermarkPolicy::Max),
        _ => Err(Error::config(format!("{key} must be min or max, got `{value}`"))),
    }
}

/// A length of time above zero, or `off`.
fn duration_or_off(key: &str, value: &str) -> Result<Option<Duration>> {
    if value.trim().eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bad = |why: String| Error::config(format!("{key} must be a duration such as `30 seconds`, or `off`: {why}"));
    match parse_duration(value) {
        Ok(Duration::ZERO) => Err(bad("zero is neither".to_string())),
        Ok(duration) => Ok(Some(duration)),
        Err(error) => Err(bad(error.message().to_string())),
    }
}

/// A size in bytes, or `off`.
fn memory_limit(key: &str, value: &str) -> Result<Option<u64>> {
    if value.trim().eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bad = || {
        Error::config(format!("{key} must be a size of 16m or more, such as `512m` or `2g`, or `off`; got `{value}`"))
    };
    parse_bytes(value).filter(|bytes| *bytes >= LEAST_MEMORY).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_names_the_nearest_and_a_wrong_value_what_it_should_be() {
        let mut settings = Settings::new(2);
        let error = settings.set("millstream.paralelism", "2").unwrap_err().to_string();
        assert!(error.contains("did you mean `millstream.parallelism`?"), "{error}");
        let error = settings.set("millstream.parallelism", "0").unwrap_err().to_string();
        assert!(error.contains("from 1 to 256, got `0`"), "{error}");
        settings.set("MILLSTREAM.PARALLELISM", "3").unwrap();
        assert_eq!(settings.parallelism, 3);
    }

    #[test]
    fn what_holds_the_watermark_is_set_by_words_and_durations() {
        let mut settings = Settings::new(2);
        settings.set("millstream.multipleWatermarkPolicy", "MAX").unwrap();
        settings.set("millstream.noDataEpochs.enabled", "false").unwrap();
        settings.set("millstream.watermark.idleTimeout", "30 seconds").unwrap();
        settings.set("millstream.watermark.maxAhead", "off").unwrap();
        let watermarks = &settings.watermarks;
        assert_eq!((watermarks.policy, watermarks.no_data_epochs), (WatermarkPolicy::Max, false));
        assert_eq!((watermarks.idle_timeout, settings.max_ahead), (Some(Duration::from_secs(30)), None));
        for (key, value, word) in [
            ("millstream.multipleWatermarkPolicy", "median", "min or max"),
            ("millstream.watermark.idleTimeout", "0 seconds", "zero"),
            ("millstream.watermark.maxAhead", "soon", "30 seconds"),
        ] {
            let error = settings.set(key, value).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_memory_limit_is_a_size_that_leaves_room_to_work() {
        let mut settings = Settings::new(2);
        settings.set("millstream.memory.limit", "512m").unwrap();
        assert_eq!(settings.memory_limit, Some(512 << 20));
        settings.set("millstream.memory.limit", "off").unwrap();
        assert_eq!(settings.memory_limit, None);
        for value in ["1m", "much", ""] {
            let error = settings.set("millstream.memory.limit", value).unwrap_err().to_string();
            assert!(error.contains("16m or more"), "{error}");
        }
    }
}
