"""What a command prints: JSON for machines, tables for people, and how it ends.

Exit codes: 0 ok, 1 a difference or failure was found, 2 wrong usage, 3 not reachable. Source: DESIGN 7.
"""

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from kernel.errors import MeterlineError, Misconfigured, NotReachable, Rejected, Retryable
from kernel.settings import Settings, load_settings

OK: Final = 0
FOUND: Final = 1
WRONG_USAGE: Final = 2
NOT_REACHABLE: Final = 3

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the embedded stores.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
T = TypeVar("T")


def settings_of(data_dir: Path | None, **overrides: Any) -> Settings:
    """Read the settings for a command."""
    return load_settings(data_dir=data_dir, **overrides)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(work)


def print_json(result: object) -> None:
    """Print one JSON object on standard output, and nothing else there."""
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose name ends in `#` are numbers."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        numeric = column.endswith("#")
        table.add_column(column.rstrip("#"), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else f"{cell:,}" if type(cell) is int else str(cell) for cell in row))
    console.print(table)


def end(code: int) -> None:
    """End the command with `code`."""
    raise typer.Exit(code)


def exit_code_of(error: MeterlineError) -> int:
    """Tell how a command ends that met this error."""
    if isinstance(error, Misconfigured | Rejected):
        return WRONG_USAGE
    return NOT_REACHABLE if isinstance(error, NotReachable | Retryable) else FOUND
