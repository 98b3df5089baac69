"""A price that is removed while something waits for it: a checkout keeps it, a change that was to come does not."""

from typing import Any

from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD
from tests.story.test_plan_change import change, offer
from tests.story.test_subscription_life import BASE

__all__ = ["world"]  # a fixture


async def remove_price(world: World, plan: str) -> None:
    price = (await world.call("GET", f"/plans/{plan}"))["prices"][0]["id"]
    await world.call("DELETE", f"/plans/{plan}/prices/{price}")


async def waiting(world: World, reference: str, **body: Any) -> dict[str, Any]:
    """Subscribe a customer to the starter plan; in payments mode it waits for its checkout."""
    await world.customer(reference)
    return await world.call("POST", "/subscriptions", {"customerId": reference, "planCode": "starter", **body})


def checkout_of(subscription: dict[str, Any]) -> str:
    return "/checkout/" + subscription["checkoutUrl"].rpartition("/")[2]


async def charged(world: World, reference: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """Tell day and lines of every invoice of a customer."""
    return [
        (one["issueDate"][:10], [(line["kind"], line["amount"]) for line in one["lineItems"]])
        for one in await world.invoices(reference)
    ]


async def test_what_waits_for_its_checkout_keeps_the_price_that_it_was_shown(world: World) -> None:
    """R-PRICE-1, R-SUB-5, R-TRIAL-5: a payment, a card of a trial, a draft that is sent later; contract row 64."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    acme = checkout_of(await waiting(world, "acme"))
    trial = checkout_of(await waiting(world, "trying", customTrialDays=14))
    draft = await waiting(world, "later", draft=True)
    await world.call("POST", "/promo-codes", {"code": "LESS", "discountType": "percentage", "discountValue": 2000})
    coded = checkout_of(await waiting(world, "coded", promoCode="LESS"))
    await remove_price(world, world.starter)
    seen = await world.call("GET", acme)
    assert (seen["amountDue"], [(one["kind"], one["amount"]) for one in seen["lineItems"]]) == (4900, [BASE])
    assert (await world.call("GET", coded))["amountDue"] == 3920
    for checkout in (acme, trial):
        await world.call("POST", checkout, {"number": CARD})
    await world.call("POST", coded, {"number": CARD, "currency": "eur", "withoutPromoCode": True})
    assert await charged(world, "coded") == [("2026-01-01", [BASE])]
    await world.now("2026-01-02T00:00:00Z")
    sent = checkout_of(await world.call("POST", f"/subscriptions/{draft['id']}/send"))
    assert (await world.call("GET", sent))["amountDue"] == 4900
    await world.call("POST", sent, {"number": CARD})
    await world.now("2026-02-02T00:00:00Z")
    assert await charged(world, "acme") == [("2026-01-01", [BASE]), ("2026-02-01", [BASE])]
    assert await charged(world, "trying") == [("2026-01-15", [BASE])]
    assert await charged(world, "later") == [("2026-01-02", [BASE]), ("2026-02-02", [BASE])]


async def test_a_change_comes_at_the_price_at_which_it_was_announced_or_not_at_all(world: World) -> None:
    """R-CHG-6, R-CHG-10, R-DISC-15: where nothing tells the price, plan and discount go on as they are sold now."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.call(
        "POST",
        "/promo-codes",
        {"code": "LESS", "discountType": "percentage", "discountValue": 2000, "durationCycles": None},
    )
    paths = []
    for reference in ("acme", "moved", "ended"):
        await world.customer(reference)
        made = await world.call(
            "POST", "/subscriptions", {"customerId": reference, "planCode": "pro", "promoCode": "LESS"}
        )
        await change(world, made["id"], newPlanId=world.starter)
        paths.append(f"/subscriptions/{made['id']}")
    await world.call("PATCH", paths[2], {"endDate": "2026-01-20"})
    await remove_price(world, world.starter)
    price = (await world.call("GET", f"/plans/{pro}"))["prices"][0]["id"]
    await world.call("PATCH", f"/plans/{pro}/prices/{price}", {"price": 6000})
    # What follows is announced anew: the second still knows its price, the third was not to renew when it was removed.
    await world.call("PATCH", paths[1], {"endDate": "2026-03-20"})
    await world.call("PATCH", paths[2], {"endDate": None})
    await world.now("2026-02-01T00:00:00Z")
    first = [("plan_base", 9900), ("discount", -1980)]
    for reference in ("acme", "moved"):
        assert await world.lines(reference) == [first, [BASE]]
    assert await world.lines("ended") == [first, [("plan_base", 6000), ("discount", -1200)]]
    assert (await world.call("GET", paths[2]))["scheduledPlanChange"] is None


async def test_a_change_to_an_interval_without_a_price_in_the_currency_is_refused(world: World) -> None:
    """R-PRICE-3, R-REG-2: at once, where it would only come at the renewal."""
    await world.now("2026-01-01T00:00:00Z")
    plan = (await world.call("POST", "/plans", {"name": "Plain", "code": "plain"}))["id"]
    for interval, price in (("monthly", 4900), ("yearly", 49_000)):
        made = await world.call("POST", f"/plans/{plan}/prices", {"billingInterval": interval, "price": price})
    override = {"overrides": [{"currency": "eur", "price": 45_000}]}
    await world.call("PUT", f"/plans/{plan}/prices/{made['id']}/regional", override)
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "plain", "billingInterval": "yearly", "currency": "eur"}
    subscription = (await world.call("POST", "/subscriptions", body))["id"]
    assert [one["currency"] for one in await world.invoices("acme")] == ["eur"]
    refused = await change(world, subscription, newBillingInterval="monthly", expect=404)
    assert (refused["code"], refused["error"]["param"]) == ("price_not_found", "newBillingInterval")
