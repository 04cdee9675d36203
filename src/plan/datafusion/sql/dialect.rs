//! Spark's dialect, where the parser's own falls short of it.
//!
//! Owns: how words, strings, numbers with suffixes and intervals are cut out of the text, and how operators bind. Does
//! not own: what they mean (`literal`, `expression`).

use datafusion::sql::sqlparser::ast::{BinaryOperator, DateTimeField, Expr, Interval, Value};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_IDENTIFIER};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

/// Letters behind a number that say its type: BIGINT, SMALLINT, TINYINT, DOUBLE, FLOAT and DECIMAL.
const SUFFIXES: [&str; 6] = ["L", "S", "Y", "D", "F", "BD"];

/// The units of an interval, in the singular.
const UNITS: [&str; 9] = ["year", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond"];

/// Spark SQL. Strings are kept as written, escapes and all, and are read in `literal`.
#[derive(Debug)]
pub(super) struct Spark;

/// Switches of the parser that Spark SQL turns on.
macro_rules! switched_on {
    ($($switch:ident)*) => {$(
        fn $switch(&self) -> bool {
            true
        }
    )*};
}

impl Dialect for Spark {
    switched_on! {
        supports_filter_during_aggregation
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_lambda_functions
        supports_select_wildcard_except
        supports_struct_literal
        supports_nested_comments
        supports_values_as_table_factor
        supports_bang_not_operator
        supports_select_item_multi_column_alias
        supports_cte_without_as
        supports_string_literal_backslash_escape
        supports_string_literal_concatenation
        supports_bitwise_shift_operators
        supports_window_function_null_treatment_arg
        supports_order_by_all
        supports_map_literal_with_angle_brackets
        require_interval_qualifier
    }

    fn is_delimited_identifier_start(&self, letter: char) -> bool {
        letter == '`'
    }

    fn is_identifier_start(&self, letter: char) -> bool {
        letter.is_alphabetic() || letter == '_'
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        letter.is_alphanumeric() || letter == '_'
    }

    /// A column may be called `interval`.
    fn is_reserved_for_identifier(&self, word: Keyword) -> bool {
        word != Keyword::INTERVAL && RESERVED_FOR_IDENTIFIER.contains(&word)
    }

    /// `||` binds as `+` does.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let is_concatenation = parser.peek_token_ref().token == Token::StringConcat;
        is_concatenation.then(|| Ok(self.prec_value(Precedence::PlusMinus)))
    }

    /// The operators whose right side the parser would take too much for.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        use Keyword::{DISTINCT, DIV, FROM, IS, NOT};
        let combine: fn(Box<Expr>, Box<Expr>) -> Expr = if parser.parse_keyword(DIV) {
            |left, right| Expr::BinaryOp { left, op: BinaryOperator::MyIntegerDivide, right }
        } else if parser.parse_keywords(&[IS, DISTINCT, FROM]) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&[IS, NOT, DISTINCT, FROM]) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        let right = parser.parse_subexpr(precedence);
        Some(right.map(|right| combine(Box::new(left.clone()), Box::new(right))))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Number(..) => suffixed_number(parser).map(Ok),
            Token::Word(word) if word.keyword == Keyword::INTERVAL && word.quote_style.is_none() => interval(parser),
            Token::Word(word) if word.value.eq_ignore_ascii_case("r") => raw_string(parser).map(Ok),
            _ => None,
        }
    }
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_span(Span::empty()))
}

/// `1L`, `1.5D`, `2BD`: a number whose suffix touches it.
fn suffixed_number(parser: &mut Parser) -> Option<Expr> {
    match (parser.next_token().token, parser.peek_token_no_skip().token) {
        (Token::Number(number, true), _) => Some(value(Value::Number(number + "L", false))),
        (Token::Number(number, false), Token::Word(word)) if is_suffix(&word.value) => {
            parser.advance_token();
            Some(value(Value::Number(number + &word.value.to_uppercase(), false)))
        }
        _ => {
            parser.prev_token();
            None
        }
    }
}

fn is_suffix(word: &str) -> bool {
    SUFFIXES.iter().any(|suffix| suffix.eq_ignore_ascii_case(word))
}

/// `r'\d+'`, in which a backslash is a backslash.
fn raw_string(parser: &mut Parser) -> Option<Expr> {
    parser.advance_token();
    match parser.peek_token_no_skip().token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
            parser.advance_token();
            Some(value(Value::SingleQuotedRawStringLiteral(text)))
        }
        _ => {
            parser.prev_token();
            None
        }
    }
}

/// `INTERVAL '10 minutes'`, `INTERVAL 1 HOUR 5 MINUTES` or `INTERVAL '0 00:05' DAY TO MINUTE`; `None` where the word is
/// a column's name. Lengths with their units are put together into one text.
fn interval(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let amount = Amount::at(parser, 1)?;
    if is_unit(parser, amount.end) {
        parser.advance_token();
        return Some(lengths(parser));
    }
    if amount.is_number || !amount.sign.is_empty() {
        return None;
    }
    parser.advance_token();
    parser.advance_token();
    Some(Ok(interval_of(amount.text, None)))
}

/// The lengths that follow the word INTERVAL.
fn lengths(parser: &mut Parser) -> Result<Expr, ParserError> {
    let mut lengths = Vec::new();
    while let Some(Amount { sign, text, end, .. }) = Amount::at(parser, 0).filter(|amount| is_unit(parser, amount.end))
    {
        for _ in 0..end {
            parser.advance_token();
        }
        let from = parser.parse_date_time_field()?;
        if lengths.is_empty() && parser.parse_keyword(Keyword::TO) {
            let to = parser.parse_date_time_field()?;
            return Ok(interval_of(format!("{sign}{text}"), Some((from, to))));
        }
        lengths.push(format!("{sign}{text} {from}"));
    }
    Ok(interval_of(lengths.join(" "), None))
}

/// A number of an interval, with or without quotes.
struct Amount {
    sign: &'static str,
    text: String,
    is_number: bool,
    /// How many tokens ahead the first one behind it is.
    end: usize,
}

impl Amount {
    /// The amount so many tokens ahead.
    fn at(parser: &Parser, place: usize) -> Option<Self> {
        let (sign, place) = match parser.peek_nth_token_ref(place).token {
            Token::Minus => ("-", place + 1),
            Token::Plus => ("+", place + 1),
            _ => ("", place),
        };
        let (text, is_number) = match &parser.peek_nth_token_ref(place).token {
            Token::Number(number, false) => (number, true),
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => (text, false),
            _ => return None,
        };
        Some(Self { sign, text: text.clone(), is_number, end: place + 1 })
    }
}

fn is_unit(parser: &Parser, place: usize) -> bool {
    match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) if word.quote_style.is_none() => {
            let lower = word.value.to_lowercase();
            UNITS.contains(&lower.strip_suffix('s').unwrap_or(&lower))
        }
        _ => false,
    }
}

fn interval_of(text: String, fields: Option<(DateTimeField, DateTimeField)>) -> Expr {
    let (leading_field, last_field) = fields.unzip();
    Expr::Interval(Interval {
        value: Box::new(value(Value::SingleQuotedString(text))),
        leading_field,
        leading_precision: None,
        last_field,
        fractional_seconds_precision: None,
    })
}
