"""Short forms for writing cases."""

import datetime

BASE = datetime.datetime(2021, 10, 1, 9, 30)
EPOCH = datetime.datetime(1970, 1, 1)
SCHEMA = "t TIMESTAMP, w STRING, v BIGINT"
COUNT = ("count(*) AS n",)
COUNT_AND_SUM = ("count(*) AS n", "sum(v) AS s")
# Where millstream is meant to differ: Spark judges rows in complete mode at some operators and not at others.
COMPLETE = "1.4: complete mode drops no late row and evicts nothing"


def at(seconds, micros=0, base=BASE):
    """`seconds` and `micros` after `base`, as text; None stays None."""
    if seconds is None:
        return None
    time = base + datetime.timedelta(microseconds=round(seconds * 1_000_000) + micros)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def row(t, w="a", v=1, micros=0, base=BASE):
    return {"t": at(t, micros, base), "w": w, "v": v}


def early(t, w="a", v=1, micros=0):
    """A row near 1970-01-01."""
    return row(t, w, v, micros, EPOCH)


def rows(*times, w="a", v=1):
    return [row(t, w, v) for t in times]


def case(name, rules, steps, pipeline, mode="append", **more):
    """A case of one stream `a` of `t`, `w` and `v`; `inputs`, `feed` and `config` may be given."""
    schema = more.pop("schema", SCHEMA)
    inputs = more.pop("inputs", None) or {"a": {"schema": schema, "steps": steps}}
    if pipeline[0]["op"] != "read":
        pipeline = [read("a"), *pipeline]
    return {"name": name, "rules": rules.split(), "inputs": inputs, "pipeline": pipeline, "mode": mode, **more}


def modes(name, rules, steps, pipeline, wanted=("append", "update", "complete"), **more):
    """The same case in several modes."""
    return [case(f"{name}_{mode}", rules, steps, pipeline, mode, **more) for mode in wanted]


def streams(schema=SCHEMA, **steps):
    return {name: {"schema": schema, "steps": rows} for name, rows in steps.items()}


def read(name="a"):
    return {"op": "read", "input": name}


def watermark(delay, column="t"):
    return {"op": "with_watermark", "column": column, "delay": delay}


def aggregate(keys, aggs=COUNT_AND_SUM):
    return {"op": "aggregate", "keys": list(keys), "aggs": list(aggs)}


def select(*exprs):
    return {"op": "select", "exprs": list(exprs)}


def filter_(condition):
    return {"op": "filter", "condition": condition}


def with_column(name, expr):
    return {"op": "with_column", "name": name, "expr": expr}


def rename(old, new):
    return {"op": "rename", "from": old, "to": new}


def alias(name):
    return {"op": "alias", "name": name}


def drop(*columns):
    return {"op": "drop", "columns": list(columns)}


def dedup(*columns):
    return {"op": "drop_duplicates", "columns": list(columns)}


def dedup_within(*columns):
    return {"op": "drop_duplicates_within_watermark", "columns": list(columns)}


def union(*pipeline):
    return {"op": "union", "with": list(pipeline)}


def join(on, *pipeline, kind="inner"):
    return {"op": "join", "with": list(pipeline), "on": on, "type": kind}


def limit(n):
    return {"op": "limit", "n": n}


DISTINCT = {"op": "distinct"}
