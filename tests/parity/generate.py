"""Runs the cases of `cases.py` on a real Spark and writes what it did to `goldens/<group>.json`.

How to run (Java 17, two cores are plenty):

    pip install pyspark==4.3.0
    python tests/parity/generate.py             # every case
    python tests/parity/generate.py NAME…       # these cases or groups; the others keep their goldens

A golden holds the whole definition of a case beside what Spark did with it, so that `cargo test --test parity` needs
neither Python nor Spark. A case is

    name      unique; also how to run it alone: PARITY_CASE=name cargo test --test parity
    rules     the numbers of the rules it shows: 2.x event time, 3.x aggregation, 4.x joins, 5.x deduplication
    inputs    stream name -> {"schema": DDL, "steps": [rows of one file, …]}; a row is an object, a time an ISO text;
              [] is an empty file, null no file at all; with "static": true it is a static table, which has the rows
              of its only step before the query starts
    pipeline  a list of steps, see `build`; every expression is SQL text
    mode      append, update or complete
    feed      "steps": the files of a step are added once all before is processed, no-data epochs included;
              "together": all files are there at the start, one of each stream is read an epoch, then the query ends
    config    multipleWatermarkPolicy, noDataEpochs.enabled
    compare   {"state_rows": bool}: whether another engine's state has to have as many rows;
              "differs": why millstream is meant to give something else
    expected  one entry an epoch: batch: its number; watermark: the one it ran under, null without any;
              rows: sorted, columns in order; dropped: rows dropped as late, over all operators;
              state_rows: of each stateful operator, from the output down

Times come as ISO texts in UTC with microseconds, structs as objects, doubles and decimals as texts, null as null.
"""

import datetime
import decimal
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
os.environ["TZ"] = "UTC"
time.tzset()

import cases  # noqa: E402

HERE = pathlib.Path(__file__).parent
GOLDENS = HERE / "goldens"
# Checkpoints are many small files.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
CONFIG = {
    "multipleWatermarkPolicy": "spark.sql.streaming.multipleWatermarkPolicy",
    "noDataEpochs.enabled": "spark.sql.streaming.noDataMicroBatches.enabled",
}
DEFAULTS = {"multipleWatermarkPolicy": "min", "noDataEpochs.enabled": True}


def spark_session():
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.streaming.numRecentProgressUpdates": "10000",
        "spark.sql.streaming.noDataProgressEventInterval": "3600000",
        "spark.sql.streaming.pollingDelay": "40ms",
        "spark.sql.streaming.stateStore.maintenanceInterval": "3600s",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[2]").appName("parity")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


# The pipeline.


def build(steps, read):
    """Interprets a pipeline; `read` makes the table of an input."""
    frame = None
    for step in steps:
        frame = STEPS[step["op"]](frame, step, read)
    return frame


def exprs(texts):
    from pyspark.sql import functions

    return [functions.expr(text) for text in texts]


def join(frame, step, read):
    kinds = {
        "inner": "inner",
        "left": "left",
        "right": "right",
        "full": "full",
        "left_semi": "left_semi",
        "left_anti": "left_anti",
    }
    return frame.join(build(step["with"], read), exprs([step["on"]])[0], kinds[step["type"]])


STEPS = {
    "read": lambda frame, step, read: read(step["input"]),
    "with_watermark": lambda frame, step, read: frame.withWatermark(step["column"], step["delay"]),
    "select": lambda frame, step, read: frame.selectExpr(*step["exprs"]),
    "filter": lambda frame, step, read: frame.filter(step["condition"]),
    "with_column": lambda frame, step, read: frame.withColumn(step["name"], exprs([step["expr"]])[0]),
    "rename": lambda frame, step, read: frame.withColumnRenamed(step["from"], step["to"]),
    "alias": lambda frame, step, read: frame.alias(step["name"]),
    "drop": lambda frame, step, read: frame.drop(*step["columns"]),
    "aggregate": lambda frame, step, read: frame.groupBy(*exprs(step["keys"])).agg(*exprs(step["aggs"])),
    "drop_duplicates": lambda frame, step, read: frame.dropDuplicates(step["columns"] or None),
    "drop_duplicates_within_watermark": lambda frame, step, read: frame.dropDuplicatesWithinWatermark(
        step["columns"] or None
    ),
    "distinct": lambda frame, step, read: frame.distinct(),
    "union": lambda frame, step, read: frame.union(build(step["with"], read)),
    "limit": lambda frame, step, read: frame.limit(step["n"]),
    "join": join,
}


