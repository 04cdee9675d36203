//! Spark's DDL text for types and schemas: `userId INT, tags ARRAY<STRING> NOT NULL COMMENT 'x'`.
//!
//! Owns: the grammar and its errors, which say what was expected at which character. Answers in engine types. Does not
//! own: SQL expressions (`plan`).

use std::collections::HashSet;
use std::iter::Peekable;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit};

use super::convert::map_type;
use crate::error::{Error, Result, suggestion};

/// The types without parts, by every name they have.
static SIMPLE: [(&str, DataType); 20] = [
    ("BOOLEAN", DataType::Boolean),
    ("TINYINT", DataType::Int8),
    ("BYTE", DataType::Int8),
    ("SMALLINT", DataType::Int16),
    ("SHORT", DataType::Int16),
    ("INT", DataType::Int32),
    ("INTEGER", DataType::Int32),
    ("BIGINT", DataType::Int64),
    ("LONG", DataType::Int64),
    ("FLOAT", DataType::Float32),
    ("REAL", DataType::Float32),
    ("DOUBLE", DataType::Float64),
    ("STRING", DataType::Utf8View),
    ("VARCHAR", DataType::Utf8View),
    ("CHAR", DataType::Utf8View),
    ("CHARACTER", DataType::Utf8View),
    ("BINARY", DataType::Binary),
    ("DATE", DataType::Date32),
    ("TIMESTAMP_NTZ", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("VOID", DataType::Null),
];

/// The types that need more than a word, by every name they have.
const COMPOSED: [&str; 9] =
    ["DECIMAL", "DEC", "NUMERIC", "TIMESTAMP", "TIMESTAMP_LTZ", "INTERVAL", "ARRAY", "STRUCT", "MAP"];

/// The units after `INTERVAL`; the engine's interval holds them all.
const INTERVAL_UNITS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];

/// The key under which a column's comment is kept in its metadata, as Spark does.
const COMMENT: &str = "comment";

/// Reads one type, in any case: `bigint`, `DECIMAL(10,2)`, `array<struct<a: int>>`.
///
/// # Errors
/// Says what was expected at which character, and the nearest known name.
pub fn parse_type(text: &str) -> Result<DataType> {
    let mut parser = Parser::new(text, "type")?;
    let data_type = parser.data_type()?;
    parser.end("the end")?;
    Ok(data_type)
}

/// Reads a list of columns: ``userId INT, eventTime TIMESTAMP NOT NULL COMMENT 'x', `odd name` STRING``.
///
/// A colon may stand between name and type. A comment ends up in the column's metadata under `comment`.
///
/// # Errors
/// Says what was expected at which character; also when two columns have the same name, compared without case.
pub fn parse_ddl(text: &str) -> Result<Schema> {
    let mut parser = Parser::new(text, "schema")?;
    let fields = parser.columns()?;
    check_names(fields.iter().map(|field| field.name().as_str()))?;
    Ok(Schema::new(fields))
}

