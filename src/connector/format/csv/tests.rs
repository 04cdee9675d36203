//! Tests of the CSV format.

use std::path::PathBuf;

use arrow::datatypes::{Field, Schema, TimeUnit};
use proptest::prelude::*;

use super::super::tests::{options, read, read_columns, rows};
use super::*;

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn id_and_name() -> SchemaRef {
    schema(&[("id", DataType::Int32), ("name", DataType::Utf8View)])
}

fn strings(columns: usize) -> SchemaRef {
    let names = ["a", "b", "c", "d"];
    schema(&names.map(|name| (name, DataType::Utf8View))[..columns])
}

fn csv(schema: &SchemaRef, set: &[(&str, &str)]) -> Csv {
    Csv::from_options(&options(set), Some(Arc::clone(schema)), Zone::default(), None).unwrap()
}

fn table(schema: &SchemaRef, set: &[(&str, &str)], text: &str) -> Vec<String> {
    read(&csv(schema, set), "rows.csv", text.as_bytes()).unwrap().0
}

fn fails(schema: &SchemaRef, set: &[(&str, &str)], text: &str) -> String {
    read(&csv(schema, set), "rows.csv", text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn values_are_read_by_the_types_of_the_schema() {
    let schema = schema(&[
        ("i", DataType::Int8),
        ("d", DataType::Float64),
        ("b", DataType::Boolean),
        ("n", DataType::Decimal128(5, 2)),
        ("day", DataType::Date32),
        ("at", timestamp()),
        ("s", DataType::Utf8View),
    ]);
    let text = "-8,1.5,TRUE,3.14159,2024-02-29,2024-01-02 03:04:05,text\n,,,,,,\n";
    assert_eq!(
        table(&schema, &[], text),
        ["-8|1.5|true|3.14|2024-02-29|2024-01-02T03:04:05Z|text", "NULL|NULL|NULL|NULL|NULL|NULL|NULL"]
    );
}

#[test]
fn the_header_and_blank_lines_and_comments_are_no_rows() {
    let text = "\n#first\nid,name\n1,a\n   \n#2,b\n3,c";
    assert_eq!(table(&id_and_name(), &[("header", "true"), ("comment", "#")], text), ["1|a", "3|c"]);
}

#[test]
fn separators_line_ends_and_trimming_are_options() {
    let tabs = [("sep", "\\t"), ("ignoreLeadingWhiteSpace", "true"), ("ignoreTrailingWhiteSpace", "true")];
    assert_eq!(table(&id_and_name(), &tabs, "1\t a b \r\n 2 \t \" c \" \r\n"), ["1|a b", "2| c "]);
    assert_eq!(table(&id_and_name(), &[("delimiter", "|"), ("lineSep", ";")], "1|a\nb;2|c"), ["1|a\nb", "2|c"]);
    assert_eq!(table(&id_and_name(), &[], "1,a\r2,b\r"), ["1|a", "2|b"]);
    assert_eq!(table(&strings(2), &[], " a , b \n"), [" a | b "]);
}

#[test]
fn quoted_values_may_hold_separators_and_escaped_quotes() {
    for (text, expected) in [
        (r#""a,b",c"#, "a,b|c"),
        (r#""say \"hi\"","back\\slash""#, r#"say "hi"|back\slash"#),
        (r#""a\nb",c"#, r"a\nb|c"),
        (r#"a "quoted" b,c"#, r#"a "quoted" b|c"#),
        (r#""a" ,b"#, "a|b"),
        (r#""a"b,c"#, r#""a"b|c"#),
        (r#""open,c"#, "open,c|NULL"),
        (r#"a,"long enough to need a buffer \" of its own""#, r#"a|long enough to need a buffer " of its own"#),
    ] {
        assert_eq!(table(&strings(2), &[], text), [expected], "{text}");
    }
    assert_eq!(table(&strings(2), &[("escape", "\"")], r#""a ""b"", c",d"#), [r#"a "b", c|d"#]);
    assert_eq!(table(&strings(2), &[("quote", "'")], r#"'a,"b',c"#), [r#"a,"b|c"#]);
    assert_eq!(table(&strings(2), &[("quote", "")], r#""a,b""#), [r#""a|b""#]);
}

#[test]
fn quoted_line_ends_belong_to_the_value_with_multi_line_only() {
    let text = "\"a\nb\",c\r\n\"d\r\ne\",f\n";
    assert_eq!(table(&strings(2), &[("multiLine", "true")], text), ["a\nb|c", "d\r\ne|f"]);
    assert_eq!(table(&strings(2), &[], text), ["a|NULL", "b\"|c", "d|NULL", "e\"|f"]);
}

#[test]
fn multi_line_records_across_blocks_are_whole() {
    let row = format!("\"{}\n\",x\n", "y".repeat(1000));
    let found = table(&strings(2), &[("multiLine", "true"), ("header", "true")], &row.repeat(3000));
    assert_eq!(found.len(), 2999);
    assert!(found.iter().all(|found| *found == format!("{}\n|x", "y".repeat(1000))));
}

#[test]
fn nulls_and_empty_values_follow_their_options() {
    let text = "-,\"\",x\n,\"-\",EMPTY\n";
    assert_eq!(table(&strings(3), &[], text), ["-|NULL|x", "NULL|-|EMPTY"]);
    assert_eq!(table(&strings(3), &[("nullValue", "-")], text), ["NULL||x", "NULL|NULL|EMPTY"]);
    assert_eq!(table(&strings(3), &[("emptyValue", "EMPTY")], text), ["-|EMPTY|x", "NULL|-|EMPTY"]);
}

const MALFORMED: &str = "1,a\nx,b\n3\n4,d,e\n5,f\n";

#[test]
fn permissive_mode_keeps_what_can_be_read_and_counts_the_rest() {
    let (found, counts) = read(&csv(&id_and_name(), &[]), "rows.csv", MALFORMED.as_bytes()).unwrap();
    assert_eq!(found, ["1|a", "NULL|b", "3|NULL", "4|d", "5|f"]);
    assert_eq!((counts["malformedRows"], counts["droppedMalformedRows"]), (3, 0));
}

#[test]
fn the_corrupt_record_column_takes_malformed_rows_as_they_were() {
    let types = [("id", DataType::Int32), ("_corrupt_record", DataType::Utf8View), ("name", DataType::Utf8View)];
    let found = table(&schema(&types), &[], MALFORMED);
    assert_eq!(found, ["1|NULL|a", "NULL|x,b|b", "3|3|NULL", "4|4,d,e|d", "5|NULL|f"]);
    let bad = [("id", DataType::Int32), ("broken", DataType::Int32)];
    let set = options(&[("columnNameOfCorruptRecord", "broken")]);
    let error = Csv::from_options(&set, Some(schema(&bad)), Zone::default(), None).unwrap_err().to_string();
    assert!(error.contains("`broken`") && error.contains("STRING"), "{error}");
}

#[test]
fn drop_malformed_mode_leaves_bad_rows_out_and_counts_them() {
    let format = csv(&id_and_name(), &[("mode", "dropmalformed")]);
    let (found, counts) = read(&format, "rows.csv", MALFORMED.as_bytes()).unwrap();
    assert_eq!(found, ["1|a", "5|f"]);
    assert_eq!((counts["malformedRows"], counts["droppedMalformedRows"]), (3, 3));
}

#[test]
fn fail_fast_mode_names_file_line_column_and_value() {
    let set = [("mode", "FAILFAST"), ("header", "true")];
    let error = fails(&id_and_name(), &set, "id,name\n1,a\n\nx,b\n");
    assert!(error.contains("rows.csv line 4: column `id`: `x` is not INT"), "{error}");
    let error = fails(&id_and_name(), &set, "id,name\n1\n");
    assert!(error.contains("line 2: the row has 1 values, the schema 2 columns: `1`"), "{error}");
    let long = format!("id,name\n{}x,y\n", "1,some name\r\n".repeat(200_000));
    assert!(fails(&id_and_name(), &set, &long).contains("rows.csv line 200002:"));
}

#[test]
fn only_projected_columns_are_read_and_none_still_gives_rows() {
    let format = csv(&id_and_name(), &[]);
    let (batches, counts) = read_columns(&format, "rows.csv", b"x,a\n2,b\n", &[1]).unwrap();
    assert_eq!((rows(&batches), counts["malformedRows"]), (vec!["a".to_string(), "b".to_string()], 0));
    let (batches, _) = read_columns(&format, "rows.csv", b"1,a\n2,b\n", &[]).unwrap();
    assert_eq!(batches[0].num_rows(), 2);
    let (batches, _) = read_columns(&format, "rows.csv", b"1,a\n", &[1, 0]).unwrap();
    assert_eq!(rows(&batches), ["a|1"]);
}

#[test]
fn packed_files_and_bad_bytes_are_read() {
    let packed = zstd::encode_all(&b"1,caf\xe9\n"[..], 1).unwrap();
    let (found, counts) = read(&csv(&id_and_name(), &[]), "rows.csv.zst", &packed).unwrap();
    assert_eq!((found, counts["invalidUtf8Lines"]), (vec!["1|caf\u{FFFD}".to_string()], 1));
}

#[test]
fn dates_and_times_follow_their_formats() {
    let schema = schema(&[("day", DataType::Date32), ("at", timestamp())]);
    let set = [("dateFormat", "dd.MM.yyyy"), ("timestampFormat", "dd/MM/yyyy HH:mm")];
    assert_eq!(table(&schema, &set, "31.12.2023,01/02/2024 05:06\n"), ["2023-12-31|2024-02-01T05:06:00Z"]);
}

#[test]
fn what_csv_cannot_do_is_refused() {
    let refuse = |schema: &SchemaRef, set: &[(&str, &str)]| {
        Csv::from_options(&options(set), Some(Arc::clone(schema)), Zone::default(), None).unwrap_err().to_string()
    };
    assert!(refuse(&id_and_name(), &[("sep", "||")]).contains("one ASCII character"));
    assert!(refuse(&id_and_name(), &[("enforceSchema", "false")]).contains("enforceSchema"));
    assert!(refuse(&id_and_name(), &[("sep", "\"")]).contains("separates values"));
    let nested = schema(&[("list", DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))))]);
    assert!(refuse(&nested, &[]).contains("column `list`: csv files cannot hold"));
}

fn inferred(set: &[(&str, &str)], text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.csv");
    std::fs::write(&path, text).unwrap();
    let sample = || -> Result<Vec<PathBuf>> { Ok(vec![path.clone()]) };
    let csv = Csv::from_options(&options(set), None, Zone::default(), Some(&sample)).unwrap();
    let column = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
    csv.schema().fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

#[test]
fn without_a_schema_all_columns_are_strings_named_by_the_header() {
    assert_eq!(inferred(&[], "1,a\n"), "_c0 Utf8View, _c1 Utf8View");
    assert_eq!(
        inferred(&[("header", "true")], "\nid,,a,A\n1,b,c,d\n"),
        "id Utf8View, _c1 Utf8View, a2 Utf8View, A3 Utf8View"
    );
}

#[test]
fn types_are_found_out_from_all_rows_when_asked() {
    let set = [("header", "true"), ("inferSchema", "true")];
    let text = "i,l,n,d,b,t,day,m,e,s\n\
        1,3000000000,99999999999999999999,1,true,2024-01-01 00:00:00,2024-01-01,2024-01-01,,1\n\
        -2,1,1,2.5,FALSE,2024-01-01T00:00:00Z,2024-12-31,2024-01-01 10:00:00,,true\n";
    let expected = "i Int32, l Int64, n Decimal128(20, 0), d Float64, b Boolean, t Timestamp(µs, \"UTC\"), day Date32, \
        m Timestamp(µs, \"UTC\"), e Utf8View, s Utf8View";
    assert_eq!(inferred(&set, text), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_with_quotes_is_read_back(
        written in prop::collection::vec(prop::collection::vec("[a-z,\"\\\\ é\n\r]{1,20}", 3), 1..20)
    ) {
        let quote = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",") + "\n";
        let text: String = written.iter().map(line).collect();
        let expected: Vec<String> = written.iter().map(|row| row.join("|")).collect();
        prop_assert_eq!(table(&strings(3), &[("multiLine", "true")], &text), expected);
    }
}

/// The same rows in any form, read with an option that rules the short way out.
fn the_long_way(
    schema: &SchemaRef,
    set: &[(&str, &str)],
    text: &str,
) -> (Vec<String>, std::collections::BTreeMap<String, u64>) {
    let set: Vec<_> = set.iter().copied().chain([("comment", "\u{7}")]).collect();
    read(&csv(schema, &set), "rows.csv", text.as_bytes()).unwrap()
}

fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (-200..200_i64).prop_map(|number| number.to_string()),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        6 => (0..40_u32, 0..26_u32, 0..61_u32).prop_map(|(d, h, m)| format!("2024-02-{d:02} {h:02}:{m:02}:07")),
        2 => Just("2024-02-03T04:05:06.789Z".to_string()),
        3 => "[a-c]{0,3}",
        2 => "[a-c ]{12,14}",
        1 => prop::sample::select(vec![
            "", "-", "+1", "1.5", "true", "\"a,b\"", " \"a\"", "a\"b", "\r", "x\r", "99999999999999999999", " 1", "2024-02-03",
        ]).prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_short_way_reads_what_the_long_way_reads(
        lines in prop::collection::vec((prop::collection::vec(any_cell(), 4), 0..12_usize), 0..40),
        ends in prop::sample::select(vec!["\n", "\r\n", ""]),
        mode in prop::sample::select(vec!["PERMISSIVE", "DROPMALFORMED"]),
    ) {
        let line = |(cells, form): &(Vec<String>, usize)| match form {
            0 => cells[..3].join(","),
            1 => format!("{},", cells.join(",")),
            2 => String::new(),
            _ => cells.join(","),
        };
        let text = lines.iter().map(line).collect::<Vec<_>>().join("\n") + ends;
        let (small, ntz) = (DataType::Int8, DataType::Timestamp(TimeUnit::Microsecond, None));
        for types in [
            [DataType::Int64, small, DataType::Utf8View, timestamp()],
            [DataType::Utf8View, ntz, DataType::Float64, DataType::Int32],
            [timestamp(), DataType::Utf8View, DataType::Int16, DataType::Utf8View],
        ] {
            let columns: Vec<_> = ["a", "b", "c", "d"].into_iter().zip(types).collect();
            let schema = schema(&columns);
            let set = [("mode", mode)];
            let found = read(&csv(&schema, &set), "rows.csv", text.as_bytes()).unwrap();
            prop_assert_eq!(&found, &the_long_way(&schema, &set, &text));
            let some = |set: &[(&str, &str)]| rows(&read_columns(&csv(&schema, set), "rows.csv", text.as_bytes(), &[2, 0]).unwrap().0);
            prop_assert_eq!(some(&set), some(&[("mode", mode), ("comment", "\u{7}")]));
        }
    }
}

#[test]
fn rows_of_unusual_form_in_between_are_read_and_the_short_way_is_taken_up_again() {
    let schema = schema(&[("n", DataType::Int64), ("s", DataType::Utf8View)]);
    let line = |n: usize| {
        if n % 5000 == 4999 { format!("{n},\"q,{n}\"\n") } else { format!("{n},a text of over twelve {n}\n") }
    };
    let text: String = (0..60_000).map(line).collect();
    let found = table(&schema, &[], &text);
    assert_eq!(found.len(), 60_000);
    assert_eq!((found[4998].as_str(), found[4999].as_str()), ("4998|a text of over twelve 4998", "4999|q,4999"));
    assert_eq!(found, the_long_way(&schema, &[], &text).0);
}
