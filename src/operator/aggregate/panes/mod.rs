//! Panes: the pieces into which the starts and ends of windows that overlap cut time.
//!
//! Owns: which pane a time is in, which windows hold a pane, how windows are put together of the groups of panes. Does
//! not own: judging rows (`slots`), or when groups are put out (`partial`).
//!
//! A row is in several windows and in one pane, so it is grouped once (Li et al., "No pane, no gain", SIGMOD Record
//! 2005). A slide is one pane if it divides the size; otherwise it is two, cut where a window ends (Krishnamurthy et
//! al., "On-the-fly sharing for streamed aggregation", SIGMOD 2006), which are never more than panes as long as the
//! greatest common divisor of both would be.
//!
//! ```text
//! size 10, slide 4   0   2   4   6   8   10  12  14
//! panes              ├─0─┼─1─┼─2─┼─3─┼─4─┼─5─┼─6─┤
//! windows            ├────────0──────────┤            panes 0 to 4: block 0
//!                            ├────────1──────────┤    panes 2 to 6: end of block 0, beginning of block 1
//! ```
//!
//! Panes are put together in blocks of as many as a window has, so that a window is the end of one block and the
//! beginning of the next (van Herk 1992; Gil and Werman 1993). One pass backwards gathers the ends of a block, one
//! forward its beginnings: a pane's groups are merged twice at most, and a key comes out twice at most for a window,
//! however many panes it is in. The pane that stands alone in its block is not merged at all: what it holds is put out
//! for each of its windows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use super::AggregateSpec;
use super::groups::{GroupColumns, GroupTable, SpareTables, group_range, nothing_to_fetch};
use super::slots::TimeKind;
use crate::error::{Error, Result};
use crate::operator::{Batch, Windows};

/// Times and sizes beyond this, some 36,000 years, have no panes, so that nothing here overflows.
const FAR: i64 = i64::MAX / 8;

/// A row has to be in so many windows at least, or panes are as much work as windows.
const LEAST_OVERLAPPING: i64 = 2;

/// The panes of windows that overlap. Panes are numbered in order of time, and so are windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panes {
    windows: Windows,
    /// Where in a slide a window ends, counted from its start; 0 if that is where another starts.
    cut: i64,
    /// Panes of a slide.
    of_slide: i64,
    /// Panes of a window, and of a block.
    of_window: i64,
}

/// A pane that holds the times `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) number: i64,
    from: i64,
    to: i64,
    /// The end of the first window that holds it.
    pub(super) first_end: i64,
}

impl Pane {
    #[inline]
    pub(super) fn holds(&self, time: i64) -> bool {
        self.from <= time && time < self.to
    }
}

impl Panes {
    /// The panes by which the rows of `spec` may be grouped; `None` where its results could be others, or nothing is
    /// gained.
    pub(super) fn of(spec: &AggregateSpec) -> Option<Self> {
        let TimeKind::Windows(windows) = spec.time?.kind else { return None };
        let is_mergeable = spec.calls.iter().all(|call| call.factory.merges_in_any_order());
        Self::of_windows(windows).filter(|_| is_mergeable)
    }

    fn of_windows(windows: Windows) -> Option<Self> {
        let (whole, cut) = (windows.size() / windows.slide(), windows.size() % windows.slide());
        let (of_slide, of_window) = if cut == 0 { (1, whole) } else { (2, 2 * whole + 1) };
        let pays = whole >= LEAST_OVERLAPPING && windows.size() <= FAR;
        pays.then_some(Self { windows, cut, of_slide, of_window })
    }

    /// What they are panes of.
    pub(super) fn windows(&self) -> Windows {
        self.windows
    }

    /// The pane that holds `time`, unless that is too far off.
    pub(super) fn at(&self, time: i64) -> Option<Pane> {
        if !(-FAR..FAR).contains(&time) {
            return None;
        }
        let since = time - self.windows.start();
        let (slide, into) = (since.div_euclid(self.windows.slide()), since.rem_euclid(self.windows.slide()));
        let (begin, end) = (time - into, time - into + self.windows.slide());
        let is_second = self.cut > 0 && into >= self.cut;
        let (from, to) = match self.cut {
            0 => (begin, end),
            cut if is_second => (begin + cut, end),
            cut => (begin, begin + cut),
        };
        let number = slide * self.of_slide + i64::from(is_second);
        Some(Pane { number, from, to, first_end: self.end(self.windows_of(number).start) })
    }

    /// The windows that hold a pane.
    fn windows_of(&self, pane: i64) -> Range<i64> {
        let (first, last) = (pane - self.of_window + self.of_slide, pane);
        first.div_euclid(self.of_slide)..last.div_euclid(self.of_slide) + 1
    }

    /// Where a window ends.
    fn end(&self, window: i64) -> i64 {
        self.windows.start() + window * self.windows.slide() + self.windows.size()
    }

    /// How the windows that hold any of these panes, which are in one block and in order, are put together.
    fn steps(&self, panes: &[i64]) -> VecDeque<Step> {
        let Some(&lowest) = panes.first() else { return VecDeque::new() };
        if panes.len() == 1 {
            return VecDeque::from([Step::Show(Of::Pane(0), self.windows_of(lowest))]);
        }
        let first = lowest.div_euclid(self.of_window) * self.of_window;
        let (before, last) = (first - 1, first + self.of_window - 1);
        let mut steps = VecDeque::new();
        // Windows that start in the block, behind the pane before and not behind this one.
        let ends = (0..panes.len()).rev().map(|place| {
            let before = place.checked_sub(1).map_or(before, |place| panes[place]);
            (place, self.windows_of(before).end..self.windows_of(panes[place]).end)
        });
        add_pass(&mut steps, ends.collect());
        // Windows that started before the block and end in it, not before this pane's end and before the next one's.
        let beginnings = (0..panes.len()).map(|place| {
            let next = panes.get(place + 1).copied().unwrap_or(last);
            (place, self.windows_of(panes[place]).start..self.windows_of(next).start)
        });
        add_pass(&mut steps, beginnings.collect());
        steps
    }
}

