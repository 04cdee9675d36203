//! What the condition of a streaming join says.
//!
//! Owns: which equalities are keys ([`conditions`]), and how the rest bounds the state ([`bounds`]). Does not own: the operators
//! (`lower`), or which joins are refused (`checks`).

pub(super) mod bounds;
pub(super) mod conditions;
