"""The management API from outside: real SQLite, the lead's HTTP front, and a gateway that has to see every change."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from catalog import store
from catalog.document import parse_document
from catalog.gateway import Catalog
from catalog.gateway.document import apply, export
from kernel import limits
from kernel.clock import ManualClock
from kernel.engine.live.memory import MemoryLive
from kernel.engine.sql.base import metadata
from kernel.errors import Misconfigured, Rejected
from tests.story.shop import NOW, SECRET

DAY = limits.DAY_MS


async def test_only_a_known_key_is_let_in_by_either_header(api):
    refusal = await api.refused("GET", "/plans", status=401, code="unauthorized", x_api_key="ck_wrong")
    assert refusal["error"]["type"] == "authentication_error"
    await api.refused("GET", "/plans", status=401, code="unauthorized", x_api_key="")
    await api.call("GET", "/plans", x_api_key="", authorization=f"Bearer {SECRET}")


async def test_a_customer_is_made_once_for_an_id_of_the_sellers(api):
    """R-CUST-2, R-CUST-6."""
    first = await api.call("POST", "/customers", {"id": "user_123", "email": "a@example.com", "fullName": "A"})
    again = await api.call("POST", "/customers", {"externalId": "user_123", "email": "b@example.com", "fullName": "B"})
    assert again == first
    assert first["object"] == "customer"
    assert first["livemode"] is False
    assert first["email"] == first["billingEmail"] == "a@example.com"
    assert first["createdAt"] == "2026-01-01T00:00:00.000Z"
    listed = await api.call("GET", "/customers")
    assert [one["id"] for one in listed["data"]] == [first["id"]]
    assert await api.call("GET", "/customers/user_123") == await api.call("GET", f"/customers/{first['id']}") == first
    await api.refused("GET", "/customers/nobody", status=404, code="customer_not_found")


async def test_without_an_id_every_customer_is_new(api):
    """R-CUST-3."""
    one = await api.call("POST", "/customers", {"email": "a@example.com"})
    two = await api.call("POST", "/customers", {"email": "a@example.com"})
    assert one["id"] != two["id"]
    assert one["externalId"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "invalid"}, "email"),
        ({}, "email"),
        ({"email": 7}, "email"),
        ({"email": "a@example.com", "id": "cus_mine"}, "id"),
        ({"email": "a@example.com", "id": ""}, "id"),
        ({"email": "a@example.com", "id": "x", "externalId": "y"}, "externalId"),
        ({"email": "a@example.com", "timezone": "Mars/Olympus"}, "timezone"),
        ({"email": "a@example.com", "address": {"city": "B", "postalCode": "1", "country": "DE"}}, "address.line1"),
        (
            {"email": "a@example.com", "address": {"line1": "x", "city": "B", "postalCode": "1", "country": "D"}},
            "address.country",
        ),
    ],
)
async def test_a_wrong_customer_is_refused_by_field_and_leaves_nothing(api, body, field):
    """R-CUST-1, R-CUST-4, R-CUST-10."""
    await api.refused("POST", "/customers", body, status=400, code="validation_error", field=field)
    assert (await api.call("GET", "/customers"))["data"] == []


async def test_bodies_that_are_not_json_are_refused(api):
    for content, kind in ((b"{", "application/json"), (b"email=a", "application/x-www-form-urlencoded")):
        answer = await api.http.post("/customers", content=content, headers={"content-type": kind})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_json"
    empty = await api.http.post("/customers", content=b"", headers={"content-type": "application/json"})
    assert empty.json()["details"] == [{"field": "email", "message": "is required"}]
    deep = await api.http.post("/customers", content=b"[" * 100_000, headers={"content-type": "application/json"})
    assert deep.status_code == 400


async def test_metadata_is_kept_as_it_is_but_not_without_end(api):
    kept = {"a": [1, "x", None, True, {"b": {}}], "n": 0.5, "fooBar": "ä"}
    assert (await api.call("POST", "/customers", {"email": "a@example.com", "metadata": kept}))["metadata"] == kept
    deep = []
    for _ in range(300):
        deep = [deep]
    wrong = {"email": "a@example.com", "metadata": {"a": deep}}
    await api.refused("POST", "/customers", wrong, status=400, code="validation_error", field="metadata")


async def test_an_update_changes_what_it_names(api, shop):
    """R-CUST-5."""
    made = await api.call(
        "POST", "/customers", {"id": "u", "email": "a@example.com", "fullName": "A", "metadata": {"k": 1}}
    )
    shop.clock.advance(5_000)
    changed = await api.call("PATCH", "/customers/u", {"email": "b@example.com", "metadata": {"l": 2}})
    assert changed == {
        **made,
        "email": "b@example.com",
        "billingEmail": "b@example.com",
        "metadata": {"l": 2},
        "updatedAt": "2026-01-01T00:00:05.000Z",
    }
    await api.call("PUT", f"/customers/{made['id']}", {"fullName": None})
    assert (await api.call("GET", "/customers/u"))["fullName"] is None


async def test_a_customer_has_a_name_a_zone_and_an_address(api, shop):
    """R-CUST-1, R-CUST-5, R-CUST-11: the address's second line and state too, and `legalName` is the name."""
    street = {"line1": "1 Main St", "city": "Berlin", "postalCode": "10115", "country": "DE"}
    body = {"email": "a@example.com", "id": "u", "legalName": "Acme GmbH", "address": street, "metadata": {"k": 1}}
    made = await api.call("POST", "/customers", body)
    assert (made["fullName"], made["timezone"], made["metadata"]) == ("Acme GmbH", None, {"k": 1})
    more = {**street, "line2": "Floor 3", "state": "BE"}
    changed = await api.call("PATCH", "/customers/u", {"timezone": "Europe/Berlin", "address": more, "legalName": "Ac"})
    assert (changed["fullName"], changed["timezone"], changed["email"]) == ("Ac", "Europe/Berlin", "a@example.com")
    await api.catalog.current()
    kept = await api.catalog.customer(shop.organization.id, "u")
    assert kept.address == {"line1": "1 Main St", "line2": "Floor 3", "city": "Berlin"} | {
        "postalCode": "10115",
        "state": "BE",
        "country": "DE",
    }
    both = {"email": "b@example.com", "fullName": "Full", "legalName": "Legal"}
    assert (await api.call("POST", "/customers", both))["fullName"] == "Full"


