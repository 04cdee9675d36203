use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, LargeListArray, LargeStringArray, ListArray, StringArray,
    StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;

/// What comes out for one batch; the output is emptied whenever the operator asks for room.
fn run(explode: &Explode, input: &RecordBatch) -> Vec<RecordBatch> {
    let mut explode = explode.clone();
    let inputs = vec![input.schema()];
    let schema = explode.output_schema(&inputs).unwrap();
    explode.open(&OperatorContext { name: "e".into(), instance: 0, parallelism: 1, inputs }).unwrap();
    let (mut output, mut all) = (Output::default(), Vec::new());
    let mut flow = explode.on_batch(0, input.clone().into(), &mut output).unwrap();
    loop {
        let out = output.take();
        assert!(out.len() <= 4, "memory stays bounded");
        all.extend(out.into_iter().map(|(_, batch)| batch.records));
        if flow == Flow::Done {
            break;
        }
        flow = explode.resume(&mut output).unwrap();
    }
    assert!(all.iter().all(|batch| batch.num_rows() <= BATCH_ROWS && batch.schema() == schema));
    all
}

fn texts(out: &[RecordBatch]) -> Vec<String> {
    let strings = out.iter().flat_map(|batch| batch.column(0).as_string_view());
    strings.map(|text| text.unwrap().to_string()).collect()
}

fn text_batch(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("value", column, true)]).unwrap()
}

fn view_batch(rows: &[Option<String>]) -> RecordBatch {
    text_batch(Arc::new(rows.iter().map(Option::as_deref).collect::<StringViewArray>()))
}

fn split(rows: &[&str], separator: &str) -> Vec<String> {
    let rows: Vec<Option<String>> = rows.iter().map(|row| Some((*row).to_string())).collect();
    texts(&run(&Explode::split_literal(0, separator, word()), &view_batch(&rows)))
}

fn word() -> FieldRef {
    Arc::new(Field::new("word", DataType::Utf8View, true))
}

#[test]
fn words_are_what_stands_between_single_spaces() {
    let input = view_batch(&[Some("the owl".into()), None, Some(" a  cat ".into()), Some(String::new())]);
    let out = run(&Explode::words("value", "word"), &input);
    assert_eq!(texts(&out), ["the", "owl", "", "a", "", "cat", "", ""]);
    assert_eq!(out[0].schema().field(0).name(), "word");
}

#[test]
fn long_pieces_share_the_buffer_of_the_input() {
    let long = "a-piece-of-more-than-twelve-bytes";
    let input = view_batch(&[Some(format!("{long} x {long}é"))]);
    let out = run(&Explode::words("value", "word"), &input);
    assert_eq!(texts(&out), [long.to_string(), "x".into(), format!("{long}é")]);
    let (before, after) = (input.column(0).as_string_view(), out[0].column(0).as_string_view());
    assert_eq!(before.data_buffers()[0].as_ptr(), after.data_buffers()[0].as_ptr());
}

#[test]
fn short_pieces_do_not_keep_the_buffer_of_the_input() {
    let out = run(&Explode::words("value", "word"), &view_batch(&[Some("one two three four five".into())]));
    assert!(out[0].column(0).as_string_view().data_buffers().is_empty());
}

#[test]
fn separators_may_be_longer_or_not_ascii() {
    assert_eq!(split(&["a, b,c, ", ", "], ", "), ["a", "b,c", "", "", ""]);
    assert_eq!(split(&["aéé€b"], "é"), ["a", "", "€b"]);
    assert_eq!(split(&["aaa"], "aa"), ["", "a"]);
}

#[test]
fn all_layouts_of_text_are_cut_alike() {
    let rows = vec![Some("a b"), None, Some("a-piece-of-more-than-twelve-bytes c")];
    let layouts: [ArrayRef; 3] = [
        Arc::new(StringArray::from(rows.clone())),
        Arc::new(LargeStringArray::from(rows.clone())),
        Arc::new(StringViewArray::from(rows)),
    ];
    for column in layouts {
        let sliced = text_batch(column).slice(1, 2);
        let out = run(&Explode::words("value", "word"), &sliced);
        assert_eq!(texts(&out), ["a-piece-of-more-than-twelve-bytes", "c"]);
    }
}

#[test]
fn one_huge_row_comes_in_pieces() {
    let count = 10 * BATCH_ROWS + 1;
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(texts(&run(&Explode::words("value", "w"), &view_batch(&[Some(expected.join(" "))]))), expected);
}

#[test]
fn a_row_that_ends_with_a_full_batch_still_gives_its_last_piece() {
    for extra in [0, 1] {
        let row = " ".repeat(BATCH_ROWS - 1 + extra);
        let out = run(&Explode::words("value", "w"), &view_batch(&[Some(row), Some("x".into())]));
        assert_eq!(texts(&out).len(), BATCH_ROWS + extra + 1);
    }
}

#[test]
fn a_missing_column_a_wrong_type_and_an_empty_separator_are_refused() {
    let inputs = [view_batch(&[]).schema()];
    let error = Explode::words("valeu", "word").output_schema(&inputs).unwrap_err();
    assert!(error.message().contains("did you mean `value`"), "{error}");
    assert!(Explode::split_literal(0, "", word()).output_schema(&inputs).is_err());
    assert!(Explode::split_literal(1, " ", word()).output_schema(&inputs).is_err());
    let error = Explode::column(0, word(), false).output_schema(&inputs).unwrap_err();
    assert!(error.message().contains("explode needs an ARRAY"), "{error}");
}

