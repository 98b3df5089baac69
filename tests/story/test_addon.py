"""Add-ons over HTTP on real stores: switched on and off, charged, billed, kept through changes."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from aggregator.pool_left import left
from billing import tables
from billing.gateway.scheduling import schedule
from billing.gateway.upcoming import account_of
from billing.life.subscription import ChangeKind, ScheduledChange
from billing.store import subscription as subscriptions
from catalog.gateway.document import apply, export
from kernel import ids
from kernel.period import DAY_US, Interval, parse_instant_us
from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD, DECLINED

__all__ = ["world"]  # a fixture


async def feature(world: World, code: str, kind: str) -> str:
    return (await world.call("POST", "/features", {"name": code, "code": code, "type": kind}))["id"]


async def sso(world: World, **changes: Any) -> str:
    """An add-on of 50.00 that brings `sso`."""
    await feature(world, "sso", "boolean")
    body = {"name": "SSO", "slug": "sso-access", "basePrice": 5000, "featureId": "sso", "consumptionModel": "boolean"}
    return (await world.call("POST", "/addons", body | changes))["id"]


async def sms(world: World) -> str:
    """An add-on of 15.00 with 1000 messages, each further one 0.03; `track` counts messages from here on."""
    world.calls = ids.id_bytes(await feature(world, "sms_messages", "usage"))
    body = {"name": "sms", "basePrice": 1500, "featureId": "sms_messages", "consumptionModel": "metered"}
    return (await world.call("POST", "/addons", body | {"includedUnits": 1000, "unitPriceDecimal": "0.03"}))["id"]


async def switch_on(world: World, subscription: Any, addon: str, **more: Any) -> Any:
    return await world.call("POST", f"/subscriptions/{subscription['id']}/addons", {"addonId": addon}, **more)


async def switch_off(world: World, subscription: Any, addon: str, **more: Any) -> Any:
    return await world.call("DELETE", f"/subscriptions/{subscription['id']}/addons/{addon}", **more)


async def active(world: World) -> list[Any]:
    return (await world.call("GET", "/addons/active", customerId="acme"))["data"]


async def granted(world: World, customer: str, code: str) -> Any:
    """What LIVE's terms say of a feature."""
    shown = await world.snapshot(customer)
    return next((one for one in shown.terms.features if one.code == code), None)


async def test_an_addon_is_charged_for_the_days_left_and_then_every_period(world: World) -> None:
    """R-ADDON-3, R-ADDON-4, R-ADDON-8: DOC-ADD-01, and what the documents list of it."""
    addon = await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.now("2026-03-11T00:00:00Z")
    answer = await switch_on(world, made, "sso-access")
    assert (answer["object"], answer["addonId"], answer["status"]) == ("subscription_addon", addon, "active")
    assert answer["proratedCharge"] == 3226
    assert "x-meterline-visible" not in world.headers
    assert (await granted(world, acme, "sso")).addon == addon
    [_, charged] = await world.invoices("acme")
    assert (charged["invoiceType"], charged["daysRemaining"], charged["daysInCycle"]) == ("addon_activation", 20, 31)
    [line] = charged["lineItems"]
    assert (line["kind"], line["amount"], line["featureCode"]) == ("addon_proration", 3226, "sso")
    assert "sso-access" in line["description"]
    [listed] = await active(world)
    told = {
        "slug": "sso-access",
        "name": "SSO",
        "basePrice": 5000,
        "featureCode": "sso",
        "featureName": "sso",
        "featureType": "boolean",
        "consumptionModel": "boolean",
        "activatedAt": "2026-03-11T00:00:00.000Z",
    }
    assert {name: listed[name] for name in told} == told
    assert (await world.call("GET", "/active-addons", customerId="acme"))["data"] == [listed]
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert [(one["kind"], one["amount"]) for one in upcoming["lineItems"]] == [
        ("plan_base", 4900),
        ("addon_base", 5000),
    ]
    await world.now("2026-05-01T00:00:00Z")
    assert (await world.lines("acme"))[2:] == [[("plan_base", 4900), ("addon_base", 5000)]] * 2
    assert (await granted(world, acme, "sso")).enabled