async def test_an_external_id_belongs_to_one_customer(api):
    await api.call("POST", "/customers", {"id": "one", "email": "a@example.com"})
    await api.call("POST", "/customers", {"id": "two", "email": "a@example.com"})
    await api.refused("PATCH", "/customers/two", {"externalId": "one"}, status=409, code="duplicate")
    await api.call("PATCH", "/customers/two", {"externalId": "three"})
    await api.refused("GET", "/customers/two", status=404, code="customer_not_found")


async def test_archiving_is_final_and_told(api, shop):
    """R-CUST-8."""
    told = []

    async def archived(organization, customer):
        told.append((organization, customer))

    api.catalog.on_customer_archived = archived
    await api.call("POST", "/customers", {"id": "u", "email": "a@example.com"})
    assert (await api.call("PUT", "/customers/u", {"isActive": False}))["isActive"] is False
    await api.call("PUT", "/customers/u", {"isActive": False})
    customer = await api.catalog.customer(shop.organization.id, "u")
    assert customer is not None
    assert customer.archived
    assert told == [(shop.organization.id, customer.id)]
    await api.refused("PUT", "/customers/u", {"isActive": True}, status=400, code="validation_error", field="isActive")
    assert len((await api.call("GET", "/customers?isActive=false"))["data"]) == 1
    assert (await api.call("GET", "/customers?isActive=true"))["data"] == []


async def test_a_list_pages_without_gaps_while_customers_arrive(api, shop):
    """R-CUST-6."""
    made = []
    for number in range(5):
        made.append((await api.call("POST", "/customers", {"id": f"u{number}", "email": "a@example.com"}))["id"])
        shop.clock.advance(number % 2)
    seen, sizes, path = [], [], "/customers?limit=2"
    while path:
        page = await api.call("GET", path)
        await api.call("POST", "/customers", {"email": "later@example.com"})
        seen += [one["id"] for one in page["data"]]
        sizes.append(len(page["data"]))
        path = f"/customers?limit=2&cursor={page['nextCursor']}" if page["hasMore"] else None
    assert sizes == [2, 2, 1]
    assert sorted(seen) == sorted(made)
    for query in ("limit=0", "limit=101", "limit=x", "cursor=x", "isActive=yes"):
        await api.refused("GET", f"/customers?{query}", status=400, code="validation_error")


