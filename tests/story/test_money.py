"""Money on real SQLite: adjustments, account credit, amounts too small to charge."""

import asyncio

import msgspec
import pytest

from billing import tables
from billing.store import invoice as invoices
from tests.story.test_billing import World, world
from tests.unit.billing.make import draft, line

__all__ = ["world"]  # a fixture


async def subscribed(world: World) -> str:
    await world.now("2026-01-01T00:00:00Z")
    customer = await world.customer("acme")
    await world.subscribe("acme")
    return customer


async def adjust(world: World, amount: int, **more: object) -> dict[str, object]:
    body = {"customerId": "acme", "amount": amount, "description": "service issue", **more}
    made: dict[str, object] = await world.call("POST", "/invoices", body)
    return made


async def test_a_negative_adjustment_becomes_credit_that_later_invoices_use(world: World) -> None:
    """R-INV-5, R-CHG-11, AMB-19: DOC-INV-06, then the next renewal takes the credit."""
    await subscribed(world)
    given = await adjust(world, -1000)
    assert (given["invoiceType"], given["total"], given["amountDue"], given["creditedToAccount"]) == (
        "adjustment",
        -1000,
        0,
        1000,
    )
    [only] = given["lineItems"]
    assert (only["kind"], only["lineType"], only["amount"]) == ("adjustment", "credit", -1000)
    assert only["description"] == "service issue"
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert (upcoming["total"], upcoming["creditApplied"]) == (3900, 1000)
    await world.now("2026-02-01T00:00:00Z")
    renewal = (await world.invoices("acme"))[-1]
    assert [(one["kind"], one["amount"]) for one in renewal["lineItems"]] == [
        ("plan_base", 4900),
        ("account_credit_applied", -1000),
    ]
    assert (renewal["subtotal"], renewal["creditApplied"], renewal["total"], renewal["amountDue"]) == (
        4900,
        1000,
        3900,
        3900,
    )
    assert (await world.call("GET", "/customers/acme/credits"))["data"][0]["remainingAmount"] == 0


async def test_a_few_cents_are_carried_to_the_next_invoice(world: World) -> None:
    """R-INV-12, AMB-29."""
    await subscribed(world)
    first = await adjust(world, 30)
    assert (first["total"], first["amountDue"], first["carriedOut"], first["status"]) == (30, 0, 30, "paid")
    second = await adjust(world, 15)
    assert (second["carriedIn"], second["carriedOut"], second["amountDue"]) == (30, 45, 0)
    third = await adjust(world, 5)
    assert (third["total"], third["carriedIn"], third["amountDue"], third["status"]) == (5, 45, 50, "outstanding")
    fourth = await adjust(world, 100)
    assert (fourth["carriedIn"], fourth["amountDue"]) == (0, 100)


async def test_credit_is_kept_by_currency_and_used_oldest_first(world: World) -> None:
    """R-CHG-11."""
    await subscribed(world)
    for amount, currency in ((300, "usd"), (500, "eur"), (400, "USD")):
        await world.call("POST", "/customers/acme/credits", {"amount": amount, "currency": currency, "reason": "sorry"})
    for wrong in ({"currency": "zzz", "reason": "sorry"}, {"currency": "usd"}, {"currency": "usd", "reason": " "}):
        await world.call("POST", "/customers/acme/credits", {"amount": 1, **wrong}, expect=400)
    charged = await adjust(world, 450)
    assert (charged["creditApplied"], charged["total"], charged["amountDue"]) == (450, 0, 0)
    held = (await world.call("GET", "/customers/acme/credits"))["data"]
    assert [(one["currency"], one["amount"], one["remainingAmount"]) for one in held] == [
        ("usd", 400, 250),
        ("eur", 500, 500),
        ("usd", 300, 0),
    ]


async def test_what_made_an_invoice_makes_it_once(world: World) -> None:
    """R-INV-10, R-INV-11: a source writes one invoice, and one that fails leaves no gap in the numbers."""
    customer = await subscribed(world)
    key = {"Idempotency-Key": "once"}
    body = {"customerId": "acme", "amount": 700, "description": "setup"}
    answers = await asyncio.gather(*(world.http.post("/invoices", json=body, headers=key) for _ in range(8)))
    assert len({answer.content for answer in answers}) == 1
    again = msgspec.structs.replace(
        draft(line(500)), organization_id=world.organization, customer_id=customer, subscription_id=None
    )
    async with world.sql.transaction() as connection:
        made = await invoices.write(connection, again, world.clock.now_ms())
        assert await invoices.made_by(connection, "close:cls_1") == made
    with pytest.raises(Exception, match=r"(?i)unique"):
        async with world.sql.transaction() as connection:
            await invoices.write(connection, again, world.clock.now_ms())
    await adjust(world, 900)
    rows = await world.rows(tables.invoices)
    assert sorted(row.number for row in rows) == [1, 2, 3, 4]
    assert len({row.source for row in rows}) == 4


@pytest.mark.parametrize("amount", [0, 10**12 + 1, -(10**12) - 1])
async def test_an_adjustment_of_nothing_or_too_much_is_refused(world: World, amount: int) -> None:
    """R-INV-5."""
    await world.customer("acme")
    await world.call("POST", "/invoices", {"customerId": "acme", "amount": amount, "description": "x"}, expect=400)
    await world.call("POST", "/invoices", {"customerId": "nobody", "amount": 1, "description": "x"}, expect=404)
    unsaid = await world.call("POST", "/invoices", {"customerId": "acme", "amount": 100}, expect=400)
    assert unsaid["details"][0]["field"] == "description"
    assert await world.rows(tables.invoices) == []


async def test_an_invoice_says_what_reproduces_it(world: World) -> None:
    """ADR 9: cut, terms and what made it."""
    await subscribed(world)
    await world.now("2026-02-01T00:00:00Z")
    start, renewal = sorted(await world.rows(tables.invoices), key=lambda row: row.number)
    assert (start.basis["cut"], start.basis["terms"]) == (0, [1])
    assert (renewal.basis["cut"], renewal.basis["terms"]) == (1, [1])
    [close] = await world.rows(tables.closes)
    assert renewal.source == f"close:{close.id}"


async def test_a_customer_who_comes_or_goes_changes_no_answer_under_its_key(world: World) -> None:
    """Contract 1.5: the first outcome, whether it was done or refused."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})

    async def write_all(name: str) -> list[tuple[int, bytes]]:
        writes = {
            "/subscriptions": {"customerId": name, "planCode": "starter"},
            f"/customers/{name}/credits": {"amount": 100, "currency": "usd", "reason": "sorry"},
            f"/customers/{name}/payment-method": {"number": "4242424242424242"},
        }
        key = {"Idempotency-Key": name}
        answers = [await world.http.post(path, json=body, headers=key) for path, body in writes.items()]
        return [(answer.status_code, answer.content) for answer in answers]

    refused = await write_all("late")
    assert [status for status, _ in refused] == [404] * 3
    await world.customer("late")
    assert await write_all("late") == refused
    assert (await world.call("GET", "/customers/late/credits"))["data"] == []
    await world.customer("brief")
    done = await write_all("brief")
    assert [status for status, _ in done] == [200] * 3
    await world.call("DELETE", "/customers/brief")
    assert await write_all("brief") == done
