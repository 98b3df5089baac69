"""`python -m tests.simulation SEED`: one seed again, with its trace."""

import gc
import os
import sys
import time


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    from tests.simulation.seed import run_seed

    first, _, last = sys.argv[1].partition(":")
    bad = 0
    sys.unraisablehook = lambda _: None
    run_seed(-1)  # what is made once a process is made before the first seed that counts
    gc.collect()
    gc.freeze()
    for seed in range(int(first), int(last or int(first) + 1)):
        begun = time.perf_counter()
        result = run_seed(seed)
        print(
            f"seed {seed}: {result.digest} {result.events} records {result.answers} attempts {result.steps} steps {result.seconds:.1f} s in {time.perf_counter() - begun:.2f} s"
        )
        if "--verbose" in sys.argv:
            print("\n".join(result.trace))
        for violation in result.violations[:12]:
            print("   ", violation)
        bad += bool(result.violations)
    sys.stdout.flush()
    os._exit(bad > 0)


if __name__ == "__main__":
    main()
