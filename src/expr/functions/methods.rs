//! The methods and operators of [`Expr`].
//!
//! An operand is a value: text is a string, a number a constant.

use std::ops::{Add, Div, Mul, Neg, Not, Rem, Sub};

use super::{CastTarget, Expr, ExprNode, IntoCondition, IntoOperand};

/// Declares methods of one operand: `rust_name(operand) => "spark_name"`.
macro_rules! of_one_operand {
    ($($(#[$doc:meta])* $name:ident($operand:ident) => $spark:literal;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self, $operand: impl IntoOperand) -> Self {
            Self::function($spark, [self.clone(), $operand.into_operand()])
        }
    )*};
}

/// Declares methods without operands.
macro_rules! of_itself {
    ($($(#[$doc:meta])* $name:ident => $spark:literal;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self) -> Self {
            Self::function($spark, [self.clone()])
        }
    )*};
}

impl Expr {
    of_one_operand! {
        /// Whether both are equal; null when one is null.
        eq(other) => "=";
        /// Whether they differ; null when one is null.
        neq(other) => "!=";
        /// Whether it is greater; null when one is null.
        gt(other) => ">";
        /// Whether it is greater or equal; null when one is null.
        gt_eq(other) => ">=";
        /// Whether it is less; null when one is null.
        lt(other) => "<";
        /// Whether it is less or equal; null when one is null.
        lt_eq(other) => "<=";
        /// Whether both are equal, where null equals null; never null.
        eq_null_safe(other) => "<=>";
        /// Whether a STRING matches a pattern, in which `%` is any text, `_` any letter and `\` takes either as it is.
        like(pattern) => "like";
        /// As [`like`](Self::like), without case.
        ilike(pattern) => "ilike";
        /// Whether a regular expression matches a part of a STRING.
        rlike(pattern) => "rlike";
        /// Whether a STRING holds a text.
        contains(part) => "contains";
        /// Whether a STRING begins with a text.
        starts_with(prefix) => "startswith";
        /// Whether a STRING ends with a text.
        ends_with(suffix) => "endswith";
        /// The item of an ARRAY by its place from 0, or of a MAP by its key; null when there is none.
        get_item(key) => "getitem";
    }

    of_itself! {
        /// Whether it is null; never null itself.
        is_null => "isnull";
        /// Whether it is not null; never null itself.
        is_not_null => "isnotnull";
        /// The opposite of a condition; null stays null.
        not => "not";
    }

    /// Whether both conditions hold.
    #[track_caller]
    pub fn and(&self, other: impl IntoCondition) -> Self {
        Self::function("and", [self.clone(), other.into_condition()])
    }

    /// Whether one of the conditions holds.
    #[track_caller]
    pub fn or(&self, other: impl IntoCondition) -> Self {
        Self::function("or", [self.clone(), other.into_condition()])
    }

    /// Whether it lies between two values, both included.
    #[track_caller]
    pub fn between(&self, low: impl IntoOperand, high: impl IntoOperand) -> Self {
        Self::function("between", [self.clone(), low.into_operand(), high.into_operand()])
    }

    /// Whether it equals one of these values; null when it equals none and one of them is null.
    #[track_caller]
    pub fn isin<T: IntoOperand>(&self, values: impl IntoIterator<Item = T>) -> Self {
        let mut args = vec![self.clone()];
        for value in values {
            args.push(value.into_operand());
        }
        Self::function("in", args)
    }

    /// The part of a STRING of so many letters that begins at a place from 1, negative from the end.
    #[track_caller]
    pub fn substr(&self, place: impl IntoOperand, length: impl IntoOperand) -> Self {
        Self::function("substring", [self.clone(), place.into_operand(), length.into_operand()])
    }

    /// The same under a name of its own.
    #[track_caller]
    pub fn alias(&self, name: impl Into<String>) -> Self {
        Self::new(ExprNode::Alias(self.clone(), name.into()))
    }

    /// A field of a STRUCT.
    #[track_caller]
    pub fn field(&self, name: impl Into<String>) -> Self {
        Self::new(ExprNode::Field(self.clone(), name.into()))
    }

