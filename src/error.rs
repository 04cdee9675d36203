//! The one public error type.
//!
//! Owns: what went wrong, of which kind, on which line of the user's program. Does not own: the causes inside a
//! layer; those are turned into an [`Error`] where the layer ends.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The query is wrong or not supported: change the query.
    Plan,
    /// An option or setting is unknown or has a bad value: change the setting.
    Config,
    /// A source or sink failed: look outside the program (files, sockets, permissions), then retry.
    Connector,
    /// A row or a schema is not what was promised: change the data or the schema.
    Data,
    /// A checkpoint is unreadable or does not belong to this query.
    State,
    /// The query or session was stopped before the call could be answered.
    Stopped,
    /// A function or closure of the user's failed or panicked.
    User,
    /// A defect of this crate: please report it.
    Internal,
}

/// An error that names what is wrong, the remedy, and the line of the user's program it comes from.
///
/// Cheap to clone: a failed query hands the same error to everyone who asks.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    location: Option<&'static Location<'static>>,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// Makes an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let inner = Inner { kind, message: message.into(), location: None, source: None };
        Self { inner: Arc::new(inner) }
    }

    constructors! {
        /// An [`ErrorKind::Plan`] error.
        plan => Plan;
        /// An [`ErrorKind::Config`] error.
        config => Config;
        /// An [`ErrorKind::Connector`] error.
        connector => Connector;
        /// An [`ErrorKind::Data`] error.
        data => Data;
        /// An [`ErrorKind::State`] error.
        state => State;
        /// An [`ErrorKind::Stopped`] error.
        stopped => Stopped;
        /// An [`ErrorKind::User`] error.
        user => User;
        /// An [`ErrorKind::Internal`] error.
        internal => Internal;
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        let source = Arc::from(source.into());
        self.change(|inner| inner.source = Some(source))
    }

    /// Names the line of the user's program; the first one given stays.
    #[must_use]
    pub fn at(self, location: &'static Location<'static>) -> Self {
        match self.inner.location {
            Some(_) => self,
            None => self.change(|inner| inner.location = Some(location)),
        }
    }

    /// Puts `what` before the message: what was being done.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        self.change(|inner| inner.message = format!("{what}: {}", inner.message))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The text without the location.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The line of the user's program this error is about, where one is known.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.inner.location
    }

    fn change(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.inner);
        change(&mut inner);
        Self { inner: Arc::new(inner) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(location) = self.inner.location {
            write!(f, " (at {}:{}:{})", location.file(), location.line(), location.column())?;
        }
        Ok(())
    }
}

/// The same as `Display`, so that `fn main() -> Result<()>` prints a sentence instead of a struct.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::data(error.to_string()).with_source(error)
    }
}

/// Picks the name in `known` that a user who wrote `wrong` most probably meant.
///
/// Compares without case by edit distance (insertions, deletions, substitutions and swapped neighbours each cost
/// one) and answers only when at most a third of the letters differ.
pub fn nearest_name<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (edit_distance(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| distance * 3 <= name.chars().count().max(wrong.chars().count()))
        .min_by_key(|(distance, name)| (*distance, name.len()))
        .map(|(_, name)| name)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitute = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitute.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// `; did you mean x?`, or nothing when no known name is near.
pub(crate) fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest_name(wrong, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_strangers_are_not() {
        assert_eq!(nearest_name("wrod", ["value", "word"]), Some("word"));
        assert_eq!(nearest_name("VALUES", ["value", "word"]), Some("value"));
        assert_eq!(nearest_name("banana", ["value", "word"]), None);
    }

    #[test]
    fn display_and_debug_name_the_users_line_once() {
        let here = Location::caller();
        let error = Error::plan("no column `x`").at(here).at(here).context("select");
        assert!(error.to_string().starts_with("select: no column `x` (at src/error.rs:"));
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
