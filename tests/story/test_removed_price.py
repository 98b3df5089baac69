"""A price that is removed while something waits for it: a checkout keeps it, a change that was to come does not."""

from typing import Any

from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD
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
    await remove_price(world, world.starter)
    seen = await world.call("GET", acme)
    assert (seen["amountDue"], [(one["kind"], one["amount"]) for one in seen["lineItems"]]) == (4900, [BASE])
    for checkout in (acme, trial):
        await world.call("POST", checkout, {"number": CARD})
    await world.now("2026-01-02T00:00:00Z")
    sent = checkout_of(await world.call("POST", f"/subscriptions/{draft['id']}/send"))
    assert (await world.call("GET", sent))["amountDue"] == 4900
    await world.call("POST", sent, {"number": CARD})
    await world.now("2026-02-02T00:00:00Z")
    assert await charged(world, "acme") == [("2026-01-01", [BASE]), ("2026-02-01", [BASE])]
    assert await charged(world, "trying") == [("2026-01-15", [BASE])]
    assert await charged(world, "later") == [("2026-01-02", [BASE]), ("2026-02-02", [BASE])]
