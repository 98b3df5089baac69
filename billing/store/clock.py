"""Runs of test clocks in SQL."""

from typing import Final

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables

_r = tables.clock_runs.c
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
RUN_ID: Final = "tcr_"


class ClockRun(msgspec.Struct, frozen=True, kw_only=True):
    """One move of a test clock from `started_ms` to `target_ms` (simulated); `created_ms` is real time."""

    id: str
    organization_id: str
    status: str
    started_ms: int
    target_ms: int
    created_ms: int


_COLUMNS: Final = [_r[name] for name in ClockRun.__struct_fields__]


async def add(connection: AsyncConnection, run: ClockRun) -> None:
    """Write a run."""
    await connection.execute(insert(tables.clock_runs).values(**msgspec.structs.asdict(run)))


async def finish(connection: AsyncConnection, run_id: str, status: str) -> None:
    """Say how a run ended."""
    await connection.execute(
        update(tables.clock_runs).where(_r.id == run_id, _r.status == RUNNING).values(status=status)
    )


async def latest(connection: AsyncConnection, organization_id: str) -> ClockRun | None:
    """Read the organization's latest run."""
    query = select(*_COLUMNS).where(_r.organization_id == organization_id)
    row = (await connection.execute(query.order_by(_r.created_ms.desc(), _r.id.desc()).limit(1))).first()
    return None if row is None else ClockRun(**row._asdict())
