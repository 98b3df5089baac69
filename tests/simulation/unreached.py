"""Awaits that few seeds reach, and those that none can, each with its reason; a name that is gone is an error.

An entry of `UNREACHED` that is reached is an error too. What is rare is aimed at more often than by turns.
"""

from collections.abc import Iterable
from functools import cache

from tests.simulation.await_point import Point, points

# (file, function, number of the await in it from 0): why nothing can die or fail there.
UNREACHED: dict[tuple[str, str, int], str] = {
    ("aggregator/worker/lane.py", "_load", 2): "a new epoch of the log has begun; the simulation lives in one",
    ("billing/worker/changing.py", "_switch", 11): "no balances here, so nobody has top-ups to be given back",
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
    ("billing/worker/closer.py", "_turn", 0): "no process of the simulation closes twice at once",
    ("billing/worker/closer.py", "_settle_all", 1): "no process of the simulation closes twice at once",
    ("billing/worker/closer.py", "_compare_and_write", 1): "a close that stops is a finding",
    ("billing/worker/closer.py", "_compare_and_write", 3): "a close that stops is a finding",
    ("billing/worker/closer.py", "_stop", 0): "a close that stops is a finding",
    ("billing/worker/settling.py", "settle", 13): "who renews here paid when it began: no trial, no free plan",
    ("billing/worker/settling.py", "stop", 0): "a close that stops is a finding",
    ("billing/worker/settling.py", "stop", 1): "a close that stops is a finding",
    ("billing/worker/stepping.py", "step_all", 1): "nobody pauses here",
    ("billing/worker/stepping.py", "step_all", 2): "nobody pauses here",
    ("ingest/gateway/admission.py", "probe", 0): "asked by a readiness check alone",
}


# Reached in less than a quarter of the seeds: what has to go wrong first goes wrong seldom.
RARE: tuple[tuple[str, str, int], ...] = (
    ("aggregator/worker/condenser.py", "look", 1),
    ("aggregator/worker/condenser.py", "_condense", 0),
    ("aggregator/worker/condenser.py", "_condense", 1),
    ("aggregator/worker/key_lookup.py", "looked_up", 0),
    ("aggregator/worker/lane.py", "_load", 5),
    ("aggregator/worker/lane.py", "_fold_all", 0),
    ("aggregator/worker/lane.py", "_fold", 1),
    ("aggregator/worker/lane.py", "_fold", 3),
    ("aggregator/worker/lane.py", "_fold", 4),
    ("aggregator/worker/lane.py", "_judge", 0),
    ("aggregator/worker/lanes.py", "stop", 0),
    ("aggregator/worker/ownership.py", "leave", 0),
    ("aggregator/worker/rebuild.py", "condense", 0),
    ("aggregator/worker/rebuild.py", "_keys", 2),
    ("aggregator/worker/rebuild.py", "_keys", 3),
    ("aggregator/worker/rebuild.py", "_condense", 0),
    ("aggregator/worker/rebuild.py", "_accounts", 3),
    ("aggregator/worker/rebuild.py", "_accounts", 4),
    ("aggregator/worker/sink.py", "_catch_up", 1),
    ("aggregator/worker/sink.py", "room", 0),
    ("aggregator/worker/sink.py", "restored", 0),
    ("aggregator/worker/sink.py", "flush", 0),
    ("aggregator/worker/sink.py", "_insert", 0),
    ("aggregator/worker/sink.py", "_go_back", 2),
    ("aggregator/worker/sink.py", "_go_back_in", 3),
    ("billing/worker/changing.py", "settle_change", 3),
    ("billing/worker/changing.py", "settle_change", 4),
    ("billing/worker/changing.py", "settle_change", 5),
    ("billing/worker/closer.py", "stop", 0),
    ("billing/worker/closer.py", "catch_up", 4),
    ("billing/worker/closer.py", "catch_up", 5),
    ("billing/worker/closer.py", "catch_up", 6),
    ("billing/worker/closer.py", "one", 0),
    ("billing/worker/closer.py", "_take_cuts", 3),
    ("billing/worker/relay.py", "stop", 0),
    ("billing/worker/settling.py", "settle", 12),
    ("catalog/gateway/catalog.py", "current", 0),
    ("catalog/gateway/catalog.py", "current", 1),
    ("catalog/gateway/catalog.py", "current", 2),
    ("catalog/gateway/catalog.py", "refresh", 0),
    ("catalog/gateway/catalog.py", "published", 1),
    ("catalog/gateway/catalog.py", "published", 2),
    ("ingest/gateway/admission.py", "close", 0),
    ("ingest/gateway/admission.py", "_freshen", 2),
)

# Where a process stops for a while (SIGSTOP) in some seeds, so that others overtake it.
DOZING: tuple[tuple[str, str, int], ...] = (
    ("billing/worker/closer.py", "_take_cuts", 1),  # its cuts are settled before it has shown them
    ("billing/worker/closer.py", "catch_up", 4),  # what is due is done by another
)


def _found(names: Iterable[tuple[str, str, int]]) -> tuple[Point, ...]:
    """Tell the awaits of these names as they stand in the source now."""
    found = []
    for file, function, number in names:
        own = [point for point in points() if (point[0], point[3]) == (file, function)]
        if number < len(own):
            found.append(own[number])
    return tuple(found)


@cache
def listed() -> tuple[Point, ...]:
    """Tell the awaits that cannot be reached."""
    return _found(UNREACHED)


@cache
def rare() -> tuple[Point, ...]:
    """Tell the awaits that are reached seldom."""
    return _found(RARE)


@cache
def dozing() -> tuple[Point, ...]:
    """Tell the awaits at which a process stops for a while in some seeds."""
    return _found(DOZING)
