//! stub
pub(super) mod bounds;
pub(super) mod conditions;
