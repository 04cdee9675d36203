//! stub
use datafusion::logical_expr::{Expr as TypedExpr, Join};
pub(in crate::plan::datafusion) struct KeyPair {
    pub left: TypedExpr,
    pub right: TypedExpr,
    pub null_safe: bool,
}
pub(in crate::plan::datafusion) struct JoinParts {
    pub keys: Vec<KeyPair>,
    pub left_only: Vec<TypedExpr>,
    pub right_only: Vec<TypedExpr>,
    pub residual: Vec<TypedExpr>,
}
pub(in crate::plan::datafusion) fn parts(_: &Join) -> JoinParts {
    todo!()
}
