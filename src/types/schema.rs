//! Schemas as users give them: DDL text, Arrow schemas, or column by column.
//!
//! Owns: keeping what was given and where, so that building a query never fails. Does not own: the grammar (`ddl`).

use std::panic::Location;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::convert::{engine_schema, user_schema};
use super::ddl::{check_names, parse_ddl, parse_type};
use crate::error::Result;

/// A schema as it was given, and the line of the program that gave it.
#[derive(Debug, Clone)]
pub struct SchemaInput {
    given: Given,
    location: &'static Location<'static>,
}

#[derive(Debug, Clone)]
enum Given {
    Ddl(String),
    Arrow(SchemaRef),
    Columns(Vec<Column>),
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    data_type: String,
    nullable: bool,
}

impl SchemaInput {
    /// The schema in engine types, with the column names as given.
    ///
    /// # Errors
    /// With the line that gave the schema: when its text cannot be read or two names differ at most by case.
    pub fn resolve(&self) -> Result<SchemaRef> {
        self.read().map_err(|error| error.context("schema").at(self.location))
    }

    fn read(&self) -> Result<SchemaRef> {
        let schema = match &self.given {
            Given::Ddl(text) => return Ok(Arc::new(parse_ddl(text)?)),
            Given::Arrow(schema) => engine_schema(schema),
            Given::Columns(columns) => Schema::new(columns.iter().map(Column::field).collect::<Result<Vec<_>>>()?),
        };
        check_names(schema.fields().iter().map(|field| field.name().as_str()))?;
        Ok(Arc::new(schema))
    }

    #[track_caller]
    fn new(given: Given) -> Self {
        Self { given, location: Location::caller() }
    }
}

impl Column {
    fn field(&self) -> Result<Field> {
        let data_type = parse_type(&self.data_type).map_err(|e| e.context(format_args!("column `{}`", self.name)))?;
        Ok(Field::new(&self.name, data_type, self.nullable))
    }
}

/// A schema written column by column.
///
/// ```
/// use millstream::types::SchemaBuilder;
///
/// let schema = SchemaBuilder::new().column("word", "STRING").required("n", "BIGINT").build()?;
/// assert!(schema.field(0).is_nullable());
/// assert!(!schema.field(1).is_nullable());
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a schema builder does nothing until it is given to a reader or built"]
pub struct SchemaBuilder {
    columns: Vec<Column>,
}

impl SchemaBuilder {
    /// A schema without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column that may hold nulls. The type is Spark's text, such as `array<int>`.
    pub fn column(self, name: impl Into<String>, data_type: impl Into<String>) -> Self {
        self.add(name.into(), data_type.into(), true)
    }

    /// Adds a column without nulls.
    pub fn required(self, name: impl Into<String>, data_type: impl Into<String>) -> Self {
        self.add(name.into(), data_type.into(), false)
    }

    /// The Arrow schema in user types (STRING is `Utf8`), as record batches are built with.
    ///
    /// # Errors
    /// When a type is unknown or two names differ at most by case.
    #[track_caller]
    pub fn build(self) -> Result<SchemaRef> {
        Ok(Arc::new(user_schema(self.into_schema().resolve()?.as_ref())))
    }

    fn add(mut self, name: String, data_type: String, nullable: bool) -> Self {
        self.columns.push(Column { name, data_type, nullable });
        self
    }
}

/// What can stand for a schema: DDL text, an Arrow schema, its fields, or a [`SchemaBuilder`].
pub trait IntoSchema {
    /// Keeps the schema and the caller's line; it is read at analysis.
    #[track_caller]
    fn into_schema(self) -> SchemaInput;
}

macro_rules! into_schema {
    ($($given:ty: $self:ident => $make:expr;)*) => {$(
        impl IntoSchema for $given {
            #[track_caller]
            fn into_schema($self) -> SchemaInput {
                SchemaInput::new($make)
            }
        }
    )*};
}

into_schema! {
    &str: self => Given::Ddl(self.to_string());
    &String: self => Given::Ddl(self.clone());
    String: self => Given::Ddl(self);
    Schema: self => Given::Arrow(Arc::new(self));
    &Schema: self => Given::Arrow(Arc::new(self.clone()));
    SchemaRef: self => Given::Arrow(self);
    &SchemaRef: self => Given::Arrow(Arc::clone(self));
    Vec<Field>: self => Given::Arrow(Arc::new(Schema::new(self)));
    SchemaBuilder: self => Given::Columns(self.columns);
}

impl IntoSchema for SchemaInput {
    fn into_schema(self) -> SchemaInput {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn every_way_to_give_a_schema_gives_engine_types() {
        let arrow = Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int32, false)]);
        let given = [
            "a STRING, b INT NOT NULL".into_schema(),
            String::from("a: STRING, b: INT NOT NULL").into_schema(),
            (&arrow).into_schema(),
            arrow.clone().into_schema(),
            Arc::new(arrow.clone()).into_schema(),
            (&Arc::new(arrow.clone())).into_schema(),
            vec![Field::new("a", DataType::LargeUtf8, true), Field::new("b", DataType::Int32, false)].into_schema(),
            SchemaBuilder::new().column("a", "STRING").required("b", "INT").into_schema(),
        ];
        for schema in given {
            let schema = schema.into_schema().resolve().unwrap();
            assert_eq!(schema.field(0), &Field::new("a", DataType::Utf8View, true));
            assert_eq!(schema.field(1), &Field::new("b", DataType::Int32, false));
        }
    }

    #[test]
    fn an_error_names_the_line_that_gave_the_schema() {
        let line = line!() + 1;
        let text = "a STRNG".into_schema();
        let error = text.resolve().unwrap_err();
        assert_eq!(error.location().unwrap().line(), line);
        assert!(error.message().starts_with("schema: expected a type at character 3"), "{error}");

        let line = line!() + 1;
        let error = SchemaBuilder::new().column("a", "INT").column("n", "BIGIN").build().unwrap_err();
        assert_eq!(error.location().unwrap().line(), line);
        assert!(error.message().starts_with("schema: column `n`: expected a type"), "{error}");
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_however_it_is_given() {
        let fields = vec![Field::new("a", DataType::Int8, true), Field::new("A", DataType::Int8, true)];
        assert!(fields.into_schema().resolve().unwrap_err().message().contains("column `A` is there twice"));
    }

    #[test]
    fn a_built_schema_has_user_types() {
        let schema = SchemaBuilder::new().column("a", "array<string>").build().unwrap();
        assert_eq!(schema.field(0).data_type(), &DataType::new_list(DataType::Utf8, true));
    }
}
