//! Options as users write them: text under Spark's names, without case.
//!
//! Owns: looking up, parsing and refusing. A connector takes what it knows and then calls [`Options::finish`], which
//! refuses what nobody asked for, so no option is ever silently ignored.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::lock;
use crate::error::{Error, Result, suggestion};

/// The options of one reader or writer.
#[derive(Debug, Default)]
pub struct Options {
    /// Lower-case name → (name as written, value).
    values: BTreeMap<String, (String, String)>,
    /// Names asked for so far, for the list in the error about an unknown one.
    known: Mutex<Vec<&'static str>>,
}

/// The same options, asked for nothing yet.
impl Clone for Options {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), known: Mutex::default() }
    }
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one; the last value given for a name counts.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.values.insert(name.to_ascii_lowercase(), (name.to_string(), value.to_string()));
    }

    /// The text of an option.
    pub fn text(&self, name: &'static str) -> Option<&str> {
        lock(&self.known).push(name);
        self.values.get(&name.to_ascii_lowercase()).map(|(_, value)| value.as_str())
    }

    /// The text of an option that must be there; `what` says what it is for.
    ///
    /// # Errors
    /// When it is missing.
    pub fn required(&self, name: &'static str, what: &str) -> Result<&str> {
        self.text(name).ok_or_else(|| {
            Error::config(format!("{what} needs the option `{name}`; set it with .option(\"{name}\", …)"))
        })
    }

    /// A number.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>> {
        self.parsed(name, "a number", |text| text.trim().parse().ok())
    }

    /// A number of at least one.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn positive(&self, name: &'static str) -> Result<Option<u64>> {
        self.parsed(name, "a whole number above 0", |text| text.trim().parse().ok().filter(|n| *n > 0))
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool> {
        let parse = |text: &str| text.trim().to_ascii_lowercase().parse().ok();
        Ok(self.parsed(name, "true or false", parse)?.unwrap_or(default))
    }

    /// A length of time, such as `10 minutes`.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>> {
        self.parsed(name, "a duration such as `10 minutes`", |text| crate::types::parse_duration(text).ok())
    }

    /// A size such as `64mb`, `1g` or plain bytes.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn bytes(&self, name: &'static str) -> Result<Option<u64>> {
        self.parsed(name, "a size such as `64mb`", crate::types::parse_bytes)
    }

    /// One of a few words, matched without case; answers the word as listed.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn choice(&self, name: &'static str, words: &[&'static str], default: &'static str) -> Result<&'static str> {
        let Some(text) = self.text(name) else { return Ok(default) };
        words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text.trim()))
            .copied()
            .ok_or_else(|| Error::config(format!("option `{name}`=`{text}` is not one of {}", words.join(", "))))
    }

    /// Parses an option with `parse`; `expected` says what it should have been.
    ///
    /// # Errors
    /// When `parse` answers `None`.
    pub fn parsed<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let bad = || Error::config(format!("option `{name}` must be {expected}, got `{text}`"));
        parse(text).map(Some).ok_or_else(bad)
    }

    /// Refuses the options that `what` never asked for.
    ///
    /// # Errors
    /// Names the first unknown option, the nearest known one and all known ones.
    pub fn finish(&self, what: &str) -> Result<()> {
        let mut known = lock(&self.known).clone();
        known.sort_unstable();
        known.dedup();
        let is_known = |name: &String| known.iter().any(|k| k.eq_ignore_ascii_case(name));
        match self.values.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((_, (name, _))) => Err(Error::config(format!(
                "{what} has no option `{name}`{}; known options: {}",
                suggestion(name, known.iter().copied()),
                if known.is_empty() { "none".to_string() } else { known.join(", ") },
            ))),
        }
    }

    /// All options as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.values().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_names_the_nearest_and_all_known_ones() {
        let mut options = Options::new();
        options.set("maxFilePerTrigger", 1);
        assert_eq!(options.positive("maxFilesPerTrigger").unwrap(), None);
        let error = options.finish("the text source").unwrap_err().to_string();
        assert!(error.contains("did you mean `maxFilesPerTrigger`?"), "{error}");
    }

    #[test]
    fn names_and_flags_are_read_without_case() {
        let mut options = Options::new();
        options.set("HEADER", "True");
        assert!(options.flag("header", false).unwrap());
        options.finish("csv").unwrap();
    }
}