/// Refuses names that differ at most by case.
pub(super) fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_lowercase()) {
            return Err(Error::plan(format!(
                "column `{name}` is there twice; names are compared without case, so rename one"
            )));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// A name in backquotes.
    Quoted(String),
    /// A string in quotation marks.
    Text(String),
    Symbol(char),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// What is being read, for errors: `type` or `schema`.
    what: &'static str,
    /// Each token and the number of its first character, from 1.
    tokens: Vec<(Token, usize)>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, what: &'static str) -> Result<Self> {
        Ok(Self { text, what, tokens: tokens(text, what)?, next: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    /// Takes a token; the end stays where it is.
    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_symbol(&mut self, symbol: char) -> bool {
        let found = *self.peek() == Token::Symbol(symbol);
        if found {
            self.take();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case(word));
        if found {
            self.take();
        }
        found
    }

    fn symbol(&mut self, symbol: char) -> Result<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    fn end(&mut self, expected: &str) -> Result<()> {
        if *self.peek() == Token::End { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// The error that `what` should stand where the next token is.
    fn expected(&self, what: &str) -> Error {
        let (token, at) = &self.tokens[self.next];
        let found = match token {
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(name) => format!("the name `{name}`"),
            Token::Text(text) => format!("the text '{text}'"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_string(),
        };
        Error::plan(format!("expected {what} at character {at} of the {} `{}`, found {found}", self.what, self.text))
    }

    fn columns(&mut self) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let (mut field, comment) = self.column()?;
            if let Some(comment) = comment {
                field.set_metadata([(COMMENT.to_string(), comment)].into());
            }
            fields.push(field);
            if !self.take_symbol(',') {
                self.end("`,` or the end")?;
                return Ok(fields);
            }
        }
    }

    /// `name[:] TYPE [NOT NULL] [COMMENT 'text']`
    fn column(&mut self) -> Result<(Field, Option<String>)> {
        let name = self.name()?;
        self.take_symbol(':');
        let data_type = self.data_type()?;
        let mut nullable = true;
        if self.take_word("NOT") {
            if !self.take_word("NULL") {
                return Err(self.expected("NULL after NOT"));
            }
            nullable = false;
        }
        let comment = if self.take_word("COMMENT") { Some(self.comment()?) } else { None };
        Ok((Field::new(name, data_type, nullable), comment))
    }

    fn name(&mut self) -> Result<String> {
        match self.peek().clone() {
            Token::Word(name) | Token::Quoted(name) => {
                self.take();
                Ok(name)
            }
            Token::Text(_) => Err(self.expected("a column name (quote names with backquotes)")),
            Token::Symbol(_) | Token::End => Err(self.expected("a column name")),
        }
    }

    fn comment(&mut self) -> Result<String> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.take();
                Ok(text)
            }
            Token::Word(_) | Token::Quoted(_) | Token::Symbol(_) | Token::End => {
                Err(self.expected("the comment in quotation marks"))
            }
        }
    }

    fn data_type(&mut self) -> Result<DataType> {
        let Token::Word(word) = self.peek().clone() else { return Err(self.expected("a type")) };
        let upper = word.to_ascii_uppercase();
        if let Some((name, data_type)) = SIMPLE.iter().find(|(name, _)| *name == upper) {
            self.take();
            if name.contains("CHAR") {
                self.length()?;
            }
            return Ok(data_type.clone());
        }
        if !COMPOSED.contains(&upper.as_str()) {
            return Err(self.unknown_type(&word));
        }
        self.take();
        match upper.as_str() {
            "TIMESTAMP" | "TIMESTAMP_LTZ" => Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            "INTERVAL" => self.interval(),
            "ARRAY" => self.array(),
            "STRUCT" => self.structure(),
            "MAP" => self.map(),
            _ => self.decimal(),
        }
    }

    fn unknown_type(&self, word: &str) -> Error {
        let known = || SIMPLE.iter().map(|(name, _)| *name).chain(COMPOSED);
        let problem = self.expected("a type");
        let near = suggestion(word, known());
        Error::plan(format!("{}{near}; known types: {}", problem.message(), known().collect::<Vec<_>>().join(", ")))
    }

    /// The length of a VARCHAR or CHAR, which is read and not enforced.
    fn length(&mut self) -> Result<()> {
        if self.take_symbol('(') {
            self.number::<u32>("a length")?;
            self.symbol(')')?;
        }
        Ok(())
    }

    fn decimal(&mut self) -> Result<DataType> {
        if !self.take_symbol('(') {
            return Ok(DataType::Decimal128(10, 0));
        }
        let precision = self.number_within("a precision", 1, 38)?;
        let scale = if self.take_symbol(',') { self.number_within("a scale", 0, precision)? } else { 0 };
        self.symbol(')')?;
        Ok(DataType::Decimal128(precision, scale.cast_signed()))
    }

    fn number_within(&mut self, what: &str, least: u8, most: u8) -> Result<u8> {
        let what = format!("{what} from {least} to {most}");
        let refused = self.expected(&what);
        let number = self.number::<u8>(&what)?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(refused) }
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T> {
        let parsed = match self.peek() {
            Token::Word(word) => word.parse().ok(),
            _ => None,
        };
        let number = parsed.ok_or_else(|| self.expected(what))?;
        self.take();
        Ok(number)
    }

    /// `INTERVAL [unit [TO unit]]`
    fn interval(&mut self) -> Result<DataType> {
        if self.take_interval_unit() && self.take_word("TO") && !self.take_interval_unit() {
            return Err(self.expected(&format!("one of {}", INTERVAL_UNITS.join(", "))));
        }
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn take_interval_unit(&mut self) -> bool {
        INTERVAL_UNITS.iter().any(|unit| self.take_word(unit))
    }

    fn array(&mut self) -> Result<DataType> {
        self.symbol('<')?;
        let element = self.data_type()?;
        self.symbol('>')?;
        Ok(DataType::new_list(element, true))
    }

    fn map(&mut self) -> Result<DataType> {
        self.symbol('<')?;
        let key = self.data_type()?;
        self.symbol(',')?;
        let value = self.data_type()?;
        self.symbol('>')?;
        Ok(map_type(key, value, true))
    }

    fn structure(&mut self) -> Result<DataType> {
        self.symbol('<')?;
        let mut fields = Vec::new();
        // A comment inside a type is dropped: it would make the type differ from the same one without it.
        while !(fields.is_empty() && *self.peek() == Token::Symbol('>')) {
            fields.push(self.column()?.0);
            if !self.take_symbol(',') {
                break;
            }
        }
        if !self.take_symbol('>') {
            return Err(self.expected("`,` or `>`"));
        }
        check_names(fields.iter().map(|field| field.name().as_str()))?;
        Ok(DataType::Struct(Fields::from(fields)))
    }
}

/// Cuts `text` into tokens; the last one is always [`Token::End`].
fn tokens(text: &str, what: &str) -> Result<Vec<(Token, usize)>> {
    let mut chars = text.chars().enumerate().map(|(index, c)| (index + 1, c)).peekable();
    let mut tokens = Vec::new();
    while let Some((at, c)) = chars.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '`' | '\'' | '"' => quoted(&mut chars, c).ok_or_else(|| {
                Error::plan(format!("the {what} `{text}` has a `{c}` at character {at} that is never closed"))
            })?,
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some((_, c)) = chars.next_if(|(_, c)| is_word(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
            '<' | '>' | '(' | ')' | ',' | ':' => Token::Symbol(c),
            _ => {
                return Err(Error::plan(format!(
                    "unexpected `{c}` at character {at} of the {what} `{text}`; put a name with other characters than \
                     letters, digits and _ into backquotes"
                )));
            }
        };
        tokens.push((token, at));
    }
    tokens.push((Token::End, text.chars().count() + 1));
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads up to the closing `quote`, which stands for itself when doubled. A backslash keeps the next character of a
/// text, but not of a name.
fn quoted<I: Iterator<Item = (usize, char)>>(chars: &mut Peekable<I>, quote: char) -> Option<Token> {
    let mut text = String::new();
    loop {
        match chars.next()?.1 {
            '\\' if quote != '`' => text.push(chars.next()?.1),
            c if c != quote => text.push(c),
            _ if chars.next_if(|(_, c)| *c == quote).is_some() => text.push(quote),
            _ if quote == '`' => return Some(Token::Quoted(text)),
            _ => return Some(Token::Text(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::type_name;

    #[test]
    fn every_name_of_a_type_is_read() {
        let cases = [
            ("boolean", "BOOLEAN"),
            ("TINYINT", "TINYINT"),
            ("byte", "TINYINT"),
            ("smallint", "SMALLINT"),
            ("short", "SMALLINT"),
            ("int", "INT"),
            ("Integer", "INT"),
            ("bigint", "BIGINT"),
            ("long", "BIGINT"),
            ("float", "FLOAT"),
            ("real", "FLOAT"),
            ("double", "DOUBLE"),
            ("decimal", "DECIMAL(10,0)"),
            ("dec(5)", "DECIMAL(5,0)"),
            ("numeric( 38 , 38 )", "DECIMAL(38,38)"),
            ("string", "STRING"),
            ("varchar(20)", "STRING"),
            ("char(1)", "STRING"),
            ("binary", "BINARY"),
            ("date", "DATE"),
            (" timestamp ", "TIMESTAMP"),
            ("timestamp_ltz", "TIMESTAMP"),
            ("timestamp_ntz", "TIMESTAMP_NTZ"),
            ("interval", "INTERVAL"),
            ("interval day to second", "INTERVAL"),
            ("interval month", "INTERVAL"),
            ("void", "VOID"),
            ("array<array<int>>", "ARRAY<ARRAY<INT>>"),
            ("map<string,array<double>>", "MAP<STRING, ARRAY<DOUBLE>>"),
            ("struct<a: int, `b c` string not null>", "STRUCT<a: INT, `b c`: STRING NOT NULL>"),
            ("struct<a int comment 'it\\'s'>", "STRUCT<a: INT>"),
            ("struct<>", "STRUCT<>"),
        ];
        for (text, expected) in cases {
            assert_eq!(type_name(&parse_type(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn names_that_types_print_are_read_back() {
        for text in ["STRUCT<a: INT NOT NULL, `x``y`: MAP<STRING, DECIMAL(3,1)>>", "ARRAY<TIMESTAMP_NTZ>"] {
            assert_eq!(type_name(&parse_type(text).unwrap()), text);
        }
    }

    #[test]
    fn an_error_says_what_was_expected_where() {
        let cases = [
            ("", "expected a type at character 1 of the type ``, found the end"),
            (
                "bigit",
                "expected a type at character 1 of the type `bigit`, found `bigit`; did you mean `BIGINT`?; known",
            ),
            ("array<int", "expected `>` at character 10 of the type `array<int`, found the end"),
            ("array int", "expected `<` at character 7"),
            ("map<int>", "expected `,` at character 8"),
            ("struct<a int b int>", "expected `,` or `>` at character 14"),
            ("struct<a int,>", "expected a column name at character 14"),
            ("decimal(39,0)", "expected a precision from 1 to 38 at character 9"),
            ("decimal(5,6)", "expected a scale from 0 to 5 at character 11"),
            ("varchar(x)", "expected a length at character 9"),
            ("interval day to fortnight", "expected one of YEAR, MONTH, DAY, HOUR, MINUTE, SECOND at character 17"),
            ("int int", "expected the end at character 5"),
            ("struct<a int, A int>", "column `A` is there twice"),
        ];
        for (text, expected) in cases {
            let error = parse_type(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_schema_is_read_column_by_column() {
        let text = "userId INT, eventTime TIMESTAMP NOT NULL COMMENT 'when', `odd name` STRING, a: INT, 数 DATE";
        let schema = parse_ddl(text).unwrap();
        let columns: Vec<_> =
            schema.fields().iter().map(|f| (f.name().as_str(), type_name(f.data_type()), f.is_nullable())).collect();
        let expected = [
            ("userId", "INT", true),
            ("eventTime", "TIMESTAMP", false),
            ("odd name", "STRING", true),
            ("a", "INT", true),
            ("数", "DATE", true),
        ];
        assert_eq!(columns, expected.map(|(name, data_type, nullable)| (name, data_type.to_string(), nullable)));
        assert_eq!(schema.field(1).metadata()["comment"], "when");
        assert_eq!(schema.field(2).data_type(), &DataType::Utf8View);
    }

    #[test]
    fn a_bad_schema_is_refused_at_the_character() {
        let cases = [
            ("", "expected a column name at character 1 of the schema ``, found the end"),
            ("a INT b INT", "expected `,` or the end at character 7"),
            ("a INT,", "expected a column name at character 7"),
            ("a", "expected a type at character 2"),
            ("'a' INT", "expected a column name (quote names with backquotes) at character 1"),
            ("user-id INT", "unexpected `-` at character 5"),
            ("`a INT", "the schema ``a INT` has a ``` at character 1 that is never closed"),
            ("a INT NOT", "expected NULL after NOT at character 10"),
            ("a INT COMMENT x", "expected the comment in quotation marks at character 15"),
            ("word STRING, Word INT", "column `Word` is there twice"),
        ];
        for (text, expected) in cases {
            let error = parse_ddl(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
