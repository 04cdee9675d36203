"""The cases that `generate.py` runs on Spark, in groups; see there what a case is."""

from cases import (
    aggregates,
    chains,
    deduplication,
    events,
    filters,
    joins,
    late,
    plain,
    policies,
    random_inputs,
    sessions,
    static_joins,
    windows,
)

GROUPS = {
    "aggregates": aggregates.CASES,
    "chains": chains.CASES,
    "deduplication": deduplication.CASES,
    "events": events.CASES,
    "filters": filters.CASES,
    "joins": joins.CASES,
    "late": late.CASES,
    "plain": plain.CASES,
    "policies": policies.CASES,
    "random": random_inputs.CASES,
    "sessions": sessions.CASES,
    "static_joins": static_joins.CASES,
    "windows": windows.CASES,
}


def check():
    names = [case["name"] for cases in GROUPS.values() for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"these names are there twice: {twice}"


check()