async def test_a_list_is_searched_and_filtered(api, shop):
    await api.call("POST", "/customers", {"id": "a", "email": "ann@example.com", "fullName": "Ann 100%"})
    shop.clock.advance(DAY)
    await api.call("POST", "/customers", {"id": "b", "email": "bob@example.com", "fullName": "Bob"})

    async def found(query):
        return [one["externalId"] for one in (await api.call("GET", f"/customers?{query}"))["data"]]

    assert await found("search=ANN") == ["a"]
    assert await found("search=0%25") == ["a"]
    assert await found("search=_") == []
    assert await found("search=example") == ["b", "a"]
    assert await found("externalId=b") == ["b"]
    assert await found("startDate=2026-01-02") == ["b"]
    assert await found("endDate=2026-01-02T00:00:00Z") == ["a"]


async def test_a_batch_makes_each_customer_for_itself(api):
    batch = [{"email": "a@example.com", "id": "a"}, {"email": "no"}, {"id": 3}, {"email": "a2@example.com", "id": "a"}]
    answer = await api.call("POST", "/customers/batch", {"customers": batch})
    assert [one["externalId"] for one in answer["successful"]] == ["a", "a"]
    assert [(one["index"], one["data"]) for one in answer["failed"]] == [(1, {"email": "no"}), (2, {"id": 3})]
    assert all(one["error"] for one in answer["failed"])
    await api.refused("POST", "/customers/batch", {"customers": []}, status=400, code="validation_error")
    huge = b'{"customers": [{"email": 1, "n": ' + b"1" * 5_000 + b"}]}"
    answer = await api.http.post("/customers/batch", content=huge, headers={"content-type": "application/json"})
    assert answer.json()["failed"][0]["data"] is None
    many = [{"email": "a@example.com"}] * 101
    await api.refused("POST", "/customers/batch", {"customers": many}, status=400, code="validation_error")


async def test_features_are_defined_changed_and_removed(api):
    made = await api.call(
        "POST", "/features", {"name": "Calls", "code": "api_calls", "type": "metered", "unitName": "call"}
    )
    assert made["type"] == "usage"
    taken = {"name": "Again", "code": "api_calls", "type": "boolean"}
    await api.refused("POST", "/features", taken, status=409, code="feature_already_exists")
    changed = await api.call("PATCH", "/features/api_calls", {"name": "API calls", "code": "other"})
    assert changed["name"] == "API calls"
    assert changed["code"] == "api_calls"
    assert changed["unitName"] == "call"
    assert (await api.call("GET", "/features"))["data"] == [changed]
    assert (await api.call("DELETE", "/features/api_calls"))["deleted"] is True
    await api.refused("GET", "/features/api_calls", status=404, code="feature_not_found")
    again = await api.call("POST", "/features", taken)
    assert again["id"] != made["id"]
    found = api.catalog.feature(api.catalog.organizations()[0].id, "api_calls")
    assert found is not None
    assert found.id_text == again["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "code": "Upper", "type": "metered"}, "code"),
        ({"name": "x", "code": "", "type": "metered"}, "code"),
        ({"name": "x", "code": "batch", "type": "metered"}, "code"),
        ({"name": " ", "code": "x", "type": "metered"}, "name"),
        ({"name": "x", "code": "x", "type": "quota"}, "type"),
        ({"name": "x", "code": "x", "type": "boolean", "eventCode": "y"}, "eventCode"),
        ({"name": "x", "code": "x", "type": "metered", "seatType": "y"}, "seatType"),
        ({"name": "x", "code": "x"}, "type"),
    ],
)
async def test_a_wrong_feature_is_refused_by_field(api, body, field):
    await api.refused("POST", "/features", body, status=400, code="validation_error", field=field)


