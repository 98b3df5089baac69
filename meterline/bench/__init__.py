"""The bench: four cases, each beside a floor measured in the same run, and the close of many subscriptions.

Results are stored with the code they measured.

Owns no rule. Invariant: a case whose answers are not all good ends the bench with a failure and no number.
"""

from rich.console import Console

from kernel.clock import SystemClock
from kernel.errors import Misconfigured
from meterline.bench.case import CASES, run_cases
from meterline.bench.close import SIZES, run_close
from meterline.bench.close_result import growths
from meterline.bench.result import close_run_of, run_of, store, store_close
from meterline.cli.output import OK, print_json, print_table

__all__ = ["run_bench", "run_bench_close"]


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


def run_bench_close(*, sizes: list[int] | None, as_json: bool) -> int:
    """Measure the close at each size, print and store it (stored only at the usual sizes); returns the exit code."""
    if any(size < 1 for size in sizes or ()):
        raise Misconfigured("--subscriptions must be at least 1")
    errors = Console(stderr=True, highlight=False)
    results = run_close(sizes or SIZES, told=lambda text: errors.print(f"[dim]{text}[/]"))
    run = close_run_of(results, SystemClock())
    page = None if sizes else store_close(run)
    if as_json:
        print_json(run)
        return OK
    columns = [
        "subscriptions#",
        "events#",
        "s#",
        "invoices /s#",
        "growth#",
        "server CPU#",
        "stores CPU#",
        "MiB#",
        "peak#",
    ]
    rows = [
        (
            one.subscriptions,
            one.events,
            one.seconds,
            one.per_second,
            growth,
            one.server_cpu_seconds,
            one.store_cpu_seconds,
            one.rss_before_mib,
            one.rss_peak_mib,
        )
        for one, growth in zip(results, growths(results), strict=True)
    ]
    print_table(f"The close at {run.commit}, {run.cores} cores", columns, rows)
    if page is not None:
        print(f"stored in {page.parent}")
    return OK
