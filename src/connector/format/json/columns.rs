//! Turns JSON nodes into Arrow columns, nested ones included.
//!
//! Owns: which JSON value fits which type. A column is made from its *cells*: the tape's index of each row's value. A
//! nested column hands the cells of its children down, so every type is looked at once a column, not once a row.

use std::sync::Arc;

use arrow::array::builder::NullBufferBuilder;
use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::tape::{Kind, Node, Tape, unescape};
use crate::connector::format::malformed::{BadRows, Fault};
use crate::connector::format::strings::TextColumn;
use crate::connector::format::values::{self, Leaf, TimeFormats};
use crate::error::{Error, Result};

/// The cell of a row that has no value.
pub(super) const ABSENT: u32 = u32::MAX;

/// The cells of one column.
pub(super) struct Cells {
    /// Tape indexes.
    pub(super) values: Vec<u32>,
    /// The row each cell belongs to.
    pub(super) rows: Arc<[usize]>,
}

/// Builds columns from the nodes of one batch.
pub(super) struct ColumnBuilder<'a> {
    pub(super) tape: &'a Tape,
    pub(super) text: &'a Buffer,
    pub(super) formats: &'a TimeFormats,
    pub(super) bad: &'a mut BadRows,
    /// The schema's column that is being built.
    pub(super) column: usize,
}

impl ColumnBuilder<'_> {
    /// Builds a column. A value that does not fit is null and makes its row malformed.
    ///
    /// # Errors
    /// When the type is one that [`can_hold`] refuses.
    pub(super) fn build(&mut self, data_type: &DataType, cells: &Cells) -> Result<ArrayRef> {
        match data_type {
            DataType::Utf8View => self.strings(cells),
            DataType::List(element) => self.list(element, cells),
            DataType::Struct(fields) => self.structs(fields, cells),
            DataType::Map(entries, is_sorted) => self.map(entries, *is_sorted, cells),
            _ => self.leaves(data_type, cells),
        }
    }

    /// The node of a cell that is neither absent nor null.
    fn node(&self, cell: u32) -> Option<Node> {
        (cell != ABSENT).then(|| self.tape.node(cell)).filter(|node| node.kind != Kind::Null)
    }

    fn leaves(&mut self, data_type: &DataType, cells: &Cells) -> Result<ArrayRef> {
        let leaf = JsonLeaf { bytes: self.text, formats: self.formats };
        let (tape, bad, column) = (self.tape, &mut *self.bad, self.column);
        let nodes = cells
            .values
            .iter()
            .map(|cell| (*cell != ABSENT).then(|| tape.node(*cell)).filter(|node| node.kind != Kind::Null));
        values::column(data_type, nodes, &leaf, |index| bad.mark(cells.rows[index], Fault::Column(column)))
    }

    fn strings(&mut self, cells: &Cells) -> Result<ArrayRef> {
        let mut strings = TextColumn::with_capacity(cells.values.len());
        let mut scratch = Vec::new();
        for cell in &cells.values {
            let Some(node) = self.node(*cell) else {
                strings.push_null();
                continue;
            };
            scratch.clear();
            match node.kind {
                Kind::EscapedText => unescape(node.text(self.text), &mut scratch),
                Kind::Object | Kind::Array => self.tape.write(self.text, *cell, &mut scratch),
                Kind::Text | Kind::Integer | Kind::Float | Kind::True | Kind::False | Kind::Null => {
                    strings.push(node.text(self.text), node.place());
                    continue;
                }
            }
            strings.push_rewritten(&scratch);
        }
        strings.finish(self.text)
    }

    /// Which cells are of `kind`; others that are not null make their rows malformed.
    fn of_kind(&mut self, kind: Kind, cells: &Cells) -> Option<NullBuffer> {
        let mut nulls = NullBufferBuilder::new(cells.values.len());
        for (cell, row) in cells.values.iter().zip(cells.rows.iter()) {
            let node = self.node(*cell);
            let fits = node.is_some_and(|node| node.kind == kind);
            nulls.append(fits);
            if node.is_some() && !fits {
                self.bad.mark(*row, Fault::Column(self.column));
            }
        }
        nulls.finish()
    }

    fn list(&mut self, element: &FieldRef, cells: &Cells) -> Result<ArrayRef> {
        let nulls = self.of_kind(Kind::Array, cells);
        let (mut values, mut rows, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(cells.values.len()));
        for (index, cell) in cells.values.iter().enumerate() {
            let before = values.len();
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index)) {
                values.extend(self.tape.children(*cell));
                rows.resize(values.len(), cells.rows[index]);
            }
            lengths.push(values.len() - before);
        }
        let values = self.build(element.data_type(), &Cells { values, rows: rows.into() })?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls)?))
    }

    fn structs(&mut self, fields: &Fields, cells: &Cells) -> Result<ArrayRef> {
        let nulls = self.of_kind(Kind::Object, cells);
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let mut columns = vec![Vec::with_capacity(cells.values.len()); fields.len()];
        let mut found = vec![ABSENT; fields.len()];
        for (index, cell) in cells.values.iter().enumerate() {
            found.fill(ABSENT);
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index)) {
                find_fields(self.tape, self.text, *cell, &names, &mut found);
            }
            for (column, value) in columns.iter_mut().zip(&found) {
                column.push(*value);
            }
        }
        let build = |(field, values): (&FieldRef, Vec<u32>)| {
            self.build(field.data_type(), &Cells { values, rows: Arc::clone(&cells.rows) })
        };
        let columns = fields.iter().zip(columns).map(build).collect::<Result<Vec<_>>>()?;
        let array = StructArray::try_new_with_length(fields.clone(), columns, nulls, cells.values.len())?;
        Ok(Arc::new(array))
    }

    fn map(&mut self, entries: &FieldRef, is_sorted: bool, cells: &Cells) -> Result<ArrayRef> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(Error::internal("a map without keys and values"));
        };
        let nulls = self.of_kind(Kind::Object, cells);
        let (mut keys, mut values, mut rows, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, cell) in cells.values.iter().enumerate() {
            let before = keys.len();
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index)) {
                for (key, value) in self.tape.entries(*cell) {
                    keys.push(key);
                    values.push(value);
                }
                rows.resize(keys.len(), cells.rows[index]);
            }
            lengths.push(keys.len() - before);
        }
        let rows: Arc<[usize]> = rows.into();
        let keys = self.strings(&Cells { values: keys, rows: Arc::clone(&rows) })?;
        let values = self.build(fields[1].data_type(), &Cells { values, rows })?;
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, is_sorted)?))
    }
}

