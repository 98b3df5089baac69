"""The audit finds what was planted: in RAW, in LIVE, in the invoices; and nothing where nothing is."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from aggregator.account import WindowTotal, decode_account, encode_account
from kernel import ids
from kernel.engine.live.base import FoldWrite
from kernel.lane import lane_of
from kernel.limits import GENERATION_MS
from kernel.position import Position
from kernel.settings import Settings
from meterline.app import opened
from meterline.operation import OPERATIONS
from meterline.role import Role
from tests.story.harness import Api, Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The data of a server that lived through two months, stopped."""
    server = Server(tmp_path_factory.mktemp("audit"))
    server.start()
    try:
        asyncio.run(_two_months(server))
    finally:
        server.stop()
    return server.folder / "data"


async def _two_months(server):
    async with Api(server) as api:
        calls = await api.feature("calls")
        over = {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.013"}}
        await api.plan("pro", {calls["id"]: over}, price=2_000)
        await api.call("POST", "/test-clock", {"frozenTime": "2026-01-31T00:00:00Z"}, expect=202)
        for name in ("ann", "bob"):
            await api.customer(name)
            await api.subscribe(name, "pro")
        for number in range(30):
            body = {
                "featureCode": "calls",
                "customerId": ("ann", "bob")[number % 2],
                "eventId": f"k{number}",
                "value": 1.5,
            }
            await api.call("POST", "/usage/events", body)
        await api.call("POST", "/test-clock", {"frozenTime": "2026-02-28T00:00:00Z"}, expect=202)
        late = {
            "featureCode": "calls",
            "customerId": "ann",
            "eventId": "late",
            "value": 4,
            "timestamp": "2026-02-10T00:00:00Z",
        }
        await api.call("POST", "/usage/events", late)
        await api.call("POST", "/test-clock", {"frozenTime": "2026-03-31T00:00:00Z"}, expect=202)


@pytest.fixture
async def app(folder, tmp_path):
    """The application on the data, opened offline."""
    async with opened(Settings(data_dir=folder, log_level="error"), Role.OPERATOR) as opened_app:
        yield opened_app


async def _audit(app):
    return await OPERATIONS["audit"](app, {})


async def _customers(app):
    async with app.sql.snapshot() as connection:
        rows = await connection.execute(text("SELECT external_id, id FROM customers"))
        return dict(tuple(row) for row in rows)


async def test_a_month_with_late_usage_is_consistent(app):
    report = await _audit(app)
    assert report["differences"] == []
    assert (report["eventsCounted"], report["keysCounted"], report["rowsCounted"]) == (31, 31, 31)
    assert (report["invoices"], report["accounts"]) == (6, 2)
    (organization,) = report["organizations"]
    assert organization["keysFingerprint"] == organization["rowsFingerprint"]
    assert [(one["log"], one["raw"]) for one in organization["features"]] == [("49", "49")]
    async with app.sql.snapshot() as connection:
        kinds = (
            await connection.execute(text("SELECT kind, amount_minor FROM invoice_lines ORDER BY kind, amount_minor"))
        ).all()
    # 22.5 used of 10 included: 12.5 beyond at 0.013 are 16.25 cents; 4 more make 21.45, less what was billed.
    assert [tuple(row) for row in kinds if row[0] != "plan_base"] == [
        ("late_usage", 5),
        ("overage", 16),
        ("overage", 16),
    ]


async def test_a_changed_invoice_line_is_found(app):
    async with app.sql.transaction() as connection:
        await connection.execute(
            text("UPDATE invoice_lines SET amount_minor = amount_minor + 1 WHERE kind = 'late_usage'")
        )
    report = await _audit(app)
    assert set(report["differenceKinds"]) == {"invoice total", "invoice window"}
    async with app.sql.transaction() as connection:
        await connection.execute(
            text("UPDATE invoice_lines SET amount_minor = amount_minor - 1 WHERE kind = 'late_usage'")
        )
    assert (await _audit(app))["differenceCount"] == 0


async def test_a_missing_base_line_is_found(app):
    async with app.sql.transaction() as connection:
        await connection.execute(text("UPDATE subscription_terms SET base_minor = 1999 WHERE since_day = 20512"))
    report = await _audit(app)
    assert set(report["differenceKinds"]) == {"base line"}
    async with app.sql.transaction() as connection:
        await connection.execute(text("UPDATE subscription_terms SET base_minor = 2000 WHERE since_day = 20512"))


async def test_a_changed_total_in_live_is_found_and_a_rebuild_mends_it(app):
    customer = ids.id_bytes((await _customers(app))["bob"])
    lane = lane_of(customer, app.log.lanes)
    view = await app.live.view(lane, [customer])
    account = decode_account(view.accounts[0].account)
    key, total = next(iter(account.totals.items()))
    account.totals[key] = WindowTotal(end=total.end, now=total.now + 1, at_cut=total.at_cut)
    change = FoldWrite(
        expected=view.header,
        next=view.header.next,
        clock_ms=view.header.clock_ms,
        seen_ms=view.header.seen_ms,
        generations=[],
        fresh=[],
        drop_generations=[],
        keys=[],
        snapshots={},
        accounts={customer: encode_account(account)},
        outcomes={},
    )
    await app.live.write(lane, change)
    report = await _audit(app)
    assert set(report["differenceKinds"]) == {"live"}
    assert report["differences"][0]["where"] == f"account {ids.id_text(ids.CUSTOMER, customer)}"
    await OPERATIONS["rebuild"](app, {"lanes": [lane]})
    assert (await _audit(app))["differenceCount"] == 0


async def test_keys_in_filters_are_no_difference_and_keys_that_are_gone_are(app):
    moved = 0
    for lane in range(app.log.lanes):
        header = (await app.live.view(lane, [])).header
        generation = header.clock_ms // GENERATION_MS
        claim = {"token": header.token, "generation": generation, "keep": b"d", "mark": 0, "cursor": b""}
        moved += (await app.live.condense(lane, **claim, rebuilding=False)).moved
    assert moved == 31
    assert (await _audit(app))["differences"] == []
    for lane in range(app.log.lanes):
        header = (await app.live.view(lane, [])).header
        nothing = {"generations": (), "fresh": (), "keys": (), "snapshots": {}, "accounts": {}, "outcomes": {}}
        at = {"next": header.next, "clock_ms": header.clock_ms, "seen_ms": header.seen_ms}
        await app.live.write(
            lane, FoldWrite(expected=header, **at, drop_generations=[header.clock_ms // GENERATION_MS], **nothing)
        )
    report = await _audit(app)
    assert (report["differenceKinds"], report["differenceCount"]) == ({"key": 31}, 31)
    await OPERATIONS["rebuild"](app, {})
    assert (await _audit(app))["differenceCount"] == 0


async def test_a_changed_row_in_raw_is_found(app):
    """The row is inserted again with another quantity: it replaces the true one.

    A sink that starts writes the rows of all kept outcomes again, which mends it: the change is made until it stays.
    """
    query = "SELECT name FROM system.columns WHERE table = 'events' AND database = currentDatabase() ORDER BY position"
    names = ", ".join(f"`{row[0]}`" for row in await app.raw.query(query))

    async def change(quantity):
        values = names.replace("`quantity`", f"toDecimal128({quantity}, 9) AS q")
        await app.raw.command(f"INSERT INTO events ({names}) SELECT {values} FROM events FINAL WHERE key = 'late'")

    for _ in range(20):
        await change(5)
        report = await _audit(app)
        if report["differenceCount"]:
            break
        await asyncio.sleep(0.2)
    assert report["verdict"] == "differences"
    assert {"raw", "invoice line", "invoice window"} <= set(report["differenceKinds"])
    await change(4)
    assert (await _audit(app))["differenceCount"] == 0


async def test_explain_says_where_and_why(app):
    customers = await _customers(app)
    report = await OPERATIONS["explain"](app, {"what": "ann", "organization": None})
    assert report["id"] == customers["ann"]
    assert [close["state"] for close in report["closes"]] == ["settled", "settled"]
    rows = await app.raw.query("SELECT epoch, lane, `offset`, `index` FROM events FINAL WHERE key = 'late'")
    event = await OPERATIONS["explain"](app, {"what": Position(*map(int, rows[0])).event_id(), "organization": None})
    assert (event["event"]["verdict"], event["event"]["cut"], event["stands"]["inRaw"]) == ("counted", 2, True)
    async with app.sql.snapshot() as connection:
        query = "SELECT invoice_id FROM invoice_lines WHERE kind = 'late_usage'"
        invoice = (await connection.execute(text(query))).scalar_one()
    again = await OPERATIONS["audit"](app, {"invoice": invoice})
    assert (again["verdict"], again["differences"], again["lines"]) == ("identical", [], 2)
    told = await OPERATIONS["explain"](app, {"what": invoice, "organization": None})
    assert any("that earlier invoices billed" in line["why"] for line in told["lines"])
    assert all(line["arithmetic"]["agrees"] for line in told["lines"])
    assert datetime.fromisoformat(told["periodStart"]).tzinfo == UTC
