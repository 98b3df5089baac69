"""Invoices proved: what billing writes is consistent and made again the same, and a cent more on any line is found."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from billing import tables
from billing.gateway.reproducing import reproduced
from ingest.event import TokenUse
from kernel import ids
from kernel.period import DAY_US, date_of, parse_instant_us
from tests.story.corrected import correct, counted
from tests.story.judged import changed, judged, proved
from tests.story.test_billing import World, world
from tests.story.test_discount import code, offer
from tests.story.test_money import adjust
from tests.story.test_overdraft import balance_plan
from tests.story.test_plan_change import change, seats_offer
from tests.story.test_purchases import pack, sold
from tests.story.test_seat_invoices import put, team
from tests.story.test_subscription_life import begin, priced

__all__ = ["world"]  # a fixture


async def metered(world: World) -> None:
    """A discount, overage, late usage, and credit that pays a part."""
    await world.now("2026-01-31T00:00:00Z")
    acme = await world.customer("acme")
    await offer(world)
    await begin(world)
    await world.track(acme, "110.5", "2026-02-01T00:00:00Z")
    await adjust(world, -1000)
    await world.now("2026-02-28T00:00:00Z")
    await world.track(acme, "77", "2026-02-10T00:00:00Z", accepted="2026-03-01T00:00:00Z")
    await adjust(world, 30)
    await world.now("2026-05-01T00:00:00Z")


async def seated(world: World) -> None:
    """Seats in advance and trued up, and a plan whose included seats are raised meanwhile."""
    await team(world, initialSeats={"team_member": 8})
    await put(world, 10, "2026-01-11")
    await world.now("2026-02-03T00:00:00Z")
    await put(world, 12)
    await world.call("PATCH", "/plans/team/features/team_member", {"includedAmount": 11})
    await world.now("2026-03-03T00:00:00Z")


async def drawn(world: World) -> None:
    """A balance with overdraft and top-ups, and a quarter of it."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await balance_plan(world, "quarterly")
    made = await begin(world, planCode="balance", billingInterval="quarterly")
    await world.track(acme, "130", "2026-01-05T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/balance/topup", {"amount": 1000})
    await world.now("2026-02-01T00:00:00Z")
    await world.track(acme, "107.77", "2026-02-05T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")


async def bought(world: World) -> None:
    """Credit packs."""
    subscription = await sold(world)
    await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": await pack(world)})
    await world.now("2026-02-01T00:00:00Z")


async def lived(world: World) -> None:
    """A trial with a code, a quarter, late usage, quantities raised within it, and an end within a month."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    await code(world)
    made = await begin(world, billingInterval="quarterly", customTrialDays=7, promoCode="SAVE10")
    await world.track(acme, "5", "2026-01-05T00:00:00Z")
    await world.now("2026-01-08T00:00:00Z")
    await world.track(acme, "111", "2026-01-10T00:00:00Z")
    await world.now("2026-02-10T00:00:00Z")
    await world.track(acme, "44", "2026-02-11T00:00:00Z")
    await world.track(acme, "70", "2026-01-11T00:00:00Z")
    await world.call("PATCH", f"/plans/{world.starter}/features/calls", {"includedAmount": 20})
    await world.now("2026-03-10T00:00:00Z")
    await world.track(acme, "88", "2026-03-11T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    await world.now("2026-05-01T00:00:00Z")


async def paused(world: World) -> None:
    """A pause at once, whose rest comes later and is not charged again."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "60", "2026-01-05T00:00:00Z")
    await world.now("2026-01-11T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2026-03-12T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/resume")
    await world.track(acme, "110", "2026-03-20T00:00:00Z")
    await world.now("2026-05-02T00:00:00Z")


