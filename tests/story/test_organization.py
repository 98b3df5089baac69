"""An organization's settings from outside."""

from catalog import store
from catalog.definition import DayCount, UpgradeCharge
from tests.story.harness import Api
from tests.story.shop import NOW


async def test_settings_have_defaults_and_are_seen_by_every_gateway(api, shop):
    """R-PRO-5, R-CHG-4, R-GEN-9: nothing has to be set; what is set is seen by the next request."""
    shown = await api.call("GET", "/organization")
    assert shown["object"] == "organization"
    defaults = {
        "planChangeDayCount": "30/360",
        "upgradeCharge": "prorated",
        "payments": "none",
        "settleSeconds": None,
    }
    assert {name: shown[name] for name in defaults} == defaults
    async with shop.gateway() as other:
        wanted = {
            "planChangeDayCount": "actual",
            "upgradeCharge": "full",
            "payments": "simulator",
            "settleSeconds": 60,
        }
        changed = await api.call("PATCH", "/organization", wanted)
        assert changed == {**shown, **wanted} == await other.call("GET", "/organization")
        seen = other.catalog.organization(shop.organization.id)
        assert (seen.day_count, seen.upgrade_charge, seen.payments, seen.settle_ms) == (
            DayCount.ACTUAL,
            UpgradeCharge.FULL,
            "simulator",
            60_000,
        )
        assert await api.call("PATCH", "/organization", {"settleSeconds": None}) == {**changed, "settleSeconds": None}


async def test_settings_that_cannot_be_are_refused(api, shop):
    """R-ENV-6: production never has simulated cards."""
    for body, field in [
        ({"payments": "stripe"}, "payments"),
        ({"payments": "cash"}, "payments"),
        ({"planChangeDayCount": "365"}, "planChangeDayCount"),
        ({"upgradeCharge": "half"}, "upgradeCharge"),
        ({"settleSeconds": -1}, "settleSeconds"),
        ({"settleSeconds": 7 * 86_400 + 1}, "settleSeconds"),
        ({"name": " "}, "name"),
    ]:
        await api.invalid("PATCH", "/organization", body, field)
    async with shop.sql.transaction() as conn:
        other = await store.create_organization(conn, "Other", "production", NOW)
        _, secret = await store.create_key(conn, other, name="other", now_ms=NOW)
    async with shop.gateway(key=secret) as theirs:
        simulated = {"payments": "simulator"}
        await theirs.refused("PATCH", "/organization", simulated, status=403, code="sandbox_only")
        assert (await theirs.call("GET", "/organization"))["payments"] == "none"
    narrow = (await api.call("POST", "/api-keys", {"name": "n", "permissions": {"organization": ["read"]}}))["apiKey"]
    await api.call("GET", "/organization", x_api_key=narrow)
    await api.refused("PATCH", "/organization", {}, status=403, code="forbidden", x_api_key=narrow)


async def test_the_first_organization_has_the_payments_that_the_server_was_started_with(cold_server):
    """R-SUB-3: with simulated cards a paid plan waits for its checkout."""
    cold_server.payments = "simulator"
    cold_server.start()
    async with Api(cold_server) as api:
        assert (await api.call("GET", "/organization"))["payments"] == "simulator"
        calls = await api.feature("calls")
        await api.plan("pro", {calls["id"]: {"includedAmount": 1}}, price=2_000)
        await api.customer("acme")
        made = await api.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "pro"})
        assert made["status"] == "pending_payment"
    cold_server.stop()
    code, said = cold_server.told("serve", "--payments", "cash")
    assert (code, "--payments is 'cash': set it to none or simulator" in said) == (2, True), said