async def test_a_feature_in_a_plan_cannot_be_removed(api):
    plan, feature = await api.pro()
    await api.refused("DELETE", "/features/api_calls", status=409, code="feature_in_use")
    assert (await api.call("DELETE", f"/plans/{plan['id']}/features/{feature['id']}"))["removed"] is True
    await api.call("DELETE", "/features/api_calls")


async def test_the_query_turns_features_into_feature_access(api, shop):
    answer = await api.http.get("/features?customerId=u")
    assert (answer.json(), answer.headers["asked"]) == (["list"], "u")
    answer = await api.http.get("/features/api_calls?customerId=u")
    assert (answer.json(), answer.headers["asked"]) == (["one"], "api_calls of u")
    old = {"commet_version": "2026-05-01"}
    await api.refused("GET", "/features", status=400, code="validation_error", field="customerId", **old)
    await api.refused("GET", "/features/x", status=400, code="validation_error", field="customerId", **old)


async def test_a_plan_is_shown_whole(api):
    plan, feature = await api.pro(enabled=True, unitPriceDecimal="0.0000025")
    shown = await api.call("GET", "/plans/pro")
    assert shown == await api.call("GET", f"/plans/{plan['id']}")
    assert shown["prices"][0]["price"] == 9900
    assert shown["prices"][0]["isDefault"] is True
    granted = shown["features"][0]
    assert granted["code"] == "api_calls"
    assert granted["includedAmount"] == 10_000
    assert granted["overage"] == {
        "enabled": True,
        "model": "per_unit",
        "unitPrice": 0,
        "unitPriceDecimal": "0.0000025",
    }
    changed = {"includedAmount": Decimal("0.5"), "overage": {"unitPrice": 100}}
    answer = await api.call("PATCH", f"/plans/pro/features/{feature['id']}", changed)
    assert answer["includedAmount"] == 0.5
    assert answer["overage"]["enabled"] is True
    assert answer["overage"]["unitPriceDecimal"] == "0.01"
    unlimited = await api.call("PATCH", "/plans/pro/features/api_calls", {"unlimited": True})
    assert unlimited["unlimited"] is True
    assert unlimited["includedAmount"] == 0.5


async def test_private_plans_are_listed_when_asked_for(api, shop):
    await api.call("POST", "/plans", {"name": "Open", "code": "open"})
    shop.clock.advance(1)
    await api.call("POST", "/plans", {"name": "Internal", "code": "internal", "isPublic": False})
    assert [plan["code"] for plan in (await api.call("GET", "/plans"))["data"]] == ["open"]
    every = await api.call("GET", "/plans?includePrivate=true")
    assert [plan["code"] for plan in every["data"]] == ["open", "internal"]
    first = await api.call("GET", "/plans?includePrivate=true&limit=1")
    rest = await api.call("GET", f"/plans?includePrivate=true&limit=1&cursor={first['nextCursor']}")
    assert [plan["code"] for plan in rest["data"]] == ["internal"]
    assert rest["hasMore"] is False
    await api.call("PUT", "/plans/internal/visibility", {"isPublic": True})
    assert len((await api.call("GET", "/plans"))["data"]) == 2


async def test_what_billing_does_not_know_is_refused_by_field(api):
    plan, _ = await api.pro()
    prices, links = f"/plans/{plan['id']}/prices", f"/plans/{plan['id']}/features/api_calls"

    async def refused(method, path, body, field):
        await api.refused(method, path, body, status=400, code="validation_error", field=field)

    await refused("POST", "/plans", {"name": "x", "code": "x", "consumptionModel": "barter"}, "consumptionModel")
    await refused("POST", prices, {"billingInterval": "weekly", "price": 1}, "billingInterval")
    await refused("POST", prices, {"billingInterval": "monthly"}, "price")
    await refused("POST", prices, {"billingInterval": "monthly", "price": -1}, "price")
    await refused("POST", prices, {"billingInterval": "monthly", "price": 1, "trialDays": -1}, "trialDays")
    await refused("PATCH", links, {"includedAmount": -1}, "includedAmount")
    await refused("PATCH", links, {"includedAmount": Decimal("0.1234567891")}, "includedAmount")
    await refused("PATCH", links, {"overage": {"unitPrice": -1}}, "overage.unitPrice")
    await refused("PATCH", links, {"overage": {"unitPriceDecimal": "cheap"}}, "overage.unitPriceDecimal")
    await refused("PATCH", links, {"pricingMode": "ai_model"}, "pricingMode")
    await api.refused("POST", prices, {"billingInterval": "monthly", "price": 1}, status=409, code="duplicate")
    await api.refused("POST", "/plans", {"name": "x", "code": "pro"}, status=409, code="duplicate")
    await api.refused(
        "POST", "/plans/none/prices", {"billingInterval": "monthly", "price": 1}, status=404, code="plan_not_found"
    )


