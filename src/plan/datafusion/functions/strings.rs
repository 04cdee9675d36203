//! Text: parts, searches, padding, joining.
//!
//! Owns: Spark's positions (from 1, 0 as 1, negative from the end), counted in characters. Does not own: regular
//! expressions ([`regex`](super::regex)) and `split` ([`split`](super::split)).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{Expr, lit};

use super::call::{Call, Function, MANY, exactly, function, one_or_two, text_literal, two_or_three};
use super::coerce::{array_of, is_binary, item_of};
use super::kernel::{self, Kernel, int_rows, ints, text_parts, text_rows, texts};
use crate::error::Result;

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["upper", "ucase"], 1, 1, |call, args| shipped_texts(call, args, "upper")),
    function(&["lower", "lcase"], 1, 1, |call, args| shipped_texts(call, args, "lower")),
    function(&["length", "len", "char_length", "character_length"], 1, 1, length),
    function(&["substring", "substr"], 2, 3, substring),
    function(&["left"], 2, 2, |call, args| text_and_int(call, args, TextFunction::Left)),
    function(&["right"], 2, 2, |call, args| text_and_int(call, args, TextFunction::Right)),
    function(&["instr"], 2, 2, |call, args| {
        let [text, part] = exactly(args);
        locate(call, vec![part, text])
    }),
    function(&["locate", "position", "charindex"], 2, 3, locate),
    function(&["startswith", "starts_with"], 2, 2, |call, args| shipped_texts(call, args, "starts_with")),
    function(&["endswith", "ends_with"], 2, 2, |call, args| shipped_texts(call, args, "ends_with")),
    function(&["contains"], 2, 2, |call, args| shipped_texts(call, args, "contains")),
    function(&["trim", "btrim"], 1, 2, |call, args| shipped_texts(call, args, "btrim")),
    function(&["ltrim"], 1, 2, |call, args| shipped_texts(call, args, "ltrim")),
    function(&["rtrim"], 1, 2, |call, args| shipped_texts(call, args, "rtrim")),
    function(&["lpad"], 2, 3, |call, args| pad(call, args, TextFunction::LeftPad)),
    function(&["rpad"], 2, 3, |call, args| pad(call, args, TextFunction::RightPad)),
    function(&["repeat"], 2, 2, repeat),
    function(&["space"], 1, 1, |call, args| {
        let [count] = exactly(args);
        repeat(call, vec![text_literal(" "), count])
    }),
    function(&["replace"], 2, 3, replace),
    function(&["translate"], 3, 3, |call, args| shipped_texts(call, args, "translate")),
    function(&["initcap"], 1, 1, |call, args| {
        let args = call.cast_all(args, &DataType::Utf8View)?;
        Ok(kernel::call(TextFunction::InitCap, DataType::Utf8View, args))
    }),
    function(&["ascii"], 1, 1, |call, args| shipped_texts(call, args, "ascii")),
    function(&["chr", "char"], 1, 1, |call, args| {
        let args = call.cast_all(args, &DataType::Int64)?;
        Ok(kernel::call(Chr, DataType::Utf8View, args))
    }),
    function(&["concat"], 0, MANY, concat),
    function(&["||"], 2, 2, concat),
    function(&["concat_ws"], 1, MANY, concat_ws),
];

fn shipped_texts(call: &Call<'_>, args: Vec<Expr>, name: &str) -> Result<Expr> {
    let args = call.cast_all(args, &DataType::Utf8View)?;
    call.shipped(name, args)
}

/// Characters of a string, bytes of a BINARY.
fn length(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [arg] = exactly(args);
    if is_binary(&call.type_of(&arg)?) {
        return Ok(kernel::call(ByteLength, DataType::Int32, vec![arg]));
    }
    let length = shipped_texts(call, vec![arg], "character_length")?;
    call.int(length)
}

fn substring(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (text, start, length) = two_or_three(args);
    let length = length.unwrap_or_else(|| lit(i32::MAX));
    let args = vec![call.text(text)?, call.int(start)?, call.int(length)?];
    Ok(kernel::call(TextFunction::Substring, DataType::Utf8View, args))
}

fn text_and_int(call: &Call<'_>, args: Vec<Expr>, function: TextFunction) -> Result<Expr> {
    let [text, count] = exactly(args);
    Ok(kernel::call(function, DataType::Utf8View, vec![call.text(text)?, call.int(count)?]))
}

