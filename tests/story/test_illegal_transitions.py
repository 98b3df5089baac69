"""Every state of every machine, asked for what it does not allow: it is refused, and no row of any table changes."""

from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import select, update

from billing import tables
from billing.gateway.paying import collect
from billing.money.payment import Collected
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store.close import CloseRow, CloseState
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import metadata
from kernel.period import parse_instant_us
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD

__all__ = ["world"]  # a fixture

# What is asked over HTTP: method, the path's end, body. `NEXT` stands for the plan that is not the subscription's.
NEXT: Final = "<the other plan>"
COMMANDS: Final = {
    "cancel": ("POST", "/cancel", {}),
    "cancel now": ("POST", "/cancel", {"immediate": True}),
    "uncancel": ("POST", "/uncancel", None),
    "end date": ("PATCH", "", {"endDate": "2030-01-01T00:00:00Z"}),
    "pause now": ("POST", "/pause", {"mode": "immediate"}),
    "pause later": ("POST", "/pause", {"mode": "period_end"}),
    "pause length": ("PATCH", "/pause", {"durationDays": 5}),
    "revoke pause": ("DELETE", "/pause", None),
    "resume": ("POST", "/resume", None),
    "send": ("POST", "/send", None),
    "checkout": ("POST", "/checkout", None),
    "change": ("POST", "/change-plan", {"newPlanId": NEXT}),
    "preview": ("POST", "/preview-change", {"planId": NEXT}),
    "unschedule": ("DELETE", "/scheduled-change", None),
    "top up": ("POST", "/balance/topup", {"amount": 5000}),
    "buy": ("POST", "/credits", {"creditPackId": "none"}),
}
# R-SUB-5, read as what each state does allow; all others are illegal.
LEGAL: Final = {
    "draft": {"send"},
    "pending_payment": {"cancel", "cancel now", "checkout"},
    "trialing": {"cancel", "cancel now", "end date", "change", "preview"},
    "active": {"cancel", "cancel now", "end date", "pause now", "pause later", "change", "preview"},
    "past_due": {"cancel", "cancel now"},
    "paused": {"cancel", "cancel now", "pause length", "resume"},
    "canceled": set[str](),
    "expired": set[str](),
}