async def test_a_free_plan_has_no_prices_and_no_overage(api):
    await api.call("POST", "/features", {"name": "Calls", "code": "api_calls", "type": "metered"})
    plan = await api.call("POST", "/plans", {"name": "Free", "code": "free", "isFree": True})
    assert plan["isFree"] is True
    price = {"billingInterval": "monthly", "price": 1}
    await api.refused("POST", "/plans/free/prices", price, status=400, code="validation_error", field="billingInterval")
    over = {"featureId": "api_calls", "overage": {"enabled": True}}
    await api.refused("POST", "/plans/free/features", over, status=400, code="validation_error", field="overage")
    await api.call("POST", "/plans/free/features", {"featureId": "api_calls", "includedAmount": 100})
    flat = {"overageEnabled": True}
    await api.refused(
        "PATCH", "/plans/free/features/api_calls", flat, status=400, code="validation_error", field="overage"
    )


async def test_a_plan_in_use_stays(api):
    plan, _ = await api.pro()
    used = {plan["id"]}

    async def in_use(conn, plan_id):
        return plan_id in used

    api.catalog.plan_in_use = in_use
    await api.refused("DELETE", "/plans/pro", status=409, code="plan_in_use")
    used.clear()
    assert (await api.call("DELETE", "/plans/pro"))["deleted"] is True
    await api.refused("GET", "/plans/pro", status=404, code="plan_not_found")
    await api.call("DELETE", "/features/api_calls")
    await api.call("POST", "/plans", {"name": "Pro", "code": "pro"})


async def test_a_plans_change_is_told_after_it_can_be_read(api, shop):
    told = []

    async def changed(organization, plan_id):
        async with shop.sql.snapshot() as conn:
            plan = await store.load_plan(conn, organization, plan_id)
        told.append((len(plan.prices), [granted.included for granted in plan.features]))

    api.catalog.on_plan_changed = changed
    await api.pro()
    await api.call("PATCH", "/plans/pro/features/api_calls", {"includedAmount": 20_000})
    assert told == [(1, []), (1, [Decimal(10_000)]), (1, [Decimal(20_000)])]


async def test_the_default_price_is_one(api):
    plan, _ = await api.pro()
    price = (await api.call("GET", "/plans/pro"))["prices"][0]
    path = f"/plans/{plan['id']}/prices/{price['id']}"
    assert (await api.call("PATCH", path, {"price": 100, "metadata": {"k": "v"}}))["price"] == 100
    assert (await api.call("PUT", f"{path}/default"))["isDefault"] is True
    await api.refused("PATCH", path, {"isDefault": False}, status=400, code="validation_error", field="isDefault")
    assert (await api.call("DELETE", path))["deleted"] is True
    assert (await api.call("GET", "/plans/pro"))["prices"] == []
    await api.refused("DELETE", path, status=404, code="price_not_found")


async def test_a_key_is_shown_once_and_revoked_at_once(api, shop):
    made = await api.call("POST", "/api-keys", {"name": "CI", "expiresInDays": 1})
    secret = made["apiKey"]
    assert secret.startswith("ck_sandbox_")
    listed = (await api.call("GET", "/api-keys"))["data"]
    assert [key["name"] for key in listed] == ["CI", "test"] or {key["name"] for key in listed} == {"CI", "test"}
    assert secret not in str(listed)
    async with shop.gateway(key=secret) as other:
        await other.call("GET", "/plans")
        assert (await api.call("DELETE", f"/api-keys/{made['id']}"))["deleted"] is True
        await other.refused("GET", "/plans", status=401, code="unauthorized")
    await api.refused("DELETE", f"/api-keys/{made['id']}", status=404, code="api_key_not_found")