# Values.


def render(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float):
        return {"nan": "NaN"}.get(repr(value), repr(value))
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if hasattr(value, "asDict"):
        return {name: render(field) for name, field in zip(value.__fields__, value)}
    if isinstance(value, list):
        return [render(item) for item in value]
    return value


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines(rows):
    return "".join(text(row) + "\n" for row in rows)


# Running.


class Feeder:
    """Puts the files of a case where the query looks for them."""

    def __init__(self, directory, inputs):
        self.directory = directory
        self.inputs = {name: stream for name, stream in inputs.items() if not stream.get("static")}
        for name in inputs:
            (directory / "in" / name).mkdir(parents=True)
        (directory / "ready").mkdir()
        for name in inputs.keys() - self.inputs.keys():
            (rows,) = inputs[name]["steps"]
            (directory / "in" / name / "table.json").write_text(lines(rows), encoding="utf-8")

    def steps(self):
        return max(len(stream["steps"]) for stream in self.inputs.values())

    def rows(self, name, step):
        steps = self.inputs[name]["steps"]
        return steps[step] if step < len(steps) else None

    def add(self, step):
        moves = []
        for name in self.inputs:
            rows = self.rows(name, step)
            if rows is not None:
                ready = self.directory / "ready" / f"{name}-{step:05}.json"
                ready.write_text(lines(rows), encoding="utf-8")
                seconds = int(time.time()) - 3600 + step
                os.utime(ready, (seconds, seconds))
                moves.append((ready, self.directory / "in" / name / f"{step:05}.json"))
        for ready, place in moves:
            os.rename(ready, place)


class Torn(Exception):
    """The files of one step were read in two epochs."""


def run(spark, case, directory):
    feeder = Feeder(directory, case["inputs"])
    together = case["feed"] == "together"
    if together:
        for step in range(feeder.steps()):
            feeder.add(step)
    frame = build(case["pipeline"], lambda name: read(spark, case, directory, name))
    for key, default in DEFAULTS.items():
        spark.conf.set(CONFIG[key], str(case["config"].get(key, default)).lower())
    epochs = {}

    def record(batch, number):
        epochs[number] = sorted(([render(value) for value in row] for row in batch.collect()), key=text)

    writer = frame.writeStream.outputMode(case["mode"]).foreachBatch(record)
    writer = writer.option("checkpointLocation", str(directory / "checkpoint"))
    query = (writer.trigger(availableNow=True) if together else writer).start()
    try:
        if together:
            query.awaitTermination()
        else:
            for step in range(feeder.steps()):
                feeder.add(step)
                query.processAllAvailable()
        progress = [json.loads(progress.json) for progress in query.recentProgress]
    finally:
        query.stop()
    progress = {p["batchId"]: p for p in progress if "addBatch" in p["durationMs"]}
    if not together:
        check_whole(feeder, case, [progress[number] for number in sorted(epochs)])
    return [epoch(number, epochs[number], progress[number]) for number in sorted(epochs)]


def read(spark, case, directory, name):
    is_static = case["inputs"][name].get("static")
    reader = (spark.read if is_static else spark.readStream).schema(case["inputs"][name]["schema"])
    if case["feed"] == "together" and not is_static:
        reader = reader.option("maxFilesPerTrigger", 1)
    return reader.json(str(directory / "in" / name))