async def test_on_twice_off_and_off_again(world: World) -> None:
    """R-ADDON-5: contract T62; nothing is paid back, and the next invoice has no base of it."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    assert (await switch_on(world, made, "sso-access", expect=409))["code"] == "addon_already_active"
    off = await switch_off(world, made, "sso-access")
    assert (off["status"], off["deactivatedAt"]) == ("inactive", "2026-03-01T00:00:00.000Z")
    assert "x-meterline-visible" not in world.headers
    assert (await granted(world, acme, "sso")).enabled is False
    assert (await switch_off(world, made, "sso-access", expect=404))["code"] == "addon_not_active"
    assert (await switch_off(world, made, "nope", expect=404))["code"] == "addon_not_found"
    assert await active(world) == []
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[1:] == [[("addon_proration", 4839)], [("plan_base", 4900)]]
    assert await granted(world, acme, "sso") is None


async def test_usage_of_an_addon_is_billed_though_it_was_switched_off(world: World) -> None:
    """R-ADDON-5, DOC-ADD-02: 1800 messages, 1000 of them included."""
    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.now("2026-03-11T00:00:00Z")
    await switch_on(world, made, "sms")
    await world.track(acme, "1800", "2026-03-20T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[2] == [("plan_base", 4900), ("addon_base", 1500), ("addon_overage", 2400)]
    await world.track(acme, "1100", "2026-04-03T00:00:00Z")
    await world.now("2026-04-05T00:00:00Z")
    await switch_off(world, made, "sms")
    await world.track(acme, "500", "2026-04-06T00:00:00Z")
    await world.now("2026-05-01T00:00:00Z")
    assert (await world.lines("acme"))[3] == [("plan_base", 4900), ("addon_overage", 300)]


async def test_an_addon_on_the_last_day_is_free_and_settled(world: World) -> None:
    """R-ADDON-3, AMB-3: an invoice of 0.00."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    await world.now("2026-03-31T00:00:00Z")
    assert (await switch_on(world, made, "sso-access"))["proratedCharge"] == 0
    invoice = (await world.invoices("acme"))[-1]
    assert (invoice["invoiceType"], invoice["total"], invoice["status"]) == ("addon_activation", 0, "paid")


async def test_changes_of_the_plan_keep_what_an_addon_brings(world: World) -> None:
    """R-BH-1, R-PRICE-1, R-ADDON-4: the plan is edited twice, and the period after has the feature."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    calls = (await world.call("GET", f"/plans/{world.starter}"))["features"][0]["featureId"]
    path = f"/plans/{world.starter}/features/{calls}"
    for included in (20, 5):
        await world.call("PATCH", path, {"includedAmount": included})
        shown = await world.snapshot(acme)
        for period in (shown.terms, shown.next):
            assert [one.code for one in period.features] == ["calls", "sso"]
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[2] == [("plan_base", 4900), ("addon_base", 5000)]


async def test_a_plan_that_gains_the_feature_keeps_it_without_the_addon(world: World) -> None:
    """R-BH-1, R-ADDON-5, R-ADDON-9: on or off when the plan gains it, the feature stays, now and at the renewal."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "sso", "enabled": True})
    await switch_off(world, made, "sso-access")
    shown = await world.snapshot(acme)
    for period in (shown.terms, shown.next):
        assert [one.enabled for one in period.features if one.code == "sso"] == [True]
    assert (await switch_on(world, made, "sso-access", expect=400))["code"] == "validation_error"
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[1:] == [[("addon_proration", 4839)], [("plan_base", 4900)]]
    assert (await granted(world, acme, "sso")).enabled is True
    await proved(world)


async def test_an_addon_in_use_is_not_archived(world: World) -> None:
    """R-ADDON-11: until it is switched off, or its subscription is over."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    assert (await world.call("DELETE", "/addons/sso-access", expect=409))["code"] == "addon_has_activations"
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    assert await active(world) == []
    assert (await world.call("DELETE", "/addons/sso-access"))["deleted"] is True


async def test_an_addon_that_cannot_be_had_changes_nothing(world: World) -> None:
    """R-ADDON-2, R-ADDON-9: another model, a feature that the plan has, a plan without a rate."""
    await sso(world)
    await feature(world, "exports", "usage")
    body = {"name": "exports", "basePrice": 100, "featureId": "exports", "consumptionModel": "credits", "creditCost": 2}
    await world.call("POST", "/addons", body)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    assert (await switch_on(world, made, "exports", expect=400))["code"] == "validation_error"
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "sso", "enabled": True})
    assert (await switch_on(world, made, "sso-access", expect=400))["code"] == "validation_error"
    assert (await switch_on(world, made, "nope", expect=404))["code"] == "addon_not_found"
    assert await world.rows(tables.subscription_addons) == []
    assert len(await world.invoices("acme")) == 1


async def test_a_trial_charges_its_rest_and_the_first_period_the_base(world: World) -> None:
    """R-ADDON-13, R-TRIAL-6: 13 of 14 days are left, the first period has 31."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "starter", "customTrialDays": 14}
    made = await world.call("POST", "/subscriptions", body)
    assert (await switch_on(world, made, "sso-access"))["proratedCharge"] == 2097
    await world.now("2026-03-15T00:00:00Z")
    assert await world.lines("acme") == [[("addon_proration", 2097)], [("plan_base", 4900), ("addon_base", 5000)]]


