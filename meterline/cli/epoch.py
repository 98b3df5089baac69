"""The command that begins a new epoch of the log: for another number of lanes, or for other rules of folding."""

from typing import Annotated

import typer

from meterline.cli.output import DataDir, Json, console, print_json, settings_of, wait_for


def epoch(
    *,
    lanes: Annotated[int | None, typer.Option(help="Lanes of the new epoch; default: as many as there are.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Begin a new epoch of the log, while no server runs: the way to another number of lanes."""
    from meterline.epoch import change_epoch  # noqa: PLC0415 - opens the engine

    done = wait_for(change_epoch(settings_of(data_dir), lanes))
    if as_json:
        print_json(done)
    else:
        console.print(f"epoch {done['epoch']}, {done['lanes']} lanes; servers may start")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("epoch")(epoch)