def epoch(number, rows, progress):
    watermark = progress.get("eventTime", {}).get("watermark")
    if watermark:
        watermark = watermark[:-1] + "000Z"
    operators = progress["stateOperators"]
    return {
        "batch": number,
        "watermark": watermark,
        "rows": rows,
        "dropped": sum(operator["numRowsDroppedByWatermark"] for operator in operators),
        "state_rows": [operator["numRowsTotal"] for operator in operators],
    }


def check_whole(feeder, case, progress):
    """Every step that adds files is one epoch, which reads a file of each of its streams."""
    wanted = []
    for step in range(feeder.steps()):
        streams = {name for name in feeder.inputs if feeder.rows(name, step) is not None}
        if streams:
            wanted.append(streams)
    found = []
    for p in progress:
        moved = {stream_of(source) for source in p["sources"] if source["startOffset"] != source["endOffset"]}
        if moved:
            found.append(moved)
    if found != wanted:
        raise Torn(f"{case['name']}: wanted {wanted}, found {found}")


def stream_of(source):
    return source["description"].rstrip("]").rsplit("/", 1)[-1]


def run_until_whole(spark, case):
    for _ in range(20):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="parity-", dir=MEMORY))
        try:
            return run(spark, case, directory)
        except Torn as torn:
            print(f"again: {torn}", file=sys.stderr)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    raise Torn(case["name"])


# Files.


def defaults(case):
    whole = {"name": None, "rules": [], "inputs": {}, "pipeline": [], "mode": "append", "feed": "steps", "config": {}}
    whole.update(case)
    whole.setdefault("compare", {"state_rows": has_plain_state(case["pipeline"])})
    return whole


def has_plain_state(pipeline):
    """Whether each stateful operator holds one row of state a group, key or row to be joined."""
    return not any(word in text(pipeline) for word in ("session_window", '"op":"limit"'))


def dump(cases):
    """JSON with a line for each step of an input and each epoch."""
    return "[\n" + ",\n".join(dump_case(case) for case in cases) + "\n]\n"


def dump_case(case):
    def listed(items):
        return "[" + ",".join("\n    " + text(item) for item in items) + "\n  ]"

    def stream(name):
        value = case["inputs"][name]
        static = '"static": true, ' if value.get("static") else ""
        return (
            f'    {text(name)}: {{"schema": {text(value["schema"])}, {static}"steps": ' + listed(value["steps"]) + "}"
        )

    fields = []
    for key, value in case.items():
        if key == "inputs":
            fields.append('  "inputs": {\n' + ",\n".join(stream(name) for name in value) + "\n  }")
        elif key in ("pipeline", "expected"):
            fields.append(f"  {text(key)}: " + listed(value))
        else:
            fields.append(f"  {text(key)}: {text(value)}")
    return "{\n" + ",\n".join(fields) + "\n}"


def write_group(group, done):
    """Writes the cases of a group in the order of their definition; those not run keep what is there."""
    path = GOLDENS / f"{group}.json"
    known = {case["name"]: case for case in json.loads(path.read_text())} if path.exists() else {}
    known.update(done)
    kept = [known[case["name"]] for case in cases.GROUPS[group] if case["name"] in known]
    path.write_text(dump(kept), encoding="utf-8")


def main(names):
    spark, failures, count, begin = spark_session(), {}, 0, time.time()
    for group, members in cases.GROUPS.items():
        wanted = [case for case in members if not names or case["name"] in names or group in names]
        done = {}
        for case in wanted:
            case, start = defaults(case), time.time()
            try:
                case["expected"] = run_until_whole(spark, case)
                done[case["name"]] = case
                print(f"{case['name']}: {len(case['expected'])} epochs, {time.time() - start:.1f} s", flush=True)
            except Exception as error:  # Spark refuses in many ways.
                failures[case["name"]] = str(error).split("JVM stacktrace")[0][:1500]
        if done:
            write_group(group, done)
            count += len(done)
    print(f"{count} cases in {time.time() - begin:.0f} s")
    for name, failure in failures.items():
        print(f"FAILED {name}: {failure}", file=sys.stderr)
    spark.stop()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