async def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Read all tables."""
    async with world.sql.snapshot() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


async def in_each_state(world: World) -> dict[str, str]:
    """Bring one subscription into each of the eight states; returns their ids."""
    await world.now("2026-01-01T00:00:00Z")
    found: dict[str, str] = {}

    async def begin(state: str, **body: Any) -> None:
        await world.customer(state)
        made = await world.call("POST", "/subscriptions", {"customerId": state, "planCode": "starter", **body})
        found[state] = made["id"]

    await begin("trialing", customTrialDays=60)
    for state in ("active", "past_due", "paused", "canceled", "expired"):
        await begin(state)
    await world.call("POST", f"/subscriptions/{found['paused']}/pause", {"mode": "immediate"})
    for state in ("canceled", "expired"):
        await world.call("POST", f"/subscriptions/{found[state]}/cancel", {"immediate": True})
    for state in ("past_due", "expired"):  # the one needs a failed charge, the other its day
        async with world.sql.transaction() as connection:
            row = tables.subscriptions.c.id == found[state]
            await connection.execute(update(tables.subscriptions).where(row).values(status=state))
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await begin("draft", draft=True)
    await begin("pending_payment")
    return found


async def test_each_state_refuses_what_it_does_not_allow_and_nothing_changes(world: World) -> None:
    """R-SUB-4, R-SUB-5, R-SUB-9."""
    found = await in_each_state(world)
    assert set(found) == set(LEGAL)
    other = (await world.call("POST", "/plans", {"name": "Other", "code": "other"}))["id"]
    await world.call("POST", f"/plans/{other}/prices", {"billingInterval": "monthly", "price": 9900})
    await world.group(world.starter, other)
    await world.call("POST", "/credit-packs", {"name": "none", "credits": 5, "price": 500})
    for state, subscription_id in found.items():
        shown = await world.call("GET", f"/subscriptions/{subscription_id}")
        assert shown["status"] == state
        before = await everything(world)
        for name, (method, path, body) in COMMANDS.items():
            if name in LEGAL[state]:
                continue
            sent = None if body is None else {key: other if value == NEXT else value for key, value in body.items()}
            answer = await world.http.request(method, f"/subscriptions/{subscription_id}{path}", json=sent)
            assert 400 <= answer.status_code < 500, (state, name, answer.status_code, answer.text)
            assert answer.json()["code"] != "not_found", (state, name)
            assert await everything(world) == before, (state, name)


async def test_a_close_is_settled_or_stopped_once(world: World) -> None:
    """R-INV-11: what is settled is never settled, stopped or resumed again; what is stopped waits for its resume."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await world.subscribe("acme")
    await world.now("2026-02-01T00:00:00Z")
    [settled] = await rows_of(world)
    assert settled.state is CloseState.SETTLED
    before = await everything(world)
    async with world.sql.transaction() as connection:
        assert not await closes.settle(connection, settled, None, 5)
        assert not await closes.stop(connection, settled, ({"a": "1"}, {"a": "2"}))
        assert await closes.resume(connection, None) == 0
    assert await everything(world) == before
    async with world.sql.transaction() as connection:
        row = tables.closes.c.id == settled.id
        await connection.execute(update(tables.closes).where(row).values(state=CloseState.CUT, settled_ms=None))
        assert await closes.stop(connection, settled, ({"a": "1"}, {"a": "2"}))
    before = await everything(world)
    async with world.sql.transaction() as connection:
        assert not await closes.settle(connection, settled, None, 5)
        assert not await closes.stop(connection, settled, None)
    assert await everything(world) == before
    async with world.sql.transaction() as connection:
        assert await closes.resume(connection, world.organization) == 1
        assert await closes.settle(connection, settled, settled.invoice_id, 5)


async def rows_of(world: World) -> list[CloseRow]:
    async with world.sql.snapshot() as connection:
        found = [row.id for row in await connection.execute(select(tables.closes.c.id))]
        return await closes.read_all(connection, found)


