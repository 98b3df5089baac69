"""The command line. One module a group of commands; each is a thin shell around an operation. Source: DESIGN 7."""

import gc
import sys
from typing import Final

import typer

from kernel.errors import MeterlineError, Rejected
from meterline.cli import backup, data, epoch, event, manage, measure, prices, replay, server
from meterline.cli.output import errors, exit_code_of

app = typer.Typer(
    name="meterline",
    help="Usage metering and billing that is exact.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (server, data, backup, epoch, replay, event, manage, prices, measure):
    group.add_to(app)

__all__ = ["app", "main"]

_COLLECT_AFTER: Final = 50_000


def main() -> None:
    """Run the command line; ends the process with 0, 1, 2 or 3."""
    _calm_collector()
    try:
        app()
    except MeterlineError as error:
        words = error.refusal.message if isinstance(error, Rejected) else str(error)
        errors.print(f"[bold red]meterline:[/] {words}", markup=True)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _calm_collector() -> None:
    """Let the garbage collector run a seventieth as often.

    A start makes some hundred thousand objects and the hot path many small ones, none of them with cycles; at the
    default a collection follows every 700 of them.
    """
    gc.set_threshold(_COLLECT_AFTER, 20, 50)