/// Puts the value of each of `names` in `object` into `found`; the last one of a repeated key counts.
pub(super) fn find_fields(tape: &Tape, bytes: &[u8], object: u32, names: &[&str], found: &mut [u32]) {
    // Objects mostly have their keys in the same order as the schema.
    let mut expected = 0;
    for (key, value) in tape.entries(object) {
        let key = tape.node(key);
        let mut unescaped = Vec::new();
        let mut text = key.text(bytes);
        if key.kind == Kind::EscapedText {
            unescape(text, &mut unescaped);
            text = &unescaped;
        }
        let (after, before) = (expected..names.len(), 0..expected);
        if let Some(index) = after.chain(before).find(|index| names[*index].as_bytes() == text) {
            found[index] = value;
            expected = index + 1;
        }
    }
}

/// Whether a column of this type can be read from JSON.
pub(super) fn can_hold(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View => true,
        DataType::List(element) => can_hold(element.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_hold(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => *fields[0].data_type() == DataType::Utf8View && can_hold(fields[1].data_type()),
            _ => false,
        },
        other => values::is_leaf(other),
    }
}

struct JsonLeaf<'a> {
    bytes: &'a [u8],
    formats: &'a TimeFormats,
}

impl JsonLeaf<'_> {
    fn number<T: std::str::FromStr>(&self, node: Node) -> Option<T> {
        let text = node.text(self.bytes);
        match node.kind {
            Kind::Integer | Kind::Float => values::float(text),
            Kind::Text if matches!(text.last(), Some(b'N' | b'y' | b'F')) => values::float(text),
            _ => None,
        }
    }

    fn time(&self, node: Node) -> Option<&[u8]> {
        (node.kind == Kind::Text).then(|| node.text(self.bytes))
    }
}

impl Leaf<Node> for JsonLeaf<'_> {
    fn integer(&self, node: Node) -> Option<i64> {
        (node.kind == Kind::Integer).then(|| values::integer(node.text(self.bytes))).flatten()
    }

    fn float(&self, node: Node) -> Option<f32> {
        self.number(node)
    }

    fn double(&self, node: Node) -> Option<f64> {
        self.number(node)
    }

    fn boolean(&self, node: Node) -> Option<bool> {
        match node.kind {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    fn decimal(&self, node: Node, precision: u8, scale: i8) -> Option<i128> {
        let is_number = matches!(node.kind, Kind::Integer | Kind::Float | Kind::Text);
        is_number.then(|| values::decimal(node.text(self.bytes), precision, scale)).flatten()
    }

    fn date(&self, node: Node) -> Option<i32> {
        self.formats.parse_date(self.time(node)?)
    }

    /// A whole number is seconds since 1970-01-01T00:00:00Z.
    fn timestamp(&self, node: Node) -> Option<i64> {
        match self.integer(node) {
            Some(seconds) => seconds.checked_mul(1_000_000),
            None => self.formats.parse_timestamp(self.time(node)?),
        }
    }

    fn local_timestamp(&self, node: Node) -> Option<i64> {
        self.formats.parse_local_timestamp(self.time(node)?)
    }
}
