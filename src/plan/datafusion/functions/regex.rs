//! Regular expressions.
//!
//! Owns: Java's patterns by way of the `regex` crate (no look-around, no back-references) and the functions on them.
//! Does not own: `split` ([`split`](super::split)), which uses [`Pattern`] too.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, lit};
use regex::Regex;

use super::call::{Call, Function, constant_text, function, two_or_three};
use super::coerce::array_of;
use super::kernel::{self, Kernel, complete_rows, int_rows, ints, is_complete, text_parts, text_rows, texts};
use crate::error::{Error, Result};

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["rlike", "regexp", "regexp_like"], 2, 2, |call, args| build(call, args, RegexKind::Matches)),
    function(&["regexp_extract"], 2, 3, |call, args| extract(call, args, RegexKind::Extract)),
    function(&["regexp_extract_all"], 2, 3, |call, args| extract(call, args, RegexKind::ExtractAll)),
    function(&["regexp_substr"], 2, 2, |call, args| build(call, args, RegexKind::Substring)),
    function(&["regexp_replace"], 3, 3, |call, args| build(call, args, RegexKind::Replace)),
    function(&["regexp_count"], 2, 2, |call, args| build(call, args, RegexKind::Count)),
    function(&["regexp_instr"], 2, 2, |call, args| build(call, args, RegexKind::Position)),
];

fn extract(call: &Call<'_>, args: Vec<Expr>, kind: RegexKind) -> Result<Expr> {
    let (text, pattern, group) = two_or_three(args);
    let args = vec![text, pattern, call.int(group.unwrap_or_else(|| lit(1)))?];
    build(call, args, kind)
}

fn build(call: &Call<'_>, args: Vec<Expr>, kind: RegexKind) -> Result<Expr> {
    let mut args = args.into_iter();
    let mut typed = Vec::new();
    for arg in args.by_ref().take(2) {
        typed.push(call.text(arg)?);
    }
    for arg in args {
        typed.push(if kind == RegexKind::Replace { call.text(arg)? } else { arg });
    }
    let pattern = Pattern::of(&typed[1], call.name)?;
    Ok(kernel::call(RegexFunction { kind, pattern }, kind.returns(), typed))
}

/// A regular expression known when the query is planned, or different in each row.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// Compiled once.
    Constant(Regex),
    /// Compiled when it changes from one row to the next.
    EachRow,
}

impl Pattern {
    /// The pattern an argument stands for.
    ///
    /// # Errors
    /// When a constant one is no regular expression.
    pub(super) fn of(argument: &Expr, function: &str) -> Result<Self> {
        match constant_text(argument) {
            Some(text) => compile(text, function).map(Self::Constant).map_err(|error| Error::plan(error.message())),
            None => Ok(Self::EachRow),
        }
    }

    /// The regular expressions of the rows of an argument.
    ///
    /// # Errors
    /// When a row holds none.
    pub(super) fn rows(&self, argument: &ArrayRef, function: &str) -> Result<PatternRows<'_>> {
        let Self::EachRow = self else { return Ok(PatternRows { pattern: self, compiled: vec![], of_row: vec![] }) };
        let (mut compiled, mut known) = (Vec::new(), HashMap::new());
        let mut of_row = Vec::with_capacity(argument.len());
        for text in texts(argument) {
            let Some(text) = text else {
                of_row.push(usize::MAX);
                continue;
            };
            let next = compiled.len();
            let index = *known.entry(text).or_insert(next);
            if index == next {
                compiled.push(compile(text, function)?);
            }
            of_row.push(index);
        }
        Ok(PatternRows { pattern: self, compiled, of_row })
    }
}

fn compile(text: &str, function: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| {
        Error::data(format!("`{function}` cannot use the regular expression `{text}`: {error}")).with_source(error)
    })
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => a.as_str() == b.as_str(),
            (Self::EachRow, Self::EachRow) => true,
            _ => false,
        }
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Constant(regex) => regex.as_str().hash(state),
            Self::EachRow => 0.hash(state),
        }
    }
}

/// The regular expressions of the rows of a column, each compiled once.
pub(super) struct PatternRows<'a> {
    pattern: &'a Pattern,
    compiled: Vec<Regex>,
    of_row: Vec<usize>,
}

