//! Tests of the JSON format.

use std::path::PathBuf;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::super::tests::{options, read, read_columns, rows};
use super::*;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, data_type)| field(name, data_type.clone())).collect::<Vec<_>>()))
}

fn id_and_name() -> SchemaRef {
    schema(&[("id", DataType::Int32), ("name", DataType::Utf8View)])
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

fn map(value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8View, false), field("value", value)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn json(schema: &SchemaRef, set: &[(&str, &str)]) -> Json {
    Json::from_options(&options(set), Some(Arc::clone(schema)), Zone::default(), None).unwrap()
}

fn table(schema: &SchemaRef, set: &[(&str, &str)], text: &str) -> Vec<String> {
    read(&json(schema, set), "rows.json", text.as_bytes()).unwrap().0
}

#[test]
fn each_line_is_an_object_whose_keys_may_come_in_any_order() {
    let text = "{\"id\":1,\"name\":\"a\"}\r\n\n  \
        {\"other\":[1,{}],\"name\":\"b\",\"id\":2}\n{\"name\":null}\n{\"\\u0069d\":3,\"id\":4}";
    assert_eq!(table(&id_and_name(), &[], text), ["1|a", "2|b", "NULL|NULL", "4|NULL"]);
}

#[test]
fn values_are_read_by_the_types_of_the_schema() {
    let schema = schema(&[
        ("i", DataType::Int8),
        ("d", DataType::Float64),
        ("b", DataType::Boolean),
        ("n", DataType::Decimal128(5, 2)),
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ]);
    let text = r#"{"i":-8,"d":1,"b":false,"n":3.14159,"day":"2024-02-29","at":"2024-01-02 03:04:05"}
{"d":"-Infinity","n":"1.5","at":1}"#;
    assert_eq!(
        table(&schema, &[], text),
        ["-8|1.0|false|3.14|2024-02-29|2024-01-02T03:04:05Z", "NULL|-inf|NULL|1.50|NULL|1970-01-01T00:00:01Z"]
    );
}

#[test]
fn a_string_column_takes_any_value_as_json_text() {
    let text = r#"{"name":1.50}
{"name":true}
{"name":{ "a" : [1, "x"] }}
{"name":"tab\tand é"}"#;
    let expected = ["1.50", "true", r#"{"a":[1,"x"]}"#, "tab\tand é"];
    assert_eq!(table(&schema(&[("name", DataType::Utf8View)]), &[], text), expected);
}

#[test]
fn arrays_structs_and_maps_are_read_at_any_depth() {
    let point = DataType::Struct(vec![field("x", DataType::Int64), field("tags", list(DataType::Utf8View))].into());
    let schema = schema(&[("points", list(point)), ("ages", map(DataType::Int32))]);
    let text = r#"{"points":[{"x":1,"tags":["a","b"]},null,{"tags":[]}],"ages":{"anna":7,"bob":null}}
{"points":[],"ages":{}}
{"points":null}"#;
    let expected = ["[{x: 1, tags: [a, b]}, , {x: , tags: []}]|{anna: 7, bob: }", "[]|{}", "NULL|NULL"];
    let found: Vec<String> = table(&schema, &[], text).iter().map(|row| row.replace("NULL,", ",")).collect();
    let found: Vec<String> = found.iter().map(|row| row.replace(": NULL", ": ")).collect();
    assert_eq!(found, expected);
}

const MALFORMED: &str =
    "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}\n{\"id\":3\n[4]\n{\"id\":5,\"name\":\"e\"}\n";

#[test]
fn permissive_mode_keeps_what_can_be_read_and_counts_the_rest() {
    let (found, counts) = read(&json(&id_and_name(), &[]), "rows.json", MALFORMED.as_bytes()).unwrap();
    assert_eq!(found, ["1|a", "NULL|b", "NULL|NULL", "NULL|NULL", "5|e"]);
    assert_eq!((counts["malformedRows"], counts["droppedMalformedRows"]), (3, 0));
}

#[test]
fn the_corrupt_record_column_takes_malformed_rows_as_they_were() {
    let types = [("broken", DataType::Utf8View), ("id", DataType::Int32)];
    let found = table(&schema(&types), &[("columnNameOfCorruptRecord", "broken")], MALFORMED);
    let expected = ["NULL|1", "{\"id\":\"x\",\"name\":\"b\"}|NULL", "{\"id\":3|NULL", "[4]|NULL", "NULL|5"];
    assert_eq!(found, expected);
}

#[test]
fn drop_malformed_mode_leaves_bad_rows_out_and_counts_them() {
    let format = json(&id_and_name(), &[("mode", "DROPMALFORMED")]);
    let (found, counts) = read(&format, "rows.json", MALFORMED.as_bytes()).unwrap();
    assert_eq!((found.join(" "), counts["droppedMalformedRows"]), ("1|a 5|e".to_string(), 3));
}

#[test]
fn fail_fast_mode_names_file_line_column_and_value() {
    let format = json(&id_and_name(), &[("mode", "FAILFAST")]);
    let fails = |text: &str| read(&format, "rows.json", text.as_bytes()).unwrap_err().to_string();
    let error = fails(MALFORMED);
    assert!(error.contains("rows.json line 2: column `id`: `\"x\"` is not INT"), "{error}");
    let error = fails("{\"id\":1}\n{\"id\":\n");
    assert!(error.contains("line 2: not a JSON object: `{\"id\":`"), "{error}");
}

#[test]
fn a_bad_nested_value_is_null_and_marks_its_row() {
    let schema = schema(&[("list", list(DataType::Int32))]);
    let (found, counts) = read(&json(&schema, &[]), "rows.json", b"{\"list\":[1,\"x\",3]}\n{\"list\":7}\n").unwrap();
    assert_eq!((found[0].replace("NULL", ""), found[1].as_str()), ("[1, , 3]".to_string(), "NULL"));
    assert_eq!(counts["malformedRows"], 2);
}

#[test]
fn arrays_of_objects_are_rows_on_a_line_and_in_a_whole_file() {
    assert_eq!(table(&id_and_name(), &[], "[{\"id\":1},{\"id\":2}]\n{\"id\":3}"), ["1|NULL", "2|NULL", "3|NULL"]);
    let whole = "[\n {\"id\": 1,\n \"name\": \"a\"},\n {\"id\": 2}\n]\n";
    assert_eq!(table(&id_and_name(), &[("multiLine", "true")], whole), ["1|a", "2|NULL"]);
    assert_eq!(table(&id_and_name(), &[("multiLine", "true")], "{\n\"id\": 1\n}"), ["1|NULL"]);
    let many = format!("[{}{{\"id\":1}}]", "{\"id\":1},".repeat(10_000));
    let (batches, _) =
        read_columns(&json(&id_and_name(), &[("multiLine", "true")]), "a.json", many.as_bytes(), &[0]).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 1809]);
}

