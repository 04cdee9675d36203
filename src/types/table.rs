//! A table in a box of characters, as Spark's `show` and its console sink print it.
//!
//! Owns: cutting, escaping, widths and alignment. Does not own: the text of a value (`cell`), where it is printed to.

use std::fmt::Write;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use unicode_width::UnicodeWidthStr;

use super::cell::CellWriter;
use super::zone::Zone;

/// The narrowest a column gets.
const MIN_WIDTH: usize = 3;

/// How [`table_text`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableOptions {
    /// The most rows printed; 20 by default.
    pub max_rows: usize,
    /// The most characters of a cell, column names excepted; 20 by default. With `None` or 0 cells are printed in full
    /// and aligned left instead of right.
    pub truncate: Option<usize>,
    /// The zone timestamps are shown in; UTC by default.
    pub zone: Zone,
    /// The rows there are in all, where the batches hold only the first of them. With 0, the default, those of the
    /// batches count.
    pub total_rows: usize,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { max_rows: 20, truncate: Some(20), zone: Zone::UTC, total_rows: 0 }
    }
}

/// The table as Spark's `show` prints it, with a line feed after each line (Spark prints an empty line below it).
///
/// Columns are as wide as their widest cell in a terminal, where a Chinese character takes two places.
///
/// ```text
/// +-----+-----+
/// | word|count|
/// +-----+-----+
/// |hello|    2|
/// +-----+-----+
/// ```
pub fn table_text(schema: &Schema, batches: &[RecordBatch], options: &TableOptions) -> String {
    let cut = options.truncate.filter(|most| *most > 0);
    let names = schema.fields().iter().map(|field| Cell::new(field.name(), None)).collect();
    let rows = rows(batches, options, cut);
    let widths = widths(&names, &rows);
    let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let line = format!("+{}+\n", dashes.join("+"));
    let mut text = line.clone();
    write_row(&mut text, &names, &widths, cut.is_some());
    text.push_str(&line);
    for row in &rows {
        write_row(&mut text, row, &widths, cut.is_some());
    }
    text.push_str(&line);
    let in_batches: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if options.total_rows.max(in_batches) > options.max_rows {
        let noun = if options.max_rows == 1 { "row" } else { "rows" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "only showing top {} {noun}", options.max_rows);
    }
    text
}

/// A cell as it is printed, without padding.
struct Cell {
    text: String,
    /// Places it takes in a terminal.
    width: usize,
}

impl Cell {
    /// Escapes the text and keeps at most `most` characters of it.
    fn new(text: &str, most: Option<usize>) -> Self {
        let mut text = escaped(text);
        if let Some(most) = most {
            cut(&mut text, most);
        }
        Self { width: text.width(), text }
    }
}

type Row = Vec<Cell>;

/// The cells of the first rows.
fn rows(batches: &[RecordBatch], options: &TableOptions, most: Option<usize>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut text = String::new();
    for batch in batches {
        let shown = batch.num_rows().min(options.max_rows - rows.len());
        let first = batch.slice(0, shown);
        let writers: Vec<_> = first.columns().iter().map(|column| CellWriter::new(column, options.zone)).collect();
        rows.extend((0..shown).map(|row| {
            let cells = writers.iter().map(|writer| {
                text.clear();
                writer.write(row, &mut text);
                Cell::new(&text, most)
            });
            cells.collect::<Row>()
        }));
    }
    rows
}

/// The places each column takes in a terminal.
fn widths(names: &Row, rows: &[Row]) -> Vec<usize> {
    let mut widths = vec![MIN_WIDTH; names.len()];
    for row in std::iter::once(names).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width.max(*width);
        }
    }
    widths
}

fn write_row(text: &mut String, row: &[Cell], widths: &[usize], align_right: bool) {
    text.push('|');
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        text.push_str(if index > 0 { "|" } else { "" });
        let padding = std::iter::repeat_n(' ', width - cell.width);
        if align_right {
            text.extend(padding);
            text.push_str(&cell.text);
        } else {
            text.push_str(&cell.text);
            text.extend(padding);
        }
    }
    text.push_str("|\n");
}

