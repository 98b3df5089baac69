"""Changes of a subscription whose period is over and not closed yet: they act on the one that has begun (R-GEN-5).

The test clock is only moved (`bill: false`), so that the close is still to come, as in production's settling delay.
"""

from typing import Any

import pytest
from sqlalchemy import select, update

from billing import tables
from billing.routes import addon, plan_change, seat, subscription_change
from billing.store.close import CloseState
from billing.worker import relay
from kernel import ids
from tests.story.judged import proved
from tests.story.test_addon import sso
from tests.story.test_billing import World, world
from tests.story.test_illegal_transitions import COMMANDS, everything
from tests.story.test_subscription_life import BASE, day, priced

__all__ = ["world"]  # a fixture

# They are for what has not begun.
BEFORE_IT_BEGAN = {"send", "checkout"}
HALF_PAST = "2026-02-01T00:30:00Z"


class Shop:
    """Customers by name, each with one subscription, of which requests are made by that name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.paths: dict[str, str] = {}
        self.customers: dict[str, str] = {}

    async def begin(self, *names: str, **body: Any) -> None:
        for name in names:
            self.customers[name] = await self.world.customer(name)
            wish = {"customerId": name, "planCode": "starter", **body}
            self.paths[name] = f"/subscriptions/{(await self.world.call('POST', '/subscriptions', wish))['id']}"

    async def ask(self, name: str, method: str, path: str = "", body: Any = None, *, expect: int = 200) -> Any:
        return await self.world.call(method, self.paths[name] + path, body, expect=expect)

    async def period(self, name: str) -> tuple[str, str]:
        period = (await self.ask(name, "GET"))["currentPeriod"]
        return period["start"][:10], period["end"][:10]

    async def raise_price(self) -> None:
        """Let the starter plan cost 129.00 a month."""
        prices = (await self.world.call("GET", f"/plans/{self.world.starter}"))["prices"]
        monthly = next(one["id"] for one in prices if one["billingInterval"] == "monthly")
        await self.world.call("PATCH", f"/plans/{self.world.starter}/prices/{monthly}", {"price": 12900})


async def begun(world: World) -> Shop:
    """Subscribe a customer for each thing that is asked half an hour after the end of January."""
    shop = Shop(world)
    await sso(world)
    await priced(world, "quarterly", 12000)
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    granted = {"featureId": "member", "includedAmount": 1, "overage": {"enabled": True, "unitPriceDecimal": "25"}}
    await world.call("POST", f"/plans/{world.starter}/features", granted)
    await world.now("2025-11-01T00:00:00Z")
    await shop.begin("shortened", "withdrawn", billingInterval="quarterly")
    for name in ("shortened", "withdrawn"):
        await shop.ask(name, "POST", "/change-plan", {"newBillingInterval": "monthly"})
    await world.now("2026-01-01T00:00:00Z")
    await shop.begin("pauses", "cancels", "ends", "dates", "returns", "adds", "looks")
    await shop.begin("grows", "resumes", customTrialDays=31)
    for name in ("ends", "dates", "returns"):
        await shop.ask(name, "POST", "/cancel")
    return shop


async def test_a_change_half_an_hour_after_a_period_acts_on_the_one_that_has_begun(world: World) -> None:
    """R-GEN-5, R-SUB-6, R-PRICE-3: the price that rose in between is not that of the period that had begun."""
    shop = await begun(world)
    await world.now(HALF_PAST, bill=False)
    await shop.raise_price()

    await shop.ask("pauses", "POST", "/pause", {"mode": "period_end"})
    assert await shop.period("pauses") == ("2026-02-01", "2026-03-01")
    assert (await shop.ask("cancels", "POST", "/cancel"))["endDate"] == day("2026-03-01")
    # A quarter that became months: one month more, not another quarter; and what has come is not taken back.
    assert (await shop.ask("shortened", "POST", "/cancel"))["endDate"] == day("2026-03-01")
    refused = await shop.ask("withdrawn", "DELETE", "/scheduled-change", expect=400)
    assert refused["code"] == "no_change_requested"
    # What has ended stays ended, and gives way to another; its final close still waits for what comes late.
    refused = await shop.ask("ends", "POST", "/uncancel", expect=409)
    assert refused["code"] == "not_scheduled_for_cancellation"
    await shop.ask("ends", "POST", "/change-plan", {"newBillingInterval": "quarterly"}, expect=409)
    await shop.ask("dates", "PATCH", "", {"endDate": "2026-06-01T00:00:00Z"}, expect=409)
    seats = {"customerId": "dates", "featureCode": "member", "count": 3}
    assert (await world.call("PUT", "/seats", seats, expect=404))["code"] == "no_active_subscription"
    await shop.ask("dates", "POST", "/addons", {"addonId": "sso-access"}, expect=409)
    assert (await shop.ask("dates", "GET", "/addons"))["data"] == []
    await world.track(shop.customers["ends"], "110", "2026-01-31T12:00:00Z", accepted="2026-02-01T00:40:00Z")
    await shop.begin("returns")
    # 50.00 x 27/28, and no more when a cancellation freezes anew what follows.
    assert (await shop.ask("adds", "POST", "/addons", {"addonId": "sso-access"}))["proratedCharge"] == 4821
    await shop.ask("adds", "POST", "/cancel")
    # A trial that is over has no limit on seats.
    seats = {"customerId": "grows", "featureCode": "member", "count": 3}
    assert (await world.call("PUT", "/seats", seats))["newBalance"] == 3
    await shop.ask("resumes", "POST", "/pause", {"mode": "immediate", "durationDays": 2})
    seen = await shop.ask("looks", "POST", "/preview-change", {"planId": world.starter, "billingInterval": "quarterly"})
    assert (seen["daysRemaining"], seen["totalDays"], seen["currentPlanCredit"]) == (29, 30, 4737)

    # The pause of two days is over and not ended yet: it ends at its instant, and what follows is not paused.
    await world.now("2026-02-03T06:00:00Z", bill=False)
    assert (await shop.ask("resumes", "PATCH", "/pause", {"durationDays": 9}, expect=409))["success"] is False
    assert await shop.period("resumes") == ("2026-02-03", "2026-03-03")

    await world.now("2026-03-01T00:00:00Z")
    assert {name: await world.lines(name) for name in shop.paths} == {
        "shortened": [[("plan_base", 12000)], [BASE]],
        "withdrawn": [[("plan_base", 12000)], [BASE], [("plan_base", 12900)]],
        "pauses": [[BASE], [BASE]],
        "cancels": [[BASE], [BASE]],
        "ends": [[BASE], [("overage", 150)]],
        "dates": [[BASE]],
        "returns": [[BASE], [("plan_base", 12900)], [("plan_base", 12900)]],
        "adds": [[BASE], [BASE], [("addon_proration", 4821)]],
        "looks": [[BASE], [BASE], [("plan_base", 12900)]],
        "grows": [[BASE], [("plan_base", 12900), ("seats", 5000), ("seat_true_up", 4821)]],
        "resumes": [[BASE]],
    }
    await proved(world)


async def test_while_a_close_cannot_come_a_change_is_answered_503_and_nothing_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-GEN-5, R-INV-11: the close before stopped, or LIVE is away; the same request is right when they are mended."""
    monkeypatch.setattr(relay, "VISIBLE_WAIT_MS", 50)
    shop = Shop(world)
    await sso(world)
    await world.call("POST", "/credit-packs", {"name": "none", "credits": 5, "price": 500})
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    await world.now("2026-01-01T00:00:00Z")
    await shop.begin("stuck", "away")
    await world.now("2026-02-01T00:00:00Z")
    await stopped(world, shop.paths["stuck"], CloseState.STOPPED)
    await world.now("2026-04-01T00:30:00Z", bill=False)
    before = await everything(world)
    path = shop.paths["stuck"]
    seat, seats = (
        {"customerId": "stuck", "featureCode": "member", "count": 1},
        {"customerId": "stuck", "seats": {"member": 1}},
    )
    for method, asked, body in [
        *((method, path + end, body) for name, (method, end, body) in COMMANDS.items() if name not in BEFORE_IT_BEGAN),
        ("POST", f"{path}/addons", {"addonId": "sso-access"}),
        ("DELETE", f"{path}/addons/sso-access", None),
        ("POST", "/subscriptions", {"customerId": "stuck", "planCode": "starter"}),
        *((method, "/seats", seat) for method in ("POST", "DELETE", "PUT")),
        ("PUT", "/seats/bulk", seats),
    ]:
        answer = await world.http.request(method, asked, json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable"), (method, asked, answer.text)
        assert (answer.headers["retry-after"], "still to be closed" in answer.text) == ("1", True)
    assert await everything(world) == before
    await stopped(world, path, CloseState.SETTLED)
    assert (await shop.ask("stuck", "POST", "/cancel"))["endDate"] == day("2026-05-01")

    # Of two months that are over the first is cut and cannot be counted; the second waits for it.
    world.live.away = True
    await shop.ask("away", "POST", "/cancel", expect=503)
    world.live.away = False
    assert (await shop.ask("away", "GET"))["endDate"] is None
    assert (await shop.ask("away", "POST", "/cancel"))["endDate"] == day("2026-05-01")
    assert [await world.lines(name) for name in shop.paths] == [[[BASE]] * 4] * 2


async def stopped(world: World, path: str, state: CloseState) -> None:
    """Stop a subscription's one close behind its back, or let it be settled again."""
    closes, accounts = tables.closes.c, tables.accounts.c
    async with world.sql.transaction() as connection:
        own = closes.subscription_id == path.rsplit("/", 1)[-1]
        await connection.execute(update(tables.closes).where(own).values(state=state))
        customer = select(closes.customer_id).where(own).scalar_subquery()
        open_cut = 1 if state is CloseState.STOPPED else None
        await connection.execute(
            update(tables.accounts).where(accounts.customer_id == customer).values(open_cut=open_cut)
        )


def comes_after(world: World, monkeypatch: pytest.MonkeyPatch, module: Any, instant: str) -> None:
    """Let the body of the next request to a module of routes come when what was due at an instant is billed."""
    read = module.read_body

    async def late(*asked: Any) -> Any:
        monkeypatch.setattr(module, "read_body", read)
        await world.now(instant)
        return await read(*asked)

    monkeypatch.setattr(module, "read_body", late)


@pytest.mark.parametrize(
    ("module", "method", "path", "body"),
    [
        (addon, "POST", "/addons", {"addonId": "sso-access"}),
        (plan_change, "POST", "/change-plan", {"newPlanId": "pro"}),
        (subscription_change, "POST", "/cancel", {"immediate": True}),
        (subscription_change, "POST", "/pause", {"mode": "immediate"}),
        (seat, "PUT", "/seats", {"customerId": "acme", "featureCode": "member", "count": 3}),
    ],
    ids=["addon", "change", "cancel", "pause", "seats"],
)
async def test_a_request_of_before_does_not_change_the_period_that_has_begun_since(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, method: str, path: str, body: Any
) -> None:
    """R-GEN-5: its body comes after the renewal was taken; charged by its own day, what it wants were free this month.

    Asked again it is done on the new period.
    """
    shop = Shop(world)
    await sso(world)
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    granted = {"featureId": "member", "includedAmount": 1, "overage": {"enabled": True, "unitPriceDecimal": "25"}}
    await world.call("POST", f"/plans/{world.starter}/features", granted)
    calls = ids.id_text(ids.FEATURE, world.calls)
    await world.group(world.starter, await world.plan("pro", 9900, calls, {"includedAmount": 500}))
    await world.now("2026-03-01T00:00:00Z")
    await shop.begin("acme")
    await world.now("2026-03-31T23:59:59Z")
    comes_after(world, monkeypatch, module, "2026-04-01T00:00:05Z")
    path = path if module is seat else shop.paths["acme"] + path
    refused = await world.call(method, path, body, expect=503)
    assert "ask again" in refused["message"]
    assert await shop.period("acme") == ("2026-04-01", "2026-05-01")
    assert len(await world.invoices("acme")) == 2
    await world.call(method, path, body)
    await world.now("2026-05-01T00:00:05Z")
    await proved(world)


@pytest.mark.parametrize(
    ("module", "path", "body"),
    [(plan_change, "/change-plan", {"newPlanId": "pro"}), (subscription_change, "/cancel", {"immediate": True})],
    ids=["change", "cancel"],
)
async def test_a_request_of_before_does_not_end_a_month_that_was_billed_since(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, path: str, body: Any
) -> None:
    """R-GEN-5, R-INT-7: a quarter's first month; its invoice is one that the audit makes again."""
    shop = Shop(world)
    calls = ids.id_text(ids.FEATURE, world.calls)
    await priced(world, "quarterly", 12000)
    pro = await world.plan("pro", 9900, calls, {"includedAmount": 500})
    await world.call("POST", f"/plans/{pro}/prices", {"billingInterval": "quarterly", "price": 29000})
    await world.group(world.starter, pro)
    await world.now("2026-01-01T00:00:00Z")
    await shop.begin("acme", billingInterval="quarterly")
    await world.track(shop.customers["acme"], "50", "2026-01-01T00:00:00Z")
    await world.now("2026-01-31T23:59:59Z")
    comes_after(world, monkeypatch, module, "2026-02-01T00:00:05Z")
    refused = await shop.ask("acme", "POST", path, body, expect=503)
    assert "ask again" in refused["message"]
    await shop.ask("acme", "POST", path, body)
    await world.now("2026-06-01T00:00:00Z")
    await proved(world)