#[test]
fn an_unopened_operator_says_so() {
    let error = Explode::words("value", "w").on_batch(0, view_batch(&[]).into(), &mut Output::default()).unwrap_err();
    assert!(error.message().contains("opened"), "{error}");
}

/// A row of a list column: a list of nullable numbers, or null.
type List = Option<Vec<Option<i64>>>;

fn number() -> FieldRef {
    Arc::new(Field::new("col", DataType::Int64, true))
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

/// Lists whose nulls have elements behind them, as Arrow allows.
fn list_array(rows: &[List]) -> ListArray {
    let behind_null = vec![Some(-1)];
    let parts: Vec<&Vec<Option<i64>>> = rows.iter().map(|row| row.as_ref().unwrap_or(&behind_null)).collect();
    let values: Int64Array = parts.iter().copied().flatten().copied().collect();
    let offsets = OffsetBuffer::from_lengths(parts.iter().map(|part| part.len()));
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    ListArray::new(item(), offsets, Arc::new(values), Some(nulls))
}

fn list_batch(lists: ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new((0_i64..).take(lists.len()).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("xs", lists, true)]).unwrap()
}

fn numbers(out: &[RecordBatch], column: usize) -> Vec<Option<i64>> {
    out.iter().flat_map(|batch| batch.column(column).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect()
}

fn naive(rows: &[List], keep_empty: bool) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
    let elements = |row: &List| match row {
        Some(list) if !list.is_empty() => list.clone(),
        _ if keep_empty => vec![None],
        _ => vec![],
    };
    (0_i64..).zip(rows).flat_map(|(id, row)| elements(row).into_iter().map(move |x| (Some(id), x))).unzip()
}

#[test]
fn the_other_columns_are_repeated_and_the_list_is_replaced_in_place() {
    let rows = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(2)])];
    let input = list_batch(Arc::new(list_array(&rows)));
    let out = run(&Explode::column(1, number(), false), &input);
    assert_eq!((numbers(&out, 0), numbers(&out, 1)), (vec![Some(0), Some(0), Some(3)], vec![Some(1), None, Some(2)]));
    let outer = run(&Explode::column(1, number(), true), &input);
    assert_eq!(numbers(&outer, 0), [0, 0, 1, 2, 3].map(Some));
    assert_eq!(numbers(&outer, 1), [Some(1), None, None, None, Some(2)]);
}

#[test]
fn elements_of_a_lone_list_column_go_out_without_copying() {
    let lists = LargeListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![]),
        Some(vec![Some(3)]),
    ]);
    let values = lists.values().as_primitive::<Int64Type>().values().clone();
    let input = RecordBatch::try_from_iter_with_nullable([("xs", Arc::new(lists) as ArrayRef, true)]).unwrap();
    let out = run(&Explode::column(0, number(), false), &input.slice(1, 2));
    assert_eq!(numbers(&out, 0), [Some(3)]);
    assert_eq!(out[0].column(0).as_primitive::<Int64Type>().values().as_ptr(), values[2..].as_ptr());
}

#[test]
fn lists_of_fixed_size_are_exploded_too() {
    let values = Arc::new((0_i64..8).collect::<Int64Array>());
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let lists: ArrayRef = Arc::new(FixedSizeListArray::new(item(), 2, values, Some(nulls)));
    let out = run(&Explode::column(1, number(), true), &list_batch(lists.slice(1, 3)));
    assert_eq!(numbers(&out, 0), [0, 1, 1, 2, 2].map(Some));
    assert_eq!(numbers(&out, 1), [None, Some(4), Some(5), Some(6), Some(7)]);
}

#[test]
fn one_huge_list_comes_in_pieces() {
    let huge = (0_i64..).take(9 * BATCH_ROWS).map(Some).collect();
    let rows = [Some(huge), Some(vec![Some(-7)])];
    let out = run(&Explode::column(1, number(), false), &list_batch(Arc::new(list_array(&rows))));
    assert_eq!((numbers(&out, 0), numbers(&out, 1)), naive(&rows, false));
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[ aé€,]{0,6}([ bcdé]{0,40}|[ xy]{60,140})")
}

proptest! {
    #[test]
    fn split_is_the_naive_split_of_every_row(
        rows in prop::collection::vec(text(), 0..40),
        separator in prop::sample::select(vec![" ", "a", "é", ", ", "xy"]),
        cut in 1..40_usize,
    ) {
        let expected: Vec<&str> = rows.iter().flatten().flat_map(|row| row.split(separator)).collect();
        let explode = Explode::split_literal(0, separator, word());
        let whole = view_batch(&rows);
        prop_assert_eq!(&texts(&run(&explode, &whole)), &expected);
        let cuts = (0..rows.len()).step_by(cut);
        let pieces = cuts.flat_map(|at| run(&explode, &whole.slice(at, cut.min(rows.len() - at)))).collect::<Vec<_>>();
        prop_assert_eq!(&texts(&pieces), &expected);
    }

    #[test]
    fn explode_is_the_naive_loop_over_rows_and_elements(
        rows in prop::collection::vec(prop::option::of(prop::collection::vec(prop::option::of(0..9_i64), 0..5)), 0..30),
        keep_empty in any::<bool>(),
    ) {
        let input = list_batch(Arc::new(list_array(&rows)));
        let out = run(&Explode::column(1, number(), keep_empty), &input);
        let expected = naive(&rows, keep_empty);
        prop_assert_eq!((numbers(&out, 0), numbers(&out, 1)), expected.clone());
        let alone = run(&Explode::column(0, number(), keep_empty), &input.project(&[1]).unwrap());
        prop_assert_eq!(numbers(&alone, 0), expected.1);
    }
}
