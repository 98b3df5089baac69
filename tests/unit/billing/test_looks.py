"""What closer, relay and test clocks look for all the time reads by an index: its cost does not grow with the rows."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.store import account, addon, close, subscription
from kernel.engine.sql.sqlite import Sqlite
from meterline import schema

NOW_MS = 1_800_000_000_000
LOOKS = {
    "due": lambda one: subscription.due(one, real_now_ms=NOW_MS, settle_ms=0, organization_id=None, limit=100),
    "due of one": lambda one: subscription.due(
        one, real_now_ms=NOW_MS, settle_ms=0, organization_id="org_1", limit=100
    ),
    "months": lambda one: addon.due(one, None, NOW_MS, 0, 50),
    "hidden": lambda one: account.hidden(one, NOW_MS, 50),
    "since": lambda one: close.since(one, "org_1", NOW_MS, 100),
    "states since": lambda one: close.states_since(one, "org_1", NOW_MS),
    "unsettled": lambda one: close.unsettled(one, None, "", 500),
}
# Few rows however many subscriptions there are: sellers, and accounts that wait to be shown.
FEW = ("SCAN organizations", "SCAN accounts USING INDEX ix_accounts_hidden")


@pytest.mark.parametrize("name", LOOKS)
async def test_a_look_goes_by_an_index(name, tmp_path):
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await schema.migrate(sql)
    _make_due(tmp_path / "test.sqlite")
    async with sql.snapshot() as connection:
        plan = await _plan(connection, LOOKS[name])
    await sql.close()
    assert plan, "the look reads something"
    if name.startswith("due"):  # both which seller has something due, and what
        assert sum("ix_subscriptions_due (organization_id=? AND due_ms<?)" in step for step in plan) >= 2
    assert [step for step in plan if step.startswith("SCAN") and step not in FEW] == []


def _make_due(path: Path) -> None:
    """Write one subscription that is due, straight into the file: of the rest of its rows the looks read nothing."""
    with closing(sqlite3.connect(path)) as file, file:
        for table, known in (
            ("organizations", {"id": "org_1", "environment": "sandbox"}),
            ("accounts", {"customer_id": "cus_1", "organization_id": "org_1"}),
            ("subscriptions", {"organization_id": "org_1", "customer_id": "cus_1", "due_ms": 1}),
        ):
            columns = [name for _, name, _, needed, *_ in file.execute(f"PRAGMA table_info({table})") if needed]
            row = dict.fromkeys(columns, "0") | known
            marks = ", ".join("?" * len(row))
            file.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


async def _plan(connection: AsyncConnection, look: Callable[[AsyncConnection], Awaitable[Any]]) -> list[str]:
    """Run the look, and tell how SQLite goes about its statements."""
    ran: list[tuple[str, Any]] = []
    event.listen(
        connection.sync_connection,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, _context, _many: ran.append((statement, parameters)),
    )
    with suppress(msgspec.ValidationError):  # the row of the subscription holds nothing that one could read
        await look(connection)
    found, looked = [], ran.copy()
    for statement, parameters in looked:
        steps = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found += [detail for _, _, _, detail in steps]
    return found
