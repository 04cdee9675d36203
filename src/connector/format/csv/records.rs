//! Splits CSV text into records and values.
//!
//! Owns: separators, quotes, escapes, comments and blank lines. Does not own: what a value means. Text without quotes
//! is split in one pass over its separators and line ends; the rest value by value.
//!
//! As in Spark a quote that neither opens a value, nor closes one, nor is escaped takes its value out of quoting: the
//! value is then everything from its opening quote to the next separator, as written.

use super::dialect::Dialect;

/// Where a value stands, as a range of 32-bit places.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// The record is too short.
    Missing,
    Plain(u32, u32),
    /// Without its quotes.
    Quoted(u32, u32),
    /// Quoted with escapes; a range of `Records::rewritten`.
    Rewritten(u32, u32),
}

/// A value as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// The record is too short.
    Missing,
    /// Unquoted text and its place.
    Plain(&'a [u8], usize),
    /// The text between quotes and its place.
    Quoted(&'a [u8], usize),
    /// Quoted text without its escapes, which stands nowhere in the block.
    Rewritten(&'a [u8]),
}

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    start: u32,
    end: u32,
    /// How many values the record has, which may be more or fewer than are kept.
    pub(super) values: usize,
}

impl Record {
    /// The place of its text, without the line end.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The records of one batch. Reused from batch to batch, so that splitting allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// How many values are kept of each record.
    width: usize,
    /// `width` values a record.
    values: Vec<Value>,
    rows: Vec<Record>,
    rewritten: Vec<u8>,
    /// Values of the record at hand so far.
    count: usize,
}

impl Records {
    /// Keeps the first `width` values of each record.
    pub(super) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One record.
    pub(super) fn record(&self, row: usize) -> Record {
        self.rows[row]
    }

    /// One value; `bytes` is what was split.
    pub(super) fn token<'a>(&'a self, bytes: &'a [u8], row: usize, column: usize) -> Token<'a> {
        match self.values[row * self.width + column] {
            Value::Missing => Token::Missing,
            Value::Plain(start, end) => Token::Plain(&bytes[start as usize..end as usize], start as usize),
            Value::Quoted(start, end) => Token::Quoted(&bytes[start as usize..end as usize], start as usize),
            Value::Rewritten(start, end) => Token::Rewritten(&self.rewritten[start as usize..end as usize]),
        }
    }

    /// Replaces the records by at most `max` ones of `bytes` from `from` on; answers where the next one begins.
    pub(super) fn split(&mut self, dialect: &Dialect, bytes: &[u8], from: usize, max: usize) -> usize {
        self.clear();
        let has_quotes = dialect.quote.is_some_and(|quote| memchr::memchr(quote, &bytes[from..]).is_some());
        match (has_quotes, dialect.is_multi_line) {
            (false, _) => self.split_plain(dialect, bytes, from, max),
            (true, false) => self.split_lines(dialect, bytes, from, max),
            (true, true) => self.split_multi_line(dialect, bytes, from, max),
        }
    }

    /// How many bytes from the start are records with their ends, when quoted values may hold line ends.
    pub(super) fn whole(&mut self, dialect: &Dialect, bytes: &[u8]) -> usize {
        let mut whole = 0;
        while whole < bytes.len() {
            let end = self.read_record(dialect, bytes, whole, bytes.len());
            if end == bytes.len() {
                break;
            }
            whole = end + 1;
        }
        whole
    }

    fn clear(&mut self) {
        self.values.clear();
        self.rows.clear();
        self.rewritten.clear();
        self.count = 0;
    }

    fn split_plain(&mut self, dialect: &Dialect, bytes: &[u8], from: usize, max: usize) -> usize {
        let (mut record, mut value) = (from, from);
        for at in memchr::memchr2_iter(dialect.separator, dialect.newline, &bytes[from..]) {
            let at = from + at;
            if bytes[at] == dialect.separator {
                self.push_plain(dialect, bytes, value, at);
                value = at + 1;
                continue;
            }
            let end = dialect.line_end(bytes, value, at);
            self.push_plain(dialect, bytes, value, end);
            self.end_record(dialect, bytes, record, end);
            (record, value) = (at + 1, at + 1);
            if self.len() == max {
                return record;
            }
        }
        if record < bytes.len() {
            self.push_plain(dialect, bytes, value, bytes.len());
            self.end_record(dialect, bytes, record, bytes.len());
        }
        bytes.len()
    }

    fn split_lines(&mut self, dialect: &Dialect, bytes: &[u8], from: usize, max: usize) -> usize {
        let separator = dialect.line_separator();
        let mut lines = separator.lines(bytes, from);
        while self.len() < max {
            let Some((start, end)) = lines.next() else { break };
            self.read_record(dialect, bytes, start, end);
            self.end_record(dialect, bytes, start, end);
        }
        lines.next_start()
    }

    fn split_multi_line(&mut self, dialect: &Dialect, bytes: &[u8], from: usize, max: usize) -> usize {
        let mut start = from;
        while start < bytes.len() && self.len() < max {
            let newline = self.read_record(dialect, bytes, start, bytes.len());
            let end = if newline < bytes.len() { dialect.line_end(bytes, start, newline) } else { newline };
            self.end_record(dialect, bytes, start, end);
            start = (newline + 1).min(bytes.len());
        }
        start
    }

    /// Reads the values of the record at `start`; answers where its line end is, or `limit`.
    fn read_record(&mut self, dialect: &Dialect, bytes: &[u8], start: usize, limit: usize) -> usize {
        if dialect.comment.is_some() && bytes[start..limit].first().copied() == dialect.comment {
            return memchr::memchr(dialect.newline, &bytes[start..limit]).map_or(limit, |at| start + at);
        }
        let mut at = start;
        loop {
            let end = self.read_value(dialect, bytes, at, limit);
            if end == limit || bytes[end] != dialect.separator {
                return end;
            }
            at = end + 1;
        }
    }

    /// Reads the value at `from`; answers where the separator or line end after it is, or `limit`.
    fn read_value(&mut self, dialect: &Dialect, bytes: &[u8], from: usize, limit: usize) -> usize {
        let start = if dialect.trims_start { dialect.skip_blanks(bytes, from, limit) } else { from };
        if let Some(quote) = dialect.quote
            && bytes[start..limit].first() == Some(&quote)
        {
            return self.read_quoted(dialect, bytes, start, limit);
        }
        self.read_plain(dialect, bytes, from, from, limit)
    }

    /// Takes the text from `start` to the first separator or line end after `from`.
    fn read_plain(&mut self, dialect: &Dialect, bytes: &[u8], start: usize, from: usize, limit: usize) -> usize {
        let end = dialect.value_end(bytes, from, limit);
        let is_line_end = end < limit && bytes[end] == dialect.newline;
        let text_end = if is_line_end { dialect.line_end(bytes, start, end) } else { end };
        self.push_plain(dialect, bytes, start, text_end);
        end
    }

    fn read_quoted(&mut self, dialect: &Dialect, bytes: &[u8], open: usize, limit: usize) -> usize {
        let quote = bytes[open];
        let escape = dialect.escape.unwrap_or(quote);
        let mut has_escapes = false;
        let mut from = open + 1;
        while let Some(at) = memchr::memchr2(quote, escape, &bytes[from..limit]) {
            let at = from + at;
            if is_escape(dialect, quote, &bytes[at..limit]) {
                has_escapes = true;
                from = at + 2;
                continue;
            }
            from = at + 1;
            if bytes[at] != quote {
                continue;
            }
            let after = dialect.skip_blanks(bytes, from, limit);
            if after == limit || bytes[after] == dialect.separator || bytes[after] == dialect.newline {
                self.push_quoted(dialect, quote, bytes, open + 1..at, has_escapes);
                return after;
            }
            return self.read_plain(dialect, bytes, open, from, limit);
        }
        self.push_quoted(dialect, quote, bytes, open + 1..limit, has_escapes);
        limit
    }

    fn push_plain(&mut self, dialect: &Dialect, bytes: &[u8], start: usize, end: usize) {
        let (start, end) = dialect.trimmed(bytes, start, end);
        self.push(Value::Plain(place(start), place(end)));
    }

    fn push_quoted(
        &mut self,
        dialect: &Dialect,
        quote: u8,
        bytes: &[u8],
        range: std::ops::Range<usize>,
        has_escapes: bool,
    ) {
        if !has_escapes {
            return self.push(Value::Quoted(place(range.start), place(range.end)));
        }
        let start = self.rewritten.len();
        let mut text = &bytes[range];
        while let Some((byte, rest)) = text.split_first() {
            let skip = usize::from(is_escape(dialect, quote, text));
            self.rewritten.push(if skip == 1 { rest[0] } else { *byte });
            text = &rest[skip..];
        }
        self.push(Value::Rewritten(place(start), place(self.rewritten.len())));
    }

    fn push(&mut self, value: Value) {
        if self.count < self.width {
            self.values.push(value);
        }
        self.count += 1;
    }

    /// Keeps the values read as a record, unless its line is blank or a comment.
    fn end_record(&mut self, dialect: &Dialect, bytes: &[u8], start: usize, end: usize) {
        let kept = self.rows.len() * self.width;
        let values = std::mem::take(&mut self.count);
        let text = &bytes[start..end];
        let is_comment = dialect.comment.is_some() && text.first().copied() == dialect.comment;
        if is_comment || text.iter().all(|byte| *byte <= b' ') {
            self.values.truncate(kept);
            return;
        }
        self.values.resize(kept + self.width, Value::Missing);
        self.rows.push(Record { start: place(start), end: place(end), values });
    }
}

/// Whether `text` begins with an escape and what it escapes.
fn is_escape(dialect: &Dialect, quote: u8, text: &[u8]) -> bool {
    match (dialect.escape, text) {
        (Some(escape), [first, second, ..]) => *first == escape && (*second == quote || *second == escape),
        _ => false,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "blocks are at most 2 GiB long")]
fn place(at: usize) -> u32 {
    at as u32
}