async def test_what_may_be_had_is_shown_with_its_price(world: World) -> None:
    """R-ADDON-9, R-ADDON-10: neither what is active, nor what the plan has, nor what does not fit."""
    addon = await sso(world)
    await sms(world)
    await feature(world, "exports", "usage")
    body = {"name": "exports", "basePrice": 100, "featureId": "exports", "consumptionModel": "credits", "creditCost": 2}
    await world.call("POST", "/addons", body)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    await world.now("2026-03-11T00:00:00Z")
    path = f"/subscriptions/{made['id']}/addons"
    offered = (await world.call("GET", path))["data"]
    assert [(one["slug"], one["basePrice"], one["proratedCharge"]) for one in offered] == [
        ("sso-access", 5000, 3226),
        ("sms", 1500, 968),
    ]
    assert (offered[0]["daysRemaining"], offered[0]["daysInCycle"]) == (20, 31)
    await switch_on(world, made, addon)
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "sms_messages", "includedAmount": 1})
    assert (await world.call("GET", path))["data"] == []


async def test_a_card_that_is_declined_leaves_nothing_behind(world: World) -> None:
    """R-ADDON-7, R-ADDON-15: without a card, with one that is declined, with one that pays."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    for number, status, code in ((None, 422, "no_payment_method"), (DECLINED, 402, "charge_failed")):
        if number is not None:
            await world.call("POST", "/customers/acme/payment-method", {"number": number})
        assert (await switch_on(world, made, "sso-access", expect=status))["code"] == code
        assert await world.rows(tables.subscription_addons) == []
        assert await granted(world, acme, "sso") is None
        assert len(await world.invoices("acme")) == 1
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    answer = await switch_on(world, made, "sso-access")
    invoice = (await world.invoices("acme"))[-1]
    assert (invoice["id"], invoice["status"], invoice["total"]) == (answer["invoiceId"], "paid", 4839)


async def test_on_a_free_plan_an_addon_runs_its_own_months(world: World) -> None:
    """R-ADDON-13, R-FREE-2: in full from the activation on, month by month, at the price of the month."""
    await sso(world)
    await world.now("2026-01-10T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme", "free")
    await world.now("2026-01-31T00:00:00Z")
    assert (await switch_on(world, made, "sso-access"))["proratedCharge"] == 5000
    assert (await granted(world, acme, "sso")).enabled
    await world.now("2026-02-28T00:00:00Z")
    await world.call("PATCH", "/addons/sso-access", {"basePrice": 6000})
    await world.now("2026-03-31T00:00:00Z")
    found = [
        (one["issueDate"][:10], one["invoiceType"], [(line["kind"], line["amount"]) for line in one["lineItems"]])
        for one in await world.invoices("acme")
    ]
    assert found == [
        ("2026-01-31", "addon_activation", [("addon_proration", 5000)]),
        ("2026-02-28", "recurring", [("addon_base", 5000)]),
        ("2026-03-31", "recurring", [("addon_base", 6000)]),
    ]
    assert [one["basePrice"] for one in await active(world)] == [6000]
    await switch_off(world, made, "sso-access")
    await world.now("2026-06-01T00:00:00Z")
    assert len(await world.invoices("acme")) == 3
    await world.call("PATCH", "/addons/sso-access", {"basePrice": 7000})
    assert (await switch_on(world, made, "sso-access"))["proratedCharge"] == 7000
    await proved(world)


async def test_an_addon_that_is_switched_on_again_has_the_price_of_the_period(world: World) -> None:
    """R-PRICE-1, R-ADDON-5, R-ADDON-10: 50.00 until the renewal, though it costs 80.00 now."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    await world.call("PATCH", "/addons/sso-access", {"basePrice": 8000})
    await switch_off(world, made, "sso-access")
    await world.now("2026-03-11T00:00:00Z")
    [offered] = (await world.call("GET", f"/subscriptions/{made['id']}/addons"))["data"]
    assert (offered["basePrice"], offered["proratedCharge"]) == (5000, 3226)
    assert (await switch_on(world, made, "sso-access"))["proratedCharge"] == 3226
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("plan_base", 4900), ("addon_base", 8000)]
    await proved(world)


