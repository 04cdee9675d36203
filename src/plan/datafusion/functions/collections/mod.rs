//! Arrays, structs and maps.
//!
//! Owns: access by index, key and name, and making them. Does not own: the kernels, by theme in `access`, `array`
//! and `search`. Functions that mean the same in DataFusion are taken from there.

mod access;
mod array;
mod search;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};

use super::call::{Call, Function, MANY, constant_text, exactly, function, one_or_two, text_literal, two_or_three};
use super::coerce::{array_of, common_type, entries_of, is_text, item_of};
use super::kernel;
use crate::error::{Error, Result, suggestion};
use crate::types::type_name;
use access::{ItemAt, MapValue, Numbering, Size};
use array::{Sequence, Slice};
use search::{Search, SearchKind};

pub(super) use array::ConcatArrays;

pub(super) const FUNCTIONS: &[Function] = &[
    function(&["getitem", "get"], 2, 2, get_item),
    function(&["element_at"], 2, 2, element_at),
    function(&["get_field"], 2, 2, get_item),
    function(&["size", "cardinality"], 1, 1, size),
    function(&["array_size"], 1, 1, size),
    function(&["array"], 0, MANY, array),
    function(&["struct"], 1, MANY, make_struct),
    function(&["named_struct"], 2, MANY, named_struct),
    function(&["map", "create_map"], 0, MANY, map),
    function(&["map_from_arrays"], 2, 2, |call, args| call.shipped("map", args)),
    function(&["map_keys"], 1, 1, |call, args| call.shipped("map_keys", args)),
    function(&["map_values"], 1, 1, |call, args| call.shipped("map_values", args)),
    function(&["map_entries"], 1, 1, |call, args| call.shipped("map_entries", args)),
    function(&["map_contains_key"], 2, 2, map_contains_key),
    function(&["array_contains"], 2, 2, |call, args| search(call, args, SearchKind::Contains)),
    function(&["array_position"], 2, 2, |call, args| search(call, args, SearchKind::Position)),
    function(&["array_join"], 2, 3, array_join),
    function(&["array_distinct"], 1, 1, |call, args| on_arrays(call, args, "array_distinct")),
    function(&["array_union"], 2, 2, |call, args| on_arrays(call, args, "array_union")),
    function(&["array_intersect"], 2, 2, |call, args| on_arrays(call, args, "array_intersect")),
    function(&["array_except"], 2, 2, |call, args| on_arrays(call, args, "array_except")),
    function(&["arrays_overlap"], 2, 2, |call, args| on_arrays(call, args, "array_has_any")),
    function(&["array_max"], 1, 1, |call, args| on_arrays(call, args, "array_max")),
    function(&["array_min"], 1, 1, |call, args| on_arrays(call, args, "array_min")),
    function(&["array_append"], 2, 2, append),
    function(&["array_prepend"], 2, 2, prepend),
    function(&["array_remove"], 2, 2, remove),
    function(&["array_repeat"], 2, 2, array_repeat),
    function(&["array_compact"], 1, 1, |call, args| on_arrays(call, args, "array_compact")),
    function(&["flatten"], 1, 1, |call, args| call.shipped("flatten", args)),
    function(&["sort_array"], 1, 2, sort_array),
    function(&["array_sort"], 1, 1, |call, args| {
        let [array] = exactly(args);
        sorted(call, array, "ASC", "NULLS LAST")
    }),
    function(&["slice"], 3, 3, slice),
    function(&["sequence"], 2, 3, sequence),
    function(&["reverse"], 1, 1, reverse),
];

