"""A balance plan over HTTP: what is drawn beyond it is billed at the window's end, what was bought pays first."""

from typing import Any

import pytest

from catalog.definition import ModelPrice
from ingest.pricing import TokenCounts, priced
from kernel import ids
from kernel.period import DAY_US, parse_instant_us
from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_subscription_life import begin, issued

__all__ = ["world"]  # a fixture


async def balance_plan(world: World, interval: str = "monthly") -> None:
    """50.00 a month become balance; a call costs 0.50."""
    made: Any = await world.call(
        "POST", "/plans", {"name": "balance", "code": "balance", "consumptionModel": "balance"}
    )
    await world.call("POST", f"/plans/{made['id']}/prices", {"billingInterval": interval, "price": 5000})
    granted = {"featureId": ids.id_text(ids.FEATURE, world.calls), "overage": {"unitPriceDecimal": "0.5"}}
    await world.call("POST", f"/plans/{made['id']}/features", granted)


async def test_an_overdraft_is_a_line_of_the_renewal_and_the_balance_starts_afresh(world: World) -> None:
    """R-BAL-1, R-BAL-3, R-BAL-4: 130 calls at 0.50 are 65.00, 15.00 beyond 50.00."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await balance_plan(world)
    await begin(world, planCode="balance")
    shown = await world.snapshot(acme)
    assert (shown.terms.pool, shown.terms.overdraft) == (50 * 10**9, True)
    await world.track(acme, "90", "2026-01-05T00:00:00Z")
    await world.track(acme, "40", "2026-01-06T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert [(line["kind"], line["amount"]) for line in upcoming["lineItems"]] == [
        ("plan_base", 5000),
        ("balance_overage", 1500),
    ]
    await world.now("2026-02-01T00:00:00Z")
    await world.track(acme, "10", "2026-02-05T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 5000)]),
        ("2026-02-01", "recurring", [("plan_base", 5000), ("balance_overage", 1500)]),
        ("2026-03-01", "recurring", [("plan_base", 5000)]),
    ]


async def test_a_quarters_overdraft_is_invoiced_by_the_month(world: World) -> None:
    """R-INV-3, R-INT-7: the balance is a monthly amount, and so is its overdraft."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await balance_plan(world, "quarterly")
    await begin(world, planCode="balance")
    await world.track(acme, "130", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    await world.track(acme, "99", "2026-02-05T00:00:00Z")
    await world.now("2026-03-05T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "overage", [("balance_overage", 1500)])]


@pytest.mark.parametrize("way", ["added", "changed", "addon"])
async def test_what_tokens_cost_in_dollars_is_not_drawn_on_a_balance_in_reais(world: World, way: str) -> None:
    """R-AI-4, R-REG-5: nor where the AI feature comes later, to the plan or by an add-on."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await balance_plan(world)
    await world.call("PUT", "/plans/balance/regional", {"currency": "brl", "exchangeRate": 5})
    chat = (await world.call("POST", "/features", {"name": "chat", "code": "chat", "type": "usage"}))["id"]
    made = await begin(world, planCode="balance", currency="brl")
    ai = {"pricingMode": "ai_model", "marginPercent": "20"}
    if way == "added":
        await world.call("POST", "/plans/balance/features", {"featureId": chat, **ai})
    elif way == "changed":
        await world.call("PATCH", "/plans/balance/features/calls", {**ai, "overage": {"unitPriceDecimal": "0"}})
    else:
        body = {"name": "chat", "basePrice": 1000, "featureId": chat, "consumptionModel": "balance", **ai}
        addon = {"addonId": (await world.call("POST", "/addons", body))["id"]}
        path = f"/subscriptions/{made['id']}/addons"
        assert (await world.call("POST", path, addon, expect=402))["code"] == "missing_regional_price"
    await world.now("2026-02-01T00:00:00Z")
    world.calls = world.calls if way == "changed" else ids.id_bytes(chat)
    price = ModelPrice(model="openai/gpt-4o", since_ms=0, input="1", output="1", version="v")
    used = priced(TokenCounts(input=1_000_000, output=0), price)
    await world.track(acme, "1000000", "2026-02-01T00:00:00Z", tokens=used)
    balance = (await world.call("GET", "/subscriptions/active", customerId="acme"))["balance"]
    assert (balance["currency"], balance["planDecimal"]) == ("brl", "250")
    await proved(world)


@pytest.mark.parametrize("model", ["balance", "metered"])
async def test_a_price_without_a_value_in_reais_charges_nothing_there(world: World, model: str) -> None:
    """R-REG-5: 0.50 dollars a call, which came later, are no 0.50 reais; with a rate they are 2.50 from the renewal."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await world.call("POST", "/plans", {"name": "local", "code": "local", "consumptionModel": model})
    price = await world.call("POST", "/plans/local/prices", {"billingInterval": "monthly", "price": 1000})
    by_hand = {"overrides": [{"currency": "brl", "price": 5000}]}
    await world.call("PUT", f"/plans/local/prices/{price['id']}/regional", by_hand)
    await begin(world, planCode="local", currency="brl")
    overage = {"unitPriceDecimal": "0.5"} | ({"enabled": True} if model == "metered" else {})
    await world.call("POST", "/plans/local/features", {"featureId": "calls", "overage": overage})

    async def calls(day: str) -> tuple[bool, bool, str]:
        terms = (await world.snapshot(acme)).terms_on(parse_instant_us(f"{day}T00:00:00Z") // DAY_US)
        assert terms is not None
        [granted] = terms.features
        return granted.enabled, granted.overage, granted.unit_price

    for day in ("2026-01-02", "2026-02-02"):
        await world.now(f"{day}T00:00:00Z")
        assert (await calls(day))[:2] == (model == "metered", False)
    await world.call("PUT", "/plans/local/regional", {"currency": "brl", "exchangeRate": 5})
    assert await calls("2026-03-02") == (True, model == "metered", "2.5")
    await proved(world)
