//! What may stand for an expression, a value, a condition or a list of them.
//!
//! Owns: the rule that text is a column name where a column is meant, a string where a value is meant, and SQL where a
//! condition is meant. Does not own: reading SQL text (`plan`). Every conversion keeps the line of its caller.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::datatypes::DataType;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone};

use super::{CastTarget, Expr, ExprNode, Literal};

/// What may stand for a list of columns: one column, an array, a `Vec`, a slice, a tuple of mixed kinds, or `()` for
/// none. Text is a column name.
pub trait IntoExprs {
    /// The columns in order, at the caller's line.
    #[track_caller]
    fn into_exprs(self) -> Vec<Expr>;
}

/// What may stand for a list of names: one name, an array, a `Vec`, a slice, a tuple, or `()` for none.
pub trait IntoNames {
    /// The names in order.
    fn into_names(self) -> Vec<String>;
}

/// What may stand for a value: text, numbers, booleans, times, `None` for NULL, or an expression.
pub trait IntoOperand {
    /// The value as an expression, at the caller's line.
    #[track_caller]
    fn into_operand(self) -> Expr;
}

/// What may stand for a condition: SQL text, an expression, or a boolean.
pub trait IntoCondition {
    /// The condition, at the caller's line; SQL text is read at analysis.
    #[track_caller]
    fn into_condition(self) -> Expr;
}

// Lists.

/// Implements a list trait for a shape that can be walked. The loop is no `map`, which would lose the caller's line.
macro_rules! sequence {
    ($trait:ident $method:ident $item:ty: [$($generics:tt)*] $sequence:ty: $each:ident => $converted:expr) => {
        impl<$($generics)*> $trait for $sequence {
            #[track_caller]
            fn $method(self) -> Vec<$item> {
                let mut all = Vec::with_capacity(self.len());
                for $each in self {
                    all.push($converted);
                }
                all
            }
        }
    };
}

/// Implements a list trait for a tuple of these kinds and every shorter one.
macro_rules! tuples {
    ($trait:ident $method:ident $item:ty:) => {
        impl $trait for () {
            fn $method(self) -> Vec<$item> {
                Vec::new()
            }
        }
    };
    ($trait:ident $method:ident $item:ty: $first:ident $($rest:ident)*) => {
        impl<$first: Into<$item>, $($rest: Into<$item>),*> $trait for ($first, $($rest,)*) {
            #[track_caller]
            #[expect(non_snake_case, reason = "a type parameter names its value too")]
            fn $method(self) -> Vec<$item> {
                let ($first, $($rest,)*) = self;
                vec![$first.into(), $($rest.into()),*]
            }
        }
        tuples!($trait $method $item: $($rest)*);
    };
}

/// Implements a list trait for every shape of list.
macro_rules! lists {
    ($trait:ident $method:ident $item:ty: $($single:ty)*) => {
        $(impl $trait for $single {
            #[track_caller]
            fn $method(self) -> Vec<$item> {
                vec![self.into()]
            }
        })*
        sequence!($trait $method $item: [T: Into<$item>, const N: usize] [T; N]: item => item.into());
        sequence!($trait $method $item: [T: Into<$item>] Vec<T>: item => item.into());
        sequence!($trait $method $item: [T: Into<$item> + Clone, const N: usize] &[T; N]: item => item.clone().into());
        sequence!($trait $method $item: [T: Into<$item> + Clone] &[T]: item => item.clone().into());
        sequence!($trait $method $item: [T: Into<$item> + Clone] &Vec<T>: item => item.clone().into());
        tuples!($trait $method $item: A B C D E F G H I J K L);
    };
}

lists!(IntoExprs into_exprs Expr: &str String &String Expr &Expr);
lists!(IntoNames into_names String: &str String &String);

// Columns by name.

/// A column by name: `word`, `alias.word`, `` `odd.name` ``; `*` and `alias.*` are all columns.
impl From<&str> for Expr {
    #[track_caller]
    fn from(name: &str) -> Self {
        Self::new(column(name))
    }
}

/// A column by name, as from `&str`.
impl From<String> for Expr {
    #[track_caller]
    fn from(name: String) -> Self {
        Self::new(column(&name))
    }
}

/// A column by name, as from `&str`.
impl From<&String> for Expr {
    #[track_caller]
    fn from(name: &String) -> Self {
        Self::new(column(name))
    }
}

impl From<&Expr> for Expr {
    fn from(expr: &Expr) -> Self {
        expr.clone()
    }
}

fn column(name: &str) -> ExprNode {
    match name.strip_suffix('*') {
        Some("") => ExprNode::Star(None),
        Some(of) if of.ends_with('.') => ExprNode::Star(Some(name_parts(&of[..of.len() - 1]).join("."))),
        _ => ExprNode::Column(name_parts(name)),
    }
}

/// Splits at the dots outside of backticks. A name whose backticks do not match is one part as it stands.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '`' if is_quoted && letters.next_if_eq(&'`').is_some() => push(&mut parts, '`'),
            '`' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            _ => push(&mut parts, letter),
        }
    }
    if is_quoted { vec![name.to_string()] } else { parts }
}

