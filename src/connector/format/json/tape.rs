//! Parses JSON into a flat list of nodes that point into the text.
//!
//! Owns: the grammar. A [`Tape`] is reused from batch to batch, so that parsing allocates nothing. As Spark does, it
//! takes strings in single quotes and the numbers `NaN`, `Infinity`, `INF` with an optional sign.

/// Deeper nesting is malformed; it would use up the stack.
const MAX_DEPTH: usize = 256;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    /// A number without point and exponent.
    Integer,
    /// A number with point or exponent, or one that is not finite.
    Float,
    /// A string without escapes; the range is its text without quotes.
    Text,
    /// A string with escapes; see [`unescape`].
    EscapedText,
    /// Its children are keys and values in turn.
    Object,
    Array,
}

/// One value or key. An object or array is followed by its children, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
    /// The index after this node and all below it.
    next: u32,
}

impl Node {
    /// The text of the node in what was parsed; of a string without its quotes.
    pub(super) fn text<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Where the text begins.
    pub(super) fn place(&self) -> usize {
        self.start as usize
    }
}

/// The nodes of some JSON values.
#[derive(Debug, Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
    }

    /// One node.
    pub(super) fn node(&self, index: u32) -> Node {
        self.nodes[index as usize]
    }

    /// The children of an array, or the keys and values of an object.
    pub(super) fn children(&self, parent: u32) -> impl Iterator<Item = u32> + '_ {
        let end = self.node(parent).next;
        let mut at = parent + 1;
        std::iter::from_fn(move || {
            let child = at;
            (child < end).then(|| at = self.node(child).next).map(|()| child)
        })
    }

    /// The keys of an object with their values.
    pub(super) fn entries(&self, object: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut children = self.children(object);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// Parses the one value that `bytes[start..end]` holds and answers its index; `None`, and nothing is kept, when it
    /// is not JSON.
    pub(super) fn parse(&mut self, bytes: &[u8], start: usize, end: usize) -> Option<u32> {
        let before = self.nodes.len();
        let mut parser = Parser { bytes: &bytes[..end], at: start, nodes: &mut self.nodes };
        let is_whole = parser.value(0).is_some() && {
            parser.skip_blanks();
            parser.at == end
        };
        if !is_whole {
            self.nodes.truncate(before);
        }
        is_whole.then_some(place(before))
    }

    /// Writes a value without blanks.
    pub(super) fn write(&self, bytes: &[u8], index: u32, out: &mut Vec<u8>) {
        let node = self.node(index);
        match node.kind {
            Kind::Object => {
                out.push(b'{');
                for (position, (key, value)) in self.entries(index).enumerate() {
                    out.extend_from_slice(if position > 0 { b"," } else { b"" });
                    self.write(bytes, key, out);
                    out.push(b':');
                    self.write(bytes, value, out);
                }
                out.push(b'}');
            }
            Kind::Array => {
                out.push(b'[');
                for (position, child) in self.children(index).enumerate() {
                    out.extend_from_slice(if position > 0 { b"," } else { b"" });
                    self.write(bytes, child, out);
                }
                out.push(b']');
            }
            Kind::Text | Kind::EscapedText => {
                out.push(b'"');
                out.extend_from_slice(node.text(bytes));
                out.push(b'"');
            }
            Kind::Null | Kind::True | Kind::False | Kind::Integer | Kind::Float => {
                out.extend_from_slice(node.text(bytes));
            }
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.skip_blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            quote @ (b'"' | b'\'') => self.string(quote),
            b'n' => self.word("null", Kind::Null),
            b't' => self.word("true", Kind::True),
            b'f' => self.word("false", Kind::False),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.nested(Kind::Object, depth, b'}', |parser| {
            parser.skip_blanks();
            match parser.peek()? {
                quote @ (b'"' | b'\'') => parser.string(quote)?,
                _ => return None,
            }
            parser.skip_blanks();
            parser.take(b':')?;
            parser.value(depth + 1)
        })
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.nested(Kind::Array, depth, b']', |parser| parser.value(depth + 1))
    }

    fn nested(
        &mut self,
        kind: Kind,
        depth: usize,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let index = self.nodes.len();
        let start = self.at;
        self.push(kind, start, start);
        self.at += 1;
        self.skip_blanks();
        if self.take(close).is_none() {
            loop {
                item(self)?;
                self.skip_blanks();
                if self.take(b',').is_none() {
                    self.take(close)?;
                    break;
                }
            }
        }
        let next = place(self.nodes.len());
        self.nodes[index] = Node { kind, start: place(start), end: place(self.at), next };
        Some(())
    }

    fn string(&mut self, quote: u8) -> Option<()> {
        let start = self.at + 1;
        self.at = start;
        let mut kind = Kind::Text;
        loop {
            match self.peek()? {
                byte if byte == quote => break,
                b'\\' => {
                    kind = Kind::EscapedText;
                    self.at += 1;
                    self.escape()?;
                }
                ..b' ' => return None,
                _ => self.at += 1,
            }
        }
        self.push(kind, start, self.at);
        self.at += 1;
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.peek()? {
            b'u' => {
                let digits = self.bytes.get(self.at + 1..self.at + 5)?;
                self.at += 5;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            b'"' | b'\'' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Some(())
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Option<()> {
        let start = self.at;
        self.bytes[start..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            self.push(kind, start, self.at);
        })
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if matches!(self.peek()?, b'-' | b'+') {
            self.at += 1;
        }
        if matches!(self.peek()?, b'N' | b'I') {
            return self.not_finite(start);
        }
        let mut kind = Kind::Integer;
        let has_leading_zero = self.peek()? == b'0';
        let whole = self.digits();
        let is_well_written = self.bytes[start] != b'+' && whole > 0 && !(has_leading_zero && whole > 1);
        if !is_well_written {
            return None;
        }
        if self.take(b'.').is_some() {
            kind = Kind::Float;
            (self.digits() > 0).then_some(())?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            kind = Kind::Float;
            self.at += 1;
            if matches!(self.peek()?, b'-' | b'+') {
                self.at += 1;
            }
            (self.digits() > 0).then_some(())?;
        }
        self.push(kind, start, self.at);
        Some(())
    }

    fn not_finite(&mut self, start: usize) -> Option<()> {
        let names = ["NaN", "Infinity", "INF"];
        let name = names.iter().find(|name| self.bytes[self.at..].starts_with(name.as_bytes()))?;
        self.at += name.len();
        self.push(Kind::Float, start, self.at);
        Some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = place(self.nodes.len() + 1);
        self.nodes.push(Node { kind, start: place(start), end: place(end), next });
    }
}

/// Appends the text of a string whose escapes the parser has checked.
pub(super) fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let escape = text[at + 1];
        text = &text[at + 2..];
        match escape {
            b'u' => text = unescape_unit(text, out),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            other => out.push(other),
        }
    }
    out.extend_from_slice(text);
}

/// Appends the character of four hexadecimal digits, or of two such escapes; half of a pair is U+FFFD.
fn unescape_unit<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (first, mut rest) = (unit(&text[..4]), &text[4..]);
    let (mut units, mut count) = ([first, 0], 1);
    if (0xD800..0xDC00).contains(&first)
        && let Some(next) = rest.strip_prefix(b"\\u")
        && (0xDC00..0xE000).contains(&unit(&next[..4]))
    {
        (units[1], count) = (unit(&next[..4]), 2);
        rest = &next[4..];
    }
    for character in char::decode_utf16(units.into_iter().take(count)) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    rest
}

