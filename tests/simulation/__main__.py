"""`python -m tests.simulation SEED[:END] [--mutation NAME] [--verbose] [--json] [--first]`: seeds again, one by one.

The order of Python's sets is part of a seed, so the process starts itself again with a fixed one. `--json` prints a
line a seed for other programs; `--first` ends with the first seed that finds something.
"""

import argparse
import gc
import json
import os
import sys
import warnings
from contextlib import nullcontext


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", help="a seed, or first:end")
    parser.add_argument("--mutation")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--step", type=int, default=1, help="every how many seeds, to share them among processes")
    return parser.parse_args()


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    from tests.simulation.mutation import MUTATIONS
    from tests.simulation.seed import run_seed

    asked = _arguments()
    first, _, end = asked.seeds.partition(":")
    sys.unraisablehook = lambda _: None
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # its process died before it began
    run_seed(-1)  # what is made once a process is made before the first seed that counts
    gc.collect()
    gc.freeze()
    bad = False
    with MUTATIONS[asked.mutation]() if asked.mutation else nullcontext():
        for seed in range(int(first), int(end or int(first) + 1), asked.step):
            result = run_seed(seed)
            bad = bad or bool(result.violations)
            if asked.json:
                print(json.dumps(result.line()), flush=True)
            else:
                _print(result, verbose=asked.verbose)
            if bad and asked.first:
                break
    return int(bad)


def _print(result, *, verbose: bool) -> None:
    if verbose:
        print("\n".join(result.trace))
    print(
        f"seed {result.seed}: {result.digest} {result.records} records, {result.attempts} attempts, "
        f"{result.steps} steps, {result.seconds:.1f} simulated s, {len(result.violations)} violations"
    )
    for violation in result.violations[:20]:
        print("   ", violation)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # without a last look at what is left of the simulated processes