async def test_a_key_expires(api, shop):
    secret = (await api.call("POST", "/api-keys", {"name": "CI", "expiresInDays": 1}))["apiKey"]
    await api.call("GET", "/plans", x_api_key=secret)
    shop.clock.advance(DAY)
    await api.refused("GET", "/plans", status=401, code="unauthorized", x_api_key=secret)
    for days in (0, 366):
        wrong = {"name": "x", "expiresInDays": days}
        await api.refused("POST", "/api-keys", wrong, status=400, code="validation_error", field="expiresInDays")


async def test_a_restricted_key_does_what_it_may(api):
    may = {"customer": ["read"], "apiKey": ["read", "write"]}
    secret = (await api.call("POST", "/api-keys", {"name": "narrow", "permissions": may}))["apiKey"]
    assert secret.startswith("rk_sandbox_")
    narrow = {"x_api_key": secret}
    await api.call("GET", "/customers", **narrow)
    await api.refused("POST", "/customers", {"email": "a@example.com"}, status=403, code="forbidden", **narrow)
    await api.refused("GET", "/plans", status=403, code="forbidden", **narrow)
    for wider in (None, {"customer": ["write"]}):
        wish = {"name": "wide", "permissions": wider}
        await api.refused("POST", "/api-keys", wish, status=403, code="forbidden", **narrow)
    await api.call("POST", "/api-keys", {"name": "same", "permissions": {"customer": ["read"]}}, **narrow)
    unknown = {"name": "x", "permissions": {"moon": ["read"]}}
    await api.refused("POST", "/api-keys", unknown, status=400, code="validation_error")


async def test_organizations_do_not_see_each_other(api, shop):
    async with shop.sql.transaction() as conn:
        other = await store.create_organization(conn, "Other", "production", NOW)
        _, secret = await store.create_key(conn, other, name="other", now_ms=NOW)
    mine = await api.call("POST", "/customers", {"id": "u", "email": "a@example.com"})
    plan, _ = await api.pro()
    async with shop.gateway(key=secret) as theirs:
        assert (await theirs.call("GET", "/customers"))["data"] == []
        for path in ("/customers/u", f"/customers/{mine['id']}"):
            await theirs.refused("GET", path, status=404, code="customer_not_found")
        await theirs.refused("GET", f"/plans/{plan['id']}", status=404, code="plan_not_found")
        await theirs.refused("GET", "/features/api_calls", status=404, code="feature_not_found")
        assert await theirs.catalog.customer(other.id, mine["id"]) is None
        await api.catalog.customer(shop.organization.id, mine["id"])
        assert api.catalog.customer_cached(other.id, mine["id"]) is None
        assert (await theirs.call("POST", "/customers", {"id": "u", "email": "a@example.com"}))["livemode"] is True


async def test_a_write_with_a_key_happens_once(api, shop):
    body = {"email": "a@example.com"}
    first = await api.call("POST", "/customers", body, idempotency_key="k1")
    answer = await api.http.post("/customers", content=msgspec.json.encode(body), headers={"idempotency-key": "k1"})
    assert answer.json() == first
    assert answer.headers["idempotent-replayed"] == "true"
    assert len((await api.call("GET", "/customers"))["data"]) == 1
    other = {"email": "b@example.com"}
    mismatch = {"status": 409, "code": "idempotency_key_mismatch"}
    await api.refused("POST", "/customers", other, **mismatch, idempotency_key="k1")
    await api.refused("POST", "/customers", body, **mismatch, idempotency_key="k1", commet_version="2026-06-07")
    await api.call("POST", "/features", {"name": "x", "code": "x", "type": "boolean"}, idempotency_key="k1")
    shop.clock.advance(DAY)
    assert (await api.call("POST", "/customers", body, idempotency_key="k1"))["id"] != first["id"]
    await api.refused("POST", "/customers", body, status=400, code="validation_error", idempotency_key="k" * 256)


