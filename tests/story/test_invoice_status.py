"""Invoices set paid or void by hand over HTTP: what a void one took is found again, and it counts as not paid."""

from typing import Any

from billing import tables
from tests.story.judged import changed, judged, proved
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD, DECLINED
from tests.story.test_money import adjust
from tests.story.test_plan_change import change, offer, seats_offer
from tests.story.test_subscription_life import begin, issued

__all__ = ["world"]  # a fixture


async def set_status(world: World, invoice: Any, status: str, **more: Any) -> Any:
    return await world.call("PATCH", f"/invoices/{invoice['id']}/status", {"status": status}, **more)


async def test_a_void_invoice_gives_back_what_it_took(world: World) -> None:
    """R-INV-10, R-INV-12, R-CHG-11: contract row 108, T75; its number stays, what is settled stays settled."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await begin(world)
    await adjust(world, -1000)
    await adjust(world, 30)
    await adjust(world, 45)
    await world.now("2026-02-01T00:00:00Z")
    [_, _, _, _, renewal] = await world.invoices("acme")
    assert (renewal["creditApplied"], renewal["carriedIn"], renewal["amountDue"]) == (925, 0, 3975)
    before = {name: value for name, value in renewal.items() if name not in ("status", "voidedAt", "updatedAt")}
    void = await set_status(world, renewal, "void")
    assert (void["status"], void["voidedAt"]) == ("void", "2026-02-01T00:00:00.000Z")
    assert {name: void[name] for name in before} == before
    assert (await set_status(world, renewal, "void", expect=409))["code"] == "no_outstanding_invoice"
    assert (await set_status(world, renewal, "paid", expect=409))["code"] == "no_outstanding_invoice"
    first = (await world.invoices("acme"))[0]
    assert (await set_status(world, first, "paid"))["status"] == "paid"
    assert (await set_status(world, first, "void", expect=409))["code"] == "no_outstanding_invoice"
    assert (await set_status(world, first, "draft", expect=400))["code"] == "validation_error"
    await world.now("2026-03-01T00:00:00Z")
    last = (await world.invoices("acme"))[-1]
    assert (last["invoiceNumber"], last["creditApplied"], last["amountDue"]) == ("INV-000006", 925, 3975)
    await proved(world)
    await changed(world, "UPDATE account_credits SET left_minor = left_minor + 1")
    assert (await judged(world))[0].kinds.keys() == {"account credit"}


async def test_a_void_invoice_is_explained_as_it_was(world: World) -> None:
    """R-CHG-11, R-INV-10: the credit that it gave back is still what its line was made of."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await adjust(world, -1000)
    await begin(world)
    first = (await world.invoices("acme"))[-1]
    await set_status(world, first, "void")
    credited = first["lineItems"][-1]
    told = await world.call("GET", f"/explain/{credited['id']}")
    assert (credited["amount"], told["arithmetic"]["agrees"]) == (-1000, True), told


async def test_carried_cents_wait_for_the_invoice_after_a_void_one(world: World) -> None:
    """R-INV-12, AMB-29."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await begin(world)
    await adjust(world, 30)
    await world.now("2026-02-01T00:00:00Z")
    renewal = (await world.invoices("acme"))[-1]
    assert (renewal["carriedIn"], renewal["amountDue"]) == (30, 4930)
    await set_status(world, renewal, "void")
    await world.now("2026-03-01T00:00:00Z")
    assert (await world.invoices("acme"))[-1]["carriedIn"] == 30
    await proved(world)


async def test_what_was_voided_is_not_credited_at_an_upgrade(world: World) -> None:
    """R-PRO-6, R-CHG-4: neither base nor seats; of a void change only what it credited itself."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    await world.customer("acme")
    made = await begin(world, planCode="team", initialSeats={"member": 7})
    [start] = await world.invoices("acme")
    await set_status(world, start, "void")
    await world.now("2026-01-15T00:00:00Z")
    await change(world, made["id"], newPlanId=company)
    assert (await issued(world))[-1][2] == [("proration_charge", 3000)]
    await proved(world)
    await set_status(world, (await world.invoices("acme"))[-1], "void")
    await world.call("POST", f"/plans/{company}/prices", {"billingInterval": "yearly", "price": 60000})
    await change(world, made["id"], newPlanId=company, newBillingInterval="yearly")
    assert (await issued(world))[-1][2] == [("proration_charge", 60000)]
    await proved(world)


async def test_a_void_change_leaves_what_the_period_before_was_worth(world: World) -> None:
    """R-PRO-6: 49.00 were paid, half of it credited to a change that is void: that much the new period is worth."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    await set_status(world, (await world.invoices("acme"))[-1], "void")
    await world.call("POST", f"/plans/{pro}/prices", {"billingInterval": "yearly", "price": 90000})
    await world.now("2026-01-29T00:00:00Z")
    await change(world, made["id"], newPlanId=pro, newBillingInterval="yearly")
    assert (await issued(world))[-1][2] == [("proration_credit", -1225), ("proration_charge", 90000)]
    await proved(world)


async def test_with_nothing_outstanding_a_past_due_subscription_is_active(world: World) -> None:
    """R-SUB-5, R-DUN-3, R-INV-5: paid elsewhere or void, once none waits but a one-off charge, which asks the card."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    acme = await world.customer("acme")
    made = await begin(world)
    await world.call("POST", "/checkout/" + made["checkoutUrl"].rpartition("/")[2], {"number": CARD})
    assert (await adjust(world, 2000))["status"] == "paid"
    await world.call("POST", "/customers/acme/payment-method", {"number": DECLINED})
    charge = await adjust(world, 3000)
    assert charge["status"] == "outstanding"
    assert [(one.amount_minor, one.status) for one in await world.rows(tables.payments)] == [
        (4900, "succeeded"),
        (2000, "succeeded"),
        (3000, "failed"),
    ]
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "active"
    await world.now("2026-03-01T00:00:00Z")
    waiting = (await world.call("GET", "/invoices", status="outstanding"))["data"]
    assert len(waiting) == 3
    waiting = [one for one in waiting if one["id"] != charge["id"]]
    for invoice, status, then in zip(waiting, ("void", "paid"), ("past_due", "active"), strict=True):
        await set_status(world, invoice, status)
        assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == then
        assert (await world.snapshot(acme)).status == then
    assert (await set_status(world, charge, "paid"))["status"] == "paid"
    assert len(await world.rows(tables.invoices)) == 5