async def test_a_changed_addon_is_wider_at_once_and_dearer_at_renewal(world: World) -> None:
    """R-BH-1, R-PRICE-3, R-ADDON-4."""
    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sms")
    await world.call("PATCH", "/addons/sms", {"basePrice": 2000, "includedUnits": 1500, "unitPriceDecimal": "0.05"})
    shown = await world.snapshot(acme)
    [now, later] = [
        next(one for one in terms.features if one.code == "sms_messages") for terms in (shown.terms, shown.next)
    ]
    assert (now.included, now.unit_price) == (1500 * 10**9, "0.03")
    assert (later.included, later.unit_price) == (1500 * 10**9, "0.05")
    await world.track(acme, "1600", "2026-03-20T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[2] == [("plan_base", 4900), ("addon_base", 2000), ("addon_overage", 300)]


async def test_an_addon_that_a_catalog_file_changes_is_wider_at_once(world: World) -> None:
    """R-BH-1, R-PRICE-3: as where the request says so."""
    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    await switch_on(world, await world.subscribe("acme"), "sms")
    organization = ids.id_bytes(world.organization)
    document = await export(world.catalog, organization)
    [part] = document.addon
    wider = msgspec.structs.replace(part, price=Decimal(20), included=Decimal(1500), overage=Decimal("0.05"))
    await apply(world.catalog, organization, msgspec.structs.replace(document, addon=(wider,)))
    now = await granted(world, acme, "sms_messages")
    assert (now.included, now.unit_price) == (1500 * 10**9, "0.03")
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("plan_base", 4900), ("addon_base", 2000)]
    await proved(world)


@pytest.mark.parametrize("since", ["start", "look"])
async def test_an_addon_whose_change_a_process_did_not_live_to_follow_is_followed(
    world: World, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """R-BH-1, R-PRICE-3: at a start at once; while the billing role runs with its second look after the change."""

    async def died(*_: object) -> None:
        raise AssertionError

    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    await switch_on(world, await world.subscribe("acme"), "sms")
    if since == "look":
        assert await world.following.look()
    monkeypatch.setattr(world.catalog, "on_addon_changed", died)
    changed = {"basePrice": 2000, "includedUnits": 1500, "unitPriceDecimal": "0.05"}
    assert (await world.http.patch("/addons/sms", json=changed)).status_code == 500
    if since == "look":
        assert await world.following.look()
    assert (await granted(world, acme, "sms_messages")).included == 1000 * 10**9
    assert await world.following.look()
    now = await granted(world, acme, "sms_messages")
    assert (now.included, now.unit_price) == (1500 * 10**9, "0.03")
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("plan_base", 4900), ("addon_base", 2000)]
    await proved(world)


