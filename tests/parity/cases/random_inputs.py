"""Random rows with fixed seeds: times around a moving centre, with jitter, nulls, repeats and exact boundaries."""

import random

from cases.tools import (
    COUNT,
    aggregate,
    case,
    dedup,
    dedup_within,
    filter_,
    read,
    row,
    select,
    streams,
    union,
    watermark,
)

FUNCTIONS = ("count(*) AS n", "sum(v) AS s", "min(v) AS lo", "max(v) AS hi")
MARKED = watermark("7 seconds")
SPANS = aggregate(["window(t, '10 seconds')", "w"], FUNCTIONS)


def moment(chosen, centre):
    """A time near `centre`: mostly any, often on a whole or half window, sometimes right beside one."""
    seconds = centre + chosen.gauss(0, 8)
    kind = chosen.random()
    if kind < 0.06:
        return None, 0
    if kind < 0.30:
        return round(seconds / 5) * 5, 0
    if kind < 0.45:
        return round(seconds / 5) * 5, chosen.choice([-1000, -1, 1, 999, 1000])
    return round(seconds, chosen.choice([0, 1, 3, 6])), 0


def random_row(chosen, centre):
    seconds, micros = moment(chosen, centre)
    return row(seconds, chosen.choice(["a", "b", "c", None]), chosen.choice([None, 0, *range(-9, 10)]), micros)


def steps(seed, speed=13):
    chosen = random.Random(seed)
    found, centre = [], 0.0
    for _ in range(chosen.randint(5, 8)):
        found.append([random_row(chosen, centre) for _ in range(chosen.randint(0, 12))])
        centre += chosen.uniform(0, 2 * speed)
    return found


def several(name, rules, pipeline, seeds, mode="append", **more):
    return [case(f"random_{name}_{seed}", rules, steps(seed), pipeline, mode, **more) for seed in seeds]


def two_streams(seed):
    return streams(a=steps(seed)[:5], b=steps(seed + 1)[:5])


CASES = [
    *several("tumbling", "2.3 2.4 2.5 3.1 3.5", [MARKED, SPANS], range(1, 4)),
    *several("tumbling_update", "2.3 2.4 3.5", [MARKED, SPANS], range(4, 7), "update"),
    *several("tumbling_complete", "1.4 3.5", [MARKED, SPANS], [7], "complete"),
    *several(
        "sliding", "3.1 3.5", [MARKED, aggregate(["window(t, '10 seconds', '4 seconds', '-1 second')", "w"])], [8, 9]
    ),
    *several(
        "sliding_update",
        "3.1 3.5",
        [MARKED, aggregate(["window(t, '12 seconds', '5 seconds', '2 seconds')"])],
        [10, 11],
        "update",
        feed="together",
    ),
    *several("time_key", "2.4 2.5", [MARKED, aggregate(["t"], COUNT)], [12, 13]),
    *several("words", "3.4 3.6", [MARKED, aggregate(["w"], FUNCTIONS)], [14], "update"),
    *several("dedup", "5.1 2.4", [MARKED, dedup("t", "w")], [15, 16, 17]),
    *several("dedup_words", "5.1 2.4", [MARKED, dedup("w", "v")], [18], "update"),
    *several("within", "5.2", [MARKED, filter_("t IS NOT NULL"), dedup_within("w")], [19, 20, 21]),
    *several("sessions", "3.2", [MARKED, aggregate(["session_window(t, '4 seconds')", "w"])], [22, 23, 24]),
    *several("sessions_complete", "3.2", [aggregate(["session_window(t, '3 seconds')", "w"])], [25], "complete"),
    *several(
        "sessions_by_row",
        "3.2",
        [
            MARKED,
            aggregate(
                [
                    "session_window(t, CASE WHEN v > 3 THEN '9 seconds' WHEN v > 0 THEN '3 seconds' "
                    "WHEN v = 0 THEN '0 seconds' ELSE '1 second' END)",
                    "w",
                ]
            ),
        ],
        [26, 27],
    ),
    *several(
        "chain",
        "2.6 2.3",
        [MARKED, SPANS, aggregate(["window(window, '20 seconds')"], ["sum(n) AS n", "max(hi) AS hi"])],
        [28, 29, 30],
    ),
    *several("dedup_chain", "2.6 5.1", [MARKED, dedup("t"), SPANS], [31, 32]),
    *several("filter", "2.7", [MARKED, filter_("v > -5"), SPANS], [33, 34]),
    *several("filter_above", "2.7", [MARKED, SPANS, filter_("w <> 'b'"), select("window.end", "w", "hi")], [35]),
    *several("off", "3.6", [MARKED, SPANS], [36], config={"noDataEpochs.enabled": False}),
    *(
        case(
            f"random_union_{seed}",
            "2.2",
            None,
            [read("a"), MARKED, union(read("b"), watermark("3 seconds")), SPANS],
            inputs=two_streams(seed),
            config={"multipleWatermarkPolicy": policy},
        )
        for seed, policy in [(40, "min"), (42, "max")]
    ),
]
