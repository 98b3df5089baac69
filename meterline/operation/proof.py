"""The operations that prove, mend and bill: audit, rebuild, close, migrate."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aggregator.worker.rebuild import rebuild_lane
from billing.gateway.reproducing import reproduced
from kernel.engine.live.base import READY
from kernel.errors import Misconfigured, Unavailable
from meterline.audit import Auditor
from meterline.schema import head_revision

if TYPE_CHECKING:
    from meterline.app import App

_PATIENCE_MS: Final = 60_000
_LOOK_S: Final = 0.02


async def audit(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Recompute everything and compare; with `invoice` (`inv_…`) make that one again, from what it stores."""
    if params.get("invoice") is not None:
        again: dict[str, Any] = msgspec.to_builtins(await reproduced(app.sql, app.usage_store, params["invoice"]))
        return again
    auditor = Auditor(log=app.log, live=app.live, raw=app.raw, sql=app.sql, clock=app.clock, flush=app.flush)
    report = await auditor.run()
    built: dict[str, Any] = msgspec.to_builtins(report)
    return built


async def rebuild(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Empty lanes of LIVE and build them anew from RAW and the log; usage goes on meanwhile."""
    lanes = params.get("lanes") or list(range(app.log.lanes))
    if any(not isinstance(lane, int) or not 0 <= lane < app.log.lanes for lane in lanes):
        raise Misconfigured(f"--lane is a number from 0 to {app.log.lanes - 1}")
    return {"lanes": [await _rebuild_one(app, lane) for lane in lanes]}


async def _rebuild_one(app: "App", lane: int) -> dict[str, Any]:
    """Rebuild one lane up to what RAW has and wait until the fold is as far as it was."""
    started_ms = app.clock.monotonic_ms()
    await app.flush()
    before = (await app.live.view(lane, [])).header
    was = _bytes_of(await app.live.dump(lane))
    await rebuild_lane(
        lane,
        log=app.log,
        live=app.live,
        store=app.usage_store,
        clock=app.clock,
        telemetry=app.telemetry,
        expected_token=None if before is None else before.token,
        exact_days=app.settings.keys_exact_days,
    )
    while not await _folded(app, lane, 0 if before is None else before.next):
        if app.clock.monotonic_ms() - started_ms > _PATIENCE_MS:
            raise Unavailable(f"lane {lane} is rebuilt but not folded to where it was; its worker may be stopped")
        await asyncio.sleep(_LOOK_S)
    dump = await app.live.dump(lane)
    after = (await app.live.view(lane, [])).header
    still = before is not None and after is not None and before.next == after.next
    return {
        "lane": lane,
        "accounts": len(dump.get("accounts", {})),
        "keys": sum(len(entries) for name, entries in dump.items() if name.startswith("keys:")),
        # Only while no usage came between can the two be compared.
        "identical": _bytes_of(dump) == was if still else None,
        "seconds": round((app.clock.monotonic_ms() - started_ms) / 1000, 3),
    }


def _bytes_of(dump: Mapping[str, Mapping[bytes, bytes]]) -> dict[str, Mapping[bytes, bytes]]:
    """Pick what a rebuild makes again byte for byte: snapshots, accounts and keys, not the header's token and times."""
    return {name: entries for name, entries in dump.items() if name != "header" and entries}


async def _folded(app: "App", lane: int, offset: int) -> bool:
    header = (await app.live.view(lane, [])).header
    return header is not None and header.state == READY and header.next >= offset


async def close(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Close everything that is due, of one organization or all."""
    summary = await app.closer.close_due(params.get("organization"), resume=bool(params.get("resume", True)))
    built: dict[str, Any] = msgspec.to_builtins(summary)
    return built


async def migrated(app: "App", _: dict[str, Any]) -> dict[str, Any]:
    """Tell what the stores are at; opening the application has brought them there."""
    return {"epoch": app.log.epoch, "lanes": app.log.lanes, "schema": head_revision()}
