"""What a customer who is archived or deleted still owes: nothing that was not invoiced by then."""

from typing import Any

import pytest

from billing import tables
from billing.store import cut as cuts
from billing.store import subscription as subscriptions
from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_subscription_life import begin

__all__ = ["world"]  # a fixture

ARCHIVE = {"json": {"isActive": False}, "headers": {"commet-version": "2026-05-01"}}


async def archive(world: World, reference: str) -> None:
    answer = await world.http.put(f"/customers/{reference}", **ARCHIVE)
    assert answer.status_code == 200, answer.text


async def uncollected(world: World) -> list[tuple[Any, ...]]:
    return [(row.state, row.invoice_id, row.refusal) for row in await world.rows(tables.closes)]


async def test_it_ends_in_the_transaction_that_deletes_or_archives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-CUST-8, R-CUST-9: a process that dies right after its commit leaves nothing that is billed."""

    async def died(*_: object) -> None:
        raise AssertionError

    await world.now("2026-01-01T00:00:00Z")
    for reference in ("acme", "other"):
        await world.customer(reference)
        await world.subscribe(reference)
    monkeypatch.setattr(world.catalog, "on_customer_archived", died)
    assert (await world.http.delete("/customers/acme")).status_code == 500
    assert (await world.http.put("/customers/other", **ARCHIVE)).status_code == 500
    assert [row.status for row in await world.rows(tables.subscriptions)] == ["canceled"] * 2
    await world.now("2026-04-01T00:00:00Z")
    assert len(await world.rows(tables.invoices)) == 2


@pytest.mark.parametrize("final", [False, True])
async def test_a_close_that_is_open_when_its_customer_goes_collects_nothing(world: World, final: bool) -> None:
    """R-CUST-9, AMB-35: neither the renewal that waited nor a last invoice."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    if final:
        await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    await world.now("2026-02-01T00:00:00Z", bill=False)
    async with world.sql.transaction() as connection:
        real_ms = world.clock.now_ms()
        [due] = await subscriptions.due(connection, real_now_ms=real_ms, settle_ms=0, organization_id=None, limit=2)
        assert await cuts.take(connection, due, real_ms)
    await archive(world, "acme")
    await world.closer.close_due()
    assert await uncollected(world) == [("settled", None, "customer_archived")]
    assert len(await world.rows(tables.invoices)) == 1
    await world.now("2026-04-01T00:00:00Z")
    assert len(await world.rows(tables.closes)) == 1
    await proved(world)


async def test_a_start_ends_what_a_former_version_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-CUST-8, R-CUST-9."""
    acme = await world.customer("acme")
    await begin(world)
    monkeypatch.setattr(world.catalog, "end_customer", None)
    await archive(world, "acme")
    assert await world.following.look()
    assert [row.status for row in await world.rows(tables.subscriptions)] == ["canceled"]
    assert (await world.snapshot(acme)).status == "canceled"
