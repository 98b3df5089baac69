"""How the demo speaks: numbered stages with their time, facts, and checks that make it fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from kernel.errors import Fatal
from meterline.child import monotonic_seconds
from meterline.importer.api import Answer


class Stages:
    """Numbers and times the stages on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._number = 0
        self._began = monotonic_seconds()

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print a stage's title, and its time when it is done."""
        self._number += 1
        began = monotonic_seconds()
        self.console.print(f"\n[bold cyan]{self._number}. {title}[/]")
        yield
        self.console.print(f"   [dim]{monotonic_seconds() - began:.1f} s[/]")

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(f"   {text}")

    def check(self, text: str, holds: object) -> None:
        """Print a fact that this run has shown. Raises Fatal, and the demo fails, when it does not hold."""
        if not holds:
            self.console.print(f"   [bold red]✗ {text}[/]")
            raise Fatal(f"the demo found: not {text}")
        self.console.print(f"   [green]✓[/] {text}")

    @property
    def seconds(self) -> float:
        """Tell the time since the start."""
        return monotonic_seconds() - self._began


def expected(answer: Answer, what: str) -> Any:
    """Take a successful answer's body. Raises Fatal for anything else."""
    if not answer.ok:
        raise Fatal(f"{what}: {answer.status} {answer.body}")
    return answer.body
