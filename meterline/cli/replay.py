"""The command that lets dead letters be judged again."""

from typing import Annotated

import typer

from meterline.cli.call import call
from meterline.cli.output import FOUND, OK, DataDir, Json, console, end, print_json, print_table, settings_of, wait_for


def replay(
    events: Annotated[list[str] | None, typer.Argument(help="Dead letters: evt_…", show_default=False)] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter that waits.")] = False,
    organization: Annotated[
        str | None, typer.Option("--org", "--organization", help="org_…; default: of all.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let dead letters be judged again, once what made the fold raise on them is mended. Each counts at most once."""
    asked = {"events": events or [], "all": everything, "organization": organization}
    result = wait_for(call(settings_of(data_dir), "replay", asked))
    if as_json:
        print_json(result)
    else:
        columns = ["dead letter", "customer", "replay", "verdict", "code"]
        rows = [(one["id"], one["customer"], one["replay"], one["verdict"], one["code"]) for one in result["letters"]]
        if rows:
            print_table("Replayed (the first ones)", columns, rows)
        console.print(
            f"{result['sent']:,} replayed, {result['counted']:,} count; {result['passedOver']:,} did not wait any more"
        )
    end(OK if result["counted"] == result["sent"] else FOUND)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)
