"""Commands about usage and its proof: import, export, audit, explain, rebuild, close."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.tree import Tree

from kernel.errors import Misconfigured
from meterline.cli.call import call
from meterline.cli.output import FOUND, OK, DataDir, Json, console, end, print_json, print_table, settings_of, wait_for
from meterline.cli.server import read_server_file


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.")],
    *,
    mapping: Annotated[Path, typer.Option(help="Mapping file (TOML): which columns become which events.")],
    url: Annotated[str | None, typer.Option(help="Base URL; default: the server that `run` left here.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Key; default: the one of `run`.")] = None,
    prepare_only: Annotated[bool, typer.Option(help="Make and subscribe the customers alone.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Send a file's rows as usage events. Run it again to go on where it stopped: nothing counts twice."""
    known = read_server_file(settings_of(data_dir).data_dir)
    url = url or (known.url if known else None)
    api_key = api_key or (known.api_key if known else None)
    if url is None or api_key is None:
        raise Misconfigured("no server is known here: give --url and --api-key, or --data-dir of a `meterline run`")
    from meterline.cli.import_file import run_import  # noqa: PLC0415 - the importer, which nothing else here needs

    end(run_import(file, mapping, url, api_key, prepare_only=prepare_only, as_json=as_json))


def export(
    *,
    organization: Annotated[str, typer.Option(help="Whose events: org_…")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    file_format: Annotated[str, typer.Option("--format", help="jsonl, csv or parquet.")] = "jsonl",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write an organization's raw events, refused ones too, with verdict, window and cut."""
    from meterline.cli.export import export_file  # noqa: PLC0415 - chDB, needed for Parquet alone

    result = wait_for(export_file(settings_of(data_dir), organization, output, file_format))
    if as_json:
        print_json(result)
    else:
        console.print(f"{result['rows']:,} events in {output}")


def audit(
    *,
    invoice: Annotated[str | None, typer.Option(help="inv_…: make this one again from what it stores.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Recompute everything from log and RAW, and compare log, LIVE, RAW and invoices."""
    report = wait_for(call(settings_of(data_dir), "audit", {"invoice": invoice}))
    if as_json:
        print_json(report)
    elif invoice is None:
        print_report(report)
    else:
        _print_reproduction(report)
    end(OK if report["verdict"] in ("consistent", "identical") else FOUND)


def _print_reproduction(report: dict[str, Any]) -> None:
    """Print how an invoice that was made again compares with the stored one."""
    if report["differences"]:
        found = [(one["member"], str(one["stored"]), str(one["recomputed"])) for one in report["differences"]]
        print_table("Differences", ["member", "stored", "recomputed"], found)
    console.print(f"invoice {report['number']} by {report['source']}: {report['lines']} lines, {report['verdict']}")
    console.print(f"stored {report['storedDigest']}, recomputed {report['recomputedDigest'] or 'none'}")


def print_report(report: dict[str, Any]) -> None:
    """Print an audit's report for people."""
    names = {
        "records": "records of the log",
        "events": "events",
        "eventsCounted": "counted by the audit",
        "corrections": "corrections among them",
        "keysCounted": "keys counted by the audit",
        "rows": "rows in RAW",
        "rowsCounted": "counted in RAW",
        "accounts": "accounts compared in LIVE",
        "keysLive": "keys compared in LIVE",
        "invoices": "invoices",
        "invoiceLines": "invoice lines",
        "seconds": "seconds",
    }
    print_table("Audit", ["", "#"], [(text, report[name]) for name, text in names.items()])
    sums = [
        (one["organization"], feature["feature"], feature["log"], feature["raw"], feature["live"])
        for one in report["organizations"]
        for feature in one["features"]
    ]
    print_table("Counted usage", ["organization", "feature", "log#", "RAW#", "LIVE#"], sums)
    if report["differences"]:
        found = [(one["kind"], one["where"], one["what"]) for one in report["differences"]]
        print_table("Differences", ["kind", "where", "what"], found)
    if report["unbilled"]:
        rows = [(one["customer"], one["feature"], one["window"], one["amountMinor"]) for one in report["unbilled"]]
        print_table("Unbilled", ["customer", "feature", "window", "minor units#"], rows)
    for note in report["notes"]:
        console.print(f"note: {note}")
    if not report["logComplete"]:
        console.print("note: the log's oldest records are gone; for them the audit took RAW's word on what was sent")
    count = report["differenceCount"]
    for kind, lines in report["unjudged"].items():
        console.print(f"[bold red]not judged: {lines} invoice lines of kind {kind}[/]")
    if report["verdict"] == "consistent":
        console.print("[bold green]consistent: zero differences[/]")
    else:
        console.print(f"[bold red]{report['verdict']}: {count} differences[/]")


def explain(
    what: Annotated[
        str, typer.Argument(help="evt_…, inv_…, line_…, req_…, rej_…, sub_…, cls_…, cus_… or a customer's own id.")
    ],
    *,
    organization: Annotated[str | None, typer.Option(help="org_…, needed for a customer's own id.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say why an invoice, a line, an event or a refused request is what it is, and where a customer stands."""
    result = wait_for(call(settings_of(data_dir), "explain", {"what": what, "organization": organization}))
    if as_json:
        print_json(result)
    else:
        tree = Tree(f"[bold]{what}[/]")
        _branches(tree, result)
        console.print(tree)


def _branches(tree: Tree, value: Any) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in pairs:
        if isinstance(inner, dict | list) and inner:
            _branches(tree.add(str(name)), inner)
        else:
            tree.add(f"{name}: {'' if inner is None else inner}")


def rebuild(
    *,
    lane: Annotated[list[int] | None, typer.Option(help="Lane to rebuild; default: all.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Rebuild the live store from RAW and the log; usage goes on meanwhile."""
    result = wait_for(call(settings_of(data_dir), "rebuild", {"lanes": lane or None}))
    if as_json:
        print_json(result)
        return
    print_table(
        "Rebuilt",
        ["lane#", "accounts#", "keys#", "seconds#"],
        [(one["lane"], one["accounts"], one["keys"], one["seconds"]) for one in result["lanes"]],
    )


def close(
    *,
    organization: Annotated[str | None, typer.Option(help="org_…; default: all.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Take up what stopped: on a difference, or because the code raised.")
    ] = True,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Do all closing work that is due now."""
    result = wait_for(call(settings_of(data_dir), "close", {"organization": organization, "resume": resume}))
    if as_json:
        print_json(result)
    else:
        console.print(f"{result['invoices']} invoices written, {result['stopped']} stopped")
    end(FOUND if result["stopped"] else OK)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_file)
    app.command("export")(export)
    app.command("audit")(audit)
    app.command("explain")(explain)
    app.command("rebuild")(rebuild)
    app.command("close")(close)
