"""Commands about the prices of AI models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kernel.errors import Misconfigured
from meterline.cli.call import call
from meterline.cli.output import DataDir, Json, console, print_json, settings_of, wait_for

prices = typer.Typer(help="Prices of AI models: dated, and never changed.", no_args_is_help=True)


@prices.command("refresh")
def prices_refresh(
    *,
    packaged: Annotated[bool, typer.Option(help="Take the installed catalog and ask nobody.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Add what the newest catalog says; without a network the installed one. Old prices stay."""
    _print(wait_for(call(settings_of(data_dir), "prices_refresh", {"packaged": packaged})), as_json=as_json)


@prices.command("import")
def prices_import(
    file: Annotated[Path, typer.Argument(help="CSV or JSON: model, input, output, cache_read, cache_write, since.")],
    *,
    organization: Annotated[str | None, typer.Option(help="org_…: as its own prices; else the catalog's.")] = None,
    version: Annotated[str | None, typer.Option(help="Name of this edition; default: the file's name.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Add a file's prices, in USD per million tokens, from their `since` or from now on. Old prices stay."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not UTF-8") from error
    params = {
        "file": text,
        "format": file.suffix.lower().lstrip("."),
        "version": version or file.name,
        "organization": organization,
    }
    _print(wait_for(call(settings_of(data_dir), "prices_import", params)), as_json=as_json)


def _print(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    if done["away"]:
        console.print(f"the source of newer prices is away: {done['away']}")
    if done["edition"] is None:
        console.print("nothing new")
    else:
        console.print(f"{done['added']} prices added of {done['models']} models in {done['edition']}")


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(prices, name="prices")
