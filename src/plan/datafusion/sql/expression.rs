//! Parsed expressions to our own.
//!
//! Owns: which of Spark's functions each operator and keyword is. Does not own: constants (`literal`), queries.

use std::panic::Location;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField,
    DuplicateTreatment, Expr as Parsed, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, Interval, NullTreatment, ObjectName, ObjectNamePart, StructField, Subscript,
    TrimWhereField, TypedString, UnaryOperator, Value, ValueWithSpan,
};

use super::{Lowered, Stop, beyond, literal};
use crate::error::{Error, Result};
use crate::expr::{CastTarget, Expr, ExprNode, Literal, functions};
use crate::types::{Zone, parse_timestamp, parse_timestamp_ntz};

/// Lowers the expressions of one SELECT.
#[derive(Debug, Clone)]
pub(super) struct Expressions {
    location: &'static Location<'static>,
    /// The names of lateral views, whose columns carry no qualifier in our tree.
    pub(super) views: Vec<String>,
}

impl Expressions {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self { location, views: Vec::new() }
    }

    /// An expression of our own at the line of the SQL text.
    pub(super) fn node(&self, node: ExprNode) -> Expr {
        Expr::with_location(node, self.location)
    }

    pub(super) fn call(&self, name: &str, args: Vec<Expr>) -> Expr {
        self.node(ExprNode::Function { name: name.to_string(), args, distinct: false, filter: None })
    }

    fn literal(&self, literal: Literal) -> Expr {
        self.node(ExprNode::Literal(literal))
    }

    fn text(&self, text: impl Into<String>) -> Expr {
        self.literal(Literal::String(text.into()))
    }

    pub(super) fn alias(&self, expr: Expr, name: String) -> Expr {
        self.node(ExprNode::Alias(expr, name))
    }

    /// Our form of a parsed expression.
    pub(super) fn lower(&self, expr: &Parsed) -> Lowered<Expr> {
        match expr {
            Parsed::Identifier(name) => Ok(self.column(std::slice::from_ref(name))),
            Parsed::CompoundIdentifier(names) => Ok(self.column(names)),
            Parsed::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Parsed::Nested(inner) => self.lower(inner),
            Parsed::Value(value) => self.value(value),
            Parsed::TypedString(string) => self.typed_string(string),
            Parsed::Interval(interval) => self.interval(interval),
            Parsed::Function(function) => self.function(function),
            Parsed::UnaryOp { op, expr } => self.unary(*op, expr),
            Parsed::BinaryOp { left, op, right } => self.binary(left, op, right),
            Parsed::IsNull(inner) | Parsed::IsUnknown(inner) => self.over("isnull", &[inner]),
            Parsed::IsNotNull(inner) | Parsed::IsNotUnknown(inner) => self.over("isnotnull", &[inner]),
            Parsed::IsTrue(inner) => self.over("istrue", &[inner]),
            Parsed::IsNotTrue(inner) => self.over("isnottrue", &[inner]),
            Parsed::IsFalse(inner) => self.over("isfalse", &[inner]),
            Parsed::IsNotFalse(inner) => self.over("isnotfalse", &[inner]),
            Parsed::IsNotDistinctFrom(left, right) => self.over("<=>", &[left, right]),
            Parsed::IsDistinctFrom(left, right) => Ok(self.negated(true, self.over("<=>", &[left, right])?)),
            Parsed::Between { expr, negated, low, high } => {
                Ok(self.negated(*negated, self.over("between", &[expr, low, high])?))
            }
            Parsed::InList { expr, list, negated } => {
                let args: Vec<&Parsed> = std::iter::once(expr.as_ref()).chain(list).collect();
                Ok(self.negated(*negated, self.over("in", &args)?))
            }
            Parsed::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like("like", *negated, [expr, pattern], escape_char.as_ref())
            }
            Parsed::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like("ilike", *negated, [expr, pattern], escape_char.as_ref())
            }
            Parsed::RLike { negated, expr, pattern, .. } => self.like("rlike", *negated, [expr, pattern], None),
            Parsed::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Parsed::Cast { kind, expr, data_type, array: false, format: None } => {
                let null_on_error = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
                self.cast(expr, type_text(data_type), null_on_error)
            }
            Parsed::Extract { field, expr, .. } => {
                Ok(self.call("date_part", vec![self.text(field.to_string()), self.lower(expr)?]))
            }
            Parsed::Ceil { expr, field } => self.rounded("ceil", expr, field),
            Parsed::Floor { expr, field } => self.rounded("floor", expr, field),
            Parsed::Position { expr, r#in } => self.over("position", &[expr, r#in]),
            Parsed::Substring { expr, substring_from, substring_for, .. } => {
                let args: Vec<&Parsed> = [Some(expr), substring_from.as_ref(), substring_for.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(AsRef::as_ref)
                    .collect();
                self.over("substring", &args)
            }
            Parsed::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args: Vec<&Parsed> = vec![expr, overlay_what, overlay_from];
                args.extend(overlay_for.as_deref());
                self.over("overlay", &args)
            }
            Parsed::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "trim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let args: Vec<&Parsed> = std::iter::once(expr.as_ref()).chain(trim_what.as_deref()).collect();
                self.over(name, &args)
            }
            Parsed::Struct { values, fields } if fields.is_empty() => self.structure(values),
            Parsed::Named { expr, name } => Ok(self.alias(self.lower(expr)?, word(name))),
            Parsed::Array(array) => self.over("array", &array.elem.iter().collect::<Vec<_>>()),
            Parsed::Wildcard(_) => Ok(self.node(ExprNode::Star(None))),
            Parsed::QualifiedWildcard(of, _) => Ok(self.node(ExprNode::Star(Some(object_name(of)?)))),
            Parsed::Subquery(_) => beyond("a scalar subquery"),
            Parsed::Exists { .. } => beyond("EXISTS (subquery)"),
            Parsed::InSubquery { .. } => beyond("IN (subquery)"),
            Parsed::Lambda(_) => beyond(format!("the lambda {expr}")),
            other => beyond(other.to_string()),
        }
    }

    /// A function over lowered arguments.
    fn over(&self, name: &str, args: &[&Parsed]) -> Lowered<Expr> {
        let args: Lowered<Vec<Expr>> = args.iter().map(|arg| self.lower(arg)).collect();
        Ok(self.call(name, args?))
    }

    fn negated(&self, negated: bool, expr: Expr) -> Expr {
        if negated { self.call("not", vec![expr]) } else { expr }
    }

    fn column(&self, names: &[Ident]) -> Expr {
        let mut parts: Vec<String> = names.iter().map(word).collect();
        if parts.len() > 1 && self.views.iter().any(|view| view.eq_ignore_ascii_case(&parts[0])) {
            parts.remove(0);
        }
        self.node(ExprNode::Column(parts))
    }

    /// `a.b[0]['k'].c`
    fn access(&self, root: &Parsed, chain: &[AccessExpr]) -> Lowered<Expr> {
        chain.iter().try_fold(self.lower(root)?, |of, access| match access {
            AccessExpr::Dot(Parsed::Identifier(name)) => Ok(self.node(ExprNode::Field(of, word(name)))),
            AccessExpr::Subscript(Subscript::Index { index }) => Ok(self.call("getitem", vec![of, self.lower(index)?])),
            AccessExpr::Dot(_) | AccessExpr::Subscript(Subscript::Slice { .. }) => beyond(format!("{root}{access}")),
        })
    }

    fn value(&self, value: &ValueWithSpan) -> Lowered<Expr> {
        Ok(self.literal(match &value.value {
            Value::Null => Literal::Null,
            Value::Boolean(value) => Literal::Boolean(*value),
            Value::Number(text, _) => literal::number(text)?,
            Value::SingleQuotedString(raw) => Literal::String(literal::string(raw, '\'')),
            Value::DoubleQuotedString(raw) => Literal::String(literal::string(raw, '"')),
            Value::SingleQuotedRawStringLiteral(text) => Literal::String(text.clone()),
            Value::HexStringLiteral(digits) => literal::binary(digits)?,
            other => return beyond(format!("the constant {other}")),
        }))
    }

    /// `DATE '…'`, or a cast, which reads a TIMESTAMP in the session's time zone.
    fn typed_string(&self, string: &TypedString) -> Lowered<Expr> {
        let (data_type, text) = (string.data_type.to_string(), constant_text(&string.value));
        let Some(text) = text else { return beyond(string.to_string()) };
        let is_right = match data_type.to_uppercase().as_str() {
            "DATE" => return Ok(self.literal(literal::date(&text)?)),
            "TIMESTAMP" => parse_timestamp(&text, Zone::UTC).is_some(),
            "TIMESTAMP_NTZ" => parse_timestamp_ntz(&text).is_some(),
            _ => return beyond(string.to_string()),
        };
        if !is_right {
            let remedy = "write it as yyyy-MM-dd HH:mm:ss";
            return Err(Error::plan(format!("SQL: {data_type} '{text}' is not a time; {remedy}")).into());
        }
        let (expr, to) = (self.text(text), CastTarget::Text(data_type));
        Ok(self.node(ExprNode::Cast { expr, to, null_on_error: false }))
    }

    fn interval(&self, interval: &Interval) -> Lowered<Expr> {
        let Parsed::Value(value) = interval.value.as_ref() else { return beyond(interval.to_string()) };
        let Some(text) = constant_text(value) else { return beyond(interval.to_string()) };
        let literal = match (&interval.leading_field, &interval.last_field) {
            (Some(from), Some(to)) => literal::interval_between(&text, &from.to_string(), &to.to_string())?,
            (Some(unit), None) => literal::interval(&format!("{text} {unit}"))?,
            (None, _) => literal::interval(&text)?,
        };
        Ok(self.literal(literal))
    }

    fn unary(&self, operator: UnaryOperator, operand: &Parsed) -> Lowered<Expr> {
        match (operator, operand) {
            (UnaryOperator::Minus, Parsed::Value(ValueWithSpan { value: Value::Number(text, _), .. })) => {
                Ok(self.literal(literal::number(&format!("-{text}"))?))
            }
            (UnaryOperator::Minus, _) => self.over("negative", &[operand]),
            (UnaryOperator::Plus, _) => self.lower(operand),
            (UnaryOperator::Not | UnaryOperator::BangNot, _) => self.over("not", &[operand]),
            (UnaryOperator::BitwiseNot, _) => self.over("~", &[operand]),
            _ => beyond(format!("the operator {operator}")),
        }
    }

    /// A chain such as `a OR b OR c …` leans to the left and may be long, so it is walked without recursion.
    fn binary<'a>(&self, left: &'a Parsed, operator: &'a BinaryOperator, right: &'a Parsed) -> Lowered<Expr> {
        let mut first = left;
        let mut chain = vec![(operator, right)];
        while let Parsed::BinaryOp { left, op, right } = first {
            chain.push((op, right));
            first = left;
        }
        chain.into_iter().rev().try_fold(self.lower(first)?, |left, (operator, right)| {
            let Some(name) = operator_name(operator) else { return beyond(format!("the operator {operator}")) };
            Ok(self.call(name, vec![left, self.lower(right)?]))
        })
    }

    fn like(&self, name: &str, negated: bool, args: [&Parsed; 2], escape: Option<&ValueWithSpan>) -> Lowered<Expr> {
        let mut args = vec![self.lower(args[0])?, self.lower(args[1])?];
        if let Some(escape) = escape {
            args.push(self.value(escape)?);
        }
        Ok(self.negated(negated, self.call(name, args)))
    }

    fn case(&self, operand: Option<&Parsed>, whens: &[CaseWhen], otherwise: Option<&Parsed>) -> Lowered<Expr> {
        let operand = operand.map(|operand| self.lower(operand)).transpose()?;
        let mut branches = Vec::with_capacity(whens.len());
        for CaseWhen { condition, result } in whens {
            let condition = self.lower(condition)?;
            let condition = match &operand {
                Some(operand) => self.call("=", vec![operand.clone(), condition]),
                None => condition,
            };
            branches.push((condition, self.lower(result)?));
        }
        let otherwise = otherwise.map(|value| self.lower(value)).transpose()?;
        Ok(self.node(ExprNode::Case { branches, otherwise }))
    }

    fn cast(&self, expr: &Parsed, to: String, null_on_error: bool) -> Lowered<Expr> {
        let (expr, to) = (self.lower(expr)?, CastTarget::Text(to));
        Ok(self.node(ExprNode::Cast { expr, to, null_on_error }))
    }

    fn rounded(&self, name: &str, expr: &Parsed, field: &CeilFloorKind) -> Lowered<Expr> {
        let mut args = vec![self.lower(expr)?];
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => {}
            CeilFloorKind::DateTimeField(field) => return beyond(format!("{name}(… TO {field})")),
            CeilFloorKind::Scale(scale) => args.push(self.value(scale)?),
        }
        Ok(self.call(name, args))
    }

    /// `struct(a, b + 1 AS c)` as `named_struct('a', a, 'c', b + 1)`.
    fn structure(&self, values: &[Parsed]) -> Lowered<Expr> {
        let mut args = Vec::with_capacity(values.len() * 2);
        for (place, value) in values.iter().enumerate() {
            let (name, value) = functions::struct_field(&self.lower(value)?, place);
            args.extend([self.text(name), value]);
        }
        Ok(self.call("named_struct", args))
    }

    fn function(&self, function: &Function) -> Lowered<Expr> {
        if function.over.is_some() {
            return Err(Stop::Window(function.to_string()));
        }
        if !matches!(function.parameters, FunctionArguments::None) || !function.within_group.is_empty() {
            return beyond(function.to_string());
        }
        let name = object_name(&function.name)?.to_lowercase();
        let mut args = Vec::new();
        let mut distinct = false;
        let mut nulls = function.null_treatment;
        match &function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) => return beyond(function.to_string()),
            FunctionArguments::List(list) => {
                distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
                for arg in &list.args {
                    args.push(self.argument(arg)?);
                }
                for clause in &list.clauses {
                    let FunctionArgumentClause::IgnoreOrRespectNulls(treatment) = clause else {
                        return beyond(function.to_string());
                    };
                    nulls = Some(*treatment);
                }
            }
        }
        // Spark's own form of `first(x) IGNORE NULLS` is `first(x, true)`.
        if matches!(nulls, Some(NullTreatment::IgnoreNulls)) {
            args.push(self.literal(Literal::Boolean(true)));
        }
        let filter = function.filter.as_ref().map(|filter| self.lower(filter)).transpose()?;
        Ok(self.node(ExprNode::Function { name, args, distinct, filter }))
    }

    fn argument(&self, argument: &FunctionArg) -> Lowered<Expr> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.lower(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(self.node(ExprNode::Star(None))),
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of)) => {
                Ok(self.node(ExprNode::Star(Some(object_name(of)?))))
            }
            other => beyond(format!("the argument {other}")),
        }
    }
}