#[test]
fn projection_packed_files_and_separators_work_as_for_other_formats() {
    let (batches, _) =
        read_columns(&json(&id_and_name(), &[]), "a.json", b"{\"id\":\"x\",\"name\":\"a\"}", &[1]).unwrap();
    assert_eq!(rows(&batches), ["a"]);
    let packed = zstd::encode_all(&b"{'id':1};{'id':2}"[..], 1).unwrap();
    let format = json(&id_and_name(), &[("lineSep", ";")]);
    assert_eq!(read(&format, "a.json.zst", &packed).unwrap().0, ["1|NULL", "2|NULL"]);
}

#[test]
fn a_type_that_json_cannot_hold_is_refused() {
    let schema = schema(&[("bytes", list(DataType::BinaryView))]);
    let error = Json::from_options(&Options::new(), Some(schema), Zone::default(), None).unwrap_err().to_string();
    assert!(error.contains("column `bytes`: json files cannot hold"), "{error}");
}

fn inferred(set: &[(&str, &str)], text: &str) -> Result<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.json");
    std::fs::write(&path, text).unwrap();
    let sample = || -> Result<Vec<PathBuf>> { Ok(vec![path.clone()]) };
    let json = Json::from_options(&options(set), None, Zone::default(), Some(&sample))?;
    let column = |field: &Arc<Field>| format!("{} {}", field.name(), type_text(field.data_type()));
    Ok(json.schema().fields().iter().map(column).collect::<Vec<_>>().join(", "))
}

fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::List(element) => format!("[{}]", type_text(element.data_type())),
        DataType::Struct(fields) => {
            let member = |field: &Arc<Field>| format!("{}: {}", field.name(), type_text(field.data_type()));
            format!("{{{}}}", fields.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_schema_is_found_out_from_all_rows_and_sorted_by_name() {
    let text = r#"{"z":1,"d":1,"s":1,"list":[],"point":{"y":1.5},"none":null,"b":true,"empty":{}}
{"d":2.5,"s":"x","list":[1,null],"point":{"x":"a"},"big":99999999999999999999}"#;
    let expected = "b Boolean, big Float64, d Float64, list [Int64], none Utf8View, point {x: Utf8View, y: Float64}, \
        s Utf8View, z Int64";
    assert_eq!(inferred(&[], text).unwrap(), expected);
}

#[test]
fn malformed_rows_add_the_corrupt_record_column_to_the_schema_found() {
    assert_eq!(inferred(&[], "{\"a\":1}\n{\"a\"\n").unwrap(), "_corrupt_record Utf8View, a Int64");
    assert_eq!(inferred(&[("mode", "DROPMALFORMED")], "{\"a\":1}\n{\"a\"\n").unwrap(), "a Int64");
    assert!(inferred(&[], "\n").unwrap_err().to_string().contains("no columns"));
}
