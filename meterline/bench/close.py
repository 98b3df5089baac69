"""The bench of the close: a month's end of many subscriptions, from the clock's move to the last invoice.

A server of its own for each size, so that memory can be compared. Measured are wall time, processor seconds, the most
memory the server held meanwhile, and the growth between sizes. Invariant: a close that stops, or an audit that finds a
difference, ends the bench with a failure and no number.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import msgspec

from kernel.errors import Fatal
from meterline.bench.close_load import CATALOG, END, EVENTS_EACH, START, subscribe_all, use_all
from meterline.child import children, cpu_seconds, monotonic_seconds
from meterline.cli.call import call
from meterline.importer.api import Api
from meterline.stack.embedded import EmbeddedProcess

SIZES: Final = (1_000, 10_000)
# An audit folds every event again in plain Python; beyond this it takes longer than all the rest.
_AUDITED_MAX: Final = 1_000
_LOOK_SECONDS: Final = 0.25
_PATIENCE_SECONDS: Final = 3_600
_KIB: Final = 1_024
_WRITTEN: Final = "meterline_invoices_written_total"


class CloseResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One size: memory of the server's process in MiB, before and at the most; `load` is the machine's, before.

    `differences` is what the audit found afterwards; None when it did not run.
    """

    subscriptions: int
    events: int
    invoices: int
    seconds: float
    per_second: float
    server_cpu_seconds: float
    store_cpu_seconds: float
    rss_before_mib: int
    rss_peak_mib: int
    load: float
    differences: int | None


def run_close(sizes: Sequence[int], *, told: Callable[[str], None]) -> list[CloseResult]:
    """Measure each size. Raises Fatal when something went wrong: then there is no number."""
    return [asyncio.run(_measured(size, told)) for size in sizes]


async def _measured(size: int, told: Callable[[str], None]) -> CloseResult:
    with (
        tempfile.TemporaryDirectory(prefix="meterline-bench-") as folder,
        EmbeddedProcess(Path(folder) / "data") as server,
    ):
        async with Api(server.url, server.api_key) as api:
            told(f"{size:,} subscriptions: making them")
            await _prepare(server, api, size)
            told(f"  {size * EVENTS_EACH:,} events")
            await use_all(api, size, told)
            told("  the month ends")
            result = await _close(server, api, size)
        if size <= _AUDITED_MAX:
            told("  the audit")
            report = await call(server.settings, "audit", {})
            if report["differenceCount"]:
                raise Fatal(f"the audit finds {report['differenceCount']} differences: {report['differences'][:3]}")
            result = msgspec.structs.replace(result, differences=0)
        return result


async def _prepare(server: EmbeddedProcess, api: Api, size: int) -> None:
    organization = (await call(server.settings, "org_list", {}))["organizations"][0]["id"]
    document = {"organization": organization, "file": CATALOG, "format": "toml"}
    await call(server.settings, "catalog_apply", document)
    await _move(api, START.isoformat())
    await subscribe_all(api, size)
    await _move(api, END.replace(month=1, day=31, hour=23).isoformat())


async def _close(server: EmbeddedProcess, api: Api, size: int) -> CloseResult:
    """Move the clock over the month's end and wait for the last invoice."""
    stores = children(server.pid)
    invoices = _written(server.url)
    load = os.getloadavg()[0]
    _forget_peak(server.pid)
    memory = _memory_kib(server.pid, "VmRSS")
    cpu = cpu_seconds(server.pid), sum(map(cpu_seconds, stores))
    began = monotonic_seconds()
    moving = asyncio.create_task(_move(api, END.isoformat()))
    while (made := _written(server.url) - invoices) < size:
        if monotonic_seconds() - began > _PATIENCE_SECONDS:
            raise Fatal(f"{made} of {size} invoices after {_PATIENCE_SECONDS} s")
        await asyncio.sleep(_LOOK_SECONDS)
    seconds = monotonic_seconds() - began
    used = cpu_seconds(server.pid) - cpu[0], sum(map(cpu_seconds, stores)) - cpu[1]
    await moving
    run = (await api.get("/test-clock")).body["latestRun"]
    if run["status"] != "completed" or run["failedDeadlineCount"]:
        raise Fatal(f"the close is {run['status']}: {run['error']}")
    return CloseResult(
        subscriptions=size,
        events=size * EVENTS_EACH,
        invoices=made,
        seconds=round(seconds, 2),
        per_second=round(made / seconds, 1),
        server_cpu_seconds=round(used[0], 2),
        store_cpu_seconds=round(used[1], 2),
        rss_before_mib=memory // _KIB,
        rss_peak_mib=_memory_kib(server.pid, "VmHWM") // _KIB,
        load=round(load, 2),
        differences=None,
    )


async def _move(api: Api, instant: str) -> None:
    moved = await api.post("/test-clock", {"frozenTime": instant})
    if not moved.ok:
        raise Fatal(f"the clock does not move: {moved.status} {moved.body}")


def _written(url: str) -> int:
    """Read how many invoices the server's closer wrote; a look costs it a millisecond."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(_WRITTEN))


def _forget_peak(pid: int) -> None:
    """Let the kernel count the most memory of a process from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise Fatal(f"process {pid} has no {name}")
