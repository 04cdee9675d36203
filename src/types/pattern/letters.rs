//! From the text of a pattern to its parts.
//!
//! Owns: which letters may stand where and how often, quotes, brackets, and English names. Does not own: what a letter
//! reads or writes.

/// Where a pattern is used, which says what letters it may have and how strictly it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Usage {
    /// An argument of a function: reads leniently, and writes.
    Function,
    /// An option of a source: reads by the letter.
    Source,
    /// An option of a sink: writes only, so brackets do not matter.
    Sink,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Text(String),
    Letters(Letters),
    Optional(Vec<Part>),
}

/// The same letter some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Letters {
    pub(super) letter: char,
    pub(super) count: usize,
    /// The most digits to read, when it is a number.
    pub(super) most: usize,
    /// Whether a year may be read with a sign, and is written with one when it is longer than its letters say.
    pub(super) is_signed: bool,
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const HALVES: [&str; 2] = ["AM", "PM"];

/// So many letters stand for the start of a name, more for all of it: `MMM` is `Jan`, `MMMM` is `January`.
pub(super) const SHORT_NAME: usize = 3;
/// The most digits Java reads for a number without a width of its own.
const MOST_DIGITS: usize = 9;

/// How often each letter may stand in functions, in options of sources and in options of sinks; 0 is never.
const LETTERS: [(char, [usize; 3]); 23] = [
    ('y', [6, 4, 9]),
    ('u', [6, 4, 9]),
    ('M', [4, 4, 4]),
    ('L', [4, 4, 4]),
    ('d', [2, 2, 2]),
    ('D', [3, 0, 3]),
    ('Q', [4, 0, 0]),
    ('q', [4, 0, 0]),
    ('E', [4, 0, 4]),
    ('a', [1, 1, 1]),
    ('H', [2, 2, 2]),
    ('k', [2, 0, 0]),
    ('K', [2, 0, 0]),
    ('h', [2, 2, 2]),
    ('m', [2, 2, 2]),
    ('s', [2, 2, 2]),
    ('S', [9, 9, 9]),
    ('X', [5, 3, 3]),
    ('x', [5, 3, 3]),
    ('Z', [5, 5, 3]),
    ('O', [4, 0, 0]),
    ('z', [4, 0, 0]),
    ('V', [4, 0, 0]),
];

/// The English name of a day of the week, 0 is Monday; empty for numbers from 7 on.
pub(crate) fn weekday_name(day: u32) -> &'static str {
    name_of(&WEEKDAYS, day)
}

/// A name by its number from 0; empty when there is none.
pub(super) fn name_of(names: &[&'static str], index: u32) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// The letters a pattern may have, with blanks between.
pub(super) fn known_letters(usage: Usage) -> String {
    let mut known = String::new();
    for (letter, most) in LETTERS {
        if usage.most(most) > 0 {
            known.extend((!known.is_empty()).then_some(' '));
            known.push(letter);
        }
    }
    known
}

/// Compiles a pattern, or says what is wrong with it.
pub(super) fn compile(mut text: &str, usage: Usage) -> Result<Vec<Part>, String> {
    parts(&mut text, usage, false)
}

impl Usage {
    fn most(self, [function, source, sink]: [usize; 3]) -> usize {
        match self {
            Self::Function => function,
            Self::Source => source,
            Self::Sink => sink,
        }
    }
}

/// Compiles up to the end, or up to the closing bracket of an optional part.
fn parts(rest: &mut &str, usage: Usage, is_optional: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some(letter) = rest.chars().next() {
        let start = *rest;
        *rest = &start[letter.len_utf8()..];
        match letter {
            '[' | ']' if usage == Usage::Sink => {}
            '[' => parts.push(Part::Optional(self::parts(rest, usage, true)?)),
            ']' if is_optional => return Ok(settle_widths(parts)),
            ']' => return Err("a `]` has no `[`".to_string()),
            '{' | '}' | '#' if usage == Usage::Function => return Err(format!("a `{letter}` has no meaning")),
            '\'' => push_text(&mut parts, &quoted(rest, usage)?),
            _ if letter.is_ascii_alphabetic() => {
                *rest = start.trim_start_matches(letter);
                parts.push(Part::Letters(letters(letter, start.len() - rest.len(), usage)?));
            }
            _ => push_text(&mut parts, &start[..letter.len_utf8()]),
        }
    }
    if is_optional { Err("a `[` is not closed".to_string()) } else { Ok(settle_widths(parts)) }
}

fn push_text(parts: &mut Vec<Part>, more: &str) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push_str(more),
        _ => parts.push(Part::Text(more.to_string())),
    }
}

/// The text behind an opening quote, where `''` is a quote; nothing between two quotes is a quote as well.
fn quoted(rest: &mut &str, usage: Usage) -> Result<String, String> {
    // `''''` is one quote in functions and two in options.
    if usage != Usage::Function
        && let Some(after) = rest.strip_prefix('\'')
    {
        *rest = after;
        return Ok("'".to_string());
    }
    let mut text = String::new();
    loop {
        let (before, after) = rest.split_once('\'').ok_or("a quote is not closed")?;
        text.push_str(before);
        *rest = after;
        match after.strip_prefix('\'') {
            Some(after) => {
                text.push('\'');
                *rest = after;
            }
            None if text.is_empty() => return Ok("'".to_string()),
            None => return Ok(text),
        }
    }
}

fn letters(letter: char, count: usize, usage: Usage) -> Result<Letters, String> {
    let known = LETTERS.iter().find(|(known, most)| *known == letter && usage.most(*most) > 0);
    let (_, most) = known.ok_or_else(|| format!("the letter `{letter}` is not known"))?;
    let is_gap = usage == Usage::Source && matches!((letter, count), ('y' | 'u', 3) | ('Z', 4));
    if count > usage.most(*most) || is_gap {
        return Err(format!("the letter `{letter}` cannot stand {count} times"));
    }
    let is_signed = usage == Usage::Function && is_year(letter) && count != 2;
    Ok(Letters { letter, count, most: most_digits(letter, count, usage), is_signed })
}

fn is_year(letter: char) -> bool {
    matches!(letter, 'y' | 'u')
}

fn is_number(letters: &Letters) -> bool {
    match letters.letter {
        'M' | 'L' | 'Q' | 'q' => letters.count < SHORT_NAME,
        letter => "yudDHkKhmsS".contains(letter),
    }
}

/// The most digits of a number that does not stand right before another one.
fn most_digits(letter: char, count: usize, usage: Usage) -> usize {
    match usage {
        _ if letter == 'S' || count == 2 => count,
        Usage::Function if is_year(letter) || count == 1 => MOST_DIGITS,
        Usage::Source if is_year(letter) && count == 1 => 6,
        Usage::Source if !is_year(letter) => 2,
        _ => count,
    }
}

/// Right before another number, a number has as many digits as letters.
fn settle_widths(mut parts: Vec<Part>) -> Vec<Part> {
    for index in 1..parts.len() {
        let is_before_number = matches!(&parts[index], Part::Letters(next) if is_number(next));
        if let Part::Letters(letters) = &mut parts[index - 1]
            && is_before_number
        {
            letters.most = letters.count;
        }
    }
    parts
}