fn push(parts: &mut [String], letter: char) {
    if let Some(last) = parts.last_mut() {
        last.push(letter);
    }
}

// Values.

#[track_caller]
fn literal(value: Literal) -> Expr {
    Expr::new(ExprNode::Literal(value))
}

/// Implements [`IntoOperand`] for types that are one kind of literal.
macro_rules! literals {
    ($($kind:ty: $value:ident => $literal:expr;)*) => {$(
        impl IntoOperand for $kind {
            #[track_caller]
            fn into_operand(self) -> Expr {
                let $value = self;
                literal($literal)
            }
        }
    )*};
}

literals! {
    Literal: value => value;
    bool: value => Literal::Boolean(value);
    i8: value => Literal::Int(value.into());
    u8: value => Literal::Int(value.into());
    i16: value => Literal::Int(value.into());
    u16: value => Literal::Int(value.into());
    i32: value => Literal::Int(value);
    u32: value => Literal::Long(value.into());
    i64: value => Literal::Long(value);
    &i32: value => Literal::Int(*value);
    &i64: value => Literal::Long(*value);
    &f64: value => Literal::Double(*value);
    &bool: value => Literal::Boolean(*value);
    &&str: value => Literal::String((*value).to_string());
    u64: value => whole(value.into());
    isize: value => whole(value as i128);
    usize: value => whole(value as i128);
    f32: value => Literal::Float(value);
    f64: value => Literal::Double(value);
    &str: value => Literal::String(value.to_string());
    String: value => Literal::String(value);
    &String: value => Literal::String(value.clone());
    char: value => Literal::String(value.to_string());
    Vec<u8>: value => Literal::Binary(value);
    &[u8]: value => Literal::Binary(value.to_vec());
    Duration: value => interval(value);
    SystemTime: value => Literal::Timestamp(micros_since_epoch(value));
    NaiveDate: value => Literal::Date(value.num_days_from_ce() - DAYS_TO_EPOCH);
}

/// The days from the first of January of year 1 to that of 1970, counted as chrono does.
const DAYS_TO_EPOCH: i32 = 719_163;

/// BIGINT, or DECIMAL(20, 0) where that is too small.
fn whole(value: i128) -> Literal {
    i64::try_from(value).map_or(Literal::Decimal(value, 20, 0), Literal::Long)
}

/// Whole microseconds; the longest interval there is for what does not fit.
fn interval(duration: Duration) -> Literal {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Literal::Interval { months: 0, days: 0, micros }
}

fn micros_since_epoch(time: SystemTime) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

/// TIMESTAMP.
impl<Tz: TimeZone> IntoOperand for DateTime<Tz> {
    #[track_caller]
    fn into_operand(self) -> Expr {
        literal(Literal::Timestamp(self.timestamp_micros()))
    }
}

/// `TIMESTAMP_NTZ`.
impl IntoOperand for NaiveDateTime {
    #[track_caller]
    fn into_operand(self) -> Expr {
        let text = literal(Literal::String(self.format("%Y-%m-%d %H:%M:%S%.6f").to_string()));
        text.cast("timestamp_ntz")
    }
}

/// `None` is NULL.
impl<T: IntoOperand> IntoOperand for Option<T> {
    #[track_caller]
    fn into_operand(self) -> Expr {
        match self {
            Some(value) => value.into_operand(),
            None => literal(Literal::Null),
        }
    }
}

impl IntoOperand for Expr {
    fn into_operand(self) -> Expr {
        self
    }
}

impl IntoOperand for &Expr {
    fn into_operand(self) -> Expr {
        self.clone()
    }
}

// Conditions.

/// Implements [`IntoCondition`] for text, which is SQL.
macro_rules! sql_conditions {
    ($($text:ty)*) => {$(
        impl IntoCondition for $text {
            #[track_caller]
            fn into_condition(self) -> Expr {
                Expr::new(ExprNode::Sql(self.into()))
            }
        }
    )*};
}

sql_conditions!(&str String &String);

impl IntoCondition for Expr {
    fn into_condition(self) -> Expr {
        self
    }
}

impl IntoCondition for &Expr {
    fn into_condition(self) -> Expr {
        self.clone()
    }
}

impl IntoCondition for bool {
    #[track_caller]
    fn into_condition(self) -> Expr {
        self.into_operand()
    }
}

// Targets of casts.

