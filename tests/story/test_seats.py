"""Seats over HTTP on real SQLite: counts, refusals, every era's shapes, and a hard limit under concurrency."""

import asyncio
from typing import Any

import msgspec
import pytest

from billing import tables
from billing.life.paused import Part
from billing.store import seat as seat_store
from catalog.definition import Feature, FeatureKind
from catalog.store import create_feature
from kernel import ids
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

PRICE = {"enabled": True, "unitPriceDecimal": "25"}


async def make_feature(world: World, code: str) -> None:
    feature = Feature(
        id=ids.new_bytes(world.clock.now_ms()),
        organization=world.catalog.organizations()[0].id,
        code=code,
        event_code=code,
        name=code,
        kind=FeatureKind.SEATS,
        seat_type=code,
    )
    async with world.sql.transaction() as connection:
        await create_feature(connection, feature)
    await world.catalog.refresh()


async def seats(world: World, plan: str = "starter") -> None:
    """A plan with two seat types: 5 members at 25.00 beyond, 2 admins and no more."""
    await world.now("2026-01-01T00:00:00Z")
    for code, included, overage in (("team_member", 5, PRICE), ("admin", 2, {"enabled": False})):
        await make_feature(world, code)
        granted = {"featureId": code, "includedAmount": included}
        if plan == "starter":
            granted["overage"] = overage
        await world.call("POST", f"/plans/{getattr(world, plan)}/features", granted)
    await world.customer("acme")


def member(count: int, **more: Any) -> dict[str, Any]:
    return {"customerId": "acme", "featureCode": "team_member", "count": count, **more}


async def test_seats_are_added_taken_and_set(world: World) -> None:
    """R-SEAT-1, R-SEAT-2: the answer is the event, and what fails changes nothing."""
    await seats(world)
    await world.subscribe("acme")
    added = await world.call("POST", "/seats", member(5))
    assert (added["previousBalance"], added["newBalance"], added["eventType"], added["quantity"]) == (0, 5, "add", 5)
    assert (added["featureCode"], added["seatType"], added["object"]) == ("team_member", "team_member", "seat_event")
    assert "x-meterline-visible" not in world.headers
    shown = (await world.call("GET", "/subscriptions/active", customerId="acme"))["features"]
    held = {one["code"]: one["usage"]["current"] for one in shown if one["type"] == "seats"}
    assert held == {"team_member": 5, "admin": 0}
    assert (await world.call("POST", "/seats/remove", member(1)))["newBalance"] == 4
    assert (await world.call("DELETE", "/seats", member(1)))["newBalance"] == 3
    refused = await world.call("POST", "/seats/remove", member(10), expect=400)
    assert refused["code"] == "insufficient_seats"
    assert (await world.call("PUT", "/seats", member(8)))["eventType"] == "set"
    read = await world.call("GET", "/seats/balance", customerId="acme", featureCode="team_member")
    assert (read["current"], read["asOf"]) == (8, "2026-01-01T00:00:00.000Z")
    [row] = await world.rows(tables.seat_counts)
    assert row.count == 8
    assert [event.number for event in await world.rows(tables.seat_events)] == [1, 2, 3, 4]


async def test_the_snapshot_shows_the_seats_before_the_answer(world: World) -> None:
    """R-SEAT-1, DESIGN 3.7: access and simulation read what SQL counts."""
    await seats(world)
    await world.subscribe("acme")
    made = await world.call("PUT", "/seats", member(7))
    shown = await world.snapshot(made["customerId"])
    assert [(ids.id_text(ids.FEATURE, seat.feature), seat.count) for seat in shown.seats] == [
        ((await world.rows(tables.seat_counts))[0].feature_id, 7)
    ]


async def test_many_types_are_set_all_or_none(world: World) -> None:
    """R-SEAT-3: atomic, and types that are not named stay."""
    await seats(world)
    await world.subscribe("acme")
    await world.call("POST", "/seats", member(3))
    answer = await world.call(
        "PUT", "/seats/bulk", {"customerId": "acme", "seats": {"teamMember": 9, "admin": 3}}, expect=400
    )
    assert answer["code"] == "seat_limit_exceeded"
    assert [row.count for row in await world.rows(tables.seat_counts)] == [3]
    answer = await world.call("PUT", "/seats/bulk", {"customerId": "acme", "seats": {"admin": 2}})
    assert [(one["featureCode"], one["newBalance"]) for one in answer["data"]] == [("admin", 2)]
    balances = (await world.call("GET", "/seats/balances", customerId="acme"))["balances"]
    assert {code: one["current"] for code, one in balances.items()} == {"team_member": 3, "admin": 2}
    twice = {"customerId": "acme", "seats": {"teamMember": 1, "team_member": 2}}
    assert (await world.call("PUT", "/seats/bulk", twice, expect=400))["code"] == "validation_error"
    assert (await world.call("PUT", "/seats/bulk", {"customerId": "acme", "seats": {}}, expect=400))["code"]


