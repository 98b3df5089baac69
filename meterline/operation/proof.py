"""The operations that prove, mend and bill: audit, rebuild, close, migrate."""

from typing import TYPE_CHECKING, Any

import msgspec

from kernel.errors import Misconfigured
from meterline.audit import Auditor

if TYPE_CHECKING:
    from meterline.app import App


async def audit(app: "App", _: dict[str, Any]) -> dict[str, Any]:
    """Recompute everything and compare."""
    auditor = Auditor(log=app.log, live=app.live, raw=app.raw, sql=app.sql, clock=app.clock, flush=app.sink.flush)
    report = await auditor.run()
    built: dict[str, Any] = msgspec.to_builtins(report)
    return built


async def rebuild(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Empty lanes of LIVE and build them anew from RAW and the log; usage goes on meanwhile."""
    lanes = params.get("lanes") or list(range(app.log.lanes))
    if any(not isinstance(lane, int) or not 0 <= lane < app.log.lanes for lane in lanes):
        raise Misconfigured(f"--lane is a number from 0 to {app.log.lanes - 1}")
    return {"lanes": [await app.rebuild(lane) for lane in lanes]}


async def close(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Close everything that is due, of one organization or all."""
    summary = await app.closer.close_due(params.get("organization"), resume=bool(params.get("resume", True)))
    built: dict[str, Any] = msgspec.to_builtins(summary)
    return built


async def migrated(app: "App", _: dict[str, Any]) -> dict[str, Any]:
    """Tell what the stores are at; opening the application has brought them there."""
    from meterline.schema import head_revision  # noqa: PLC0415 - Alembic, which nothing else here needs

    return {"epoch": app.log.epoch, "lanes": app.log.lanes, "schema": head_revision()}