/// Spark's function of an operator.
fn operator_name(operator: &BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::MyIntegerDivide => "div",
        BinaryOperator::StringConcat => "concat",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "!=",
        BinaryOperator::Lt => "<",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Gt => ">",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::Spaceship => "<=>",
        BinaryOperator::And => "and",
        BinaryOperator::Or => "or",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::BitwiseXor => "^",
        BinaryOperator::PGBitwiseShiftLeft => "shiftleft",
        BinaryOperator::PGBitwiseShiftRight => "shiftright",
        _ => return None,
    })
}

/// A type as Spark writes it.
fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Array(ArrayElemTypeDef::AngleBracket(item)) => format!("array<{}>", type_text(item)),
        DataType::Map(key, value) => format!("map<{}, {}>", type_text(key), type_text(value)),
        DataType::Struct(fields, _) => {
            let field = |field: &StructField| match &field.field_name {
                Some(name) => format!("{name}: {}", type_text(&field.field_type)),
                None => type_text(&field.field_type),
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The text of a quoted string or a number.
fn constant_text(value: &ValueWithSpan) -> Option<String> {
    match &value.value {
        Value::SingleQuotedString(raw) => Some(literal::string(raw, '\'')),
        Value::DoubleQuotedString(raw) => Some(literal::string(raw, '"')),
        Value::SingleQuotedRawStringLiteral(text) | Value::Number(text, _) => Some(text.clone()),
        _ => None,
    }
}

/// A name without its backticks.
pub(super) fn word(name: &Ident) -> String {
    match name.quote_style {
        Some('`') => name.value.replace("``", "`"),
        _ => name.value.clone(),
    }
}

/// The name of a table or function, its parts joined by dots.
pub(super) fn object_name(name: &ObjectName) -> Result<String> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(name) => Ok(word(name)),
        ObjectNamePart::Function(_) => Err(Error::plan(format!("SQL: `{name}` is not a name"))),
    };
    Ok(name.0.iter().map(part).collect::<Result<Vec<_>>>()?.join("."))
}