async def test_seats_need_a_live_subscription_and_a_type_that_exists(world: World) -> None:
    """R-SEAT-4."""
    await seats(world)
    refused = await world.call("POST", "/seats", member(1), expect=404)
    assert refused["code"] == "no_active_subscription"
    made = await world.subscribe("acme")
    unknown = await world.call("POST", "/seats", member(1, featureCode="captain"), expect=404)
    assert unknown["code"] == "feature_not_found"
    assert (await world.call("POST", "/seats", member(1, featureCode="calls"), expect=404))[
        "code"
    ] == "feature_not_found"
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    refused = await world.call("POST", "/seats", member(1), expect=404)
    assert refused["code"] == "no_active_subscription"
    assert await world.rows(tables.seat_events) == []


@pytest.mark.parametrize("body", [{"count": 0}, {"count": -1}, {"featureCode": None}])
async def test_a_count_that_means_nothing_is_refused(world: World, body: dict[str, Any]) -> None:
    """R-SEAT-2."""
    await seats(world)
    await world.subscribe("acme")
    assert (await world.call("POST", "/seats", member(1) | body, expect=400))["code"] == "validation_error"


async def test_a_free_plan_stops_at_the_included_seats(world: World) -> None:
    """R-SEAT-14, R-FREE-3."""
    await seats(world, "free")
    await world.subscribe("acme", "free")
    assert (await world.call("PUT", "/seats", member(5)))["newBalance"] == 5
    assert (await world.call("POST", "/seats", member(1), expect=400))["code"] == "seat_limit_exceeded"


async def test_64_that_add_at_once_never_pass_a_hard_limit(world: World) -> None:
    """R-SEAT-14, R-TRACK-23: two admins are included and no more are sold."""
    await seats(world)
    await world.subscribe("acme")
    body = {"customerId": "acme", "featureCode": "admin", "count": 1}
    answers = await asyncio.gather(*(world.http.post("/seats", json=body) for _ in range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [400] * 62
    assert [row.count for row in await world.rows(tables.seat_counts)] == [2]
    assert len(await world.rows(tables.seat_events)) == 2


async def test_the_same_key_changes_seats_once(world: World) -> None:
    """R-SEAT-1; contract S78: a replay has the same event's id."""
    await seats(world)
    await world.subscribe("acme")
    key = {"Idempotency-Key": "k"}
    answers = [await world.http.post("/seats", json=member(3), headers=key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert [row.count for row in await world.rows(tables.seat_counts)] == [3]


@pytest.mark.parametrize(
    ("version", "members"),
    [("2026-05-01", {"team_member", "admin"}), ("2026-06-10", {"team_member", "admin", "object", "livemode"})],
)
async def test_every_era_reads_the_balances_in_its_shape(world: World, version: str, members: set[str]) -> None:
    """Contract 3.14, 4.5: a bare map for A, the map with two siblings for C; `seatType` is taken."""
    await seats(world)
    await world.subscribe("acme")
    headers = {"commet-version": version}
    added = await world.http.post(
        "/seats", json={"customerId": "acme", "seatType": "team_member", "count": 4}, headers=headers
    )
    assert msgspec.json.decode(added.content)["data"]["newBalance"] == 4
    bulk = await world.http.put("/seats/bulk", json={"customerId": "acme", "seats": {"admin": 1}}, headers=headers)
    assert [one["newBalance"] for one in msgspec.json.decode(bulk.content)["data"]] == [1]
    answer = await world.http.get("/seats/balances", params={"customerId": "acme"}, headers=headers)
    found = msgspec.json.decode(answer.content)["data"]
    assert set(found) == members
    assert found["team_member"]["current"] == 4


async def test_the_books_of_a_period_are_what_happened_in_it(world: World) -> None:
    """R-SEAT-7: read at the close, however late it comes."""
    await seats(world)
    await world.subscribe("acme")
    await world.call("PUT", "/seats", member(6))
    await world.now("2026-01-11T00:00:00Z")
    made = await world.call("PUT", "/seats", member(8))
    await world.now("2026-02-01T00:00:00Z")
    await world.call("PUT", "/seats", member(9))
    january, end_ms = [Part(1, 1767225600000, 0)], 1769904000000
    async with world.sql.snapshot() as connection:
        found = await seat_store.books(connection, made["customerId"], parts=january, until_ms=end_ms, days=None)
    [book] = found.values()
    assert (book.at_start, [(one.before, one.after) for one in book.changes]) == (0, [(0, 6), (6, 8)])
