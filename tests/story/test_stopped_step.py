"""A subscription whose step or close raises stops by itself, and an operator lets it go on when the cause is mended."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from billing import tables
from billing.gateway.explain import Explainer
from billing.worker import addons, closer
from kernel.period import DAY_US, parse_instant_us
from kernel.telemetry import CounterName
from tests.story.test_addon import sso, switch_on
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

NO_NUMBER = {"source": "promo_code", "name": "broken", "type": "percent", "value": "NaN"}


async def test_a_step_that_raises_stops_its_own_subscription_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-INV-11: everybody else is closed, of any organization; once it is mended its boundaries come in order."""
    monkeypatch.setattr(closer, "_DUE_MAX", 1)  # it is due longest, and nobody waits behind it
    here, there = world.http.headers["x-api-key"], await world.other_organization()
    await world.now("2026-01-05T00:00:00Z")
    await world.customer("acme")
    await world.customer("other")
    acme = await world.subscribe("acme")
    await world.subscribe("other")
    world.http.headers["x-api-key"] = there
    await world.now("2026-01-05T00:00:00Z")
    await world.plans()
    await world.customer("third")
    await world.subscribe("third")
    await world.now("2026-03-05T00:00:00Z", bill=False)
    world.http.headers["x-api-key"] = here
    announced = await lost(world, acme["id"], parse_instant_us("2026-02-05T00:00:00Z") // DAY_US)

    run = await world.now("2026-03-05T00:00:00Z")
    assert (run["status"], run["error"].split(":")[0]) == ("failed", "steps stopped")
    assert (len(await world.lines("acme")), len(await world.lines("other"))) == (1, 3)
    assert stopped_closes(world).endswith(" 1.0")
    told = await Explainer(world.sql, world.live, world.store, world.catalog).explain_close(acme["id"])
    assert (told["due"], told["closes"]) == ({"at": "2026-02-05T00:00:00.000Z", "step": "renew"}, [])
    summary = await world.closer.close_due()
    assert (summary.settled, summary.stopped) == (2, 0)  # of the other organization; what stopped is left alone
    assert not (await world.closer.close_due()).settled
    assert (await world.closer.close_due(resume=True)).stopped == 1  # it is not mended

    await put_back(world, announced)
    assert not (await world.closer.close_due()).settled
    summary = await world.closer.close_due(resume=True)
    assert (summary.settled, summary.invoices, summary.stopped) == (2, 2, 0)
    ends = [one["periodEnd"][:10] for one in await world.invoices("acme")]
    assert ends == ["2026-02-05", "2026-03-05", "2026-04-05"]
    assert (await world.call("POST", "/test-clock", {"advanceDays": 1}, expect=202))["status"] == "completed"


async def test_a_close_that_raises_stops_alone(world: World) -> None:
    """R-INV-11: an operator sees it stopped with no difference, and it goes on when it is mended."""
    await world.now("2026-01-05T00:00:00Z")
    customer = await world.customer("acme")
    await world.customer("other")
    acme = await world.subscribe("acme")
    await world.subscribe("other")
    await world.track(customer, "12", "2026-01-06T00:00:00Z")
    await discounted(world, acme["id"], {**NO_NUMBER, "cycles_left": None})
    run = await world.now("2026-02-05T00:00:00Z")
    assert (run["status"], run["completedDeadlineCount"], run["failedDeadlineCount"]) == ("failed", 1, 1)
    assert run["error"].startswith("invoices stopped: its code raised")
    told = await Explainer(world.sql, world.live, world.store, world.catalog).explain_close(acme["id"])
    assert [(one["state"], one["liveWhenStopped"]) for one in told["closes"]] == [("stopped", None)]
    assert stopped_closes(world).endswith(" 1.0")
    assert not (await world.closer.close_due()).settled
    await discounted(world, acme["id"], None)
    assert (await world.closer.close_due(resume=True)).settled == 1
    assert await world.lines("acme") == [[("plan_base", 4900)], [("plan_base", 4900), ("overage", 3)]]


async def test_the_month_of_an_addon_that_raises_stops_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-ADDON-13: the months of others are charged, and its own when it is mended."""
    monkeypatch.setattr(addons, "_BATCH", 1)
    await sso(world)
    await world.now("2026-01-31T00:00:00Z")
    subscribed = {}
    for name in ("acme", "other"):
        await world.customer(name)
        subscribed[name] = await world.subscribe(name, "free")
        await switch_on(world, subscribed[name], "sso-access")
    kept = await lost(world, subscribed["acme"]["id"], 0)
    run = await world.now("2026-03-31T00:00:00Z")
    assert (run["status"], len(await world.lines("other"))) == ("failed", 3)
    await put_back(world, kept)
    assert (await world.closer.close_due()).invoices == 0
    assert (await world.closer.close_due(resume=True)).invoices == 2
    assert await world.lines("acme") == await world.lines("other")


async def discounted(world: World, subscription_id: str, discount: dict[str, Any] | None) -> None:
    """Write a discount into all terms of a subscription, also one that no code of ours writes."""
    own = tables.subscription_terms.c.subscription_id == subscription_id
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.subscription_terms).where(own).values(discount=discount))


async def lost(world: World, subscription_id: str, since_day: int) -> list[dict[str, Any]]:
    """Take away a subscription's terms from a day on, as no code of ours does; returns their rows."""
    own = tables.subscription_terms.c
    which = (own.subscription_id == subscription_id, own.since_day >= since_day)
    async with world.sql.transaction() as connection:
        found = await connection.execute(select(tables.subscription_terms).where(*which).order_by(own.since_day))
        rows = [dict(row) for row in found.mappings()]
        await connection.execute(delete(tables.subscription_terms).where(*which))
    return rows


async def put_back(world: World, rows: list[dict[str, Any]]) -> None:
    async with world.sql.transaction() as connection:
        await connection.execute(insert(tables.subscription_terms), rows)


def stopped_closes(world: World) -> str:
    """Read the metric's line."""
    name = CounterName.CLOSE_STOPPED.value.split("|")[0] + "_total"
    return next(line for line in world.telemetry.render().decode().splitlines() if line.startswith(name))
