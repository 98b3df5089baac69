"""Add-ons through changes of plan over HTTP: those that go on are charged with the plan, others end with a credit."""

import pytest
from sqlalchemy import text

from billing import tables
from kernel import ids
from tests.story.judged import changed, judged, proved
from tests.story.test_addon import active, granted, sms, sso, switch_off, switch_on
from tests.story.test_audit_invoices import AMOUNT, LINES, TOTALS
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD
from tests.story.test_plan_change import change
from tests.story.test_subscription_life import begin, issued, priced

__all__ = ["world"]  # a fixture


async def offer(world: World, model: str = "metered") -> str:
    """Sell `pro` at 99.00, which has `sso`, beside `starter`, and the add-ons `sso-access` and `sms`; returns `pro`."""
    await sso(world)
    calls = ids.id_text(ids.FEATURE, world.calls)
    await sms(world)
    if model == "metered":
        pro = await world.plan("pro", 9900, calls, {"includedAmount": 500})
        await world.call("POST", f"/plans/{pro}/features", {"featureId": "sso", "enabled": True})
    else:
        made = await world.call("POST", "/plans", {"name": "pro", "code": "pro", "consumptionModel": model})
        pro = made["id"]
        await world.call("POST", f"/plans/{pro}/prices", {"billingInterval": "monthly", "price": 9900})
        use = {"featureId": calls, "overage": {"unitPriceDecimal": "0.5"}}
        await world.call("POST", f"/plans/{pro}/features", use)
    group = (await world.call("POST", "/plan-groups", {"name": "all", "isPublic": True}))["id"]
    for place, plan in enumerate((world.starter, pro)):
        await world.call("POST", f"/plan-groups/{group}/plans", {"planId": plan, "sortOrder": place})
    return pro


async def test_one_that_the_plan_has_ends_and_another_goes_on(world: World) -> None:
    """R-CHG-13, R-PRO-1, R-CHG-9: each a line of its own; the messages used are billed at the old terms."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-04-05T00:00:00Z")
    await world.track(acme, "1100", "2026-04-05T00:00:00Z")
    await world.now("2026-04-15T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{made['id']}/preview-change", {"planId": pro})
    assert seen["estimatedTotal"] == 300
    done = await change(world, made["id"], newPlanId=pro)
    assert done["billing"]["totalCharged"] == 300
    [invoice] = [one for one in await world.invoices("acme") if one["invoiceType"] == "plan_change"]
    assert [(line["description"], line["kind"], line["lineType"], line["amount"]) for line in invoice["lineItems"]] == [
        ("starter (plan:starter), 15 of 30 days", "proration_credit", "credit", -2450),
        ("addon:sms, 15 of 30 days", "proration_credit", "credit", -750),
        ("addon:sso-access, 15 of 30 days", "proration_credit", "credit", -2500),
        ("pro (plan:pro), 15 of 30 days", "proration_charge", "plan_base", 4950),
        ("addon:sms, 15 of 30 days", "proration_charge", "addon_base", 750),
        ("sms_messages (sms_messages), 2026-04-01 to 2026-04-14", "addon_overage", "feature_overage", 300),
    ]
    assert [one["slug"] for one in await active(world)] == ["sms"]
    assert (await granted(world, acme, "sso")).addon == ""
    await world.now("2026-05-15T00:00:00Z")
    assert (await issued(world))[-1] == ("2026-05-15", "recurring", [("plan_base", 9900), ("addon_base", 1500)])
    await proved(world)


@pytest.mark.parametrize("payments", ["none", "simulator"])
async def test_from_a_free_plan_to_a_paid_one(world: World, payments: str) -> None:
    """R-CHG-13, R-FREE-6: what the plan has ends, another goes on; both months are credited for the days left."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    await world.call("PATCH", "/organization", {"payments": payments})
    if payments == "simulator":
        await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    made = await begin(world, planCode="free")
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-04-16T00:00:00Z")
    asked = {"customerId": "acme", "planId": pro}
    paid = await world.call("POST", "/subscriptions", asked)
    if payments == "simulator":
        assert sorted(one["slug"] for one in await active(world)) == ["sms", "sso-access"]
        seen = (await world.http.get(paid["checkoutUrl"])).json()
        assert (seen["lineItems"][-1]["amount"], seen["amountDue"]) == (-3033, 9900 + 1500 - 3033)
        await world.call("POST", "/checkout/" + paid["checkoutUrl"].rpartition("/")[2], {"number": CARD})
    assert [one["slug"] for one in await active(world)] == ["sms"]
    assert (await granted(world, acme, "sms_messages")).addon
    # After the 16th 14 of April's 30 days are left, of 50.00 and of 15.00.
    *_, (_, kind, lines) = await issued(world)
    assert (kind, lines) == (
        "recurring",
        [("plan_base", 9900), ("addon_base", 1500), ("account_credit_applied", -2333 - 700)],
    )
    await world.now("2026-05-16T00:00:00Z")
    assert (await issued(world))[-1][2] == [("plan_base", 9900), ("addon_base", 1500)]
    await proved(world)
    if payments == "none":
        await changed(
            world, "UPDATE account_credits SET amount_minor = amount_minor + 1 WHERE amount_minor = :m", m=700
        )
        assert (await judged(world))[0].kinds.keys() == {"account credit"}


