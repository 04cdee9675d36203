"""Queries without state and without event time: how values get in and out."""

from cases.tools import alias, case, drop, early, filter_, read, rename, row, rows, select, streams, union, with_column

TIMES = [
    [row(0), row(0, None, None), row(None), row(0.25, micros=1), row(-0.000001)],
    [],
    [early(0), early(-1), early(-0.000001), early(-86400.5), early(-6e9)],
]
SHAPES = (
    "t",
    "CAST(t AS DATE) AS day",
    "struct(t, v AS value) AS pair",
    "array(v, v + 1, NULL) AS list",
    "v / 4 AS part",
)
DETAILS = ("CAST(v AS DECIMAL(12,3)) / 4 AS fraction", "v > 0 AS positive", "CAST(v AS INT) AS small", "upper(w) AS w")

CASES = [
    case("values", "8", TIMES, [select(*SHAPES)]),
    case("values_at_once", "8", TIMES, [select(*SHAPES)], feed="together"),
    case("values_detailed", "8", TIMES, [select(*DETAILS)], "update"),
    case(
        "columns",
        "8",
        TIMES,
        [alias("x"), with_column("u", "x.v * 2"), rename("w", "word"), drop("v"), filter_("u > 0")],
    ),
    case(
        "two_streams",
        "1.2",
        None,
        [read("a"), union(read("b")), filter_("v < 5")],
        inputs=streams(a=[rows(1), rows(2), None, [], rows(3, v=9)], b=[None, rows(4), rows(5), [], rows(6, w="b")]),
    ),
    case(
        "two_streams_at_once",
        "1.2",
        None,
        [read("a"), union(read("b"), select("t", "upper(w)", "v")), select("w", "t")],
        inputs=streams(a=[rows(1), rows(2), []], b=[[], rows(4), rows(5), rows(6)]),
        feed="together",
    ),
]