fn unit(digits: &[u8]) -> u16 {
    let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0);
    digits.iter().fold(0, |unit, digit| unit << 4 | u16::try_from(value(digit)).unwrap_or(0))
}

/// Text is at most 2 GiB long, and every node takes at least one byte of it.
#[expect(clippy::cast_possible_truncation, reason = "blocks are at most 2 GiB long")]
fn place(at: usize) -> u32 {
    at as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(text: &str) -> Option<String> {
        let mut tape = Tape::default();
        let root = tape.parse(text.as_bytes(), 0, text.len())?;
        let mut out = Vec::new();
        tape.write(text.as_bytes(), root, &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_json_is_parsed_and_written_without_blanks() {
        for (text, expected) in [
            (r#" { "a" : [ 1 , -2.5e+3 , null ] , "b" : { } } "#, r#"{"a":[1,-2.5e+3,null],"b":{}}"#),
            (r#"["\u00e9\n", true, false, []]"#, r#"["\u00e9\n",true,false,[]]"#),
            ("{'a': NaN, 'b': -Infinity}", r#"{"a":NaN,"b":-Infinity}"#),
        ] {
            assert_eq!(compact(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1 2]",
            "01",
            "+1",
            "1.",
            "1e",
            "-",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "{a:1}",
            "{} {}",
            "]",
        ] {
            assert_eq!(compact(text), None, "{text}");
        }
        assert_eq!(compact(&"[".repeat(100_000)), None);
    }

    #[test]
    fn escapes_become_characters_and_half_pairs_replacement_characters() {
        let mut out = Vec::new();
        unescape(br#"a\"\\\/\b\f\n\r\t\u00e9 \ud83d\ude00 \ud83d \ude00\ud83d\u0041"#, &mut out);
        let expected = "a\"\\/\u{8}\u{c}\n\r\té 😀 \u{FFFD} \u{FFFD}\u{FFFD}A";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
