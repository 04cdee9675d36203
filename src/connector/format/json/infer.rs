//! Finds out the columns of JSON files from all their rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::tape::{Kind, Tape, unescape};
use super::{Spec, roots};
use crate::connector::format::blocks::{Block, Blocks};
use crate::connector::format::malformed::Mode;
use crate::connector::format::{Part, values};
use crate::error::{Error, Result};

/// The schema of `files`: columns by name; a value that is once this and once that makes a STRING column.
pub(super) fn schema(spec: &Spec, files: &[PathBuf], corrupt_column: &str) -> Result<SchemaRef> {
    let mut rows = Guess::Object(BTreeMap::new());
    let mut has_malformed = false;
    for path in files {
        has_malformed |= read(spec, path, &mut rows)?;
    }
    let Guess::Object(mut columns) = rows else { return Err(Error::internal("rows are objects")) };
    if has_malformed && spec.mode == Mode::Permissive {
        columns.insert(corrupt_column.to_string(), Guess::Text);
    }
    let fields = fields(&columns);
    if fields.is_empty() {
        let text = "the json files have no columns to find out; give them with .schema(\"name TYPE, …\")";
        return Err(Error::data(text));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Adds the rows of a file; whether some were malformed.
fn read(spec: &Spec, path: &Path, rows: &mut Guess) -> Result<bool> {
    let file = File::open(path)
        .map_err(|error| Error::connector(format!("cannot read `{}`: {error}", path.display())).with_source(error))?;
    let mut blocks = Blocks::open(file, &Part::whole(path), spec.framing(), &Arc::default())?;
    let mut has_malformed = false;
    while let Some(block) = blocks.next()? {
        has_malformed |= read_block(spec, &block, rows);
    }
    Ok(has_malformed)
}

fn read_block(spec: &Spec, block: &Block, rows: &mut Guess) -> bool {
    let mut has_malformed = false;
    let mut tape = Tape::default();
    for (start, end) in spec.records(&block.text, block.at) {
        tape.clear();
        let root = tape.parse(&block.text, start, end);
        for row in root.into_iter().flat_map(|root| roots(&tape, root)) {
            if tape.node(row).kind == Kind::Object {
                rows.add(Guess::of(&tape, &block.text, row));
            } else {
                has_malformed = true;
            }
        }
        has_malformed |= root.is_none();
    }
    has_malformed
}

/// The narrowest type that holds all values seen.
#[derive(Debug, Clone, PartialEq)]
enum Guess {
    Null,
    Boolean,
    BigInt,
    Double,
    Text,
    Array(Box<Guess>),
    Object(BTreeMap<String, Guess>),
}

impl Guess {
    fn of(tape: &Tape, bytes: &[u8], index: u32) -> Self {
        let node = tape.node(index);
        match node.kind {
            Kind::Null => Self::Null,
            Kind::True | Kind::False => Self::Boolean,
            Kind::Integer if values::integer(node.text(bytes)).is_some() => Self::BigInt,
            Kind::Integer | Kind::Float => Self::Double,
            Kind::Text | Kind::EscapedText => Self::Text,
            Kind::Array => {
                let mut element = Self::Null;
                tape.children(index).for_each(|child| element.add(Self::of(tape, bytes, child)));
                Self::Array(Box::new(element))
            }
            Kind::Object => {
                let entry = |(key, value)| (key_text(tape, bytes, key), Self::of(tape, bytes, value));
                Self::Object(tape.entries(index).map(entry).collect())
            }
        }
    }

    /// Takes one more value into account.
    fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Null) => {}
            (this @ Self::Null, other) => *this = other,
            (Self::Array(element), Self::Array(other)) => element.add(*other),
            (Self::Object(fields), Self::Object(others)) => {
                for (name, guess) in others {
                    fields.entry(name).or_insert(Self::Null).add(guess);
                }
            }
            (this @ (Self::BigInt | Self::Double), other @ (Self::BigInt | Self::Double)) => {
                if *this != other {
                    *this = Self::Double;
                }
            }
            (this, other) => {
                if *this != other {
                    *this = Self::Text;
                }
            }
        }
    }

    /// `None` for an object without fields, which no column can hold.
    fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Null | Self::Text => DataType::Utf8View,
            Self::Boolean => DataType::Boolean,
            Self::BigInt => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Array(element) => DataType::List(Arc::new(Field::new_list_field(element.data_type()?, true))),
            Self::Object(members) => {
                let fields = fields(members);
                (!fields.is_empty()).then(|| DataType::Struct(fields.into()))?
            }
        })
    }
}

fn fields(columns: &BTreeMap<String, Guess>) -> Vec<Field> {
    columns.iter().filter_map(|(name, guess)| Some(Field::new(name, guess.data_type()?, true))).collect()
}

fn key_text(tape: &Tape, bytes: &[u8], key: u32) -> String {
    let mut text = Vec::new();
    unescape(tape.node(key).text(bytes), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