/// Spark's type text, read at analysis.
impl From<&str> for CastTarget {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

/// Spark's type text, read at analysis.
impl From<String> for CastTarget {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<DataType> for CastTarget {
    fn from(data_type: DataType) -> Self {
        Self::Type(data_type)
    }
}

impl From<&DataType> for CastTarget {
    fn from(data_type: &DataType) -> Self {
        Self::Type(data_type.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exprs(list: impl IntoExprs) -> String {
        format!("{:?}", list.into_exprs())
    }

    #[test]
    fn a_list_of_columns_comes_in_every_shape() {
        let a = Expr::from("a");
        assert_eq!(exprs("a"), "[a]");
        assert_eq!(exprs(String::from("a")), "[a]");
        assert_eq!(exprs(&a), "[a]");
        assert_eq!(exprs(["a", "b"]), "[a, b]");
        assert_eq!(format!("{:?}", (&["a", "b"]).into_exprs()), "[a, b]");
        assert_eq!(exprs(vec![a.clone(), a.clone()]), "[a, a]");
        assert_eq!(format!("{:?}", (&vec!["a".to_string()]).into_exprs()), "[a]");
        assert_eq!(exprs(["a", "b"].as_slice()), "[a, b]");
        assert_eq!(exprs(()), "[]");
        assert_eq!(exprs((a.clone() + 1, "b", String::from("c"), &a)), "[(a + 1), b, c, a]");
        assert_eq!(exprs(("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l")).len(), 36);
    }

    #[test]
    fn a_list_of_names_comes_in_every_shape() {
        assert_eq!("a".into_names(), ["a"]);
        assert_eq!(["a", "b"].into_names(), ["a", "b"]);
        assert_eq!((&["a".to_string()]).into_names(), ["a"]);
        assert_eq!(vec!["a"].into_names(), ["a"]);
        assert_eq!(("a", String::from("b")).into_names(), ["a", "b"]);
        assert!(().into_names().is_empty());
    }

    #[test]
    fn text_names_a_column_by_its_parts() {
        let cases = [
            ("word", ExprNode::Column(vec!["word".into()])),
            ("Tab.col", ExprNode::Column(vec!["Tab".into(), "col".into()])),
            ("`a.b`.c", ExprNode::Column(vec!["a.b".into(), "c".into()])),
            ("`a``b`", ExprNode::Column(vec!["a`b".into()])),
            ("`a.b", ExprNode::Column(vec!["`a.b".into()])),
            ("count(1)", ExprNode::Column(vec!["count(1)".into()])),
            ("*", ExprNode::Star(None)),
            ("t.*", ExprNode::Star(Some("t".into()))),
            ("a*", ExprNode::Column(vec!["a*".into()])),
        ];
        for (name, expected) in cases {
            assert_eq!(format!("{:?}", Expr::from(name).node()), format!("{expected:?}"), "{name}");
        }
    }

    #[test]
    fn a_value_is_the_literal_of_its_type() {
        let day = NaiveDate::from_ymd_opt(1970, 1, 3).unwrap();
        let minute = DateTime::from_timestamp(60, 0).unwrap();
        let cases = [
            ("a".into_operand(), Literal::String("a".into())),
            ('a'.into_operand(), Literal::String("a".into())),
            (1_u16.into_operand(), Literal::Int(1)),
            (1.into_operand(), Literal::Int(1)),
            (1_u32.into_operand(), Literal::Long(1)),
            (1_i64.into_operand(), Literal::Long(1)),
            (7_usize.into_operand(), Literal::Long(7)),
            (u64::MAX.into_operand(), Literal::Decimal(18_446_744_073_709_551_615, 20, 0)),
            (1.5.into_operand(), Literal::Double(1.5)),
            (1.5_f32.into_operand(), Literal::Float(1.5)),
            (true.into_operand(), Literal::Boolean(true)),
            (None::<i32>.into_operand(), Literal::Null),
            (Some("a").into_operand(), Literal::String("a".into())),
            (b"ab".as_slice().into_operand(), Literal::Binary(b"ab".to_vec())),
            (Duration::from_millis(5).into_operand(), Literal::Interval { months: 0, days: 0, micros: 5_000 }),
            (day.into_operand(), Literal::Date(2)),
            (minute.into_operand(), Literal::Timestamp(60_000_000)),
            ((UNIX_EPOCH - Duration::from_secs(1)).into_operand(), Literal::Timestamp(-1_000_000)),
        ];
        for (expr, expected) in cases {
            match expr.node() {
                ExprNode::Literal(literal) => assert_eq!(*literal, expected),
                other => panic!("{other:?} instead of {expected:?}"),
            }
        }
        let noon = day.and_hms_opt(12, 0, 0).unwrap().into_operand();
        assert_eq!(noon.to_string(), "CAST(1970-01-03 12:00:00.000000 AS TIMESTAMP_NTZ)");
    }

    #[test]
    fn a_condition_in_text_is_sql() {
        assert!(matches!("a > 1".into_condition().node(), ExprNode::Sql(text) if text == "a > 1"));
        assert_eq!(true.into_condition().to_string(), "true");
        assert_eq!(Expr::from("a").gt(1).into_condition().to_string(), "(a > 1)");
    }

    #[test]
    fn every_conversion_keeps_the_line_of_its_caller() {
        let lines = [
            (line!(), "a".into_exprs().remove(0)),
            (line!(), ["a"].into_exprs().remove(0)),
            (line!(), (&vec!["a"]).into_exprs().remove(0)),
            (line!(), ("b", "a").into_exprs().remove(0)),
            (line!(), 1.into_operand()),
            (line!(), Some(1).into_operand()),
            (line!(), "a > 1".into_condition()),
        ];
        for (line, expr) in lines {
            assert_eq!((expr.location().file(), expr.location().line()), (file!(), line), "{expr}");
        }
    }
}