    /// As another type, given as Spark's text (`"timestamp"`, `"array<int>"`) or as an Arrow type. A value that cannot
    /// be converted is null, or an error when the session says `millstream.ansi.enabled`.
    #[track_caller]
    pub fn cast(&self, to: impl Into<CastTarget>) -> Self {
        Self::new(ExprNode::Cast { expr: self.clone(), to: to.into(), null_on_error: false })
    }

    /// As [`cast`](Self::cast), but a value that cannot be converted is always null.
    #[track_caller]
    pub fn try_cast(&self, to: impl Into<CastTarget>) -> Self {
        Self::new(ExprNode::Cast { expr: self.clone(), to: to.into(), null_on_error: true })
    }

    /// One more branch of [`when`](super::when): the value where this condition holds and none before it does.
    #[track_caller]
    pub fn when(&self, condition: impl IntoCondition, value: impl IntoOperand) -> Self {
        let branch = (condition.into_condition(), value.into_operand());
        match self.node() {
            ExprNode::Case { branches, otherwise: None } => {
                let mut branches = branches.clone();
                branches.push(branch);
                Self::new(ExprNode::Case { branches, otherwise: None })
            }
            // Refused at analysis as an unknown function, with this line.
            _ => Self::function("when", [self.clone(), branch.0, branch.1]),
        }
    }

    /// The value of [`when`](super::when) where no condition holds.
    #[track_caller]
    pub fn otherwise(&self, value: impl IntoOperand) -> Self {
        let value = value.into_operand();
        match self.node() {
            ExprNode::Case { branches, otherwise: None } => {
                Self::new(ExprNode::Case { branches: branches.clone(), otherwise: Some(value) })
            }
            // Refused at analysis as an unknown function, with this line.
            _ => Self::function("otherwise", [self.clone(), value]),
        }
    }

    /// A sort key, smallest first, nulls first.
    #[track_caller]
    pub fn asc(&self) -> Self {
        self.sort_key(true, true)
    }

    /// A sort key, largest first, nulls last.
    #[track_caller]
    pub fn desc(&self) -> Self {
        self.sort_key(false, false)
    }

    /// A sort key, smallest first, nulls last.
    #[track_caller]
    pub fn asc_nulls_last(&self) -> Self {
        self.sort_key(true, false)
    }

    /// A sort key, largest first, nulls first.
    #[track_caller]
    pub fn desc_nulls_first(&self) -> Self {
        self.sort_key(false, true)
    }

    #[track_caller]
    fn sort_key(&self, ascending: bool, nulls_first: bool) -> Self {
        Self::new(ExprNode::Sort { expr: self.clone(), ascending, nulls_first })
    }
}

/// Implements an operator for expressions with operands, and for numbers with expressions.
macro_rules! binary_operators {
    ($($operator:ident $method:ident $spark:literal;)*) => {$(
        impl<T: IntoOperand> $operator<T> for Expr {
            type Output = Expr;

            #[track_caller]
            fn $method(self, other: T) -> Expr {
                Expr::function($spark, [self, other.into_operand()])
            }
        }

        impl<T: IntoOperand> $operator<T> for &Expr {
            type Output = Expr;

            #[track_caller]
            fn $method(self, other: T) -> Expr {
                Expr::function($spark, [self.clone(), other.into_operand()])
            }
        }

        binary_operators!(@number $operator $method $spark: i32 i64 f64);
    )*};
    (@number $operator:ident $method:ident $spark:literal: $($number:ty)*) => {$(
        impl $operator<Expr> for $number {
            type Output = Expr;

            #[track_caller]
            fn $method(self, other: Expr) -> Expr {
                Expr::function($spark, [self.into_operand(), other])
            }
        }
    )*};
}

binary_operators! {
    Add add "+";
    Sub sub "-";
    Mul mul "*";
    Div div "/";
    Rem rem "%";
}

/// Implements an operator for expressions alone.
macro_rules! unary_operators {
    ($($operator:ident $method:ident $spark:literal;)*) => {$(
        impl $operator for Expr {
            type Output = Expr;

            #[track_caller]
            fn $method(self) -> Expr {
                Expr::function($spark, [self])
            }
        }

        impl $operator for &Expr {
            type Output = Expr;

            #[track_caller]
            fn $method(self) -> Expr {
                Expr::function($spark, [self.clone()])
            }
        }
    )*};
}

unary_operators! {
    Neg neg "negative";
    Not not "not";
}