/// Keeps at most `most` characters; the last three of them say that there are more, if there is room.
fn cut(text: &mut String, most: usize) {
    if text.chars().nth(most).is_none() {
        return;
    }
    let (kept, dots) = if most < 4 { (most, "") } else { (most - 3, "...") };
    let end = text.char_indices().nth(kept).map_or(text.len(), |(end, _)| end);
    text.truncate(end);
    text.push_str(dots);
}

/// Writes the characters that would break a line as a backslash and a letter.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0c' => out.push_str("\\f"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x07' => out.push_str("\\a"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatchOptions, StringArray};

    use super::*;

    fn batch(words: &[Option<&str>]) -> RecordBatch {
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=i64::try_from(words.len()).unwrap()));
        let words: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
        RecordBatch::try_from_iter([("word", words), ("n", counts)]).unwrap()
    }

    fn table(words: &[Option<&str>], options: &TableOptions) -> String {
        let batch = batch(words);
        table_text(batch.schema_ref(), std::slice::from_ref(&batch), options)
    }

    #[test]
    fn a_table_is_aligned_right_and_columns_are_at_least_three_wide() {
        let expected = "\
+-----+---+
| word|  n|
+-----+---+
|hello|  1|
| NULL|  2|
+-----+---+
";
        assert_eq!(table(&[Some("hello"), None], &TableOptions::default()), expected);
    }

    #[test]
    fn long_cells_are_cut_and_without_cutting_everything_is_aligned_left() {
        let words = [Some("a sentence of 25 letters.")];
        let cut = "\
+--------------------+---+
|                word|  n|
+--------------------+---+
|a sentence of 25 ...|  1|
+--------------------+---+
";
        assert_eq!(table(&words, &TableOptions::default()), cut);
        let whole = "\
+-------------------------+---+
|word                     |n  |
+-------------------------+---+
|a sentence of 25 letters.|1  |
+-------------------------+---+
";
        assert_eq!(table(&words, &TableOptions { truncate: None, ..TableOptions::default() }), whole);
        assert_eq!(table(&words, &TableOptions { truncate: Some(0), ..TableOptions::default() }), whole);
        let short = table(&words, &TableOptions { truncate: Some(3), ..TableOptions::default() });
        assert!(short.contains("| a s|  1|"), "{short}");
    }

    #[test]
    fn a_cell_of_exactly_the_most_characters_is_whole() {
        for (text, most, expected) in
            [("abcd", 4, "abcd"), ("abcde", 4, "a..."), ("abcd", 2, "ab"), ("数据流处理", 4, "数...")]
        {
            assert_eq!(Cell::new(text, Some(most)).text, expected);
        }
    }

    #[test]
    fn wide_characters_take_two_places() {
        let expected = "\
+------+---+
|  word|  n|
+------+---+
|数据流|  1|
|  café|  2|
+------+---+
";
        assert_eq!(table(&[Some("数据流"), Some("café")], &TableOptions::default()), expected);
    }

    #[test]
    fn line_feeds_and_tabs_are_escaped() {
        let text = table(&[Some("a\nb\tc\r")], &TableOptions::default());
        assert!(text.contains(r"|a\nb\tc\r|"), "{text}");
    }

    #[test]
    fn rows_beyond_the_most_are_left_out_and_said_to_be() {
        let words = [Some("a"), Some("b"), Some("c")];
        let batches = [batch(&words[..1]), batch(&words[1..])];
        let options = TableOptions { max_rows: 2, ..TableOptions::default() };
        let text = table_text(batches[0].schema_ref(), &batches, &options);
        assert!(text.contains("|   b|") && !text.contains("|   c|"), "{text}");
        assert!(text.ends_with("+----+---+\nonly showing top 2 rows\n"), "{text}");

        let all = table(&words[..1], &TableOptions { max_rows: 1, ..TableOptions::default() });
        assert!(!all.contains("only showing"), "{all}");
        let more = table(&words[..1], &TableOptions { max_rows: 1, total_rows: 9, ..TableOptions::default() });
        assert!(more.ends_with("only showing top 1 row\n"), "{more}");
    }

    #[test]
    fn a_table_without_rows_or_columns_is_still_a_box() {
        let empty = table_text(batch(&[]).schema_ref(), &[], &TableOptions::default());
        assert_eq!(empty, "+----+---+\n|word|  n|\n+----+---+\n+----+---+\n");
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(table_text(&Schema::empty(), &[none], &TableOptions::default()), "++\n||\n++\n||\n++\n");
    }
}