async def test_what_cannot_be_followed_keeps_no_later_change_from_being_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-BH-1: a plan that raises at each look is tried again, and what another seller changes comes all the same."""

    async def raises(*_: object) -> None:
        raise AssertionError

    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    await switch_on(world, await world.subscribe("acme"), "sms")
    assert await world.following.look()
    plans = world.following._plans
    follow = plans.plan_changed
    monkeypatch.setattr(plans, "plan_changed", raises)
    monkeypatch.setattr(world.catalog, "on_plan_changed", None)
    monkeypatch.setattr(world.catalog, "on_addon_changed", None)
    included = (await world.call("GET", f"/plans/{world.starter}"))["features"][0]["featureId"]
    await world.call("PATCH", f"/plans/{world.starter}/features/{included}", {"includedAmount": 90})
    assert await world.following.look()
    assert not await world.following.look()
    await world.call("PATCH", "/addons/sms", {"includedUnits": 1500})
    assert [await world.following.look() for _ in range(2)] == [False, False]
    assert (await granted(world, acme, "sms_messages")).included == 1500 * 10**9
    assert (await granted(world, acme, "calls")).included == 10 * 10**9
    monkeypatch.setattr(plans, "plan_changed", follow)
    assert await world.following.look()
    assert (await granted(world, acme, "calls")).included == 90 * 10**9
    await proved(world)


async def test_an_addon_draws_on_the_plans_pool(world: World) -> None:
    """R-ADDON-6: DOC-ADD-03, five credits of 100; on a balance plan 0.015 of 10.00."""
    await world.now("2026-03-01T00:00:00Z")
    for model, price, cost, left_over in (
        ("credits", {"includedCredits": 100}, {"creditCost": 5}, 95 * 10**9),
        ("balance", {"includedBalance": 1000}, {"unitPriceDecimal": "0.015"}, 9_985 * 10**6),
    ):
        plan = await world.call("POST", "/plans", {"name": model, "code": model, "consumptionModel": model})
        monthly = {"billingInterval": "monthly", "price": 1000, **price}
        await world.call("POST", f"/plans/{plan['id']}/prices", monthly)
        world.calls = ids.id_bytes(await feature(world, f"{model}_use", "usage"))
        body = {"name": f"{model}-use", "basePrice": 100, "featureId": f"{model}_use", "consumptionModel": model}
        await world.call("POST", "/addons", body | cost)
        customer = await world.customer(model)
        made = await world.subscribe(model, model)
        await switch_on(world, made, f"{model}-use")
        await world.track(customer, "1", "2026-03-01T00:00:00Z")
        account = await account_of(world.live, world.log.lanes, customer)
        now_ms = parse_instant_us("2026-03-01T00:00:00Z") // 1000
        assert left(account, await world.snapshot(customer), now_ms).plan == left_over


async def scheduled(world: World, subscription: Any, plan: str, interval: Interval | None) -> None:
    """Let the subscription go to another plan at its renewal."""
    change = ScheduledChange(kind=ChangeKind.DOWNGRADE, plan_id=plan, plan_name=plan, interval=interval, requested_ms=0)
    async with world.sql.transaction() as connection:
        found = await subscriptions.read(connection, subscription["id"])
        assert found is not None
        await schedule(connection, found, change, parse_instant_us("2026-03-05T00:00:00Z") // 1000)
    await world.relay.show(subscription["customerId"])


async def test_a_plan_that_has_the_feature_ends_the_addon(world: World) -> None:
    """R-CHG-13, R-ADDON-11: at the renewal it is charged no more, and may be archived."""
    calls = ids.id_text(ids.FEATURE, world.calls)
    await sso(world)
    await sms(world)
    basic = await world.plan("basic", 900, calls, {"includedAmount": 1})
    await world.call("POST", f"/plans/{basic}/features", {"featureId": "sso", "enabled": True})
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    for slug in ("sso-access", "sms"):
        await switch_on(world, made, slug)
    await scheduled(world, made, basic, Interval.MONTHLY)
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("plan_base", 900), ("addon_base", 1500)]
    assert [one["slug"] for one in await active(world)] == ["sms"]
    assert (await granted(world, acme, "sso")).addon == ""
    assert (await world.call("DELETE", "/addons/sso-access"))["deleted"] is True
    await world.now("2026-05-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("plan_base", 900), ("addon_base", 1500)]


async def test_an_addon_goes_on_by_months_when_the_plan_becomes_free(world: World) -> None:
    """R-CHG-13, R-ADDON-13, R-FREE-2: the day of the change begins its first month."""
    await sso(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await switch_on(world, made, "sso-access")
    await scheduled(world, made, world.free, None)
    await world.now("2026-05-01T00:00:00Z")
    assert (await world.lines("acme"))[2:] == [[("addon_base", 5000)], [("addon_base", 5000)]]
    assert (await granted(world, acme, "sso")).enabled


async def test_what_is_lowered_of_an_addon_on_a_free_plan_waits_for_the_next_window(world: World) -> None:
    """R-BH-1, R-BH-3, R-ADDON-13: as of the free plan itself; the price is that of the next month."""
    await sms(world)
    await world.now("2026-03-01T00:00:00Z")
    acme = await world.customer("acme")
    await switch_on(world, await world.subscribe("acme", "free"), "sms")
    for included in (1500, 500):
        await world.call("PATCH", "/addons/sms", {"includedUnits": included, "basePrice": 9000})
        assert (await granted(world, acme, "sms_messages")).included == 1500 * 10**9
    following = (await world.snapshot(acme)).next
    assert [one.included for one in following.features] == [2 * 10**9, 500 * 10**9]
    assert following.since * DAY_US == parse_instant_us("2026-04-01T00:00:00Z")
    await world.call("PATCH", "/addons/sms", {"includedUnits": 1500})
    assert (await world.snapshot(acme)).next.features[1].included == 1500 * 10**9
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.lines("acme"))[-1] == [("addon_base", 9000)]
    await proved(world)