async def switched(world: World) -> None:
    """An upgrade; then more seats at the same instant, more of them included, and a seller who counts otherwise."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await seats_offer(world)
    await world.call("PATCH", f"/plans/{pro}/features/member", {"includedAmount": 10})
    await world.customer("acme")
    made = await begin(world, planCode="team", initialSeats={"member": 9})
    await world.now("2026-01-10T00:00:00Z")
    await world.call("PUT", "/seats", {"customerId": "acme", "featureCode": "member", "count": 14})
    await world.now("2026-01-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    await world.call("PUT", "/seats", {"customerId": "acme", "featureCode": "member", "count": 16})
    await world.call("PATCH", f"/plans/{pro}/features/member", {"includedAmount": 15})
    await world.call("PATCH", "/organization", {"planChangeDayCount": "actual", "upgradeCharge": "full"})
    await world.now("2026-02-15T00:00:00Z")


async def tokens(world: World) -> None:
    """A balance drawn beyond by AI models, whose prices had two editions; then another plan, which a third precedes."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    body = {"name": "talk", "code": "talk", "consumptionModel": "balance"}
    plans = [await world.call("POST", "/plans", {**body, "code": code, "name": code}) for code in ("talk", "shout")]
    group = (await world.call("POST", "/plan-groups", {"name": "all", "isPublic": True}))["id"]
    for place, plan in enumerate(plans):
        path = f"/plans/{plan['id']}"
        await world.call("POST", f"{path}/prices", {"billingInterval": "monthly", "price": 1000 * (place + 1)})
        priced = {"pricingMode": "ai_model", "marginPercent": "20"}
        await world.call("POST", f"{path}/features", {"featureId": ids.id_text(ids.FEATURE, world.calls), **priced})
        await world.call("POST", f"/plan-groups/{group}/plans", {"planId": plan["id"], "sortOrder": place})
    made = await begin(world, planCode="talk")
    for on, edition in ((5, "2"), (6, "1"), (7, "1")):
        await world.track(acme, "1", f"2026-01-0{on}T00:00:00Z", tokens=priced_by(edition))
    await world.now("2026-02-15T00:00:00Z")
    await world.track(acme, "1", "2026-02-15T00:00:00Z", tokens=priced_by("3"))
    await world.track(acme, "1", "2026-02-15T00:00:00Z", tokens=priced_by("3"))
    await change(world, made["id"], newPlanId=plans[1]["id"])
    kept = [invoice.basis["priceVersions"] for invoice in await world.rows(tables.invoices)]
    assert kept == [[], ["1", "2"], ["3"]]


def priced_by(edition: str) -> TokenUse:
    """A token for 5.00, by an edition of the prices."""
    return TokenUse(
        model="openai/gpt-4o",
        input=1,
        output=0,
        cache_read=0,
        cache_write=0,
        input_cost="5",
        output_cost="0",
        cache_read_cost="0",
        cache_write_cost="0",
        base_cost="5",
        price_version=edition,
        price_since_ms=1,
    )