fn pad(call: &Call<'_>, args: Vec<Expr>, function: TextFunction) -> Result<Expr> {
    let (text, length, fill) = two_or_three(args);
    let fill = fill.unwrap_or_else(|| text_literal(" "));
    let args = vec![call.text(text)?, call.int(length)?, call.text(fill)?];
    Ok(kernel::call(function, DataType::Utf8View, args))
}

fn repeat(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [text, count] = exactly(args);
    let args = vec![call.text(text)?, call.long(count)?];
    call.shipped("repeat", args)
}

fn replace(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (text, from, to) = two_or_three(args);
    shipped_texts(call, vec![text, from, to.unwrap_or_else(|| text_literal(""))], "replace")
}

/// `locate(part, text[, start])`.
fn locate(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (part, text, start) = two_or_three(args);
    let args = vec![call.text(part)?, call.text(text)?, call.int(start.unwrap_or_else(|| lit(1)))?];
    Ok(kernel::call(Locate, DataType::Int32, args))
}

/// Strings, or arrays, one after the other; null when one of them is.
fn concat(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let types = call.types_of(&args)?;
    if types.iter().any(|data_type| item_of(data_type).is_some()) {
        let (args, returns) = call.unify(args)?;
        return Ok(kernel::call(super::collections::ConcatArrays, returns, args));
    }
    if args.is_empty() {
        return Ok(text_literal(""));
    }
    let args = call.cast_all(args, &DataType::Utf8View)?;
    Ok(kernel::call(TextFunction::Concat, DataType::Utf8View, args))
}

/// `concat_ws(separator, …)` of strings and arrays of strings; nulls are left out.
fn concat_ws(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (separator, _) = one_or_two(vec![args[0].clone()]);
    let mut typed = vec![call.text(separator)?];
    for arg in args.into_iter().skip(1) {
        let is_array = item_of(&call.type_of(&arg)?).is_some();
        let to = if is_array { array_of(DataType::Utf8View) } else { DataType::Utf8View };
        typed.push(call.cast(arg, &to)?);
    }
    Ok(kernel::call(ConcatWithSeparator, DataType::Utf8View, typed))
}

/// Functions from strings and numbers to a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TextFunction {
    Substring,
    Left,
    Right,
    LeftPad,
    RightPad,
    InitCap,
    Concat,
}

impl Kernel for TextFunction {
    fn name(&self) -> &'static str {
        match self {
            Self::Substring => "substring",
            Self::Left => "left",
            Self::Right => "right",
            Self::LeftPad => "lpad",
            Self::RightPad => "rpad",
            Self::InitCap => "initcap",
            Self::Concat => "concat",
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let text = texts(&arguments[0]);
        Ok(match self {
            Self::Substring => {
                let (starts, lengths) = (ints(&arguments[1]), ints(&arguments[2]));
                text_parts(arguments, |row| Some(part(text.value(row), starts.value(row), lengths.value(row))))
            }
            Self::Left => {
                let counts = ints(&arguments[1]);
                text_parts(arguments, |row| Some(part(text.value(row), 1, counts.value(row))))
            }
            Self::Right => {
                let counts = ints(&arguments[1]);
                text_parts(arguments, |row| {
                    let count = counts.value(row).max(0);
                    Some(if count == 0 { "" } else { part(text.value(row), -count, i32::MAX) })
                })
            }
            Self::LeftPad | Self::RightPad => {
                let (lengths, fills) = (ints(&arguments[1]), texts(&arguments[2]));
                text_rows(arguments, |row, out| {
                    let length = usize::try_from(lengths.value(row)).unwrap_or(0);
                    write_padded(out, text.value(row), length, fills.value(row), *self == Self::LeftPad);
                    true
                })
            }
            Self::InitCap => text_rows(arguments, |row, out| {
                write_capitalized(out, text.value(row));
                true
            }),
            Self::Concat => {
                let columns: Vec<_> = arguments.iter().map(texts).collect();
                text_rows(arguments, |row, out| {
                    out.extend(columns.iter().map(|column| column.value(row)));
                    true
                })
            }
        })
    }
}

