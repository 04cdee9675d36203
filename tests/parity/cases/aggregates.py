"""Aggregation: keys, functions, modes, with and without a watermark."""

from cases.tools import COUNT, aggregate, case, drop, filter_, modes, row, rows, select, watermark, with_column

WORDS = [
    [row(1, "a", 1), row(1, None, 2)],
    [row(2, "a", None)],
    [],
    [row(3, None, None), row(3, "b", -7)],
    [row(4, "a", 0)],
]
STEPS = [
    [row(1, "a", 1), row(12, "b", 2), row(2, "a", -5), row(3, "b", None)],
    [row(25, "a", 3), row(13, "b", 8)],
    [row(3, "a", 9), row(41, "b", 4)],
    [row(60, "c", 5)],
]
ALL = (
    "count(*) AS n",
    "count(v) AS c",
    "sum(v) AS s",
    "min(v) AS lo",
    "max(v) AS hi",
    "avg(v) AS mean",
    "min(w) AS first_word",
    "max(w) AS last_word",
)
KEYED = "t TIMESTAMP, x DOUBLE, d DECIMAL(10,2), w STRING"


def keyed(t, x=None, d=None, w=None):
    return {"t": row(t)["t"], "x": x, "d": d, "w": w}


KEYS = [
    [keyed(1, 0.0, 1.5), keyed(2, -0.0, 1.50), keyed(3, "NaN", 0), keyed(4, "NaN", -0.01), keyed(5, None, None)],
    [keyed(6, 0.1, 99999999.99), keyed(7, "NaN", None), keyed(8, -0.0, 1.5), keyed(9, 1.0, -0.01)],
    [keyed(40, 1.5, 12)],
]
LONG = ["x" * 3000, "x" * 2999 + "y", "日本語" * 40, "", " ", "a\u0000b", "🙂"]

CASES = [
    *modes("words", "1.4 3.4", WORDS, [aggregate(["w"])], wanted=("update", "complete")),
    *modes("words_every_function", "1.4 3.4", WORDS, [aggregate(["w"], ALL)], wanted=("update", "complete")),
    *modes("words_and_values", "3.4", WORDS, [aggregate(["w", "v"], COUNT)], wanted=("update", "complete")),
    *modes("everything", "3.4 1.4", [[], *WORDS], [aggregate([], ALL)], wanted=("update", "complete")),
    *modes(
        "everything_watermarked",
        "3.4 3.6",
        [[], *STEPS, []],
        [watermark("10 seconds"), aggregate([], ALL)],
        wanted=("update", "complete"),
    ),
    case("everything_filtered", "3.4", WORDS, [filter_("v > 100"), aggregate([], ALL)], mode="update"),
    case("everything_at_once", "3.4", [[], *WORDS], [aggregate([])], mode="update", feed="together"),
    *modes(
        "every_function", "3.5 1.4", STEPS, [watermark("10 seconds"), aggregate(["window(t, '10 seconds')", "w"], ALL)]
    ),
    case(
        "unchanged_values",
        "1.4 3.5",
        [rows(5, v=7), rows(6, v=7), rows(7, v=3), [], rows(5, v=None)],
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds')"], ["max(v) AS hi"])],
        mode="update",
    ),
    case(
        "keys_null",
        "3.4",
        [[row(1, None), row(2, "a"), row(3, None)], [row(4, None)], [row(40, None)], [row(80)]],
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds')", "w"])],
    ),
    *modes(
        "keys_double",
        "3.4",
        KEYS,
        [watermark("10 seconds"), aggregate(["x", "window(t, '10 seconds')"], COUNT)],
        schema=KEYED,
    ),
    *modes(
        "keys_decimal",
        "3.4",
        KEYS,
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds')", "d"], COUNT)],
        schema=KEYED,
        wanted=("append", "update"),
    ),
    case(
        "values_decimal",
        "3.4",
        KEYS,
        [aggregate(["x IS NULL AS none"], ["sum(d) AS s", "max(d) AS hi", "avg(d) AS m"])],
        schema=KEYED,
        mode="update",
    ),
    case(
        "values_double",
        "3.4",
        KEYS,
        [aggregate(["d IS NULL AS none"], ["min(x + 0.0) AS lo", "max(x) AS hi", "count(x) AS n"])],
        schema=KEYED,
        mode="complete",
    ),
    case(
        "keys_long",
        "3.4",
        [[keyed(i, w=w) for i, w in enumerate(LONG)], [keyed(9, w=w) for w in LONG], [keyed(70)]],
        [
            watermark("10 seconds"),
            aggregate(["window(t, '10 seconds')", "w"], COUNT),
            with_column("k", "length(w)"),
            select("window.end", "k", "substring(w, 1, 5) AS w", "n"),
        ],
        schema=KEYED,
    ),
    case("keys_struct", "3.4", WORDS, [aggregate(["struct(w, v % 2 AS odd) AS pair"], COUNT)], mode="complete"),
    case(
        "keys_computed",
        "3.4",
        STEPS,
        [watermark("10 seconds"), aggregate(["upper(w) AS u", "window(t, '10 seconds')", "v > 3 AS big"], COUNT)],
    ),
    case(
        "keys_only",
        "3.5",
        STEPS,
        [watermark("10 seconds"), aggregate(["window(t, '10 seconds')", "w"], COUNT), drop("n")],
    ),
    case(
        "computed_over_aggregates",
        "3.5",
        STEPS,
        [
            watermark("10 seconds"),
            aggregate(["window(t, '10 seconds')"], ["sum(v) + count(*) AS x", "max(v) - min(v) AS y"]),
        ],
    ),
    case(
        "filtered_aggregates",
        "3.5",
        STEPS,
        [
            watermark("10 seconds"),
            aggregate(["window(t, '10 seconds')"], ["count_if(v > 2) AS big", "sum(v) FILTER (WHERE w = 'a') AS s"]),
        ],
        mode="update",
    ),
    case(
        "values_overflow", "3.4", [rows(1, 2, v=9223372036854775807), rows(3, v=1)], [aggregate(["w"])], mode="update"
    ),
]
