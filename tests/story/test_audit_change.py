"""The audit of a subscription that changed its plan: windows cut short, and a period that was charged a share."""

import asyncio

from sqlalchemy import text

from kernel.settings import Settings
from meterline.app import opened
from meterline.operation import OPERATIONS
from meterline.role import Role
from tests.story.harness import Api, Server


async def upgraded(server):
    async with Api(server) as api:
        calls = await api.feature("calls")
        over = {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.013"}}
        plans = [await api.plan(code, {calls["id"]: over}, price=price) for code, price in (("a", 2000), ("b", 5000))]
        group = await api.call("POST", "/plan-groups", {"name": "all", "isPublic": True})
        for plan in plans:
            await api.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": plan["id"]})
        await api.call("POST", "/test-clock", {"frozenTime": "2026-01-01T00:00:00Z"}, expect=202)
        await api.customer("ann")
        made = await api.subscribe("ann", "a")
        for day, value in (("10", 20), ("15", 30)):
            await api.call("POST", "/test-clock", {"frozenTime": f"2026-01-{day}T00:00:00Z"}, expect=202)
            used = {"featureCode": "calls", "customerId": "ann", "value": value}
            await api.call("POST", "/usage/events", used)
        change = {"newPlanId": plans[1]["id"]}
        done = await api.call("POST", f"/subscriptions/{made['id']}/change-plan", change)
        assert done["outcome"] == "completed"
        await api.call("POST", "/usage/events", {"featureCode": "calls", "customerId": "ann", "value": 17})
        await api.call("POST", "/test-clock", {"frozenTime": "2026-02-15T00:00:00Z"}, expect=202)


async def audits(folder):
    async with opened(Settings(data_dir=folder, log_level="error"), Role.OPERATOR) as app:

        async def audit():
            return await OPERATIONS["audit"](app, {})

        first = await audit()
        async with app.sql.transaction() as connection:
            await connection.execute(text("UPDATE invoice_lines SET amount_minor = 53 WHERE amount_minor = 52"))
        return first, await audit()


def test_a_change_of_plan_is_audited(tmp_path):
    """R-CHG-9: 40 calls beyond 10 are 0.52 on the old terms, 7 beyond are 0.09 on the new ones."""
    server = Server(tmp_path)
    server.start()
    try:
        asyncio.run(upgraded(server))
    finally:
        server.stop()
    before, after = asyncio.run(audits(server.folder / "data"))
    assert before["differences"] == []
    assert before["invoices"] == 3
    assert set(after["differenceKinds"]) == {"invoice total", "invoice window"}