async def test_a_paid_invoice_stays_paid_and_is_charged_once(world: World) -> None:
    """R-INV-10, R-DUN-5: and the checkout that it paid is used up."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await world.customer("acme")
    made = await world.subscribe("acme")
    checkout = "/checkout/" + made["checkoutUrl"].rpartition("/")[2]
    await world.call("POST", checkout, {"number": CARD})
    [row] = await world.rows(tables.invoices)
    before = await everything(world)
    await world.call("POST", checkout, {"number": CARD}, expect=404)
    async with world.sql.snapshot() as connection:
        organization = await load_organization(connection, ids.id_bytes(world.organization))
        invoice = await invoices.read(connection, row.id)
        assert organization is not None
        assert invoice is not None
        assert await collect(connection, organization, invoice, 5) is Collected.PAID
    other = msgspec.structs.replace(invoice, status="outstanding")  # as one read it who was too late
    with pytest.raises(Exception, match=r"(?i)unique"):
        async with world.sql.transaction() as connection:
            await collect(connection, organization, other, 6)
    assert await everything(world) == before


async def test_a_plan_that_is_withdrawn_takes_no_subscriber_and_a_deleted_one_no_command(world: World) -> None:
    """R-PLAN-8, R-SUB-9, R-PLAN-9: active, deprecated, deleted; there is no way back."""
    await world.now("2026-01-01T00:00:00Z")
    for customer in ("acme", "new"):
        await world.customer(customer)
    made = await world.subscribe("acme")
    await world.call("POST", f"/plans/{world.starter}/deprecate")
    before = await everything(world)
    for body in ({"customerId": "new", "planCode": "starter"}, {"customerId": "new", "planId": world.starter}):
        assert (await world.call("POST", "/subscriptions", body, expect=422))["code"] == "plan_unavailable"
    assert await everything(world) == before
    shown = await world.call("PATCH", f"/plans/{world.starter}", {"isDeprecated": False})
    assert shown["isDeprecated"] is True
    # Who was subscribed goes on, and once gone does not come back.
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    await world.closer.close_due()  # the final close, which is settled in the background
    await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter"}, expect=422)
    await world.call("DELETE", f"/plans/{world.starter}")
    before = await everything(world)
    path = f"/plans/{world.starter}"
    for method, end, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "Again"}),
        ("DELETE", "", None),
        ("POST", "/deprecate", None),
        ("PUT", "/visibility", {"isPublic": True}),
        ("POST", "/prices", {"billingInterval": "yearly", "price": 1}),
    ):
        assert (await world.call(method, path + end, body, expect=404))["code"] == "plan_not_found"
    await world.call("POST", "/subscriptions", {"customerId": "new", "planId": world.starter}, expect=404)
    assert await everything(world) == before


async def test_a_code_that_is_off_used_up_or_over_redeems_nothing(world: World) -> None:
    """R-DISC-8, R-DISC-12: active and inactive, and what its limits leave of it."""
    await world.now("2026-01-01T00:00:00Z")
    for customer in ("first", "second"):
        await world.customer(customer)
    terms = {"discountType": "percentage", "discountValue": 1000, "maxRedemptions": 1}
    for code, more in (("off", {}), ("used", {}), ("over", {"expiresAt": "2026-01-02T00:00:00Z"})):
        await world.call("POST", "/promo-codes", {"code": code, **terms, **more})
    await world.call("PATCH", "/promo-codes/off", {"active": False})
    await world.call("POST", "/subscriptions", {"customerId": "first", "planCode": "starter", "promoCode": "used"})
    await world.now("2026-01-10T00:00:00Z")
    before = await everything(world)
    for code, status, said in (
        ("off", 400, "offer_not_applicable"),
        ("used", 400, "offer_not_applicable"),
        ("over", 409, "promo_code_expired"),
        ("none", 404, "promo_code_not_found"),
    ):
        body = {"customerId": "second", "planCode": "starter", "promoCode": code}
        answer = await world.call("POST", "/subscriptions", body, expect=status)
        assert answer["code"] == said, code
        assert await everything(world) == before, code


async def test_a_scheduled_change_is_taken_back_once(world: World) -> None:
    """R-SUB-14, R-CHG-6: none, scheduled, taken back; the plan that is there already is no change."""
    await world.now("2026-01-01T00:00:00Z")
    cheap = (await world.call("POST", "/plans", {"name": "Cheap", "code": "cheap"}))["id"]
    await world.call("POST", f"/plans/{cheap}/prices", {"billingInterval": "monthly", "price": 1000})
    await world.group(cheap, world.starter)
    await world.customer("acme")
    path = f"/subscriptions/{(await world.subscribe('acme'))['id']}"
    before = await everything(world)
    for method, end, body in (
        ("DELETE", "/scheduled-change", None),
        ("POST", "/change-plan", {"newPlanId": world.starter}),
        ("POST", "/change-plan", {"newPlanId": world.starter, "newBillingInterval": "monthly"}),
    ):
        answer = await world.call(method, path + end, body, expect=400)
        assert answer["code"] == "no_change_requested"
    assert await everything(world) == before
    await world.call("POST", f"{path}/change-plan", {"newPlanId": cheap})
    await world.call("DELETE", f"{path}/scheduled-change")
    before = await everything(world)
    assert (await world.call("DELETE", f"{path}/scheduled-change", expect=400))["code"] == "no_change_requested"
    assert await everything(world) == before
    assert parse_instant_us((await world.call("GET", path))["nextBillingDate"]) == parse_instant_us("2026-02-01")
