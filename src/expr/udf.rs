//! Scalar functions written in Rust.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::error::Result;

/// The body of a scalar function: whole columns in, one column of the same length out.
pub(crate) type UdfBody = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;

/// A named Rust closure over columns.
///
/// The arguments are cast to `arguments` before the call, so the closure sees exactly those types. A panic inside
/// fails the query with the function's name, not the process.
#[derive(Clone)]
pub struct ScalarUdf {
    name: String,
    arguments: Vec<DataType>,
    returns: DataType,
    body: UdfBody,
}

impl ScalarUdf {
    /// Names a closure. Strings arrive and must be returned as `Utf8`.
    pub fn new<F>(name: impl Into<String>, arguments: Vec<DataType>, returns: DataType, body: F) -> Self
    where
        F: Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    {
        Self { name: name.into(), arguments, returns, body: Arc::new(body) }
    }

    /// The name SQL text calls it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types the closure receives.
    pub fn arguments(&self) -> &[DataType] {
        &self.arguments
    }

    /// The type the closure returns.
    pub fn returns(&self) -> &DataType {
        &self.returns
    }

    pub(crate) fn body(&self) -> &UdfBody {
        &self.body
    }
}

impl fmt::Debug for ScalarUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?}) -> {:?}", self.name, self.arguments, self.returns)
    }
}
