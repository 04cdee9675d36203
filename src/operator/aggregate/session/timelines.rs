//! The sessions of each key as intervals that neither overlap nor touch.
//!
//! Owns: which session a row is in, and which sessions become one by it. Does not own: the keys, what is aggregated
//! over a session (`table`).
//!
//! A session is known by its slot, counted from 0 as sessions begin. The sessions of a key are linked from the latest
//! to the earliest, as most rows are in the latest or begin a later one:
//!
//! ```text
//! latest[key] ─▶ [50, 60) ─▶ [20, 45) ─▶ [0, 10)
//! ```
//!
//! Of two sessions that become one the older slot stays. Whatever the other has gathered is the caller's to move, once
//! for all by [`take_merged`](Timelines::take_merged); until then rows may be put into both.

use std::cmp::Reverse;

/// No slot, no key.
pub(super) const NONE: u32 = u32::MAX;

/// A session, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) start: i64,
    /// Above `start`; not in the session.
    pub(super) end: i64,
    /// The number of its key, or [`NONE`] once the session is gone.
    pub(super) key: u32,
    /// The session of the key before this one, or [`NONE`]. Of a session that was merged away, the one it is part of.
    earlier: u32,
}

/// Rows to place: for each the number of its key, its start and its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals<'a> {
    pub(super) keys: &'a [u32],
    pub(super) starts: &'a [i64],
    pub(super) ends: &'a [i64],
}

/// Between two sessions of a key: behind `later`, or before all of them.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    key: u32,
    later: u32,
}

/// Sessions by slot and by key.
#[derive(Debug)]
pub(super) struct Timelines {
    sessions: Vec<Session>,
    /// The slot of the latest session of each key.
    latest: Vec<u32>,
    live: usize,
    used_keys: usize,
    /// Slots merged away since they were last asked for.
    merged: Vec<u32>,
    /// No session ends before this.
    first_end: i64,
    /// Rows of the batch at hand that begin before the latest session of their key.
    early: Vec<u32>,
}

impl Timelines {
    pub(super) fn new() -> Self {
        Self {
            sessions: Vec::new(),
            latest: Vec::new(),
            live: 0,
            used_keys: 0,
            merged: Vec::new(),
            first_end: i64::MAX,
            early: Vec::new(),
        }
    }

