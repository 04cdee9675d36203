use super::{ansi_bench, bench};

#[test]
fn items_are_found_by_place_key_and_name() {
    bench().check(&[
        ("element_at(array(i, j), 1)", "7 | -7 | 2147483647 | NULL"),
        ("element_at(array(i, j), -1)", "2 | 3 | 0 | NULL"),
        ("element_at(array(i, j), 3)", "NULL | NULL | NULL | NULL"),
        ("getitem(array(i, j), 0)", "7 | -7 | 2147483647 | NULL"),
        ("getitem(array(i, j), j)", "NULL | NULL | 2147483647 | NULL"),
        ("getitem(array(i, j), -1)", "NULL | NULL | NULL | NULL"),
        ("element_at(split(s, ' '), 2)", "world | NULL | café | NULL"),
        ("element_at(map('a', i, 'b', j), 'b')", "2 | 3 | 0 | NULL"),
        ("getitem(map('a', i, 'b', j), n)", "NULL | NULL | NULL | NULL"),
        ("getitem(struct(i, n), 'I')", "7 | -7 | 2147483647 | NULL"),
        ("getitem(array(struct(i), struct(i)), 'i')", "[7, 7] | [-7, -7] | [2147483647, 2147483647] | [NULL, NULL]"),
    ]);
    bench().check_errors(&[
        ("element_at(array(1), 0)", &["index 0"]),
        ("getitem(struct(i), 'k')", &["no field `k`"]),
        ("getitem(i, 0)", &["INT"]),
    ]);
    ansi_bench().check_errors(&[("getitem(array(1), 1)", &["index 1", "1 items"])]);
}

#[test]
fn sizes_of_nothing_are_null() {
    bench().check(&[
        ("size(array(1, NULL))", "2"),
        ("size(map('a', 1))", "1"),
        ("cardinality(split(s, 'o'))", "3 | 1 | 1 | NULL"),
        ("size(array())", "0"),
    ]);
    bench().check_errors(&[("size(i)", &["`size`", "INT"])]);
}

#[test]
fn structs_and_maps_are_made() {
    let bench = bench();
    bench.check(&[
        ("named_struct('a', i, 'b', s)", "{7, hello world} | {-7, } | {2147483647, naïve café} | {NULL, NULL}"),
        ("map_keys(map('a', 1, 'b', 2))", "[a, b]"),
        ("map_values(map('a', 1, 'b', 2))", "[1, 2]"),
        ("map_contains_key(map('a', 1), 'a')", "true"),
        ("map_from_arrays(array('a'), array(1))", "{a -> 1}"),
    ]);
    assert_eq!(bench.type_of("struct(i, n, +(i, 1))"), "STRUCT<i: INT, n: STRING, col3: INT>");
    assert_eq!(bench.type_of("array(1, 1.5)"), "ARRAY<DOUBLE>");
    bench.check_errors(&[("map('a')", &["keys and values in turn"])]);
}

#[test]
fn arrays_are_searched_with_nulls_as_unknown() {
    bench().check(&[
        ("array_contains(array(i, j), 2)", "true | false | false | NULL"),
        ("array_contains(array(1, NULL), 1)", "true"),
        ("array_contains(array(1, NULL), 2)", "NULL"),
        ("array_contains(split(s, ' '), 'café')", "false | false | true | NULL"),
        ("array_position(array(5, 7, 7), 7)", "2"),
        ("array_position(array(5, NULL), 7)", "0"),
        ("arrays_overlap(array(1, 2), array(2, 3))", "true"),
        ("array_max(array(i, j, NULL))", "7 | 3 | 2147483647 | NULL"),
        ("array_min(array(i, j))", "2 | -7 | 0 | NULL"),
    ]);
}

#[test]
fn arrays_are_made_of_arrays() {
    bench().check(&[
        ("array_join(array('a', NULL, 'b'), '-')", "a-b"),
        ("array_join(array('a', NULL), '-', '?')", "a-?"),
        ("array_join(array(1, 2), ',')", "1,2"),
        ("array_distinct(array(2, 1, 2, NULL, NULL))", "[2, 1, NULL]"),
        ("array_union(array(1, 2), array(2, 3))", "[1, 2, 3]"),
        ("array_intersect(array(1, 2), array(2, 3))", "[2]"),
        ("array_except(array(1, 2), array(2, 3))", "[1]"),
        ("array_append(split(s, ' '), 'z')", "[hello, world, z] | [, z] | [naïve, café, z] | NULL"),
        ("array_prepend(array(1), 2)", "[2, 1]"),
        ("array_distinct(split(s, 'l'))", "[he, , o wor, d] | [] | [naïve café] | NULL"),
        ("array_remove(array(1, 2, 1), 1)", "[2]"),
        ("array_repeat('x', 2)", "[x, x]"),
        ("array_compact(array(1, NULL))", "[1]"),
        ("flatten(array(array(1), array(2, 3)))", "[1, 2, 3]"),
        ("sort_array(array(3, NULL, 1))", "[NULL, 1, 3]"),
        ("sort_array(array(3, NULL, 1), false)", "[3, 1, NULL]"),
        ("array_sort(array(3, NULL, 1))", "[1, 3, NULL]"),
        ("slice(array(1, 2, 3, 4), 2, 2)", "[2, 3]"),
        ("slice(array(1, 2, 3, 4), -2, 5)", "[3, 4]"),
        ("slice(array(1), 5, 1)", "[]"),
        ("sequence(1, 5, 2)", "[1, 3, 5]"),
        ("sequence(3, 1)", "[3, 2, 1]"),
        ("reverse(array(1, 2))", "[2, 1]"),
        ("concat(split(s, ' '), array(n))", "[hello, world, 7] | [, x] | [naïve, café,  1.5 ] | NULL"),
    ]);
    bench().check_errors(&[("sequence(1, 5, -1)", &["from 1 to 5"]), ("slice(array(1), 0, 1)", &["counts from 1"])]);
}
