"""Awaits that the simulation cannot reach, each with its reason; an entry that is reached or gone is an error."""

from functools import cache

from tests.simulation.await_point import Point, points

_ENDS = "runs while a process ends in order; what it does is seen, but nothing dies there a second time"
_EXACT = "the seeds keep all days exact; the trace finds_itself goes through it"

# (file, function, number of the await in it from 0): why nothing can die or fail there.
UNREACHED: dict[tuple[str, str, int], str] = {
    ("aggregator/worker/lane.py", "_fold", 3): _EXACT,
    ("aggregator/worker/rebuild.py", "condense", 0): _EXACT,
    ("aggregator/worker/rebuild.py", "_keys", 2): _EXACT,
    ("aggregator/worker/rebuild.py", "_keys", 3): _EXACT,
    ("aggregator/worker/rebuild.py", "_condense", 0): _EXACT,
    ("billing/worker/closer.py", "stop", 0): _ENDS,
    ("billing/worker/closer.py", "flush", 0): "asked by a test clock's first setting alone, which is no part of it",
    ("billing/worker/closer.py", "has_due", 0): "asked by the test clock's route alone",
    (
        "billing/worker/closer.py",
        "close_due",
        0,
    ): "an operator's resume of stopped closes: a stopped close is a finding",
    (
        "billing/worker/closer.py",
        "close_due",
        1,
    ): "an operator's resume of stopped closes: a stopped close is a finding",
    ("billing/worker/closer.py", "_close_customer", 0): "started by the route of a cancellation alone",
    ("billing/worker/closer.py", "_close_customer", 1): "started by the route of a cancellation alone",
    ("billing/worker/closer.py", "_close_customer", 2): "started by the route of a cancellation alone",
    ("billing/worker/settling.py", "stop", 0): "a close that stops is a finding",
    ("billing/worker/settling.py", "stop", 1): "a close that stops is a finding",
    ("ingest/gateway/admission.py", "probe", 0): "asked by a readiness check alone",
}


@cache
def listed() -> tuple[Point, ...]:
    """Tell the listed awaits as they stand in the source now."""
    found = []
    for file, function, number in UNREACHED:
        own = [point for point in points() if (point[0], point[3]) == (file, function)]
        if number < len(own):
            found.append(own[number])
    return tuple(found)
