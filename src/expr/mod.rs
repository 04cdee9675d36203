//! Unresolved expressions: what the user wrote, before anyone looked at a schema.
//!
//! Owns: the tree, its names as Spark would print them, and the conversions that let a `&str` stand for a column, a
//! value or a condition. Does not own: types, resolution or evaluation (`plan`). Shaped like Spark Connect's
//! expressions: operators are functions by name, so a tree can be sent elsewhere.

mod convert;
pub mod functions;
mod udf;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use arrow::datatypes::DataType;

pub use convert::{IntoCondition, IntoExprs, IntoNames, IntoOperand};
pub use udf::ScalarUdf;

/// A column expression that is not bound to a table yet.
///
/// Building one never fails; what is wrong with it is said by `start()`, `schema()`, `collect()` or `explain()`, with
/// the line of the program that built it.
#[derive(Clone)]
#[must_use = "an expression does nothing until it is used in a query"]
pub struct Expr {
    node: Arc<ExprNode>,
    location: &'static Location<'static>,
}

/// One node of an unresolved expression.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExprNode {
    /// A column by name: one or more parts (`alias.column`, `column.field`), matched without case.
    Column(Vec<String>),
    /// All columns, of one alias or of the whole table.
    Star(Option<String>),
    /// A constant.
    Literal(Literal),
    /// A function or operator by its Spark name (`+`, `=`, `and`, `isnull`, `upper`, `count`, …).
    Function {
        /// The name, in any case.
        name: String,
        /// The arguments.
        args: Vec<Expr>,
        /// `count(DISTINCT x)`.
        distinct: bool,
        /// `sum(x) FILTER (WHERE condition)`.
        filter: Option<Expr>,
    },
    /// A Rust closure over its arguments.
    Udf(Arc<ScalarUdf>, Vec<Expr>),
    /// `CASE WHEN c THEN v … ELSE o END`.
    Case {
        /// Conditions and their values, in order.
        branches: Vec<(Expr, Expr)>,
        /// The value when no condition holds; null when absent.
        otherwise: Option<Expr>,
    },
    /// A conversion to another type.
    Cast {
        /// What is converted.
        expr: Expr,
        /// The target.
        to: CastTarget,
        /// `try_cast`: a bad value is null whatever the session says.
        null_on_error: bool,
    },
    /// An expression with a name of its own.
    Alias(Expr, String),
    /// A field of a struct column.
    Field(Expr, String),
    /// A sort key.
    Sort {
        /// What is compared.
        expr: Expr,
        /// Smallest first.
        ascending: bool,
        /// Where nulls go; Spark puts them first when ascending and last when descending.
        nulls_first: bool,
    },
    /// SQL text of one expression, parsed at analysis.
    Sql(String),
    /// `f(x) OVER (…)` and other constructs that only static SQL text can run; kept to be refused with its name.
    Unsupported(String),
}

/// The target type of a cast, as it was given.
#[derive(Debug, Clone, PartialEq)]
pub enum CastTarget {
    /// Spark's type text: `"timestamp"`, `"array<int>"`.
    Text(String),
    /// An Arrow type.
    Type(DataType),
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Literal {
    /// NULL of no particular type.
    Null,
    /// BOOLEAN
    Boolean(bool),
    /// INT
    Int(i32),
    /// BIGINT
    Long(i64),
    /// FLOAT
    Float(f32),
    /// DOUBLE
    Double(f64),
    /// DECIMAL(precision, scale), as the unscaled number.
    Decimal(i128, u8, i8),
    /// STRING
    String(String),
    /// BINARY
    Binary(Vec<u8>),
    /// DATE, days since 1970-01-01.
    Date(i32),
    /// TIMESTAMP, microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// INTERVAL: months, days and microseconds are kept apart.
    Interval {
        /// Whole months.
        months: i32,
        /// Whole days.
        days: i32,
        /// The rest in microseconds.
        micros: i64,
    },
}

impl Expr {
    /// Makes an expression out of one node, at the caller's line.
    #[track_caller]
    pub fn new(node: ExprNode) -> Self {
        Self::with_location(node, Location::caller())
    }

    pub(crate) fn with_location(node: ExprNode, location: &'static Location<'static>) -> Self {
        Self { node: Arc::new(node), location }
    }

    #[track_caller]
    pub(crate) fn function(name: &str, args: impl IntoIterator<Item = Expr>) -> Self {
        Self::new(ExprNode::Function {
            name: name.to_string(),
            args: args.into_iter().collect(),
            distinct: false,
            filter: None,
        })
    }

    /// The node itself.
    pub fn node(&self) -> &ExprNode {
        &self.node
    }

