"""Commands that keep a deployment's data and bring it back: backup, restore."""

import os
from pathlib import Path
from typing import Annotated

import typer

from kernel.clock import SystemClock
from meterline.cli.call import call
from meterline.cli.output import DataDir, Json, console, print_json, print_table, settings_of, wait_for


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")], *, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Write SQL and RAW to a folder, while the server runs: what LIVE and the log hold follows from them."""
    made = wait_for(call(settings_of(data_dir), "backup", {"folder": os.path.abspath(folder)}))  # noqa: PTH100 - no link is followed
    if as_json:
        print_json(made)
        return
    rows = [(one["file"], one["rows"], one["bytes"]) for one in (*made["sql"], *made["raw"])]
    print_table(f"Backup of {made['made']}", ["file", "rows#", "bytes#"], rows)


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `backup` made.")],
    *,
    epoch: Annotated[
        int | None, typer.Option(help="Epoch to go on in, above every one there was since; default: the next.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Bring a backup back into empty stores; the next start makes the rest."""
    from meterline.backup.restore import restore_backup  # noqa: PLC0415 - opens the engine

    done = wait_for(restore_backup(settings_of(data_dir), SystemClock(), folder.resolve(), epoch))
    if as_json:
        print_json(done)
    else:
        rows = f"{done['sqlRows']:,} rows of SQL and {done['rawRows']:,} of RAW"
        console.print(f"restored what was there at {done['made']}: {rows}; it goes on in epoch {done['epoch']}")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)
