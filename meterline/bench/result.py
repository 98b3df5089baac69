"""Stored results: a line a run in `docs/bench/results.jsonl`, and a page made of them; no number comes by hand."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from kernel.clock import Clock
from kernel.period import instant_text
from meterline.bench.case import CASES, Result
from meterline.bench.close import CloseResult
from meterline.bench.close_result import CloseRun, add_close, render_close

DOCS: Final = Path(__file__).parents[2] / "docs" / "bench"
_FILE: Final = "results.jsonl"
_SHOWN_RUNS: Final = 20
_INTRODUCTION: Final = """\
Made by `make bench`; every number is from a run, none is written by hand. Server, stores and load generator share the
machine's cores. *batch*: 16 callers with 100 events a request; *single*: 64 connections with one event; *canUse*: 64
connections; *fold*: a filled lane of the log, folded and written to LIVE. A rate is events (questions) a second with
the verdict in the answer; *per CPU second* is of the server's process alone, the stores' processor time stands beside
it. *floor* is the least that such a server could do, measured in the same run: reading the body and answering; for
canUse one GET to Valkey as well; for fold decoding the same records and adding into a dict."""


class Run(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run of the bench on one machine."""

    at: str
    commit: str
    cores: int
    python: str
    results: list[Result]


def run_of(results: list[Result], clock: Clock) -> Run:
    """Describe a run that just ended."""
    return Run(
        at=instant_text(clock.now_ms()),
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        results=results,
    )


def close_run_of(results: list[CloseResult], clock: Clock) -> CloseRun:
    """Describe a run of the bench of the close that just ended."""
    run = run_of([], clock)
    return CloseRun(at=run.at, commit=run.commit, cores=run.cores, python=run.python, results=results)


def _commit() -> str:
    command = ["git", "-C", str(DOCS.parent), "describe", "--always", "--dirty", "--abbrev=8"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def store(run: Run) -> Path:
    """Append a run and render the page anew; returns the page's file."""
    DOCS.mkdir(parents=True, exist_ok=True)
    with (DOCS / _FILE).open("ab") as file:
        file.write(msgspec.json.encode(run) + b"\n")
    return _written()


def store_close(run: CloseRun) -> Path:
    """Append a run of the bench of the close and render the page anew; returns the page's file."""
    DOCS.mkdir(parents=True, exist_ok=True)
    add_close(DOCS, run)
    return _written()


def _written() -> Path:
    results = DOCS / _FILE
    lines = results.read_bytes().splitlines() if results.exists() else []
    page = DOCS / "README.md"
    page.write_text(
        render([msgspec.json.decode(line, type=Run) for line in lines if line.strip()]) + render_close(DOCS)
    )
    return page


def render(runs: list[Run]) -> str:
    """Render the newest runs, newest first."""
    lines = [
        "# Bench",
        "",
        _INTRODUCTION,
        "",
        "| run | cores | case | a second | per CPU second | CPU s server, stores | p50, p99 ms | floor | of it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in reversed(runs[-_SHOWN_RUNS:]):
        for result in sorted(run.results, key=lambda one: CASES.index(one.case)):
            latency = "" if result.p50_ms is None else f"{result.p50_ms}, {result.p99_ms}"
            lines.append(
                f"| {run.at[:16]} `{run.commit}` | {run.cores} | {result.case} | {result.per_second:,}"
                f" | {result.per_cpu_second:,} | {result.server_cpu_seconds}, {result.store_cpu_seconds} | {latency}"
                f" | {result.floor_per_second:,} | {result.ratio:.1%} |"
            )
    return "\n".join(lines) + "\n"