    /// Makes room for the keys `0..keys`.
    pub(super) fn grow(&mut self, keys: usize) {
        self.latest.resize(keys, NONE);
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions there are.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// How many keys have sessions.
    pub(super) fn used_keys(&self) -> usize {
        self.used_keys
    }

    pub(super) fn session(&self, slot: u32) -> &Session {
        &self.sessions[slot as usize]
    }

    pub(super) fn is_live(&self, slot: u32) -> bool {
        self.session(slot).key != NONE
    }

    pub(super) fn has_sessions(&self, key: u32) -> bool {
        self.latest[key as usize] != NONE
    }

    /// The keys that have sessions.
    pub(super) fn keys(&self) -> Vec<u32> {
        (0..number(self.latest.len())).filter(|&key| self.has_sessions(key)).collect()
    }

    /// When the latest session of `key` ends, if it has any.
    pub(super) fn last_end(&self, key: u32) -> Option<i64> {
        let latest = self.latest[key as usize];
        (latest != NONE).then(|| self.session(latest).end)
    }

    /// Adds the sessions of `key` to `slots`, from the earliest to the latest.
    pub(super) fn sessions_of(&self, key: u32, slots: &mut Vec<u32>) {
        let first = slots.len();
        let mut slot = self.latest[key as usize];
        while slot != NONE {
            slots.push(slot);
            slot = self.session(slot).earlier;
        }
        slots[first..].reverse();
    }

    /// Adds all sessions to `slots`, by key, from the earliest to the latest.
    pub(super) fn by_key(&self, slots: &mut Vec<u32>) {
        (0..number(self.latest.len())).for_each(|key| self.sessions_of(key, slots));
    }

    /// Puts the slot of each row into `slots`, which is emptied first. Intervals are not empty.
    pub(super) fn place(&mut self, rows: Intervals<'_>, slots: &mut Vec<u32>) {
        slots.clear();
        slots.reserve(rows.keys.len());
        let mut early = std::mem::take(&mut self.early);
        for (row, (&key, (&start, &end))) in rows.keys.iter().zip(rows.starts.iter().zip(rows.ends)).enumerate() {
            let slot = self.append(key, start, end);
            if slot == NONE {
                early.push(number(row));
            }
            slots.push(slot);
        }
        self.place_early(&mut early, rows, slots);
        early.clear();
        self.early = early;
    }

    /// Puts one interval where it belongs.
    pub(super) fn place_one(&mut self, key: u32, start: i64, end: i64) -> u32 {
        match self.append(key, start, end) {
            NONE => self.insert(&mut Cursor { key, later: NONE }, start, end),
            slot => slot,
        }
    }

    /// The slot of an interval in or behind the latest session; [`NONE`] if it begins earlier.
    #[inline]
    fn append(&mut self, key: u32, start: i64, end: i64) -> u32 {
        let latest = self.latest[key as usize];
        if latest == NONE {
            return self.begin(Cursor { key, later: NONE }, latest, start, end);
        }
        let session = &mut self.sessions[latest as usize];
        if start > session.end {
            return self.begin(Cursor { key, later: NONE }, latest, start, end);
        }
        if start < session.start {
            return NONE;
        }
        session.end = session.end.max(end);
        latest
    }

    /// One pass along the sessions of each key, however many rows are early: by falling ends a session that begins
    /// behind one row's end also begins behind the next one's.
    fn place_early(&mut self, early: &mut [u32], rows: Intervals<'_>, slots: &mut [u32]) {
        early.sort_unstable_by_key(|&row| (rows.keys[row as usize], Reverse(rows.ends[row as usize])));
        let mut cursor = Cursor { key: NONE, later: NONE };
        for row in early.iter().map(|&row| row as usize) {
            let key = rows.keys[row];
            if key != cursor.key {
                cursor = Cursor { key, later: NONE };
            }
            slots[row] = self.insert(&mut cursor, rows.starts[row], rows.ends[row]);
        }
    }

    fn insert(&mut self, cursor: &mut Cursor, start: i64, end: i64) -> u32 {
        let mut slot = self.behind(*cursor);
        while slot != NONE && self.session(slot).start > end {
            cursor.later = slot;
            slot = self.behind(*cursor);
        }
        if slot == NONE || self.session(slot).end < start {
            return self.begin(*cursor, slot, start, end);
        }
        let session = &mut self.sessions[slot as usize];
        (session.start, session.end) = (session.start.min(start), session.end.max(end));
        loop {
            let earlier = self.session(slot).earlier;
            if earlier == NONE || self.session(earlier).end < start {
                return slot;
            }
            slot = self.join(*cursor, slot, earlier);
        }
    }

    /// Makes one of the sessions `late` and `early`, which follow each other behind `cursor`.
    fn join(&mut self, cursor: Cursor, late: u32, early: u32) -> u32 {
        let (kept, gone) = (late.min(early), late.max(early));
        let (late, early) = (*self.session(late), *self.session(early));
        self.sessions[kept as usize] = Session { start: late.start.min(early.start), end: late.end, ..early };
        let gone_session = &mut self.sessions[gone as usize];
        (gone_session.key, gone_session.earlier) = (NONE, kept);
        self.merged.push(gone);
        self.live -= 1;
        self.link(cursor, kept);
        kept
    }

    fn begin(&mut self, cursor: Cursor, earlier: u32, start: i64, end: i64) -> u32 {
        let slot = number(self.sessions.len());
        self.sessions.push(Session { start, end, key: cursor.key, earlier });
        self.live += 1;
        self.first_end = self.first_end.min(end);
        self.link(cursor, slot);
        slot
    }

    fn behind(&self, cursor: Cursor) -> u32 {
        match cursor.later {
            NONE => self.latest[cursor.key as usize],
            later => self.session(later).earlier,
        }
    }

    fn link(&mut self, cursor: Cursor, slot: u32) {
        if cursor.later != NONE {
            self.sessions[cursor.later as usize].earlier = slot;
            return;
        }
        let latest = &mut self.latest[cursor.key as usize];
        self.used_keys = self.used_keys + usize::from(slot != NONE) - usize::from(*latest != NONE);
        *latest = slot;
    }

    /// The slots merged away since the last call, and for each the session it is part of now.
    pub(super) fn take_merged(&mut self) -> (Vec<u32>, Vec<u32>) {
        let gone = std::mem::take(&mut self.merged);
        // What was merged away last went into a session that is still there; so, backwards, each has one step to go.
        for &slot in gone.iter().rev() {
            let into = self.session(slot).earlier;
            if !self.is_live(into) && self.session(into).earlier != NONE {
                self.sessions[slot as usize].earlier = self.session(into).earlier;
            }
        }
        let into = gone.iter().map(|&slot| self.session(slot).earlier).collect();
        (gone, into)
    }

    /// The sessions that end at `limit` or before, by end and key. They are to be removed.
    pub(super) fn ended(&mut self, limit: i64) -> Vec<u32> {
        let mut slots = Vec::new();
        if self.first_end > limit {
            return slots;
        }
        self.first_end = i64::MAX;
        for (slot, session) in self.sessions.iter().enumerate().filter(|(_, session)| session.key != NONE) {
            if session.end <= limit {
                slots.push(number(slot));
            } else {
                self.first_end = self.first_end.min(session.end);
            }
        }
        self.sort(&mut slots);
        slots
    }

    /// All sessions, by end and key.
    pub(super) fn all(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = (0..number(self.sessions.len())).filter(|&slot| self.is_live(slot)).collect();
        self.sort(&mut slots);
        slots
    }

    fn sort(&self, slots: &mut [u32]) {
        slots.sort_unstable_by_key(|&slot| (self.session(slot).end, self.session(slot).key));
    }

    /// Removes the sessions of `key` that end at `limit` or before.
    pub(super) fn remove(&mut self, key: u32, limit: i64) {
        let mut cursor = Cursor { key, later: NONE };
        let mut slot = self.behind(cursor);
        while slot != NONE && self.session(slot).end > limit {
            cursor.later = slot;
            slot = self.behind(cursor);
        }
        self.link(cursor, NONE);
        while slot != NONE {
            let session = &mut self.sessions[slot as usize];
            slot = session.earlier;
            (session.key, session.earlier) = (NONE, NONE);
            self.live -= 1;
        }
    }

    /// Gives the sessions new slots without gaps; the answer is the old slot of each. Nothing is left to
    /// [`take_merged`](Self::take_merged).
    pub(super) fn renumber_slots(&mut self) -> Vec<u32> {
        let kept: Vec<u32> = (0..number(self.sessions.len())).filter(|&slot| self.is_live(slot)).collect();
        let mut renumbered = vec![NONE; self.sessions.len()];
        kept.iter().enumerate().for_each(|(slot, &old)| renumbered[old as usize] = number(slot));
        let renumber = |slot: &mut u32| *slot = if *slot == NONE { NONE } else { renumbered[*slot as usize] };
        self.sessions.retain(|session| session.key != NONE);
        self.sessions.shrink_to_fit();
        self.sessions.iter_mut().for_each(|session| renumber(&mut session.earlier));
        self.latest.iter_mut().for_each(renumber);
        kept
    }

    /// Gives keys new numbers: `kept[new]` is the old one. All keys with sessions are kept.
    pub(super) fn renumber_keys(&mut self, kept: &[u32]) {
        let mut renumbered = vec![NONE; self.latest.len()];
        kept.iter().enumerate().for_each(|(key, &old)| renumbered[old as usize] = number(key));
        for session in self.sessions.iter_mut().filter(|session| session.key != NONE) {
            session.key = renumbered[session.key as usize];
        }
        self.latest = kept.iter().map(|&old| self.latest[old as usize]).collect();
    }

    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
        self.latest.clear();
        self.merged.clear();
        (self.live, self.used_keys, self.first_end) = (0, 0, i64::MAX);
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = self.latest.capacity() + self.merged.capacity() + self.early.capacity();
        self.sessions.capacity() * size_of::<Session>() + numbers * size_of::<u32>()
    }
}

