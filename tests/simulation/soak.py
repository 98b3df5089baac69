"""Many seeds in worker processes, and what they showed together."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO

import msgspec

from tests.simulation.await_point import ROOT, Point, points

WORKERS = 2


def replay(seed: int, mutation: str | None = None) -> str:
    """Spell the command that runs a seed again."""
    return f"python -m tests.simulation {seed}{f' --mutation {mutation}' if mutation else ''} --verbose"


def _start(told: IO[str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", *arguments, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=told,
        text=True,
    )


def run(first: int, end: int, *arguments: str, workers: int = WORKERS) -> Iterator[dict]:
    """Run seeds in worker processes, each every so many; the results when all have ended.

    They write to files: through a pipe one would wait for the other to be read.
    """
    step = ("--step", str(workers), *arguments)
    with ExitStack() as stack:
        told = [stack.enter_context(TemporaryFile("w+")) for _ in range(workers)]
        running = [_start(file, f"{first + number}:{end}", *step) for number, file in enumerate(told)]
        for process in running:
            assert process.wait() in (0, 1), f"a worker of the simulation ended with {process.returncode}"
        for file in told:
            file.seek(0)
            yield from map(json.loads, file)


def found_first(mutation: str, first: int, end: int) -> dict | None:
    """Look in one worker process for the first seed that finds a deliberate bug; its result, None when none does."""
    lines = run(first, end, "--mutation", mutation, "--first", workers=1)
    return next((line for line in lines if line["violations"]), None)


def found_each(known: dict[str, int], end: int) -> dict[str, dict]:
    """Look for deliberate bugs one after the other in one worker process, for each from its own seed on.

    The first result that finds it, by bug. A worker takes longer to start than a seed does.
    """
    given = [f"{mutation}={first}" for mutation, first in known.items()]
    lines = run(0, end, "--first", "--mutation", *given, workers=1)
    return {line["mutation"]: line for line in lines if line["violations"]}


def mutation_rows(mutations: Iterable[str], first: int, end: int) -> Iterator[str]:
    """Look for every deliberate bug, WORKERS at a time; a row each as it ends."""
    with ThreadPoolExecutor(WORKERS) as threads:
        looking = {threads.submit(found_first, name, first, end): name for name in mutations}
        for ended in as_completed(looking):
            line = ended.result()
            seed, finding = (line["seed"], line["violations"][0][:80]) if line else ("none", "")
            yield f"{looking[ended]:<52}  {seed:>5}  {finding}"


class Summary(msgspec.Struct):
    """Seeds together: how many of what, which awaits were hit, and what was found by seed."""

    seeds: int = 0
    records: int = 0
    attempts: int = 0
    steps: int = 0
    simulated_seconds: float = 0
    crashed: set[tuple] = msgspec.field(default_factory=set)
    failed: set[tuple] = msgspec.field(default_factory=set)
    found: dict[int, list[str]] = msgspec.field(default_factory=dict)

    def add(self, line: dict) -> None:
        self.seeds += 1
        self.records += line["records"]
        self.attempts += line["attempts"]
        self.steps += line["steps"]
        self.simulated_seconds += line["seconds"]
        self.crashed |= {tuple(point) for point in line["crashed"]}
        self.failed |= {tuple(point) for point in line["failed"]}
        if line["violations"]:
            self.found[line["seed"]] = line["violations"]

    def missed(self) -> list[Point]:
        """Tell the awaits at which nothing ever died or failed."""
        return [point for point in points() if tuple(point) not in self.crashed | self.failed]

    def table(self) -> str:
        """Tell, file by file, how many awaits there are and at how many something died or failed."""
        rows = ["file                              awaits  died at  failed at  neither"]
        for name in sorted({point[0] for point in points()}):
            own = [tuple(point) for point in points() if point[0] == name]
            died, failed = [len([one for one in own if one in hit]) for hit in (self.crashed, self.failed)]
            neither = len([one for one in own if one not in self.crashed | self.failed])
            rows.append(f"{name:<32}  {len(own):>6}  {died:>7}  {failed:>9}  {neither:>7}")
        return "\n".join(rows)
