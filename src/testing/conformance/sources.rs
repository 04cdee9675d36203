//! A source that is read again after each of its epochs.
//!
//! After each epoch a new process opens it, restores what was saved, plans the last range again, and goes on.

use super::{broken, texts};
use crate::connector::{Offset, ReadLimit, Source, SourceFactory};
use crate::error::{Error, Result};

/// What a source gave in an epoch.
struct Range {
    from: Offset,
    to: Offset,
    saved: Option<Vec<u8>>,
    rows: Vec<String>,
}

/// Reads a source to the end of what it has now, in epochs as its own options cut them; then checks, for a process that dies after
/// each epoch, that the next one, given what was saved, reads the same rows in the last range again, with any number of readers, and
/// all the others once.
///
/// Answers how many epochs there were.
///
/// # Errors
/// When rows are lost, repeated or others, or the source says that it does [not replay](Source::replays); and errors of the source.
pub fn check_source(factory: &dyn SourceFactory) -> Result<usize> {
    let mut source = factory.open(None)?;
    if !source.replays() {
        return Err(broken("the source cannot give rows again after a crash"));
    }
    let start = source.initial()?;
    let ranges = read_to_end(source.as_mut(), start, 1)?;
    for (number, died_after) in ranges.iter().enumerate() {
        for readers in [1, 3] {
            let told = |error: Error| error.context(format!("a restart after epoch {number} with {readers} readers"));
            let mut source = factory.open(None)?;
            source.initial()?;
            let saved = ranges[..=number].iter().filter_map(|range| range.saved.as_ref());
            saved.into_iter().try_for_each(|saved| source.restore(saved)).map_err(told)?;
            let again = read(source.as_mut(), &died_after.from, &died_after.to, readers).map_err(told)?;
            if again != died_after.rows {
                let rows = &died_after.rows;
                return Err(told(broken(&format!("the range has the rows {again:?} instead of {rows:?}"))));
            }
            let rest = read_to_end(source.as_mut(), died_after.to.clone(), readers).map_err(told)?;
            let rows = |ranges: &[Range]| {
                let mut rows: Vec<String> = ranges.iter().flat_map(|range| range.rows.clone()).collect();
                rows.sort();
                rows
            };
            let (rest, wanted) = (rows(&rest), rows(&ranges[number + 1..]));
            if rest != wanted {
                return Err(told(broken(&format!("the rows behind it are {rest:?} instead of {wanted:?}"))));
            }
        }
    }
    Ok(ranges.len())
}

fn read_to_end(source: &mut dyn Source, start: Offset, readers: usize) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    let mut from = start;
    loop {
        let to = source.latest(&from, ReadLimit::Options)?;
        if to == from {
            return Ok(ranges);
        }
        let rows = read(source, &from, &to, readers)?;
        let saved = source.save(&from, &to)?;
        source.commit(&to)?;
        ranges.push(Range { from, to: to.clone(), saved, rows });
        from = to;
    }
}

/// The rows of a range, sorted.
fn read(source: &mut dyn Source, from: &Offset, to: &Offset, readers: usize) -> Result<Vec<String>> {
    let mut batches = Vec::new();
    for mut reader in source.plan(from, to, readers)? {
        while let Some(batch) = reader.next()? {
            batches.push(batch);
        }
    }
    texts(&batches)
}
