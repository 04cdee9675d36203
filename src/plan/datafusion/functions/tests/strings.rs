use super::bench;

#[test]
fn substrings_count_characters_from_one_and_from_the_end() {
    bench().check(&[
        ("substring(s, 1, 5)", "hello |  | naïve | NULL"),
        ("substring(s, 0, 3)", "hel |  | naï | NULL"),
        ("substring(s, -4)", "orld |  | café | NULL"),
        ("substring(s, -20, 12)", "hel |  | na | NULL"),
        ("substr('abc', 2)", "bc"),
        ("substring('abc', 2, -1)", ""),
        ("substring('abc', 9, 2)", ""),
        ("left(s, 3)", "hel |  | naï | NULL"),
        ("right(s, 3)", "rld |  | afé | NULL"),
        ("right(s, 0)", " |  |  | NULL"),
        ("left(s, -1)", " |  |  | NULL"),
        ("substring(i, 1, 1)", "7 | - | 2 | NULL"),
    ]);
}

#[test]
fn lengths_and_cases_go_by_characters() {
    bench().check(&[
        ("length(s)", "11 | 0 | 10 | NULL"),
        ("char_length('é')", "1"),
        ("length(cast('é', 'BINARY'))", "2"),
        ("upper(s)", "HELLO WORLD |  | NAÏVE CAFÉ | NULL"),
        ("lower('ÀB')", "àb"),
        ("initcap('sPark sQL-x')", "Spark Sql-x"),
        ("reverse(s)", "dlrow olleh |  | éfac evïan | NULL"),
        ("ascii('A')", "65"),
        ("ascii('')", "0"),
        ("chr(65)", "A"),
        ("chr(-1)", ""),
        ("chr(321)", "A"),
    ]);
    assert_eq!(bench().type_of("length(s)"), "INT");
}

#[test]
fn searches_give_positions_from_one() {
    bench().check(&[
        ("instr(s, 'o')", "5 | 0 | 0 | NULL"),
        ("instr(s, 'é')", "0 | 0 | 10 | NULL"),
        ("locate('o', s, 6)", "8 | 0 | 0 | NULL"),
        ("position('o', s)", "5 | 0 | 0 | NULL"),
        ("locate('o', s, 0)", "0 | 0 | 0 | NULL"),
        ("startswith(s, 'he')", "true | false | false | NULL"),
        ("endswith(s, 'fé')", "false | false | true | NULL"),
        ("contains(s, 'o w')", "true | false | false | NULL"),
        ("like(s, 'h%d')", "true | false | false | NULL"),
        ("like(s, '')", "false | true | false | NULL"),
        ("like('a_b', 'a!_b', '!')", "true"),
        ("like('axb', 'a!_b', '!')", "false"),
        ("like('10%', '10\\%')", "true"),
        ("ilike(s, 'HELLO%')", "true | false | false | NULL"),
    ]);
}

#[test]
fn texts_are_joined_with_nulls_as_spark_treats_them() {
    bench().check(&[
        ("concat(s, '-', j)", "hello world-2 | -3 | naïve café-0 | NULL"),
        ("||(s, NULL)", "NULL | NULL | NULL | NULL"),
        ("concat()", ""),
        ("concat_ws(',', s, NULL, j)", "hello world,2 | ,3 | naïve café,0 | "),
        ("concat_ws(',', array('a', NULL, 'b'), 'c')", "a,b,c"),
        ("concat_ws(NULL, s)", "NULL | NULL | NULL | NULL"),
        ("concat(array(1), array(2, 3))", "[1, 2, 3]"),
    ]);
}

#[test]
fn padding_trimming_and_replacing() {
    bench().check(&[
        ("lpad('é', 3, 'ab')", "abé"),
        ("rpad('hi', 5)", "hi   "),
        ("lpad('hello', 2, 'x')", "he"),
        ("lpad('hello', -1, 'x')", ""),
        ("lpad('hi', 5, '')", "hi"),
        ("trim('  a b  ')", "a b"),
        ("ltrim('  a ')", "a "),
        ("rtrim(' a  ')", " a"),
        ("trim('xxaxx', 'x')", "a"),
        ("repeat('ab', 3)", "ababab"),
        ("repeat('ab', -1)", ""),
        ("replace('abcabc', 'b', 'X')", "aXcaXc"),
        ("replace('abc', 'b')", "ac"),
        ("replace('abc', '', 'X')", "abc"),
        ("translate('abcba', 'ab', 'X')", "XcX"),
        ("space(2)", "  "),
        ("split_part('a,b,c', ',', 2)", "b"),
        ("substring_index('a.b.c', '.', 2)", "a.b"),
        ("levenshtein('kitten', 'sitting')", "3"),
        ("overlay('Spark SQL', '_', 6)", "Spark_SQL"),
        ("to_hex(255)", "ff"),
    ]);
}

#[test]
fn split_follows_javas_rules() {
    bench().check(&[
        ("split(s, ' ')", "[hello, world] | [] | [naïve, café] | NULL"),
        ("size(split(s, ' '))", "2 | 1 | 2 | NULL"),
        ("split('a,b,,', ',')", "[a, b, , ]"),
        ("split('a,b,c', ',', 2)", "[a, b,c]"),
        ("split('a,b,c', ',', 0)", "[a, b, c]"),
        ("split('a||b', '\\|\\|')", "[a, b]"),
        ("split('a1b22c', '[0-9]+')", "[a, b, c]"),
        ("split('a1b22c', '[0-9]+', 2)", "[a, b22c]"),
        ("split('abc', '')", "[a, b, c]"),
        ("split('abc', '', 2)", "[a, b]"),
        ("split('abc', 'x*')", "[a, b, c, ]"),
        ("split('a, b,  c', ', *')", "[a, b, c]"),
        ("split(s, substring(s, 1, 1))", "[, ello world] | [] | [, aïve café] | NULL"),
        (
            "split('a longer text than a view holds; another of that kind', '; ')",
            "[a longer text than a view holds, another of that kind]",
        ),
        ("split(s, NULL)", "NULL | NULL | NULL | NULL"),
    ]);
    bench().check_errors(&[("split(s, '(')", &["`split`", "`(`"])]);
}

#[test]
fn regular_expressions_extract_and_replace() {
    bench().check(&[
        ("rlike(s, 'o w|fé$')", "true | false | true | NULL"),
        ("regexp_extract(s, '(\\w+) (\\w+)', 2)", "world |  | café | NULL"),
        ("regexp_extract(s, '(\\w+) (\\w+)')", "hello |  | naïve | NULL"),
        ("regexp_extract('x', 'y', 0)", ""),
        ("regexp_extract('ac', 'a(b)?c', 1)", ""),
        ("regexp_extract_all('1a2b', '(\\d)([a-z])', 2)", "[a, b]"),
        ("regexp_replace('a1b2', '([a-z])(\\d)', '$2$1')", "1a2b"),
        ("regexp_replace('abc', 'b', '\\$x')", "a$xc"),
        ("regexp_count('banana', 'an')", "2"),
        ("regexp_instr('naïve', 've')", "4"),
        ("regexp_substr('abc', 'x')", "NULL"),
        ("regexp_like(s, s)", "true | true | true | NULL"),
    ]);
    bench().check_errors(&[("rlike(s, '[')", &["`rlike`", "`[`"])]);
}
