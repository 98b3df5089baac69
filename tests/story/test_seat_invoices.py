"""Seats on invoices, over HTTP on a test clock: in advance, trued up, at the terms of each period."""

from typing import Any

import pytest

from billing import tables
from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_plan_change import seats_offer
from tests.story.test_subscription_life import begin, issued

__all__ = ["world"]  # a fixture

Lines = list[list[tuple[str, float, int]]]


async def team(world: World, *, interval: str = "monthly", **subscription: Any) -> str:
    """Sell a plan with 5 members included and 25.00 for each further one, and subscribe acme on 1 January."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("POST", "/features", {"name": "Member", "code": "team_member", "type": "seats"})
    plan = await world.call("POST", "/plans", {"name": "team", "code": "team"})
    for one, price in (("monthly", 9900), ("quarterly", 30000)):
        body = {"billingInterval": one, "price": price, "trialDays": 14 if subscription.get("trial") else 0}
        await world.call("POST", f"/plans/{plan['id']}/prices", body)
    granted = {"includedAmount": 5, "overage": {"enabled": True, "unitPriceDecimal": "25"}}
    await world.call("POST", f"/plans/{plan['id']}/features", {"featureId": "team_member", **granted})
    await world.customer("acme")
    subscription.pop("trial", None)
    body = {"customerId": "acme", "planCode": "team", "billingInterval": interval, **subscription}
    made = await world.call("POST", "/subscriptions", body)
    return str(made["id"])


async def put(world: World, count: int, on: str | None = None) -> None:
    if on is not None:
        await world.now(f"{on}T00:00:00Z")
    await world.call("PUT", "/seats", {"customerId": "acme", "featureCode": "team_member", "count": count})


async def edit(world: World, **changes: Any) -> None:
    await world.call("PATCH", "/plans/team/features/team_member", changes)


async def invoiced(world: World) -> Lines:
    return [
        [(line["kind"], line["quantity"], line["amount"]) for line in one["lineItems"]]
        for one in await world.invoices("acme")
    ]


BASE = ("plan_base", 1, 9900)


async def test_extra_seats_are_charged_at_the_start_and_at_each_renewal(world: World) -> None:
    """R-SEAT-6: DOC-SEAT-01, 99.00 + 3 x 25.00 = 174.00; at the renewal those held then."""
    await team(world, initialSeats={"teamMember": 8})
    assert await invoiced(world) == [[BASE, ("seats", 3, 7500)]]
    assert (await world.invoices("acme"))[0]["total"] == 17400
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert [line["kind"] for line in upcoming["lineItems"]] == ["plan_base", "seats"]
    await put(world, 7, "2026-01-20")
    await world.now("2026-02-01T00:00:00Z")
    assert (await invoiced(world))[1] == [BASE, ("seats", 2, 5000)]
    start, renewal = sorted(await world.rows(tables.invoices), key=lambda row: row.number)
    assert list(start.basis["seats"].values()) == [8]
    assert list(renewal.basis["seats"].values()) == [7]


async def test_growth_is_trued_up_once_on_the_next_recurring_invoice(world: World) -> None:
    """R-SEAT-7, R-SEAT-8, R-SEAT-9: 2 of 25.00 x 20/31 = 32.26; taken away and added again costs nothing more."""
    await team(world, initialSeats={"team_member": 5})
    await put(world, 7, "2026-01-11")
    await put(world, 5, "2026-01-12")
    await put(world, 7, "2026-01-20")
    await world.now("2026-02-01T00:00:00Z")
    assert (await invoiced(world))[1] == [BASE, ("seats", 2, 5000), ("seat_true_up", 2, 3226)]
    true_up = (await world.invoices("acme"))[1]["lineItems"][2]
    assert (true_up["lineType"], true_up["chargeType"], true_up["featureCode"]) == (
        "feature_seats",
        "true_up",
        "team_member",
    )
    await world.now("2026-03-01T00:00:00Z")
    assert (await invoiced(world))[2] == [BASE, ("seats", 2, 5000)]


async def test_a_change_at_the_boundary_belongs_to_the_period_that_begins(world: World) -> None:
    """R-SEAT-9, R-GEN-5: on the first day of February 27 of 28 days are left."""
    await team(world, initialSeats={"team_member": 5})
    await put(world, 6, "2026-02-01")
    await world.now("2026-03-01T00:00:00Z")
    assert await invoiced(world) == [[BASE], [BASE], [BASE, ("seats", 1, 2500), ("seat_true_up", 1, 2411)]]


async def test_a_missed_boundary_charges_what_was_held_at_it(world: World) -> None:
    """R-INV-11, R-SEAT-6: what came after it is not in its invoice."""
    await team(world, initialSeats={"team_member": 6})
    await world.now("2026-02-11T00:00:00Z", bill=False)
    await put(world, 9)
    await world.now("2026-03-01T00:00:00Z")
    assert (await invoiced(world))[1:] == [
        [BASE, ("seats", 1, 2500)],
        [BASE, ("seats", 4, 10000), ("seat_true_up", 3, 4554)],
    ]


@pytest.mark.parametrize(
    ("changes", "february"),
    [
        ({"includedAmount": 15}, [BASE]),
        ({"includedAmount": 3}, [BASE, ("seats", 5, 12500)]),
        ({"overage": {"enabled": True, "unitPriceDecimal": "35"}}, [BASE, ("seats", 3, 10500)]),
    ],
)
async def test_a_changed_plan_counts_at_the_renewal(world: World, changes: dict[str, Any], february: Any) -> None:
    """R-SEAT-11, R-SEAT-12: DOC-SEAT-02, DOC-SEAT-03, DOC-SEAT-06."""
    await team(world, initialSeats={"team_member": 8})
    await world.now("2026-01-10T00:00:00Z")
    await edit(world, **changes)
    await world.now("2026-02-01T00:00:00Z")
    assert (await invoiced(world))[1] == february


async def test_a_quarter_charges_seats_at_its_renewal_alone(world: World) -> None:
    """R-SEAT-10: nothing in February and March, then 59/90 of what was added on 31 January."""
    await team(world, interval="quarterly", initialSeats={"team_member": 5})
    await put(world, 6, "2026-01-31")
    await world.now("2026-04-01T00:00:00Z")
    assert await invoiced(world) == [
        [("plan_base", 1, 30000)],
        [("plan_base", 1, 30000), ("seats", 1, 2500), ("seat_true_up", 1, 1639)],
    ]


async def test_a_final_invoice_trues_up_and_charges_no_more_in_advance(world: World) -> None:
    """R-SUB-7, R-SEAT-7: canceled at once, on the day of growth; 25.00 x 20/31 = 16.13."""
    subscription = await team(world, initialSeats={"team_member": 5})
    await put(world, 6, "2026-01-11")
    await world.call("POST", f"/subscriptions/{subscription}/cancel", {"immediate": True})
    await world.now("2026-02-01T00:00:00Z")
    assert await invoiced(world) == [[BASE], [("seat_true_up", 1, 1613)]]
    assert (await world.invoices("acme"))[1]["final"] is True


async def test_a_trial_has_the_included_seats_and_its_end_charges_the_rest(world: World) -> None:
    """R-SEAT-14, R-TRIAL-6: none beyond the included in a trial; what is held at its end is charged then."""
    await team(world, trial=True, initialSeats={"team_member": 5})
    await world.customer("later")
    body = {"customerId": "later", "planCode": "team", "initialSeats": {"team_member": 6}, "draft": True}
    assert (await world.call("POST", "/subscriptions", body, expect=400))["code"] == "seat_limit_exceeded"
    await world.call("POST", "/subscriptions", body | {"initialSeats": {"team_member": 5}})
    refused = {"customerId": "acme", "featureCode": "team_member", "count": 1}
    assert (await world.call("POST", "/seats", refused, expect=400))["code"] == "seat_limit_exceeded"
    await world.now("2026-01-15T00:00:00Z")
    await world.call("POST", "/seats", refused)
    await world.now("2026-02-15T00:00:00Z")
    assert await invoiced(world) == [[BASE], [BASE, ("seats", 1, 2500), ("seat_true_up", 1, 2419)]]


async def test_initial_seats_are_checked_and_a_new_subscription_begins_with_its_own(world: World) -> None:
    """R-SUB-1, R-SEAT-4: unknown types are refused; seats of an earlier subscription are not carried over."""
    subscription = await team(world, initialSeats={"team_member": 8})
    await world.customer("other")
    body = {"customerId": "other", "planCode": "team", "initialSeats": {"captain": 1}}
    assert (await world.call("POST", "/subscriptions", body, expect=404))["code"] == "feature_not_found"
    assert (await world.call("POST", "/subscriptions", body | {"initialSeats": {"team_member": -1}}, expect=400))[
        "code"
    ]
    await world.call("POST", f"/subscriptions/{subscription}/cancel", {"immediate": True})
    await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "team"})
    assert (await invoiced(world))[-1] == [BASE]
    assert [row.count for row in await world.rows(tables.seat_counts)] == [0]


async def test_a_pause_keeps_what_was_paid_for_seats(world: World) -> None:
    """R-SEAT-7, R-SEAT-8, R-PRO-6: growth before an immediate pause is billed, and all of it credited at an upgrade."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    await world.customer("acme")
    made = await begin(world, planCode="team", initialSeats={"member": 7})
    seats = {"customerId": "acme", "featureCode": "member"}
    await world.now("2026-01-05T00:00:00Z")
    await world.call("PUT", "/seats", {**seats, "count": 9})
    await world.now("2026-01-11T00:00:00Z")
    path = f"/subscriptions/{made['id']}"
    await world.call("POST", f"{path}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2026-03-12T00:00:00Z")
    await world.call("POST", f"{path}/resume")
    await world.call("PUT", "/seats", {**seats, "count": 6})
    await world.now("2026-03-16T00:00:00Z")
    await world.call("PUT", "/seats", {**seats, "count": 10})
    await proved(world)
    await world.call("POST", f"{path}/change-plan", {"newPlanId": company})
    # 50.00 in advance, 2 seats for 26 of 31 days, 1 for 16; half of 59.00 and of 104.84 is left.
    assert (await issued(world))[-1][2] == [
        ("proration_credit", -2950),
        ("proration_credit", -5242),
        ("proration_charge", 3000),
        ("seat_true_up", 4194),
        ("seat_true_up", 1290),
    ]
    await proved(world)