async def corrected(world: World) -> None:
    """Corrections of invoiced windows: down, up, down to nothing; of a quarter, so that an invoice falls below zero."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    await begin(world, billingInterval="quarterly")
    await world.track(acme, "210.5", "2026-01-05T00:00:00Z")
    for instant, value in (("2026-02-03", "100"), ("2026-02-04", "170"), ("2026-03-02", "200"), ("2026-03-03", None)):
        await world.now(f"{instant}T00:00:00Z")
        row = (await counted(world, acme))[0]
        await correct(world, row, value, f"{instant}T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")


Story = Callable[[World], Awaitable[Any]]
KINDS: list[tuple[Story, set[str]]] = [
    (metered, {"plan_base", "discount", "overage", "late_usage", "adjustment", "account_credit_applied"}),
    (seated, {"plan_base", "seats", "seat_true_up"}),
    (drawn, {"plan_base", "balance_overage", "balance_topup"}),
    (bought, {"plan_base", "credit_pack"}),
    (lived, {"plan_base", "discount", "overage", "late_usage"}),
    (paused, {"plan_base", "overage"}),
    (switched, {"plan_base", "seats", "seat_true_up", "proration_credit", "proration_charge"}),
    (tokens, {"plan_base", "balance_overage", "proration_credit", "proration_charge"}),
    (corrected, {"plan_base", "overage", "late_usage", "account_credit_applied"}),
]


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_the_invoices_are_made_again_the_same(world: World, seed: int) -> None:
    """R-INV-6, R-INV-11: usage, late usage, adjustments, edits of the plan and pauses in any order, over months."""
    chance = random.Random(seed)
    day = parse_instant_us("2026-01-31T00:00:00Z") // DAY_US
    await world.now(f"{date_of(day)}T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    made = await begin(world, billingInterval=chance.choice(("monthly", "quarterly")))
    granted, away = f"/plans/{world.starter}/features/calls", False
    for _ in range(9):
        day += chance.choice((1, 3, 11, 20, 33))
        await world.now(f"{date_of(day)}T00:00:00Z")
        match chance.randrange(6):
            case 0:
                await adjust(world, chance.choice((-700, 30, 2000)))
            case 1:
                await world.call("PATCH", granted, {"includedAmount": chance.choice((5, 15, 40))})
            case 2:
                body = None if away else {"mode": "immediate", "durationDays": None}
                await world.call("POST", f"/subscriptions/{made['id']}/{'resume' if away else 'pause'}", body)
                away = not away
            case 3 if rows := [row for row in await counted(world, acme) if not row.corrects]:
                value = None if chance.randrange(3) == 0 else str(chance.randrange(90) / 2 + 0.25)
                await correct(world, chance.choice(rows), value, f"{date_of(day)}T00:00:00Z")
            case _:
                on, now = f"{date_of(day - chance.choice((0, 2, 9, 25)))}T00:00:00Z", f"{date_of(day)}T00:00:00Z"
                await world.track(acme, str(chance.randrange(1, 90) / 2), on, accepted=now)
    await world.now(f"{date_of(day + 40)}T00:00:00Z")
    await proved(world)


@pytest.mark.parametrize(("story", "kinds"), KINDS, ids=[story.__name__ for story, _ in KINDS])
async def test_each_kind_of_line_changed_by_a_cent_is_found(world: World, story: Story, kinds: set[str]) -> None:
    """R-GEN-2: the total is changed along, so that the line itself has to be found."""
    await story(world)
    await proved(world)
    async with world.sql.snapshot() as connection:
        rows = (await connection.execute(text("SELECT id, invoice_id, kind FROM invoice_lines"))).all()
    assert {row.kind for row in rows} == kinds
    for row in rows:
        for cent in (1, -1):
            values = {"cent": cent, "line": row.id, "invoice": row.invoice_id}
            await changed(world, AMOUNT, **values)
            await changed(world, TOTALS, **values)
            if cent == 1:
                found = (await judged(world))[0].kinds
                own = {"invoice total"} if row.kind == "account_credit_applied" else LINES
                assert found.keys() & own, (row.kind, found)
                again = await reproduced(world.sql, world.store, row.invoice_id)
                assert again.verdict == "different"
    assert (await judged(world))[0].kept == []


AMOUNT = "UPDATE invoice_lines SET amount_minor = amount_minor + :cent WHERE id = :line"
TOTALS = "UPDATE invoices SET total_minor = total_minor + :cent, due_minor = due_minor + :cent WHERE id = :invoice"
LINES = {"base line", "invoice line", "invoice window"}


FORGED: list[tuple[Story, str, str]] = [
    (metered, "UPDATE invoices SET currency = 'JPY' WHERE kind = 'recurring'", "invoice total"),
    (metered, "UPDATE account_credits SET currency = 'EUR'", "account credit"),
    (corrected, "UPDATE account_credits SET customer_id = :other", "account credit"),
    (metered, "UPDATE carried_amounts SET customer_id = :other", "account credit"),
    (corrected, "UPDATE invoices SET source = 'adjustment:' || id WHERE number = 3", "invoice line"),
    (bought, "UPDATE pack_purchases SET credits = '5000'", "account credit"),
    (bought, "UPDATE pack_purchases SET customer_id = :other", "account credit"),
    (drawn, "UPDATE top_ups SET currency = 'JPY'", "account credit"),
    (drawn, "UPDATE top_ups SET customer_id = :other", "account credit"),
]


@pytest.mark.parametrize(("story", "statement", "kind"), FORGED, ids=[statement for _, statement, _ in FORGED])
async def test_money_of_another_customer_currency_or_source_is_found(
    world: World, story: Story, statement: str, kind: str
) -> None:
    """R-GEN-7, R-REG-4, R-PACK-3: the amounts stay as they are."""
    await story(world)
    await proved(world)
    other = await world.customer("other")
    await changed(world, statement, **({"other": other} if ":other" in statement else {}))
    assert kind in (await judged(world))[0].kinds