/// `x[key]`: from 0 in arrays, by key in maps, by name in structs and in arrays of structs.
fn get_item(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [of, key] = exactly(args);
    let data_type = call.type_of(&of)?;
    match &data_type {
        DataType::Struct(fields) => {
            let name = constant_text(&key).unwrap_or_default();
            let found = fields.iter().find(|field| field.name() == name);
            let found = found.or_else(|| fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)));
            let Some(field) = found else {
                let near = suggestion(name, fields.iter().map(|field| field.name().as_str()));
                return Err(Error::plan(format!("no field `{name}` in {}{near}", type_name(&data_type))));
            };
            let name = lit(field.name().clone());
            call.shipped("get_field", vec![of, name])
        }
        DataType::List(item) if is_text(&call.type_of(&key)?) && matches!(item.data_type(), DataType::Struct(_)) => {
            access::field_of_items(call, of, item.data_type(), &key)
        }
        DataType::List(item) => {
            let returns = item.data_type().clone();
            let access = ItemAt { numbering: Numbering::FromZero, ansi: call.ansi };
            Ok(kernel::call(access, returns, vec![of, call.int(key)?]))
        }
        DataType::Map(..) => map_value(call, of, key, &data_type),
        _ => Err(Error::plan(format!("{} has neither fields nor items", type_name(&data_type)))),
    }
}

/// `element_at(array, index from 1)` or `element_at(map, key)`.
fn element_at(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [of, key] = exactly(args);
    let data_type = call.type_of(&of)?;
    if let Some(item) = item_of(&data_type) {
        let returns = item.clone();
        let access = ItemAt { numbering: Numbering::FromOne, ansi: call.ansi };
        return Ok(kernel::call(access, returns, vec![of, call.int(key)?]));
    }
    map_value(call, of, key, &data_type)
}

fn map_value(call: &Call<'_>, map: Expr, key: Expr, data_type: &DataType) -> Result<Expr> {
    let Some((keys, values)) = entries_of(data_type) else {
        return Err(call.mismatch(std::slice::from_ref(data_type)));
    };
    let key = call.cast(key, keys.data_type())?;
    Ok(kernel::call(MapValue, values.data_type().clone(), vec![map, key]))
}

fn map_contains_key(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [map, key] = exactly(args);
    let keys = call.shipped("map_keys", vec![map])?;
    search(call, vec![keys, key], SearchKind::Contains)
}

/// Null for null.
fn size(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let data_type = call.type_of(&args[0])?;
    if !matches!(data_type, DataType::List(_) | DataType::Map(..)) {
        return Err(call.mismatch(&[data_type]));
    }
    Ok(kernel::call(Size, DataType::Int32, args))
}

fn array(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.is_empty() {
        return Ok(lit(ScalarValue::List(ScalarValue::new_list_nullable(&[], &DataType::Null))));
    }
    let (args, _) = call.unify(args)?;
    call.shipped("make_array", args)
}

/// Fields are named as the columns they are, without the number that makes a column's internal name unique (`word#3`);
/// others are `col1`, `col2`, …
fn make_struct(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let named = args.into_iter().enumerate().flat_map(|(index, arg)| {
        let (name, value) = match arg {
            Expr::Alias(alias) => (alias.name, *alias.expr),
            Expr::Column(column) => (user_name(&column.name).to_string(), Expr::Column(column)),
            other => (format!("col{}", index + 1), other),
        };
        [text_literal(&name), value]
    });
    named_struct(call, named.collect())
}

fn user_name(internal: &str) -> &str {
    match internal.rsplit_once('#') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => internal,
    }
}

fn named_struct(call: &Call<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    for name in args.iter_mut().step_by(2) {
        let Some(text) = constant_text(name).map(str::to_string) else {
            return Err(Error::plan("named_struct takes names and values in turn, and the names must be constants"));
        };
        *name = lit(text);
    }
    call.shipped("named_struct", args)
}

/// `map(key, value, key, value, …)`.
fn map(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.len() % 2 == 1 {
        return Err(Error::plan(format!(
            "function `map` takes keys and values in turn, {} arguments given",
            args.len()
        )));
    }
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        keys.push(key);
        values.push(value);
    }
    let arrays = vec![array(call, keys)?, array(call, values)?];
    call.shipped("map", arrays)
}

