//! Where one line ends and the next begins.
//!
//! Owns: line ends in a run of bytes. Does not own: reading the bytes ([`super::blocks`]).

use memchr::memmem;

/// What ends a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Separator {
    /// `\n`, `\r\n` or `\r`, mixed as they come.
    Newline,
    /// One byte.
    Byte(u8),
    /// Several bytes, which may overlap themselves; such a file cannot be read from the middle.
    Bytes(Vec<u8>),
}

impl Separator {
    /// The value of the option `lineSep`; `None` when it is empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [] => None,
            [byte] => Some(Self::Byte(*byte)),
            bytes => Some(Self::Bytes(bytes.to_vec())),
        }
    }

    /// Whether the first line start after any byte can be told without the bytes before it.
    pub(crate) fn can_split(&self) -> bool {
        !matches!(self, Self::Bytes(_))
    }

    /// How many bytes from the start are lines with their ends. A `\r` at the very end is left out: a `\n` may follow.
    pub(crate) fn whole_lines(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Newline => {
                let settled = bytes.strip_suffix(b"\r").unwrap_or(bytes);
                memchr::memrchr2(b'\n', b'\r', settled).map_or(0, |at| at + 1)
            }
            Self::Byte(byte) => memchr::memrchr(*byte, bytes).map_or(0, |at| at + 1),
            Self::Bytes(end) => memmem::find_iter(bytes, end).last().map_or(0, |at| at + end.len()),
        }
    }

    /// The first line start at or after `from`, which must be above 0; `None` when it is not in `bytes` for certain.
    pub(crate) fn line_start(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from - 1..)?;
        let end = match self {
            Self::Newline => memchr::memchr2(b'\n', b'\r', rest),
            Self::Byte(byte) => memchr::memchr(*byte, rest),
            Self::Bytes(_) => None,
        }?;
        let after = from + end;
        match (self, bytes[after - 1], bytes.get(after)) {
            (Self::Newline, b'\r', None) => None,
            (Self::Newline, b'\r', Some(b'\n')) => Some(after + 1),
            _ => Some(after),
        }
    }

    /// Turns each `\r` that ends a line by itself into `\n`, so that readers of the lines only look for `\n`.
    pub(crate) fn normalize(&self, bytes: &mut [u8]) {
        if *self != Self::Newline {
            return;
        }
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'\r', &bytes[from..]) {
            from += at + 1;
            if bytes.get(from) != Some(&b'\n') {
                bytes[from - 1] = b'\n';
            }
        }
    }

    /// The lines of normalized `bytes` from `from` on, as ranges of `bytes` without their ends.
    pub(crate) fn lines<'a>(&'a self, bytes: &'a [u8], from: usize) -> Lines<'a> {
        let rest = &bytes[from..];
        let ends = match self {
            Self::Newline => Ends::Byte(memchr::memchr_iter(b'\n', rest)),
            Self::Byte(byte) => Ends::Byte(memchr::memchr_iter(*byte, rest)),
            Self::Bytes(end) => Ends::Bytes(Box::new(memmem::find_iter(rest, end)), end.len()),
        };
        Lines { bytes, base: from, next: from, ends, is_newline: *self == Self::Newline }
    }
}

/// Iterates over lines; see [`Separator::lines`].
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    base: usize,
    next: usize,
    ends: Ends<'a>,
    is_newline: bool,
}

enum Ends<'a> {
    Byte(memchr::Memchr<'a>),
    Bytes(Box<memmem::FindIter<'a, 'a>>, usize),
}

impl Lines<'_> {
    /// Where the line after the last one given begins.
    pub(crate) fn next_start(&self) -> usize {
        self.next
    }
}

impl Iterator for Lines<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let (end, width) = match &mut self.ends {
            Ends::Byte(ends) => (ends.next(), 1),
            Ends::Bytes(ends, width) => (ends.next(), *width),
        };
        let start = self.next;
        let Some(end) = end.map(|end| end + self.base) else {
            self.next = self.bytes.len();
            return (start < self.next).then_some((start, self.next));
        };
        self.next = end + width;
        let has_return = self.is_newline && end > start && self.bytes[end - 1] == b'\r';
        Some((start, end - usize::from(has_return)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(separator: &Separator, text: &str) -> Vec<String> {
        let mut bytes = text.as_bytes().to_vec();
        separator.normalize(&mut bytes);
        separator.lines(&bytes, 0).map(|(start, end)| String::from_utf8(bytes[start..end].to_vec()).unwrap()).collect()
    }

    #[test]
    fn all_three_line_ends_end_a_line_and_the_last_line_may_have_none() {
        assert_eq!(lines(&Separator::Newline, "a\r\nb\rc\n\r\r\nd"), ["a", "b", "c", "", "", "d"]);
        assert_eq!(lines(&Separator::Newline, "a\n"), ["a"]);
        assert_eq!(lines(&Separator::Newline, ""), [""; 0]);
    }

    #[test]
    fn a_line_separator_of_ones_own_leaves_newlines_in_the_lines() {
        assert_eq!(lines(&Separator::parse(";").unwrap(), "a\r;b\n;"), ["a\r", "b\n"]);
        assert_eq!(lines(&Separator::parse("||").unwrap(), "a|||b||"), ["a", "|b"]);
    }

    #[test]
    fn a_return_at_the_end_of_what_was_read_is_not_a_line_end_yet() {
        assert_eq!(Separator::Newline.whole_lines(b"a\nb\r"), 2);
        assert_eq!(Separator::Newline.whole_lines(b"a\r\r"), 2);
        assert_eq!(Separator::Newline.line_start(b"a\r", 1), None);
        assert_eq!(Separator::Newline.line_start(b"a\r\nb", 2), Some(3));
    }
}
