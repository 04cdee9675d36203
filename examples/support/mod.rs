//! Where the input of the event-time examples comes from: lines of a socket, or of a text that is in the program; files of directories
//! that the arguments name, or of the project's own that arrive while the query runs.

#![allow(dead_code, reason = "an example uses lines or files")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, StringArray};
use millstream::prelude::*;
use tempfile::TempDir;

/// What follows `--name` in the arguments.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument.strip_prefix("--") != Some(name)).nth(1)
}

/// Lines as a stream with one column, `value`.
pub(crate) enum Lines {
    /// `--host H --port P` was given.
    Socket(DataFrame),
    /// The embedded text: blocks between empty lines arrive one after the other.
    Embedded { stream: MemoryStream, text: &'static str },
}

impl Lines {
    /// From the socket the arguments name, or else the embedded `text`.
    pub(crate) fn new(session: &Session, text: &'static str) -> Self {
        match argument("port") {
            Some(port) => {
                let host = argument("host").unwrap_or_else(|| "localhost".to_string());
                Self::Socket(session.read_stream().format("socket").option("host", host).option("port", port).load())
            }
            None => Self::Embedded { stream: MemoryStream::new(session, "value STRING"), text },
        }
    }

    /// The lines `time,text` as columns `eventTime` and `text`; a line without a time has a null there.
    pub(crate) fn timed(&self) -> DataFrame {
        let lines = match self {
            Self::Socket(lines) => lines.clone(),
            Self::Embedded { stream, .. } => stream.to_df(),
        };
        let parts = lines.select([split(col("value"), ",").alias("parts")]);
        parts.select([
            element_at(col("parts"), 1).cast("timestamp").alias("eventTime"),
            element_at(col("parts"), 2).alias("text"),
        ])
    }

    /// Feeds the query until it ends: with the socket until Ctrl-C, with the embedded text until all is processed.
    pub(crate) fn run(&self, query: &StreamingQuery) -> Result<()> {
        let Self::Embedded { stream, text } = self else { return query.await_termination() };
        for block in text.split("\n\n") {
            let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with('#')).collect();
            println!("> {}", lines.join("\n> "));
            stream.add_rows([Arc::new(StringArray::from(lines)) as ArrayRef])?;
            query.process_all_available()?;
        }
        query.stop()
    }
}

/// Directories in which files arrive.
pub(crate) enum Arrivals {
    /// The arguments name them: files arrive as the user moves them there.
    Live,
    /// They are temporary, and files of `assets/videos` are moved into them.
    Staged(TempDir),
}

impl Arrivals {
    /// The directories that `--name PATH` gives for each of `names`, or else temporary ones.
    pub(crate) fn new(names: &[&str]) -> Result<Self> {
        let missing: Vec<&&str> = names.iter().filter(|name| argument(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(Self::Live);
        }
        if missing.len() < names.len() {
            return Err(Error::config(format!("give a path with --{}, too", missing[0])));
        }
        let place = TempDir::new().map_err(cannot("make", Path::new("a temporary directory")))?;
        for name in names.iter().chain(&["staging"]) {
            let directory = place.path().join(name);
            std::fs::create_dir(&directory).map_err(cannot("make", &directory))?;
        }
        Ok(Self::Staged(place))
    }

    /// The path of what `name` stands for.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = match self {
            Self::Live => argument(name).map(PathBuf::from).unwrap_or_default(),
            Self::Staged(place) => place.path().join(name),
        };
        path.to_string_lossy().into_owned()
    }

    /// Lets a file of `assets/videos` arrive, if the directories are temporary: it is copied to the staging directory and then
    /// moved, so that it appears whole.
    pub(crate) fn add(&self, file: &str) -> Result<()> {
        let Self::Staged(place) = self else { return Ok(()) };
        println!("> {file}");
        let (staged, arrived) = (place.path().join("staging/file.csv"), place.path().join(file));
        std::fs::copy(Path::new("assets/videos").join(file), &staged).map_err(cannot("copy", Path::new(file)))?;
        std::fs::rename(&staged, &arrived).map_err(cannot("move to", &arrived))
    }

    /// Runs the queries until they end: with the user's directories until Ctrl-C, with temporary ones until these files have arrived,
    /// one after the other, and are processed.
    pub(crate) fn run(&self, queries: &[&StreamingQuery], files: &[&str]) -> Result<()> {
        if let Self::Live = self {
            return queries.iter().try_for_each(|query| query.await_termination());
        }
        for file in files {
            self.add(file)?;
            queries.iter().try_for_each(|query| query.process_all_available())?;
        }
        queries.iter().try_for_each(|query| query.stop())
    }
}

fn cannot(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let text = format!("cannot {what} `{}`", path.display());
    move |error| Error::connector(format!("{text}: {error}")).with_source(error)
}

/// A directory with a directory `in`.
pub(crate) struct Place {
    path: String,
    /// Removes it at the end.
    _temporary: Option<TempDir>,
}

impl Place {
    /// The one that `--directory` names, which gets the `live` minutes unless it has an `in` already; else a temporary one, with the
    /// minutes to put there run by run.
    pub(crate) fn new(staged: &[Range<u32>], live: Range<u32>) -> Result<(Self, Vec<Range<u32>>)> {
        let (path, temporary, minutes) = if let Some(path) = argument("directory") {
            let is_new = !Path::new(&path).join("in").is_dir();
            (path, None, vec![if is_new { live } else { 0..0 }])
        } else {
            let place = TempDir::new().map_err(cannot("make", Path::new("a temporary directory")))?;
            (place.path().to_string_lossy().into_owned(), Some(place), staged.to_vec())
        };
        let input = Path::new(&path).join("in");
        std::fs::create_dir_all(&input).map_err(cannot("make", &input))?;
        Ok((Self { path, _temporary: temporary }, minutes))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of `in`.
    pub(crate) fn input(&self) -> String {
        format!("{}/in", self.path)
    }
}