    /// The line of the program that built this expression.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// The name of the column this expression makes, as Spark names it: `word`, `sum(x)`, `(a + 1)`.
    pub fn output_name(&self) -> String {
        match self.node() {
            ExprNode::Column(parts) => parts.last().cloned().unwrap_or_default(),
            ExprNode::Alias(_, name) | ExprNode::Field(_, name) => name.clone(),
            ExprNode::Cast { expr, .. } if matches!(expr.node(), ExprNode::Column(_)) => expr.output_name(),
            ExprNode::Function { name, .. } if name.eq_ignore_ascii_case("window") => "window".to_string(),
            ExprNode::Function { name, .. } if name.eq_ignore_ascii_case("session_window") => "session_window".into(),
            ExprNode::Function { name, .. } if is_explode(name) => "col".to_string(),
            _ => self.to_string(),
        }
    }
}

/// True for the functions that make several rows out of one.
pub(crate) fn is_explode(name: &str) -> bool {
    name.eq_ignore_ascii_case("explode") || name.eq_ignore_ascii_case("explode_outer")
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The operators that are written between their two arguments.
const INFIX: [&str; 17] =
    ["+", "-", "*", "/", "%", "div", "=", "!=", "<>", "<", "<=", ">", ">=", "<=>", "and", "or", "||"];

/// Spark's own way to write an expression; also the name of the column it makes.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node() {
            ExprNode::Column(parts) => f.write_str(&parts.join(".")),
            ExprNode::Star(None) => f.write_str("*"),
            ExprNode::Star(Some(of)) => write!(f, "{of}.*"),
            ExprNode::Literal(literal) => write!(f, "{literal}"),
            ExprNode::Function { name, args, distinct, filter } => {
                write_function(f, name, args, *distinct)?;
                filter.as_ref().map_or(Ok(()), |filter| write!(f, " FILTER (WHERE {filter})"))
            }
            ExprNode::Udf(udf, args) => write_call(f, udf.name(), args, ""),
            ExprNode::Case { branches, otherwise } => {
                f.write_str("CASE")?;
                for (condition, value) in branches {
                    write!(f, " WHEN {condition} THEN {value}")?;
                }
                otherwise.as_ref().map_or(Ok(()), |value| write!(f, " ELSE {value}"))?;
                f.write_str(" END")
            }
            ExprNode::Cast { expr, to, null_on_error } => {
                let word = if *null_on_error { "TRY_CAST" } else { "CAST" };
                write!(f, "{word}({expr} AS {to})")
            }
            ExprNode::Alias(expr, name) => write!(f, "{expr} AS {name}"),
            ExprNode::Field(expr, name) => write!(f, "{expr}.{name}"),
            ExprNode::Sort { expr, ascending, nulls_first } => {
                let order = if *ascending { "ASC" } else { "DESC" };
                let nulls = if *nulls_first { "FIRST" } else { "LAST" };
                write!(f, "{expr} {order} NULLS {nulls}")
            }
            ExprNode::Sql(text) | ExprNode::Unsupported(text) => f.write_str(text),
        }
    }
}

fn write_function(f: &mut fmt::Formatter<'_>, name: &str, args: &[Expr], distinct: bool) -> fmt::Result {
    let lower = name.to_ascii_lowercase();
    match (lower.as_str(), args) {
        (_, [left, right]) if INFIX.contains(&lower.as_str()) => {
            write!(f, "({left} {} {right})", name.to_uppercase())
        }
        ("not", [arg]) => write!(f, "(NOT {arg})"),
        ("negative", [arg]) => write!(f, "(- {arg})"),
        ("isnull", [arg]) => write!(f, "({arg} IS NULL)"),
        ("isnotnull", [arg]) => write!(f, "({arg} IS NOT NULL)"),
        ("like", [arg, pattern]) => write!(f, "{arg} LIKE {pattern}"),
        ("in", [arg, list @ ..]) => {
            write!(f, "({arg} IN (")?;
            write_list(f, list)?;
            f.write_str("))")
        }
        ("count", [star]) if matches!(star.node(), ExprNode::Star(None)) => f.write_str("count(1)"),
        _ => write_call(f, &lower, args, if distinct { "DISTINCT " } else { "" }),
    }
}

fn write_call(f: &mut fmt::Formatter<'_>, name: &str, args: &[Expr], prefix: &str) -> fmt::Result {
    write!(f, "{name}({prefix}")?;
    write_list(f, args)?;
    f.write_str(")")
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[Expr]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl fmt::Display for CastTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.to_uppercase()),
            Self::Type(data_type) => f.write_str(&crate::types::type_name(data_type)),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Long(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Decimal(value, _, scale) => f.write_str(&crate::types::decimal_text(*value, *scale)),
            Self::String(value) => f.write_str(value),
            Self::Binary(value) => {
                f.write_str("X'")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                f.write_str("'")
            }
            Self::Date(days) => write!(f, "DATE '{}'", crate::types::date_text(*days)),
            Self::Timestamp(micros) => write!(f, "TIMESTAMP '{}'", crate::types::timestamp_text(*micros)),
            Self::Interval { months, days, micros } => {
                write!(f, "INTERVAL {months} months {days} days {micros} microseconds")
            }
        }
    }
}
