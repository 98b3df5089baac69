"""One event to one invoice: the whole pipeline through HTTP, on a test clock."""

import asyncio
import time

import httpx

from tests.story.harness import Api


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant}, expect=202)


async def catalog(api):
    calls, sso = await api.feature("calls"), await api.feature("sso", "boolean")
    overage = {"enabled": True, "unitPriceDecimal": "0.015"}
    await api.plan(
        "starter", {calls["id"]: {"includedAmount": 10, "overage": overage}, sso["id"]: {"enabled": True}}, price=4900
    )
    await api.plan("free", {calls["id"]: {"includedAmount": 2}})


async def invoices_of(api, reference):
    page = await api.call("GET", "/invoices", customerId=reference)
    return [await api.call("GET", f"/invoices/{item['id']}") for item in reversed(page["data"])]


async def test_an_event_becomes_an_invoice_line(server):
    async with Api(server) as api:
        await catalog(api)
        await clock(api, "2026-01-31T12:00:00Z")
        await api.customer("acme")
        subscription = await api.subscribe("acme", "starter")
        assert subscription["status"] == "active"
        event = {"customerId": "acme", "featureCode": "calls", "value": 12.5, "eventId": "one"}
        tracked = await api.call("POST", "/usage/events", event)
        assert tracked["id"].startswith("evt_")

        access = await api.access("acme", "calls")
        assert access["consumption"]["unitsUsed"] == 12.5
        assert access["consumption"]["overage"]["units"] == 2.5
        listed = await api.call("GET", "/feature-access", customerId="acme")
        assert [item["code"] for item in listed["data"]] == ["calls", "sso"]

        upcoming = await api.call("GET", "/customers/acme/upcoming-invoice")
        await clock(api, "2026-02-28T00:00:00Z")
        start, closing = await invoices_of(api, "acme")
        assert (start["total"], closing["total"]) == (4900, 4900 + 4)  # 2.5 x 0.015 = 0.0375
        assert [(line["kind"], line["amount"]) for line in closing["lineItems"]] == [
            ("plan_base", 4900),
            ("overage", 4),
        ]
        assert closing["periodStart"].startswith("2026-02-28")
        assert upcoming["total"] == closing["total"]
        strip = ("id",)
        wanted = [{k: v for k, v in line.items() if k not in strip} for line in upcoming["lineItems"]]
        assert [{k: v for k, v in line.items() if k not in strip} for line in closing["lineItems"]] == wanted

        line = closing["lineItems"][1]
        behind = await api.call("GET", f"/invoices/{closing['id']}/lines/{line['id']}/events")
        assert [item["id"] for item in behind["data"]] == [tracked["id"]]
        where = await api.call("GET", f"/usage/events/{tracked['id']}")
        assert where["verdict"] == "counted"
        assert where["stage"] == "raw"

        # A late event goes on the next invoice, at its own window's allowance and price.
        late = {**event, "eventId": "two", "value": 10, "timestamp": "2026-02-10T00:00:00Z"}
        await api.call("POST", "/usage/events", late)
        await clock(api, "2026-03-31T00:00:00Z")
        *_, third = await invoices_of(api, "acme")
        # 12.5 x 0.015 = 0.1875 is 19 cents in all, 4 of which are invoiced
        assert [(line["kind"], line["amount"]) for line in third["lineItems"]] == [
            ("plan_base", 4900),
            ("late_usage", 15),
        ]
    _, verdict = server.command("audit")
    assert verdict["differences"] == []


async def test_the_answers_of_the_contract(server):
    async with Api(server) as api:
        await catalog(api)
        await api.customer("acme")
        event = {"customerId": "acme", "featureCode": "calls", "value": 1, "eventId": "one"}
        assert (await api.call("POST", "/usage/events", event, expect=404))["code"] == "no_active_subscription"
        await api.subscribe("acme", "free")
        first = await api.call("POST", "/usage/events", event, headers={"Idempotency-Key": "request-1"})
        again = await api.call("POST", "/usage/events", event, headers={"Idempotency-Key": "request-1"})
        assert {k: v for k, v in again.items() if k != "asOf"} == {k: v for k, v in first.items() if k != "asOf"}
        duplicate = await api.call("POST", "/usage/events", event, expect=409)
        assert (duplicate["code"], duplicate["details"]) == ("duplicate", {"eventId": first["id"], "conflict": False})
        conflict = await api.call("POST", "/usage/events", {**event, "value": 2}, expect=409)
        assert conflict["details"]["conflict"] is True
        blocked = await api.call("POST", "/usage/events", {**event, "value": 2, "eventId": "two"}, expect=402)
        assert blocked["code"] == "included_limit_reached"
        boolean = {**event, "featureCode": "sso"}
        assert (await api.call("POST", "/usage/events", boolean, expect=400))["code"] == "validation_error"
        unknown = {**event, "featureCode": "nothing"}
        assert (await api.call("POST", "/usage/events", unknown, expect=404))["code"] == "feature_not_found"
        prefer = {"Prefer": "respond-async"}
        pending = await api.call("POST", "/usage/events", {**event, "eventId": "three"}, expect=202, headers=prefer)
        assert pending["pending"] is True
        seen = await api.call("GET", "/feature-access/calls", customerId="acme", minPosition=pending["position"])
        assert seen["consumption"]["unitsUsed"] == 2
        batch = [{**event, "eventId": "four"}, {**event, "featureCode": "NO"}, event]
        answer = await api.call("POST", "/usage/events/batch", {"events": batch})
        assert [one["status"] for one in answer["results"]] == ["blocked", "rejected", "duplicate"]
        until = time.monotonic() + 10
        while True:  # the raw store follows within a second or two
            blocked = await api.call("GET", "/usage/events", customerId="acme", verdict="blocked")
            refused = await api.call("GET", "/usage/events", verdict="refused")
            if len(blocked["data"]) == 2 and len(refused["data"]) >= 4:
                break
            assert time.monotonic() < until, (blocked, refused)
            await asyncio.sleep(0.2)
        assert {item["verdict"] for item in blocked["data"]} == {"blocked"}
        assert all(item["reason"] for item in refused["data"])


async def test_the_documentation_era(server):
    async with Api(server) as api:
        await catalog(api)
    async with httpx.AsyncClient(base_url=server.url + "/api", headers={"x-api-key": server.key}) as http:
        made = (await http.post("/customers", json={"externalId": "acme", "billingEmail": "a@example.com"})).json()
        assert made["success"] is True
        assert made["data"]["externalId"] == "acme"
        subscribed = (await http.post("/subscriptions", json={"customerId": "acme", "planCode": "free"})).json()
        assert subscribed["data"]["status"] == "active"
        event = {"customerId": "acme", "feature": "calls", "idempotencyKey": "one"}
        tracked = (await http.post("/usage/events", json=event)).json()
        assert tracked["data"]["idempotencyKey"] == "one"
        access = (await http.get("/features/calls", params={"customerId": "acme"})).json()["data"]
        assert (access["current"], access["included"], access["remaining"], access["allowed"]) == (1, 2, 1, True)
        params = {"customerId": "acme", "action": "canUse"}
        may = (await http.get("/features/calls", params=params)).json()["data"]
        assert (may["allowed"], may["willBeCharged"]) == (True, False)
        wrong = await http.get("/nowhere")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "not_found")
        unauthorized = await http.get("/customers", headers={"x-api-key": "ck_wrong"})
        assert (unauthorized.status_code, unauthorized.json()["code"]) == (401, "unauthorized")
        schema = await http.get(server.url + "/schema")
        assert schema.status_code == 200
        assert "/api/v1/usage/events" in schema.text
