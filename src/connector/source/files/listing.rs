//! Lists the files that paths and patterns name.
//!
//! Owns: directories, glob patterns, which names are hidden, the order of files. Does not own: which of the files are
//! new ([`super::seen`]).

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use glob::Pattern;

use crate::clock::Clock;
use crate::connector::local_path;
use crate::connector::options::Options;
use crate::error::{Error, Result};

/// Listing files for longer than this is worth a warning.
const SLOW_LISTING_MICROS: i64 = 2_000_000;

/// A file as it was when the directory was listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListedFile {
    /// Where it is, as reached from the path that was given.
    pub(super) path: PathBuf,
    /// When it was last written, in milliseconds since 1970-01-01T00:00:00Z.
    pub(super) modified_ms: i64,
    /// The same, as exactly as the file system tells; `None` where it does not.
    pub(super) modified: Option<SystemTime>,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// Which files there are to read.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    paths: Vec<String>,
    /// Names must match one of these, if there are any.
    name_patterns: Vec<Pattern>,
    is_recursive: bool,
}

impl Listing {
    /// The files directly in `path`, or those it names as a pattern.
    pub(super) fn of_path(path: &str) -> Self {
        Self { paths: vec![local_path(path).to_string()], name_patterns: Vec::new(), is_recursive: false }
    }

    /// Takes the options `path`, `pathGlobFilter` and `recursiveFileLookup`.
    ///
    /// # Errors
    /// When there is no path, or a pattern is not well formed.
    pub(super) fn from_options(options: &Options, paths: &[String], what: &str) -> Result<Self> {
        let paths: Vec<String> = paths
            .iter()
            .map(String::as_str)
            .chain(options.text("path"))
            .map(|path| local_path(path).to_string())
            .collect();
        if paths.is_empty() {
            return Err(Error::config(format!(
                "{what} needs a path; give it with .load_path(\"…\") or .option(\"path\", …)"
            )));
        }
        paths.iter().filter(|path| is_pattern(path)).try_for_each(|path| patterns("path", path).map(|_| ()))?;
        let filter = options.text("pathGlobFilter").map(|text| patterns("pathGlobFilter", text)).transpose()?;
        let is_recursive = options.flag("recursiveFileLookup", false)?;
        Ok(Self { paths, name_patterns: filter.unwrap_or_default(), is_recursive })
    }

    /// The paths, for descriptions.
    pub(super) fn paths(&self) -> String {
        self.paths.join(", ")
    }

    /// Whether a path is a pattern.
    pub(super) fn has_pattern(&self) -> bool {
        self.paths.iter().any(|path| is_pattern(path))
    }

    /// Makes sure that what is named without a pattern is there.
    ///
    /// # Errors
    /// Names the path that is not.
    pub(super) fn check(&self) -> Result<()> {
        for path in self.paths.iter().filter(|path| !is_pattern(path)) {
            fs::metadata(path).map_err(|error| cannot_list(path, error))?;
        }
        Ok(())
    }

    /// All files, the oldest first; files of the same millisecond by path.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub(super) fn list(&self, clock: &dyn Clock) -> Result<Vec<ListedFile>> {
        let started = clock.now_micros();
        let mut files = self.find()?;
        files.sort_by(|a, b| a.modified_ms.cmp(&b.modified_ms).then_with(|| a.path.cmp(&b.path)));
        let micros = clock.now_micros() - started;
        if micros > SLOW_LISTING_MICROS {
            let (paths, count, ms) = (self.paths(), files.len(), micros / 1000);
            log::warn!("listing {paths} took {ms} ms for {count} files; move old files elsewhere");
        }
        Ok(files)
    }

    fn find(&self) -> Result<Vec<ListedFile>> {
        let mut found = BTreeMap::new();
        for path in &self.paths {
            if !is_pattern(path) {
                let metadata = fs::metadata(path).map_err(|error| cannot_list(path, error))?;
                self.add(Path::new(path), &metadata, &mut found)?;
                continue;
            }
            for found_path in matches(path)? {
                if let Some(metadata) = still_there(&found_path)?
                    && !is_below_hidden(&found_path, path)
                {
                    self.add(&found_path, &metadata, &mut found)?;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Adds a file, or the files of a directory.
    fn add(&self, path: &Path, metadata: &Metadata, found: &mut BTreeMap<PathBuf, ListedFile>) -> Result<()> {
        if metadata.is_dir() {
            return self.add_directory(path, found);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if self.name_patterns.is_empty() || self.name_patterns.iter().any(|pattern| pattern.matches(&name)) {
            let modified = metadata.modified().ok();
            let (modified_ms, size) = (modified_ms(modified), metadata.len());
            // From the root: a checkpoint knows files by their paths, wherever the next run is started.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
            found.insert(path.clone(), ListedFile { path, modified_ms, modified, size });
        }
        Ok(())
    }

    fn add_directory(&self, directory: &Path, found: &mut BTreeMap<PathBuf, ListedFile>) -> Result<()> {
        let cannot_list = |error| cannot_list(&directory.to_string_lossy(), error);
        for entry in fs::read_dir(directory).map_err(cannot_list)? {
            let path = entry.map_err(cannot_list)?.path();
            if is_hidden(&path) {
                continue;
            }
            let Some(metadata) = still_there(&path)? else { continue };
            if self.is_recursive || !metadata.is_dir() {
                self.add(&path, &metadata, found)?;
            }
        }
        Ok(())
    }
}

/// What Spark calls hidden: names that begin with `_` or `.`, and files that are being copied.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['_', '.']) || name.ends_with("._COPYING_")
}

/// Whether a match of `pattern` is hidden, or in a directory that is, unless the pattern names that one in full.
fn is_below_hidden(path: &Path, pattern: &str) -> bool {
    let is_named = |name: &Path| Path::new(pattern).iter().any(|part| part == name);
    is_hidden(path) || path.iter().map(Path::new).any(|name| is_hidden(name) && !is_named(name))
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{']) && !Path::new(path).exists()
}

/// The files and directories that match now, hidden ones included.
fn matches(path: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for alternative in alternatives(path) {
        let paths = glob::glob(&alternative).map_err(|error| bad_pattern("path", path, &error))?;
        for entry in paths {
            found.push(entry.map_err(|error| cannot_list(path, error.into()))?);
        }
    }
    Ok(found)
}

fn patterns(option: &str, text: &str) -> Result<Vec<Pattern>> {
    let compile = |text: String| Pattern::new(&text).map_err(|error| bad_pattern(option, &text, &error));
    alternatives(text).into_iter().map(compile).collect()
}

/// Writes out `{a,b}`, which the glob crate does not know.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else { return vec![pattern.to_string()] };
    let Some(length) = pattern[open..].find('}') else { return vec![pattern.to_string()] };
    let (before, inside, after) = (&pattern[..open], &pattern[open + 1..open + length], &pattern[open + length + 1..]);
    inside.split(',').flat_map(|choice| alternatives(&format!("{before}{choice}{after}"))).collect()
}

fn still_there(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_list(&path.to_string_lossy(), error)),
    }
}

fn modified_ms(modified: Option<SystemTime>) -> i64 {
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

fn bad_pattern(option: &str, text: &str, error: &glob::PatternError) -> Error {
    Error::config(format!("option `{option}`=`{text}` is not a glob pattern: {error}"))
}

fn cannot_list(path: &str, error: io::Error) -> Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!("the path `{path}` does not exist; create it before the query starts"),
        _ => format!("cannot list `{path}`: {error}"),
    };
    Error::connector(text).with_source(error)
}
