//! How many files one epoch takes.

use std::collections::VecDeque;

use super::listing::ListedFile;
use crate::connector::options::Options;
use crate::error::{Error, Result};

/// The most one epoch takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Admission {
    /// Everything.
    All,
    /// This many files.
    Files(u64),
    /// Files of so many bytes together, but at least one.
    Bytes(u64),
    /// This many files, and of so many bytes together, but at least one.
    FilesOfBytes(u64, u64),
}

impl Admission {
    /// Takes the options `maxFilesPerTrigger` and `maxBytesPerTrigger`.
    ///
    /// # Errors
    /// When both are given, or one is not a size above 0.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let files = options.positive("maxFilesPerTrigger")?;
        match (files, options.bytes("maxBytesPerTrigger")?) {
            (None, None) => Ok(Self::All),
            (Some(files), None) => Ok(Self::Files(files)),
            (None, Some(0)) => Err(Error::config("option `maxBytesPerTrigger` must be above 0")),
            (None, Some(bytes)) => Ok(Self::Bytes(bytes)),
            (Some(_), Some(_)) => Err(Error::config(
                "options `maxFilesPerTrigger` and `maxBytesPerTrigger` exclude each other; remove one",
            )),
        }
    }

    /// The same, and no more than so many bytes.
    pub(super) fn within(self, limit: u64) -> Self {
        match self {
            Self::All => Self::Bytes(limit),
            Self::Files(files) => Self::FilesOfBytes(files, limit),
            Self::Bytes(bytes) => Self::Bytes(bytes.min(limit)),
            Self::FilesOfBytes(files, bytes) => Self::FilesOfBytes(files, bytes.min(limit)),
        }
    }

    /// Takes files from the front.
    pub(super) fn take(self, files: &mut VecDeque<ListedFile>) -> Vec<ListedFile> {
        let at_most = |count: u64| files.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let of_bytes = |limit: u64| {
            let mut total = 0u64;
            let fits = |file: &&ListedFile| {
                total = total.saturating_add(file.size);
                total <= limit
            };
            files.iter().take_while(fits).count().max(1).min(files.len())
        };
        let count = match self {
            Self::All => files.len(),
            Self::Files(count) => at_most(count),
            Self::Bytes(limit) => of_bytes(limit),
            Self::FilesOfBytes(count, limit) => at_most(count).min(of_bytes(limit)),
        };
        files.drain(..count).collect()
    }
}