/// The number of a slot, a key or a row.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("the table of sessions bounds what it holds to numbers of 32 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (u32, i64, i64);

    fn place(timelines: &mut Timelines, rows: &[Row]) -> Vec<u32> {
        let keys: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let starts: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let ends: Vec<i64> = rows.iter().map(|row| row.2).collect();
        let mut slots = vec![7];
        timelines.place(Intervals { keys: &keys, starts: &starts, ends: &ends }, &mut slots);
        slots
    }

    fn timelines() -> Timelines {
        let mut timelines = Timelines::new();
        timelines.grow(3);
        timelines
    }

    fn intervals(timelines: &Timelines) -> Vec<Row> {
        let mut slots = Vec::new();
        timelines.by_key(&mut slots);
        let sessions = slots.iter().map(|&slot| timelines.session(slot));
        sessions.map(|session| (session.key, session.start, session.end)).collect()
    }

    /// The sessions of these rows, by key and start.
    fn naive(rows: &[Row]) -> Vec<Row> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        let mut sessions = Vec::<Row>::new();
        for row in rows {
            match sessions.last_mut() {
                Some(last) if last.0 == row.0 && row.1 <= last.2 => last.2 = last.2.max(row.2),
                _ => sessions.push(row),
            }
        }
        sessions
    }

    fn rows(times: i64, gaps: i64) -> impl Strategy<Value = Vec<Vec<Row>>> {
        let row = (0..3_u32, -times..times, 1..=gaps).prop_map(|(key, start, gap)| (key, start, start + gap));
        prop::collection::vec(prop::collection::vec(row, 0..30), 0..6)
    }

    fn check(batches: &[Vec<Row>]) {
        let (mut timelines, mut all, mut owners) = (timelines(), Vec::new(), Vec::new());
        for batch in batches {
            owners.extend(place(&mut timelines, batch));
            all.extend(batch.iter().copied());
            let (gone, into) = timelines.take_merged();
            for owner in &mut owners {
                *owner = gone.iter().position(|slot| slot == owner).map_or(*owner, |index| into[index]);
            }
            let expected = naive(&all);
            assert_eq!(intervals(&timelines), expected);
            assert_eq!(timelines.live(), expected.len());
            for (row, &slot) in all.iter().zip(&owners) {
                let session = timelines.session(slot);
                assert!(
                    session.key == row.0 && session.start <= row.1 && row.2 <= session.end,
                    "{row:?} in {session:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn sessions_are_those_of_all_rows_sorted(dense in rows(40, 12), sparse in rows(400, 9), wide in rows(200, 90)) {
            check(&dense);
            check(&sparse);
            check(&wide);
        }

        #[test]
        fn what_has_ended_is_found_in_order_and_removed(
            batches in rows(200, 20),
            limits in prop::collection::vec(-200..220_i64, 6),
        ) {
            let (mut timelines, mut expected) = (timelines(), Vec::new());
            for (batch, limit) in batches.iter().zip(limits) {
                place(&mut timelines, batch);
                timelines.take_merged();
                expected.extend(batch.iter().copied());
                expected = naive(&expected);
                let ended = timelines.ended(limit);
                let shown = ended.iter().map(|&slot| timelines.session(slot)).map(|session| (session.end, session.key));
                let ended = expected.iter().filter(|row| row.2 <= limit);
                let mut sorted: Vec<_> = ended.map(|row| (row.2, row.0)).collect();
                sorted.sort_unstable();
                prop_assert_eq!(shown.collect::<Vec<_>>(), sorted);
                (0..3).for_each(|key| timelines.remove(key, limit));
                expected.retain(|row| row.2 > limit);
                prop_assert_eq!(intervals(&timelines), expected.clone());
                let kept = timelines.renumber_slots();
                prop_assert_eq!((kept.len(), timelines.len()), (expected.len(), expected.len()));
                prop_assert_eq!(intervals(&timelines), expected.clone());
                prop_assert_eq!(timelines.used_keys(), (0..3).filter(|&key| timelines.has_sessions(key)).count());
            }
        }
    }

    #[test]
    fn sessions_that_touch_are_one_and_a_microsecond_between_them_keeps_them_apart() {
        let mut touching = timelines();
        assert_eq!(place(&mut touching, &[(0, 0, 10), (0, 10, 20)]), [0, 0]);
        let mut apart = timelines();
        assert_eq!(place(&mut apart, &[(0, 0, 10), (0, 11, 20)]), [0, 1]);
    }

    #[test]
    fn a_row_bridges_several_sessions_and_the_oldest_slot_stays() {
        let mut timelines = timelines();
        assert_eq!(place(&mut timelines, &[(0, 40, 50), (0, 60, 70), (0, 20, 30), (0, 0, 10)]), [0, 1, 2, 3]);
        assert_eq!(place(&mut timelines, &[(0, 5, 65)]), [0]);
        assert_eq!(timelines.take_merged(), (vec![1, 2, 3], vec![0, 0, 0]));
        assert_eq!(intervals(&timelines), [(0, 0, 70)]);
    }

    #[test]
    fn times_at_the_edge_of_64_bits_are_placed() {
        let mut timelines = timelines();
        let slots = place(&mut timelines, &[(0, i64::MAX - 1, i64::MAX), (0, i64::MIN, i64::MIN + 1)]);
        assert_eq!((slots, timelines.live()), (vec![0, 1], 2));
        assert_eq!(timelines.all(), [1, 0]);
    }
}
