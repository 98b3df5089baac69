"""The bench: four cases, each beside a floor measured in the same run; results are stored with the code they measured.

Owns no rule. Invariant: a case whose answers are not all good ends the bench with a failure and no number.
"""

from rich.console import Console

from kernel.clock import SystemClock
from kernel.errors import Misconfigured
from meterline.bench.case import CASES, run_cases
from meterline.bench.result import run_of, store
from meterline.cli.output import OK, print_json, print_table

__all__ = ["run_bench"]


def run_bench(*, quick: bool, cases: list[str] | None, as_json: bool) -> int:
    """Run the bench, print it and store it (not when `quick` or only some cases); returns the exit code."""
    names = list(cases or CASES)
    if unknown := set(names) - set(CASES):
        raise Misconfigured(f"--case is {', '.join(sorted(unknown))}: set it to {', '.join(CASES)}")
    errors = Console(stderr=True, highlight=False)
    results = run_cases(names, quick=quick, told=lambda text: errors.print(f"[dim]{text}[/]"))
    run = run_of(results, SystemClock())
    page = store(run) if not quick and not cases else None
    if as_json:
        print_json(run)
        return OK
    columns = ["case", "/s#", "/CPU s#", "server CPU#", "stores CPU#", "p50 ms#", "p99 ms#", "floor /s#", "of it#"]
    rows = [
        (
            one.case,
            one.per_second,
            one.per_cpu_second,
            one.server_cpu_seconds,
            one.store_cpu_seconds,
            one.p50_ms,
            one.p99_ms,
            one.floor_per_second,
            f"{one.ratio:.1%}",
        )
        for one in results
    ]
    print_table(f"Bench at {run.commit}, {run.cores} cores", columns, rows)
    if page is not None:
        print(f"stored in {page.parent}")
    return OK
