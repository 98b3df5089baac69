"""`python -m tests.simulation.play [--mutation NAME] [TRACE …]`: the protocol's traces, one JSON line each."""

import json
import os
import sys
import traceback
from contextlib import nullcontext

from tests.simulation.mutation import MUTATIONS
from tests.simulation.trace import Stage
from tests.simulation.trace_bill import BILLS
from tests.simulation.trace_key import KEYS
from tests.simulation.trace_lane import LANES_OF

TRACES = {**KEYS, **LANES_OF, **BILLS}


def play(name: str) -> list[str]:
    stage = Stage(billings=2 if name == "two_closers" else 1)
    try:
        found = stage.play(TRACES[name])
    except Exception:
        found = [traceback.format_exc(limit=-4)]
    return found if not found else [*found, *stage.world.trace[-25:]]


if __name__ == "__main__":
    sys.unraisablehook = lambda _: None
    names = sys.argv[1:]
    bug = MUTATIONS[names[1]]() if names[:1] == ["--mutation"] else nullcontext()
    with bug:
        for asked in (names if isinstance(bug, nullcontext) else names[2:]) or TRACES:
            print(json.dumps({"trace": asked, "found": play(asked)}), flush=True)
    os._exit(0)
