//! A session's settings: text under `millstream.` keys, checked once.
//!
//! Owns: the keys, their defaults and units. A key that is not here is an error that lists those that are.

use crate::error::{Error, Result, suggestion};
use crate::types::Zone;

/// The settings of a session.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Instances of each parallel operator.
    pub(crate) parallelism: usize,
    pub(crate) zone: Zone,
    pub(crate) ansi: bool,
}

/// All keys.
const KEYS: [&str; 8] = [
    "millstream.parallelism",
    "millstream.checkpointLocation",
    "millstream.noDataEpochs.enabled",
    "millstream.multipleWatermarkPolicy",
    "millstream.session.timeZone",
    "millstream.ansi.enabled",
    "millstream.minEpochsToRetain",
    "millstream.memory.limit",
];

impl Settings {
    /// The defaults: one instance a core, UTC, bad casts are null.
    pub(crate) fn new(cores: usize) -> Self {
        Self { parallelism: cores, zone: Zone::UTC, ansi: false }
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
            // These speak of watermarks, which are not there yet: only what they are anyway can be said.
            "millstream.noDataEpochs.enabled" if flag(known, value)? => {}
            "millstream.multipleWatermarkPolicy" if value.trim().eq_ignore_ascii_case("min") => {}
            unsupported => return Err(not_yet(unsupported)),
        }
        Ok(())
    }
}

fn flag(key: &str, value: &str) -> Result<bool> {
    let bad = || Error::config(format!("{key} must be true or false, got `{value}`"));
    value.trim().to_ascii_lowercase().parse().map_err(|_| bad())
}

/// The error of a setting whose feature this version does not have.
pub(crate) fn not_yet(key: &str) -> Error {
    Error::config(format!(
        "`{key}` is not supported yet: queries have neither watermarks nor checkpoints, and start from the beginning; leave it out"
    ))
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
    fn a_setting_without_its_feature_is_refused_instead_of_ignored() {
        let error = Settings::new(2).set("millstream.memory.limit", "1g").unwrap_err().to_string();
        assert!(error.contains("not supported yet"), "{error}");
    }
}
