"""`python -m tests.simulation SEED[:END] [--mutation NAME | --mutations] [--verbose] [--json] [--first]`: seeds again.

The order of Python's sets is part of a seed, so the process starts itself again with a fixed one. `--json` prints a
line a seed for other programs; `--first` ends with the first seed that finds something; `--mutations` tells the first
seed that finds each deliberate bug. `--mutation NAME=SEED …` looks for several bugs in one process, for each of them
from its own seed on.
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
    parser.add_argument("--mutation", nargs="+", metavar="NAME[=SEED]", default=[None])
    parser.add_argument("--mutations", action="store_true", help="the first seed that finds each deliberate bug")
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
    begin, _, end = asked.seeds.partition(":")
    seeds = range(int(begin), int(end or int(begin) + 1), asked.step)
    if asked.mutations:
        return _look_for_mutations(seeds)
    sys.unraisablehook = lambda _: None
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # its process died before it began
    run_seed(-1)  # what is made once a process is made before the first seed that counts
    gc.collect()
    gc.freeze()
    bad = False
    for mutation in asked.mutation:
        name, _, own = (mutation or "").partition("=")
        with MUTATIONS[name]() if name else nullcontext():
            for seed in range(int(own), seeds.stop) if own else seeds:
                result = run_seed(seed)
                if asked.json:
                    print(json.dumps({**result.line(), "mutation": name}), flush=True)
                else:
                    _print(result, verbose=asked.verbose)
                bad = bad or bool(result.violations)
                if result.violations and asked.first:
                    break
    return int(bad)


def _look_for_mutations(seeds: range) -> int:
    """Print the first of the seeds that finds each deliberate bug; 1 when a bug is not found."""
    from tests.simulation import soak
    from tests.simulation.mutation import MUTATIONS

    missing = False
    for row in soak.mutation_rows(MUTATIONS, seeds.start, seeds.stop):
        print(row, flush=True)
        missing = missing or row.split()[1] == "none"
    return int(missing)


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
