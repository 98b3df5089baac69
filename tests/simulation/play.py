"""`python -m tests.simulation.play [--mutation NAME | --caught] [TRACE …]`: the protocol's traces, one JSON line each.

`--caught` plays traces with the deliberate bug that each of them is about.
"""

import json
import os
import sys
import traceback
from contextlib import nullcontext

from tests.simulation.mutation import MUTATIONS
from tests.simulation.trace import Stage
from tests.simulation.trace_bill import BILLS
from tests.simulation.trace_correction import CORRECTIONS
from tests.simulation.trace_key import KEYS
from tests.simulation.trace_lane import LANES_OF

TRACES = {**KEYS, **LANES_OF, **BILLS, **CORRECTIONS}
# What a trace forces is what this bug gets wrong: with it the trace has to find something.
CAUGHT = {
    "two_rebuilders": "rebuild_without_the_token",
    "fall_back_in_rebuild": "rebuild_without_the_token",
    "split_brain": "compare_less_instead_of_equality",
    "late_event_at_cut": "close_before_the_cut_is_sunk",
    "accounts_apart": "read_accounts_apart_from_next",
    "zombie_fold": "compare_less_instead_of_equality",
    "late_after_refusal": "an_older_attempt_counts_after_a_newer_one_was_refused",
    "stalled_before_append": "an_older_attempt_counts_after_a_newer_one_was_refused",
}


def play(name: str, mutation: str | None = None) -> list[str]:
    stage = Stage(billings=2 if name == "two_closers" else 1)
    try:
        with MUTATIONS[mutation]() if mutation else nullcontext():
            found = stage.play(TRACES[name])
    except Exception:
        found = [traceback.format_exc(limit=-4)]
    return found if not found else [*found, *stage.world.trace[-25:]]


def main() -> None:
    names, mutation, caught = sys.argv[1:], None, False
    if names[:1] == ["--mutation"]:
        mutation, names = names[1], names[2:]
    elif names[:1] == ["--caught"]:
        caught, names = True, names[1:]
    for name in names or (CAUGHT if caught else TRACES):
        found = play(name, CAUGHT[name] if caught else mutation)
        print(json.dumps({"trace": name, "found": found}), flush=True)


if __name__ == "__main__":
    sys.unraisablehook = lambda _: None
    main()
    os._exit(0)