async def test_a_refused_write_stays_refused_under_its_key(api):
    granted = {"featureId": "api_calls"}
    refusal = {"status": 404, "code": "plan_not_found"}
    await api.refused("POST", "/plans/pro/features", granted, **refusal, idempotency_key="k")
    await api.pro()
    await api.refused(
        "POST",
        "/plans/pro/features",
        {"featureId": "x"},
        status=409,
        code="idempotency_key_mismatch",
        idempotency_key="k",
    )
    answer = await api.http.post(
        "/plans/pro/features", content=msgspec.json.encode(granted), headers={"idempotency-key": "k"}
    )
    assert answer.status_code == 404
    assert answer.headers["idempotent-replayed"] == "true"


async def test_the_same_write_twice_at_once_happens_once(api):
    body = {"email": "a@example.com"}
    answers = await asyncio.gather(
        *(api.call("POST", "/customers", body, idempotency_key="k") for _ in range(8)),
        *(api.call("POST", "/customers", {"id": "u", **body}) for _ in range(8)),
    )
    assert len({answer["id"] for answer in answers[:8]}) == 1
    assert len({answer["id"] for answer in answers[8:]}) == 1
    assert len((await api.call("GET", "/customers"))["data"]) == 2


async def test_the_next_request_through_any_gateway_sees_a_change(api, shop):
    async with shop.gateway() as other:
        organization = shop.organization.id
        await api.call("POST", "/customers", {"id": "u", "email": "a@example.com"})
        await other.catalog.current()
        before = await other.catalog.customer(organization, "u")
        assert before is not None
        await api.call("PATCH", "/customers/u", {"email": "b@example.com"})
        await other.catalog.current()
        assert other.catalog.customer_cached(organization, "u") is None
        after = await other.catalog.customer(organization, "u")
        assert after is not None
        assert after.email == "b@example.com"
        await api.call("POST", "/features", {"name": "x", "code": "x", "eventCode": "y", "type": "metered"})
        assert other.catalog.feature(organization, "x") is None
        await other.catalog.current()
        found = other.catalog.feature(organization, "x")
        assert found is not None
        assert other.catalog.feature(organization, "y") == found == other.catalog.feature_by_id(found.id)


async def test_a_customer_just_made_is_found_where_it_was_missed(api, shop):
    assert await api.catalog.customers(shop.organization.id, ["u", "v", "u"]) == {"u": None, "v": None}
    made = await api.call("POST", "/customers", {"id": "u", "email": "a@example.com"})
    found = await api.catalog.customers(shop.organization.id, ["u", "v", made["id"]])
    assert found["u"] == found[made["id"]] != found["v"]
    assert found["v"] is None


async def test_changes_are_seen_within_200_ms_while_live_is_away(api, shop):
    async with shop.gateway() as other:
        await other.call("GET", "/plans")
        shop.live.away = True
        await other.call("GET", "/plans")
        await api.call("POST", "/features", {"name": "x", "code": "x", "type": "boolean"})
        shop.clock.advance(limits.CATALOG_STALE_MS_MAX)
        await other.call("GET", "/plans")
        assert other.catalog.feature(shop.organization.id, "x") is not None
        shop.live.away = False
        await other.catalog.republish()
        assert await shop.live.catalog() == other.catalog.version


async def test_a_test_clock_is_seen_and_stamps(api, shop):
    """R-GEN-6, R-CLOCK-6."""
    async with shop.sql.transaction() as conn:
        await store.set_clock(conn, shop.organization.id, NOW + 40 * DAY)
        version = await store.read_version(conn)
    await api.catalog.published(version)
    made = await api.call("POST", "/customers", {"email": "a@example.com"})
    assert made["createdAt"] == "2026-02-10T00:00:00.000Z"
    assert api.catalog.organization(shop.organization.id).now_ms(NOW) == NOW + 40 * DAY


async def test_older_eras_are_wrapped(shop):
    async with shop.gateway(prefix="/api") as old:
        made = await old.call("POST", "/customers", {"externalId": "u", "billingEmail": "a@example.com"})
        assert made["success"] is True
        assert made["data"]["billingEmail"] == "a@example.com"
        listed = await old.call("GET", "/customers")
        assert listed == {"success": True, "data": [made["data"]], "hasMore": False}
        await old.call("POST", "/features", {"name": "x", "code": "x", "type": "metered"})
        refusal = await old.call("POST", "/customers", {"billingEmail": "no"}, status=400)
        assert refusal["details"][0]["field"] == "email"