impl PatternRows<'_> {
    /// The regular expression of `row`, whose pattern is not null.
    pub(super) fn get(&self, row: usize) -> &Regex {
        match self.pattern {
            Pattern::Constant(regex) => regex,
            Pattern::EachRow => &self.compiled[self.of_row[row]],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RegexKind {
    Matches,
    /// The group of the first match; the empty string without match.
    Extract,
    ExtractAll,
    /// The first match; null without.
    Substring,
    Replace,
    Count,
    /// Where the first match begins, from 1; 0 without.
    Position,
}

impl RegexKind {
    fn returns(self) -> DataType {
        match self {
            Self::Matches => DataType::Boolean,
            Self::Extract | Self::Substring | Self::Replace => DataType::Utf8View,
            Self::ExtractAll => array_of(DataType::Utf8View),
            Self::Count | Self::Position => DataType::Int32,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RegexFunction {
    kind: RegexKind,
    pattern: Pattern,
}

impl Kernel for RegexFunction {
    fn name(&self) -> &'static str {
        match self.kind {
            RegexKind::Matches => "rlike",
            RegexKind::Extract => "regexp_extract",
            RegexKind::ExtractAll => "regexp_extract_all",
            RegexKind::Substring => "regexp_substr",
            RegexKind::Replace => "regexp_replace",
            RegexKind::Count => "regexp_count",
            RegexKind::Position => "regexp_instr",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let text = texts(&arguments[0]);
        let patterns = self.pattern.rows(&arguments[1], self.name())?;
        Ok(match self.kind {
            RegexKind::Matches => {
                let complete = complete_rows(arguments);
                let matches = (0..text.len()).map(|row| {
                    is_complete(complete.as_ref(), row).then(|| patterns.get(row).is_match(text.value(row)))
                });
                Arc::new(matches.collect::<BooleanArray>())
            }
            RegexKind::Extract => {
                let groups = ints(&arguments[2]);
                text_parts(arguments, |row| Some(group(patterns.get(row), text.value(row), groups.value(row))))
            }
            RegexKind::ExtractAll => extract_all(arguments, &patterns),
            RegexKind::Substring => {
                text_parts(arguments, |row| patterns.get(row).find(text.value(row)).map(|found| found.as_str()))
            }
            RegexKind::Replace => {
                let replacements = texts(&arguments[2]);
                text_rows(arguments, |row, out| {
                    let replacement = rust_replacement(replacements.value(row));
                    out.push_str(&patterns.get(row).replace_all(text.value(row), replacement.as_str()));
                    true
                })
            }
            RegexKind::Count => {
                int_rows(arguments, |row| i32::try_from(patterns.get(row).find_iter(text.value(row)).count()).ok())
            }
            RegexKind::Position => int_rows(arguments, |row| {
                let text = text.value(row);
                let Some(found) = patterns.get(row).find(text) else { return Some(0) };
                i32::try_from(text[..found.start()].chars().count() + 1).ok()
            }),
        })
    }
}

/// The group of every match, as an array.
fn extract_all(arguments: &[ArrayRef], patterns: &PatternRows<'_>) -> ArrayRef {
    let (text, groups, complete) = (texts(&arguments[0]), ints(&arguments[2]), complete_rows(arguments));
    let item = Field::new_list_field(DataType::Utf8View, true);
    let mut result = ListBuilder::new(StringViewBuilder::new()).with_field(item);
    for row in 0..text.len() {
        let (true, Ok(group)) = (is_complete(complete.as_ref(), row), usize::try_from(groups.value(row))) else {
            result.append_null();
            continue;
        };
        for captures in patterns.get(row).captures_iter(text.value(row)) {
            result.values().append_value(captures.get(group).map_or("", |found| found.as_str()));
        }
        result.append(true);
    }
    Arc::new(result.finish())
}

fn group<'a>(regex: &Regex, text: &'a str, group: i32) -> &'a str {
    let found = match usize::try_from(group) {
        Ok(0) => regex.find(text),
        Ok(group) => regex.captures(text).and_then(|captures| captures.get(group)),
        Err(_) => None,
    };
    found.map_or("", |found| found.as_str())
}

/// Java's replacement, `$1` and `\$`, in the crate's notation, `${1}` and `$$`.
fn rust_replacement(java: &str) -> String {
    let mut rust = String::with_capacity(java.len());
    let mut characters = java.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('$') => rust.push_str("$$"),
                escaped => rust.extend(escaped),
            },
            '$' if characters.peek().is_some_and(char::is_ascii_digit) => {
                rust.push_str("${");
                while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                    rust.push(digit);
                }
                rust.push('}');
            }
            '$' if characters.peek() == Some(&'{') => rust.push('$'),
            '$' => rust.push_str("$$"),
            character => rust.push(character),
        }
    }
    rust
}
