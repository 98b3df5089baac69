"""Every refused request can be asked about: its body carries an id, and one call says why (one server for all)."""

import asyncio

from tests.story.harness import Api

DECLINED, CARD = "4000000000000002", "4242424242424242"
REFUSED = ("kind", "requestId", "code", "rule")


async def refused(api, method, path, body=None, *, expect, rule, code=None, headers=None, **query):
    """Be refused, and be told by the id that the answer carries: the same code, and the rule."""
    answer = await api.http.request(
        method, next(api.bases) + path, json=body, params=query or None, headers=headers or {}
    )
    assert answer.status_code == expect, answer.text
    told = answer.json()
    request_id = answer.headers["x-request-id"]
    assert told["requestId"] == told["error"]["requestId"] == request_id
    why = await api.call("GET", f"/explain/{request_id}")
    assert why["object"] == "explanation"
    wanted = ("refused_request", request_id, code or told["code"], rule)
    assert tuple(why[name] for name in REFUSED) == wanted, why
    assert why["message"] == told["message"]
    assert why["route"] == f"{method} {path}"
    return why


async def test_every_refused_request_is_explained(server):
    """R-ERR-2, R-GEN-7."""
    async with Api(server) as api:
        calls = await api.feature("calls")
        await api.feature("words")
        await api.plan("free", {calls["id"]: {"includedAmount": 10}})
        await api.plan("pro", {calls["id"]: {"includedAmount": 10}}, price=4900)
        await api.customer("acme")
        await api.customer("buyer")

        # Usage that the catalog refuses, that the fold refuses, and that a limit blocks.
        use = {"featureCode": "calls", "customerId": "acme"}
        await refused(api, "POST", "/usage/events", {**use, "value": -1}, expect=400, rule="R-TRACK-3")
        await refused(api, "POST", "/usage/events", {**use, "customerId": "nobody"}, expect=404, rule="R-TRACK-7")
        why = await refused(api, "POST", "/usage/events", use, expect=404, rule="R-TRACK-7")
        assert (why["code"], why["verdict"], why["terms"]) == ("no_active_subscription", "refused", None)
        made = await api.subscribe("acme", "free")
        why = await refused(api, "POST", "/usage/events", {**use, "featureCode": "words"}, expect=403, rule="R-TRACK-7")
        assert (why["terms"]["status"], why["terms"]["feature"]) == ("active", None)
        counted = await api.call("POST", "/usage/events", {**use, "value": 8, "eventId": "k"})
        why = await refused(api, "POST", "/usage/events", {**use, "value": 3}, expect=402, rule="R-METER-4")
        assert why["arithmetic"]["inputs"] == {"usedBefore": "8", "eventsBefore": 1, "value": "3", "limit": "10"}
        assert (why["arithmetic"]["result"], why["arithmetic"]["fits"]) == ("11", False)
        assert (why["terms"]["subscriptionId"], why["terms"]["feature"]["included"]) == (made["id"], "10")
        why = await refused(
            api, "POST", "/usage/events", {**use, "eventId": "k", "value": 1}, expect=409, rule="R-TRACK-13"
        )
        assert (why["originalEventId"], why["original"]["value"]) == (counted["id"], "8")
        batch = {"events": [{**use, "value": 3}, {**use, "value": 1}, {**use, "customerId": "nobody"}]}
        answer = await api.http.post(next(api.bases) + "/usage/events/batch", json=batch)
        results = answer.json()["results"]
        assert [one["status"] for one in results] == ["blocked", "accepted", "rejected"]
        request_id = answer.headers["x-request-id"]
        assert results[0]["error"]["requestId"] == request_id
        for _ in range(30):
            why = await api.call("GET", f"/explain/{request_id}")
            if len(why["refusals"]) == 2:
                break
            await asyncio.sleep(0.1)
        assert [one["rule"] for one in why["refusals"]] == ["R-METER-4", "R-TRACK-7"]

        # An event that counts, by its id, over HTTP and by the command.
        told = await api.call("GET", f"/explain/{counted['id']}")
        assert (told["rule"], told["verdict"], told["arithmetic"]["result"]) == ("R-TRACK-8", "counted", "8")
        assert server.command("explain", counted["id"])[1]["arithmetic"] == told["arithmetic"]
        assert server.command("explain", request_id)[1]["refusals"] == why["refusals"]

        # What is listed as refused usage is no request twice.
        listed = await api.call("GET", "/usage/events", verdict="refused", limit=100)
        assert sorted(item["code"] for item in listed["data"]) == [
            *("customer_not_found",) * 2,
            "feature_not_in_plan",
            "no_active_subscription",
            "validation_error",
        ]

        # Access: allowed, refused, and why.
        may = await api.call("GET", "/explain", customerId="acme", featureCode="calls")
        assert (may["allowed"], may["rule"], may["arithmetic"]["remaining"]) == (True, "R-ACC-8", "1")
        await api.call("POST", "/usage/events", use)
        may = await api.call("GET", "/explain", customerId="acme", featureCode="calls")
        assert (may["allowed"], may["reason"], may["rule"]) == (False, "included_limit_reached", "R-METER-4")
        assert may["terms"]["feature"]["included"] == may["arithmetic"]["current"] == "10"
        may = await api.call("GET", "/explain", customerId="acme", featureCode="words")
        assert (may["reason"], may["rule"]) == ("feature_not_in_plan", "R-ACC-3")
        await refused(
            api,
            "GET",
            "/feature-access/nothing",
            expect=404,
            rule="R-ACC-3",
            code="feature_not_found",
            customerId="acme",
        )

        # Money and subscriptions.
        await api.call("PATCH", "/organization", {"payments": "simulator"})
        path = f"/subscriptions/{made['id']}"
        again = {"customerId": "acme", "planCode": "free"}
        why = await refused(api, "POST", "/subscriptions", again, expect=409, rule="R-SUB-3")
        assert (why["customerId"], why["terms"]["planCode"]) == ("acme", "free")
        await refused(api, "POST", f"{path}/uncancel", expect=409, rule="R-SUB-6")
        await refused(api, "POST", f"{path}/balance/topup", {"amount": 20}, expect=400, rule="R-TOPUP-5")
        await refused(api, "POST", f"{path}/balance/topup", {"amount": 2000}, expect=400, rule="R-TOPUP-1")
        await refused(api, "POST", f"{path}/credits", {"creditPackId": "none"}, expect=404, rule="R-PACK-1")
        await refused(api, "DELETE", "/plans/free", expect=409, rule="R-PLAN-10")
        await refused(api, "POST", "/customers", {"email": "no"}, expect=400, rule="R-CUST-4")
        await refused(api, "GET", "/invoices", expect=400, rule="R-PAGE-2", limit="1000")
        promo = {"code": "LAST", "discountType": "percentage", "discountValue": 1000, "durationCycles": 1}
        await api.call("POST", "/promo-codes", {**promo, "maxRedemptions": 1})
        await api.call("POST", "/promo-codes", {**promo, "code": "MOST", "discountValue": 9999})
        wish = {"customerId": "buyer", "planCode": "pro"}
        await refused(api, "POST", "/subscriptions", {**wish, "promoCode": "MOST"}, expect=400, rule="R-DISC-9")
        waiting = await api.call("POST", "/subscriptions", {**wish, "promoCode": "LAST"})
        token = waiting["checkoutUrl"].rpartition("/")[2]
        why = await refused(api, "POST", f"/checkout/{token}", {"number": DECLINED}, expect=402, rule="R-DUN-5")
        assert why["code"] == "charge_failed"
        assert DECLINED not in str(why)
        await api.call("POST", f"/checkout/{token}", {"number": CARD})
        await api.customer("late")
        late = {"customerId": "late", "planCode": "pro", "promoCode": "LAST"}
        await refused(api, "POST", "/subscriptions", late, expect=400, rule="R-DISC-12")

        # A refusal that is replayed by its key carries the id of the first.
        key = {"Idempotency-Key": "again"}
        why = await refused(api, "POST", "/subscriptions", again, expect=409, rule="R-SUB-3", headers=key)
        answer = await api.http.post(next(api.bases) + "/subscriptions", json=again, headers=key)
        assert (answer.status_code, answer.json()["requestId"]) == (409, why["requestId"])

        # What was not refused, and what another organization was refused, is not told.
        answer = await api.http.get(next(api.bases) + "/plans")
        assert (await api.call("GET", f"/explain/{answer.headers['x-request-id']}", expect=404))["code"] == "not_found"
        other = server.command("org", "create", "Other")[1]
    async with Api(server, other["apiKey"]) as api:
        await api.call("GET", f"/explain/{why['requestId']}", expect=404)
        await api.call("GET", f"/explain/{counted['id']}", expect=404)