async def test_a_start_before_migrate_says_what_to_do(sql):
    async with sql.transaction() as conn:
        await conn.run_sync(metadata.create_all)
    live = MemoryLive(ManualClock(NOW))
    with pytest.raises(Misconfigured, match="migrate"):
        await Catalog(sql, live, ManualClock(NOW)).start()
    await live.close()


async def test_the_deployment_is_made_once(shop):
    async with shop.sql.transaction() as conn:
        again = await store.ensure_deployment(conn, 9)
    assert (again.epoch, again.lanes, len(again.secret)) == (1, 4, 32)
    assert (await shop.catalog()).deployment == again


DOCUMENT = """
[[feature]]
code = "tokens"
name = "Tokens"
type = "metered"
event_code = "token_used"
[[feature]]
code = "sso"
name = "SSO"
type = "boolean"

[[plan]]
code = "pro"
name = "Pro"
price = "20.00"
[plan.features.tokens]
included = "0.5"
overage = "0.0000025"
[plan.features.sso]

[[plan]]
code = "free"
name = "Free"
free = true
[plan.features.tokens]
included = 100
"""


async def test_a_document_is_applied_once_and_comes_back(api, shop):
    organization, told = shop.organization.id, []

    async def changed(_, plan_id):
        told.append(plan_id)

    api.catalog.on_plan_changed = changed
    document = parse_document(DOCUMENT, "toml")
    assert len(await apply(api.catalog, organization, document)) == 2 + 2 + 1 + 3
    assert len(set(told)) == len(told) == 2
    assert await apply(api.catalog, organization, document) == []
    assert await export(api.catalog, organization) == msgspec.structs.replace(
        document,
        feature=tuple(sorted(document.feature, key=lambda part: part.code)),
        plan=tuple(sorted(document.plan, key=lambda part: part.code)),
    )
    shown = await api.call("GET", "/plans/pro")
    assert shown["prices"][0]["price"] == 2000
    assert shown["prices"][0]["isDefault"] is True
    assert api.catalog.feature(organization, "token_used") == api.catalog.feature(organization, "tokens")


async def test_a_document_changes_what_differs_and_prunes_when_told(api, shop):
    organization = shop.organization.id
    await apply(api.catalog, organization, parse_document(DOCUMENT, "toml"))
    smaller = parse_document(DOCUMENT.split("[plan.features.sso]", maxsplit=1)[0].replace("20.00", "25.00"), "toml")
    changes = await apply(api.catalog, organization, smaller)
    assert [str(change) for change in changes] == [
        "update price pro/monthly (price: 20.00 -> 25.00)",
        "remove plan_feature pro/sso",
    ]
    assert (await api.call("GET", "/plans/free"))["isFree"] is True

    async def in_use(conn, plan_id):
        return True

    api.catalog.plan_in_use = in_use
    with pytest.raises(Rejected, match="plan_in_use"):
        await apply(api.catalog, organization, smaller, prune=True)
    assert len((await api.call("GET", "/plans"))["data"]) == 2
    api.catalog.plan_in_use = None
    assert [str(change) for change in await apply(api.catalog, organization, smaller, prune=True)] == [
        "remove plan free"
    ]
    assert await export(api.catalog, organization) == msgspec.structs.replace(
        smaller, feature=tuple(sorted(smaller.feature, key=lambda part: part.code))
    )


async def test_openapi_shows_bodies_and_queries(api):
    shown = (await api.http.get("http://test/schema/openapi.json")).json()
    made = shown["paths"]["/api/v1/plans/{plan_ref}/features"]["post"]["requestBody"]
    shape = made["content"]["application/json"]["schema"]
    assert shape["required"] == ["featureId"]
    assert shape["properties"]["includedAmount"] == {"type": "number"}
    assert "unitPriceDecimal" in str(shape["properties"]["overage"])
    asked = shown["paths"]["/api/customers"]["get"]["parameters"]
    assert {"limit", "cursor", "search"} <= {parameter["name"] for parameter in asked}
    assert "$defs" not in str(shown)