/// The array and what is searched in it, in one type.
fn array_and_item(call: &Call<'_>, array: Expr, item: Expr) -> Result<(Expr, Expr)> {
    let types = [call.type_of(&array)?, call.type_of(&item)?];
    let Some(common) = item_of(&types[0]).and_then(|of| common_type(of, &types[1])) else {
        return Err(call.mismatch(&types));
    };
    Ok((call.cast(array, &array_of(common.clone()))?, call.cast(item, &common)?))
}

fn search(call: &Call<'_>, args: Vec<Expr>, kind: SearchKind) -> Result<Expr> {
    let [array, item] = exactly(args);
    let (array, item) = array_and_item(call, array, item)?;
    Ok(kernel::call(Search(kind), kind.returns(), vec![array, item]))
}

fn remove(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [array, item] = exactly(args);
    let (array, item) = array_and_item(call, array, item)?;
    call.shipped("array_remove_all", vec![array, item])
}

fn append(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [array, item] = exactly(args);
    let (array, item) = array_and_item(call, array, item)?;
    let (data_type, one) = (call.type_of(&array)?, call.shipped("make_array", vec![item])?);
    Ok(kernel::call(ConcatArrays, data_type, vec![array, one]))
}

fn prepend(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [array, item] = exactly(args);
    let (array, item) = array_and_item(call, array, item)?;
    let (data_type, one) = (call.type_of(&array)?, call.shipped("make_array", vec![item])?);
    Ok(kernel::call(ConcatArrays, data_type, vec![one, array]))
}

/// Functions of arrays alone, which meet in one type.
fn on_arrays(call: &Call<'_>, args: Vec<Expr>, shipped: &str) -> Result<Expr> {
    let (args, data_type) = call.unify(args)?;
    if item_of(&data_type).is_none() {
        return Err(call.mismatch(&[data_type]));
    }
    call.shipped(shipped, args)
}

fn array_join(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (array, separator, null_text) = two_or_three(args);
    let mut typed = vec![call.cast(array, &array_of(DataType::Utf8View))?, call.text(separator)?];
    typed.extend(null_text.map(|text| call.text(text)).transpose()?);
    Ok(kernel::call(array::Join, DataType::Utf8View, typed))
}

fn array_repeat(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [item, count] = exactly(args);
    let count = call.long(count)?;
    call.shipped("array_repeat", vec![item, count])
}

/// `sort_array(array[, ascending])`: nulls first when ascending, last when descending.
fn sort_array(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let (array, ascending) = one_or_two(args);
    match ascending {
        Some(ascending) if ascending == lit(false) => sorted(call, array, "DESC", "NULLS LAST"),
        None => sorted(call, array, "ASC", "NULLS FIRST"),
        Some(ascending) if ascending == lit(true) => sorted(call, array, "ASC", "NULLS FIRST"),
        Some(_) => Err(Error::plan("the second argument of sort_array must be true or false")),
    }
}

fn sorted(call: &Call<'_>, array: Expr, order: &str, nulls: &str) -> Result<Expr> {
    call.shipped("array_sort", vec![array, lit(order), lit(nulls)])
}

fn slice(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [array, start, length] = exactly(args);
    let data_type = call.type_of(&array)?;
    if item_of(&data_type).is_none() {
        return Err(call.mismatch(&[data_type]));
    }
    Ok(kernel::call(Slice, data_type, vec![array, call.int(start)?, call.int(length)?]))
}

/// `sequence(first, last[, step])` of whole numbers, the last one included.
fn sequence(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let types = call.types_of(&args)?;
    let returns = if types.contains(&DataType::Int64) { DataType::Int64 } else { DataType::Int32 };
    if !types.iter().all(super::coerce::is_integer) {
        return Err(call.mismatch(&types));
    }
    let args = call.cast_all(args, &DataType::Int64)?;
    call.cast(kernel::call(Sequence, array_of(DataType::Int64), args), &array_of(returns))
}

/// Of a string or an array.
fn reverse(call: &Call<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [arg] = exactly(args);
    if item_of(&call.type_of(&arg)?).is_some() {
        return call.shipped("array_reverse", vec![arg]);
    }
    let text = call.text(arg)?;
    call.shipped("reverse", vec![text])
}
