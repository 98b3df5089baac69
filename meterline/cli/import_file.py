"""What `meterline import` does: a file and a mapping in, progress and a summary out."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kernel.clock import SystemClock
from kernel.errors import Misconfigured
from meterline.cli.output import FOUND, OK, console, print_json, print_table, wait_for
from meterline.importer.api import Api
from meterline.importer.mapping import Mapping, parse_mapping
from meterline.importer.source import SourceFile, open_source
from meterline.importer.transfer import Summary, Transfer


def run_import(file: Path, mapping: Path, url: str, api_key: str, *, prepare_only: bool, as_json: bool) -> int:
    """Send the file's rows, or make its customers alone; returns the exit code. Raises Misconfigured, NotReachable."""
    if not mapping.is_file():
        raise Misconfigured(f"there is no mapping file {mapping}")
    compiled = parse_mapping(mapping.read_bytes())
    source = open_source(file)
    if source.columns is not None and (missing := compiled.columns() - source.columns):
        raise Misconfigured(f"{file.name} has no column {', '.join(sorted(missing))}, which the mapping names")
    summary = wait_for(_transfer(source, compiled, url, api_key, prepare_only=prepare_only, quiet=as_json))
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, prepare_only=prepare_only)
    return OK if summary.clean else FOUND


async def _transfer(
    source: SourceFile, mapping: Mapping, url: str, api_key: str, *, prepare_only: bool, quiet: bool
) -> Summary:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet) as progress:
        task = progress.add_task("customers" if prepare_only else "rows", total=max(source.lines, 1))

        def told(summary: Summary) -> None:
            progress.update(task, completed=summary.rows, total=max(source.lines, summary.rows))

        async with Api(url, api_key) as api:
            return await Transfer(source, mapping, api, SystemClock(), told).run(prepare_only=prepare_only)


def _print_summary(summary: Summary, *, prepare_only: bool) -> None:
    rows: list[tuple[str, object]] = [("rows", summary.rows), ("customers", summary.customers)]
    rows.append(("newly subscribed", summary.subscribed))
    if not prepare_only:
        for name in ("events", "accepted", "pending", "duplicates", "conflicts", "blocked", "rejected"):
            rows.append((name, getattr(summary, name)))  # noqa: PERF401 - reads better as it is printed
        rows.append(("empty values", summary.empty_values))
    rows += [("bad rows", summary.bad_rows), ("seconds", summary.seconds)]
    if not prepare_only:
        rows.append(("events a second", summary.events_per_second))
    print_table(summary.file, ["", "#"], rows)
    if summary.problems:
        print_table("Not taken (the first ones)", ["line#", "why"], [(p.line, p.reason) for p in summary.problems])