/// A step in putting windows together of the panes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Puts groups out for each of these windows.
    Show(Of, Range<i64>),
    /// Merges the groups of the pane at this place into what is gathered.
    Gather(usize),
    /// Forgets what is gathered.
    Forget,
}

/// Which groups are put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Those of the pane at this place.
    Pane(usize),
    Gathered,
}

/// Gathers pane after pane, and shows what is gathered for the windows that stand beside each.
fn add_pass(steps: &mut VecDeque<Step>, mut turns: Vec<(usize, Range<i64>)>) {
    while turns.pop_if(|(_, windows)| windows.is_empty()).is_some() {}
    let gathers = turns.len() > 1;
    for (turn, (place, windows)) in turns.into_iter().enumerate() {
        steps.extend(gathers.then_some(Step::Gather(place)));
        if !windows.is_empty() {
            steps.push_back(Step::Show(if turn == 0 { Of::Pane(place) } else { Of::Gathered }, windows));
        }
    }
    steps.extend(gathers.then_some(Step::Forget));
}

/// Panes that are being put out, batch by batch.
#[derive(Debug, Default)]
pub(super) struct PaneFlush {
    blocks: VecDeque<Block>,
    gathered: Option<GroupTable>,
    /// The next group of what is being shown.
    next: usize,
    /// Some groups, and the windows for which they have still to be put out.
    piece: Option<(GroupColumns, Range<i64>)>,
    /// Rows there would be if each pane were put out for each of its windows, and rows there are.
    rows: (usize, usize),
}

#[derive(Debug)]
struct Block {
    panes: Panes,
    tables: Vec<GroupTable>,
    steps: VecDeque<Step>,
}

impl PaneFlush {
    /// Begins to put out these panes, which are told by their numbers.
    pub(super) fn start(&mut self, panes: Panes, tables: BTreeMap<i64, GroupTable>) {
        self.rows = (0, 0);
        let mut numbers: Vec<i64> = Vec::new();
        let mut block = Vec::new();
        for (number, table) in tables {
            self.rows.0 += table.len() * panes.windows_of(number).count();
            let is_next = numbers
                .last()
                .is_some_and(|last| last.div_euclid(panes.of_window) != number.div_euclid(panes.of_window));
            if is_next {
                self.add_block(panes, &std::mem::take(&mut numbers), std::mem::take(&mut block));
            }
            numbers.push(number);
            block.push(table);
        }
        self.add_block(panes, &numbers, block);
    }

    fn add_block(&mut self, panes: Panes, numbers: &[i64], tables: Vec<GroupTable>) {
        self.blocks.push_back(Block { panes, tables, steps: panes.steps(numbers) });
    }

    /// The next batch to put out, each of one window; `None` when all are out. Tables that are done with go to `spare`.
    pub(super) fn next(
        &mut self,
        spec: &AggregateSpec,
        schema: &SchemaRef,
        spare: &mut SpareTables,
    ) -> Result<Option<Batch>> {
        while let Some(block) = self.blocks.front() {
            if let Some((groups, windows)) = &mut self.piece
                && let Some(window) = windows.next()
            {
                self.rows.1 += groups.rows();
                return groups.in_slot(spec, schema, block.panes.end(window)).map(Some);
            }
            self.piece = None;
            self.advance(spec, spare)?;
        }
        Ok(None)
    }

    /// Takes the next groups to show, or the next step.
    fn advance(&mut self, spec: &AggregateSpec, spare: &mut SpareTables) -> Result<()> {
        let Some(block) = self.blocks.front_mut() else { return Ok(()) };
        let missing = || Error::internal("groups of panes were not gathered");
        match block.steps.front() {
            None => {
                if let Some(block) = self.blocks.pop_front() {
                    block.tables.into_iter().for_each(|table| spare.put(table));
                }
                return Ok(());
            }
            Some(Step::Gather(place)) => {
                let gathered = match self.gathered.take() {
                    Some(gathered) => gathered,
                    None => spare.take(spec)?,
                };
                gather(&mut block.tables[*place], self.gathered.insert(gathered))?;
            }
            Some(Step::Forget) => {
                if let Some(gathered) = self.gathered.take() {
                    spare.put(gathered);
                }
            }
            Some(Step::Show(of, windows)) => {
                let table = match of {
                    Of::Pane(place) => &mut block.tables[*place],
                    Of::Gathered => self.gathered.as_mut().ok_or_else(missing)?,
                };
                let groups = group_range(self.next, table.len());
                self.next += groups.len();
                if !groups.is_empty() {
                    self.piece = Some((GroupColumns::of(table, &groups)?, windows.clone()));
                    return Ok(());
                }
                self.next = 0;
            }
        }
        block.steps.pop_front();
        Ok(())
    }

    /// Whether what was put out last was nearly as many rows as each pane by itself would have been.
    pub(super) fn gained_little(&self) -> bool {
        self.rows.1 * 5 >= self.rows.0 * 4
    }
}

fn gather(from: &mut GroupTable, into: &mut GroupTable) -> Result<()> {
    let mut next = 0;
    while next < from.len() {
        let groups = group_range(next, from.len());
        next += groups.len();
        let GroupColumns { columns, hashes } = GroupColumns::of(from, &groups)?;
        into.merge(&columns, groups.len(), Some(&hashes), nothing_to_fetch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
