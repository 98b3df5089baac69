"""Stored results of the bench of the close: a line a run in `docs/bench/close.jsonl`, and their part of the page."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from meterline.bench.close import CloseResult

FILE: Final = "close.jsonl"
_SHOWN_RUNS: Final = 10
_HEAD: Final = (
    "| run | cores | subscriptions | events | s | invoices a second | growth | CPU s server, stores | memory MiB | load"
    " | audit |"
)
_INTRODUCTION: Final = """\
Made by `make bench-close`: subscriptions on all three models (promo codes, seats that grow, add-ons, packs, AI tokens
in overdraft) with 100 events each in RAW, from the clock's move over the month's end to the last invoice, on an
embedded server of its own for each size. *growth* is the time beside that of the size before: near the sizes' own ratio
while the work is proportional. *memory* is the server's process, before and at the most; *load* is the machine's load
average before."""


class CloseRun(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run on one machine."""

    at: str
    commit: str
    cores: int
    python: str
    results: list[CloseResult]


def add_close(folder: Path, run: CloseRun) -> None:
    """Append a run to the folder's file."""
    with (folder / FILE).open("ab") as file:
        file.write(msgspec.json.encode(run) + b"\n")


def render_close(folder: Path) -> str:
    """Render the newest runs as a part of the page, newest first; empty when there is none."""
    file = folder / FILE
    if not file.exists():
        return ""
    runs = [msgspec.json.decode(line, type=CloseRun) for line in file.read_bytes().splitlines() if line.strip()]
    lines = [
        "",
        "## The close",
        "",
        _INTRODUCTION,
        "",
        _HEAD,
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in reversed(runs[-_SHOWN_RUNS:]):
        for one, growth in zip(run.results, growths(run.results), strict=True):
            audit = "" if one.differences is None else f"{one.differences} differences"
            lines.append(
                f"| {run.at[:16]} `{run.commit}` | {run.cores} | {one.subscriptions:,} | {one.events:,} | {one.seconds}"
                f" | {one.per_second} | {growth} | {one.server_cpu_seconds}, {one.store_cpu_seconds}"
                f" | {one.rss_before_mib}, {one.rss_peak_mib} | {one.load} | {audit} |"
            )
    return "\n".join(lines) + "\n"


def growths(results: Sequence[CloseResult]) -> list[str]:
    """Tell of each result how many times the time of the one before it took; nothing of the first."""
    return ["", *(f"x {after.seconds / before.seconds:.1f}" for before, after in pairwise(results))]