/// The characters from position `start` on, at most `length` of them. A start before the first character uses up
/// length, as in Spark.
fn part(text: &str, start: i32, length: i32) -> &str {
    let count = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let start = match start {
        1.. => i64::from(start) - 1,
        0 => 0,
        _ => count() + i64::from(start),
    };
    let end = start.saturating_add(if length == i32::MAX { i64::MAX } else { i64::from(length) });
    if end <= 0 || length <= 0 {
        return "";
    }
    let from = byte_of(text, start.max(0));
    let rest = &text[from..];
    &rest[..byte_of(rest, end - start.max(0))]
}

/// Where the character of this number begins; the end of the text when there is none.
fn byte_of(text: &str, character: i64) -> usize {
    let Ok(character) = usize::try_from(character) else { return text.len() };
    if character >= text.len() {
        return text.len();
    }
    if text.as_bytes()[..=character].is_ascii() {
        return character;
    }
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

fn write_padded(out: &mut String, text: &str, length: usize, fill: &str, left: bool) {
    let present = text.chars().count();
    if present >= length {
        out.extend(text.chars().take(length));
        return;
    }
    let padding = fill.chars().cycle().take(if fill.is_empty() { 0 } else { length - present });
    if left {
        out.extend(padding);
        out.push_str(text);
    } else {
        out.push_str(text);
        out.extend(padding);
    }
}

/// Upper case after each blank, lower case elsewhere.
fn write_capitalized(out: &mut String, text: &str) {
    let mut first = true;
    for character in text.chars() {
        if first {
            out.extend(character.to_uppercase());
        } else {
            out.extend(character.to_lowercase());
        }
        first = character == ' ';
    }
}

/// The first position of a part in a text from a position on; 0 when there is none, or the position is before 1.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Locate;

impl Kernel for Locate {
    fn name(&self) -> &'static str {
        "locate"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (parts, text, starts) = (texts(&arguments[0]), texts(&arguments[1]), ints(&arguments[2]));
        Ok(int_rows(arguments, |row| {
            let (text, start) = (text.value(row), starts.value(row));
            if start < 1 {
                return Some(0);
            }
            let from = byte_of(text, i64::from(start) - 1);
            let Some(found) = text[from..].find(parts.value(row)) else { return Some(0) };
            i32::try_from(text[..from + found].chars().count() + 1).ok()
        }))
    }
}

/// How many bytes a BINARY has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ByteLength;

impl Kernel for ByteLength {
    fn name(&self) -> &'static str {
        "length"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(arrow::compute::kernels::length::length(arguments[0].as_ref())?)
    }
}

/// The character of a number modulo 256; nothing for negative numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chr;

impl Kernel for Chr {
    fn name(&self) -> &'static str {
        "chr"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = arguments[0].as_primitive::<Int64Type>();
        Ok(text_rows(arguments, |row, out| {
            let number = numbers.value(row);
            let byte = u8::try_from(number.rem_euclid(256)).ok().filter(|_| number >= 0);
            out.extend(byte.map(char::from));
            true
        }))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ConcatWithSeparator;

impl Kernel for ConcatWithSeparator {
    fn name(&self) -> &'static str {
        "concat_ws"
    }

    fn evaluate(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let separators = texts(&arguments[0]);
        let mut result = StringViewBuilder::with_capacity(separators.len());
        let mut joined = String::new();
        for row in 0..separators.len() {
            if separators.is_null(row) {
                result.append_null();
                continue;
            }
            joined.clear();
            let mut is_first = true;
            for argument in &arguments[1..] {
                for_each_text(argument, row, |text| {
                    if !is_first {
                        joined.push_str(separators.value(row));
                    }
                    is_first = false;
                    joined.push_str(text);
                });
            }
            result.append_value(&joined);
        }
        Ok(Arc::new(result.finish()))
    }
}

/// The strings of a row that are not null: one, or those of an array.
fn for_each_text(argument: &ArrayRef, row: usize, mut each: impl FnMut(&str)) {
    if let Some(text) = argument.as_string_view_opt() {
        if text.is_valid(row) {
            each(text.value(row));
        }
        return;
    }
    let list = argument.as_list::<i32>();
    if list.is_valid(row) {
        let items = list.value(row);
        items.as_string_view().iter().flatten().for_each(each);
    }
}
