//! The names of types as Spark prints them.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema};

/// The type's SQL name: `BIGINT`, `DECIMAL(10,2)`, `ARRAY<STRING>`.
///
/// Types that Spark does not have keep Arrow's name; a dictionary is named as its values.
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "BOOLEAN".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INT".into(),
        T::Int64 => "BIGINT".into(),
        T::Float32 => "FLOAT".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("DECIMAL({p},{s})")
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "STRING".into(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BINARY".into(),
        T::Date32 | T::Date64 => "DATE".into(),
        T::Timestamp(_, Some(_)) => "TIMESTAMP".into(),
        T::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        T::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        T::Interval(IntervalUnit::DayTime) | T::Duration(_) => "INTERVAL DAY TO SECOND".into(),
        T::Interval(IntervalUnit::MonthDayNano) => "INTERVAL".into(),
        T::Null => "VOID".into(),
        T::Struct(fields) => {
            format!("STRUCT<{}>", fields.iter().map(|f| field_name(f)).collect::<Vec<_>>().join(", "))
        }
        T::Map(entries, _) => match map_fields(entries) {
            Some((key, value)) => format!("MAP<{}, {}>", type_name(key.data_type()), type_name(value.data_type())),
            None => data_type.to_string(),
        },
        T::Dictionary(_, values) => type_name(values),
        other => match element_field(other) {
            Some(element) => format!("ARRAY<{}>", type_name(element.data_type())),
            None => other.to_string(),
        },
    }
}

/// The type's word in Spark's `printSchema`: `long`, `integer`, `array`; parts of nested types are not in it.
pub fn tree_name(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Int8 => "byte".into(),
        T::Int16 => "short".into(),
        T::Int32 => "integer".into(),
        T::Int64 => "long".into(),
        T::Struct(_) => "struct".into(),
        T::Map(..) => "map".into(),
        T::Dictionary(_, values) => tree_name(values),
        other if element_field(other).is_some() => "array".into(),
        other => type_name(other).to_lowercase(),
    }
}

/// The schema as Spark's `printSchema` writes it, with a line feed after each line.
///
/// ```
/// use arrow::datatypes::{DataType, Field, Schema};
///
/// let schema = Schema::new(vec![Field::new("word", DataType::Utf8, true)]);
/// assert_eq!(millstream::types::schema_tree(&schema), "root\n |-- word: string (nullable = true)\n");
/// ```
pub fn schema_tree(schema: &Schema) -> String {
    let mut tree = String::from("root\n");
    write_fields(&mut tree, " |", schema.fields());
    tree
}

fn write_fields(tree: &mut String, prefix: &str, fields: &Fields) {
    for field in fields {
        write_node(tree, prefix, field.name(), field, Some("nullable"));
    }
}

/// Writes one line and, below it, the parts of its type. `null_word` names what `field` says about nulls.
fn write_node(tree: &mut String, prefix: &str, label: &str, field: &Field, null_word: Option<&str>) {
    let nulls = null_word.map_or_else(String::new, |word| format!(" ({word} = {})", field.is_nullable()));
    // Writing to a string cannot fail.
    let _ = writeln!(tree, "{prefix}-- {label}: {}{nulls}", tree_name(field.data_type()));
    let below = format!("{prefix}    |");
    match field.data_type() {
        DataType::Struct(fields) => write_fields(tree, &below, fields),
        DataType::Map(entries, _) => {
            if let Some((key, value)) = map_fields(entries) {
                write_node(tree, &below, "key", key, None);
                write_node(tree, &below, "value", value, Some("valueContainsNull"));
            }
        }
        other => {
            if let Some(element) = element_field(other) {
                write_node(tree, &below, "element", element, Some("containsNull"));
            }
        }
    }
}

/// The element of any of Arrow's list types.
pub(super) fn element_field(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => Some(element.as_ref()),
        _ => None,
    }
}

/// Key and value of a map's entries.
pub(super) fn map_fields(entries: &Field) -> Option<(&Field, &Field)> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Some((fields[0].as_ref(), fields[1].as_ref())),
        _ => None,
    }
}

fn field_name(field: &Field) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = match field.name() {
        name if !name.is_empty() && name.chars().all(plain) => name.clone(),
        name => format!("`{}`", name.replace('`', "``")),
    };
    let required = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{name}: {}{required}", type_name(field.data_type()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::TimeUnit;

    use super::*;
    use crate::types::{parse_ddl, parse_type};

    #[test]
    fn types_have_sparks_sql_names() {
        let cases = [
            (DataType::Boolean, "BOOLEAN"),
            (DataType::Int32, "INT"),
            (DataType::Decimal128(12, 3), "DECIMAL(12,3)"),
            (DataType::Utf8, "STRING"),
            (DataType::Utf8View, "STRING"),
            (DataType::BinaryView, "BINARY"),
            (DataType::Timestamp(TimeUnit::Nanosecond, Some("+08:00".into())), "TIMESTAMP"),
            (DataType::Timestamp(TimeUnit::Second, None), "TIMESTAMP_NTZ"),
            (DataType::Interval(IntervalUnit::MonthDayNano), "INTERVAL"),
            (DataType::Duration(TimeUnit::Microsecond), "INTERVAL DAY TO SECOND"),
            (DataType::Null, "VOID"),
            (DataType::UInt16, "UInt16"),
            (DataType::new_large_list(DataType::Utf8, true), "ARRAY<STRING>"),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "STRING"),
            (parse_type("map<int, array<date>>").unwrap(), "MAP<INT, ARRAY<DATE>>"),
        ];
        for (data_type, expected) in cases {
            assert_eq!(type_name(&data_type), expected);
        }
    }

    #[test]
    fn a_struct_names_its_fields_quoted_where_needed() {
        let fields = vec![
            Arc::new(Field::new("a", DataType::Int64, true)),
            Arc::new(Field::new("odd name", DataType::Utf8View, false)),
        ];
        assert_eq!(type_name(&DataType::Struct(fields.into())), "STRUCT<a: BIGINT, `odd name`: STRING NOT NULL>");
    }

    #[test]
    fn a_schema_prints_as_sparks_tree() {
        let ddl = "word STRING, n BIGINT NOT NULL, d DECIMAL(5,1), \
                   w STRUCT<start: TIMESTAMP, tags: ARRAY<STRUCT<k: INT>>>, m MAP<STRING, ARRAY<INT>>, v VOID";
        let expected = "\
root
 |-- word: string (nullable = true)
 |-- n: long (nullable = false)
 |-- d: decimal(5,1) (nullable = true)
 |-- w: struct (nullable = true)
 |    |-- start: timestamp (nullable = true)
 |    |-- tags: array (nullable = true)
 |    |    |-- element: struct (containsNull = true)
 |    |    |    |-- k: integer (nullable = true)
 |-- m: map (nullable = true)
 |    |-- key: string
 |    |-- value: array (valueContainsNull = true)
 |    |    |-- element: integer (containsNull = true)
 |-- v: void (nullable = true)
";
        assert_eq!(schema_tree(&parse_ddl(ddl).unwrap()), expected);
    }
}