async def test_seats_of_a_change_are_rounded_once(world: World) -> None:
    """R-GEN-2, R-PRO-1: half of 5 x 0.333 is 0.8325, so 0.83; half of the 1.67 that a whole period costs is 0.84."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    seats = {"includedAmount": 5, "overage": {"enabled": True, "unitPriceDecimal": "0.333"}}
    await world.call("PATCH", "/plans/company/features/member", seats)
    await world.customer("acme")
    made = await begin(world, planCode="team", initialSeats={"member": 10})
    await world.now("2026-01-15T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/change-plan", {"newPlanId": company})
    lines = [("proration_credit", -2950), ("proration_credit", -6250), ("proration_charge", 3000)]
    assert (await issued(world))[-1][2] == [*lines, ("proration_charge", 83)]
    for line in (await world.invoices("acme"))[-1]["lineItems"]:
        assert (await world.call("GET", f"/explain/{line['id']}"))["arithmetic"]["agrees"], line
    await proved(world)


@pytest.mark.parametrize("later", ["2026-01-15T00:00:00Z", "2026-01-20T00:00:00Z"])
async def test_the_first_seats_change_nothing_of_a_change_of_plan_before_them(world: World, later: str) -> None:
    """R-INV-10: the invoice of the change is made again as it is, whatever seats came after it, at its instant too."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    await world.customer("acme")
    made = await begin(world, planCode="team")
    await world.now("2026-01-15T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/change-plan", {"newPlanId": company})
    await world.now(later)
    await world.call("PUT", "/seats", {"customerId": "acme", "featureCode": "member", "count": 3})
    await proved(world)