async def test_one_of_another_model_ends(world: World) -> None:
    """R-CHG-13, R-ADDON-2: a metered one does not go to a plan with a balance; one for every plan does."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world, "balance")
    acme = await world.customer("acme")
    made = await begin(world)
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-04-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    lines = (await issued(world))[-1][2]
    assert lines[1:3] == [("proration_credit", -750), ("proration_credit", -2500)]
    assert lines[3:] == [("proration_charge", 4950), ("proration_charge", 2500)]
    assert [one["slug"] for one in await active(world)] == ["sso-access"]
    assert await granted(world, acme, "sms_messages") is None
    await proved(world)


async def test_what_was_paid_is_credited_and_no_more(world: World) -> None:
    """R-PRO-1, R-PRO-6, R-ADDON-5: of an activation its share, of a change what it charged, nothing once it is off.

    Not even where the plan has come to grant the feature.
    """
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world, "balance")
    yearly = await world.call("POST", f"/plans/{pro}/prices", {"billingInterval": "yearly", "price": 99900})
    assert yearly
    await world.customer("acme")
    made = await begin(world)
    await switch_on(world, made, "sms")
    await switch_off(world, made, "sms")
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "sms_messages", "includedAmount": 1})
    await world.now("2026-03-11T00:00:00Z")
    await switch_on(world, made, "sso-access")
    await world.now("2026-03-16T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    # 32.26 were paid; 14 of 30 days are left.
    assert [line for line in (await issued(world))[-1][2] if abs(line[1]) in {1505, 2333}] == [
        ("proration_credit", -1505),
        ("proration_charge", 2333),
    ]
    assert len((await issued(world))[-1][2]) == 4
    await world.now("2026-03-31T00:00:00Z")
    await change(world, made["id"], newPlanId=pro, newBillingInterval="yearly")
    # 23.33 were paid for the period from 16 March; 14 of its 30 days are left. A longer interval is charged in full.
    lines = (await issued(world))[-1][2]
    assert (lines[1], lines[3]) == (("proration_credit", -1089), ("proration_charge", 5000))
    await switch_off(world, made, "sso-access")
    await proved(world)


@pytest.mark.parametrize(("plan", "left"), [("pro", ["sms"]), ("starter", ["sso-access", "sms"])])
async def test_in_a_trial_nothing_is_charged(world: World, plan: str, left: list[str]) -> None:
    """R-CHG-13, R-CHG-14: of 50.00 x 13/31 that were paid, what ends on the fifth gives back the nine days left."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world)
    await priced(world, "yearly", 49900)
    await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    before = await issued(world)
    await world.now("2026-03-05T00:00:00Z")
    to = {"newPlanId": pro} if plan == "pro" else {"newBillingInterval": "yearly"}
    await change(world, made["id"], **to)
    assert await issued(world) == before
    assert sorted(one["slug"] for one in await active(world)) == sorted(left)
    given = [one.amount_minor for one in await world.rows(tables.account_credits)]
    assert given == ([1452] if plan == "pro" else [])
    await world.now("2026-03-15T00:00:00Z")
    assert ("addon_base", 5000) not in (await issued(world))[-1][2] or plan == "starter"
    assert ("addon_base", 1500) in (await issued(world))[-1][2]
    await proved(world)


@pytest.mark.parametrize("by", ["change", "deletion"])
async def test_between_free_plans_what_ends_gives_back_its_month(world: World, by: str) -> None:
    """R-CHG-13, R-ADDON-13: on request, or because the plan is deleted; after the 11th 20 of 31 days are left."""
    await world.now("2026-03-01T00:00:00Z")
    await offer(world)
    other = (await world.call("POST", "/plans", {"name": "other", "code": "other", "isFree": True}))["id"]
    await world.call("POST", f"/plans/{other}/features", {"featureId": "sso", "enabled": True})
    await world.customer("acme")
    made = await begin(world, planCode="free")
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-03-11T00:00:00Z")
    if by == "change":
        [group] = (await world.call("GET", "/plan-groups"))["data"]
        for place, plan in enumerate((other, world.free)):
            await world.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": plan, "sortOrder": 8 + place})
        await change(world, made["id"], newPlanId=other)
    else:
        await world.call("DELETE", f"/plans/free?strategy=migrate&planId={other}")
    assert [one["slug"] for one in await active(world)] == ["sms"]
    assert [one.amount_minor for one in await world.rows(tables.account_credits)] == [3226]
    await proved(world)


async def test_the_audit_finds_a_cent_more_on_any_line(world: World) -> None:
    """R-CHG-13, R-ADDON-3, R-PRO-1: of activations and of a change."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world)
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-03-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    async with world.sql.snapshot() as connection:
        rows = (await connection.execute(text("SELECT id, invoice_id, kind FROM invoice_lines"))).all()
    kinds = {"plan_base", "addon_proration", "proration_credit", "proration_charge"}
    assert ({row.kind for row in rows}, len(rows)) == (kinds, 8)
    for row in rows:
        for cent in (1, -1):
            values = {"cent": cent, "line": row.id, "invoice": row.invoice_id}
            await changed(world, AMOUNT, **values)
            await changed(world, TOTALS, **values)
            if cent == 1:
                assert (await judged(world))[0].kinds.keys() & LINES, row.kind
    await proved(world)
