"""Commands that correct usage events which count."""

from typing import Annotated, Any

import typer

from meterline.cli.call import call
from meterline.cli.output import DataDir, Json, console, print_json, settings_of, wait_for

event = typer.Typer(help="Usage events that count: taken back, or another amount.", no_args_is_help=True)

What = Annotated[str, typer.Argument(help="evt_…, or the key under which the customer's event was sent.")]
Customer = Annotated[str | None, typer.Option(help="cus_… or the customer's own id; needed with a key.")]
Organization = Annotated[
    str | None, typer.Option("--org", "--organization", help="org_…; default: the only one.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the correction.", show_default=False)]


@event.command("void")
def event_void(
    what: What,
    *,
    customer: Customer = None,
    reason: Reason = None,
    organization: Organization = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let an event count nothing any more. What was invoiced of it comes back on the next invoice."""
    asked = {"what": what, "customer": customer, "reason": reason, "organization": organization}
    _print(wait_for(call(settings_of(data_dir), "event_void", asked)), as_json=as_json)


@event.command("amend")
def event_amend(
    what: What,
    value: Annotated[str, typer.Argument(help="The whole amount that it counts from now on.")],
    *,
    customer: Customer = None,
    reason: Reason = None,
    organization: Organization = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let an event count another amount; a greater one is judged like usage of the difference."""
    asked = {"what": what, "value": value, "customer": customer, "reason": reason, "organization": organization}
    _print(wait_for(call(settings_of(data_dir), "event_amend", asked)), as_json=as_json)


def _print(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    how = "is void" if done["void"] else f"counts {done['after']}"
    console.print(f"{done['event']} {how}; it counted {done['before']} (correction {done['id']})")


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(event, name="event")
