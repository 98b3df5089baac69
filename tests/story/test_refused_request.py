"""Every refused request can be asked about: its body carries an id, and one call says why (one server for all)."""

from tests.story.harness import Api

DECLINED, CARD = "4000000000000002", "4242424242424242"


class Desk:
    """Asks why, of every request that was refused, when all have been: what is told is what held then."""

    def __init__(self, api):
        self.api = api
        self.refused = {}

    async def refuse(self, method, path, body=None, *, expect, rule, headers=None, **query):
        """Send a request that is refused; returns its id, which is in the body as in the header."""
        answer = await self.api.http.request(
            method, next(self.api.bases) + path, json=body, params=query or None, headers=headers or {}
        )
        assert answer.status_code == expect, answer.text
        told = answer.json()
        request_id = answer.headers["x-request-id"]
        assert told["requestId"] == told["error"]["requestId"] == request_id
        self.refused[request_id] = (told, rule, f"{method} {path}")
        return request_id

    async def ask(self):
        """Ask of each; the same code and words come back, with the rule."""
        found = {}
        for request_id, (told, rule, route) in self.refused.items():
            why = found[request_id] = await self.api.call("GET", f"/explain/{request_id}")
            assert (why["object"], why["kind"], why["requestId"]) == ("explanation", "refused_request", request_id)
            assert (why["code"], why["rule"], why["route"]) == (told["code"], rule, route), why
            assert why["message"] == told["message"]
        return found


async def test_every_refused_request_is_explained(server):
    """R-ERR-2, R-GEN-7."""
    async with Api(server) as api:
        desk = Desk(api)
        calls = await api.feature("calls")
        await api.feature("words")
        await api.plan("free", {calls["id"]: {"includedAmount": 10}})
        await api.plan("pro", {calls["id"]: {"includedAmount": 10}}, price=4900)
        for name in ("acme", "buyer", "late"):
            await api.customer(name)

        # Usage that the catalog refuses, that the fold refuses, and that a limit blocks.
        use = {"featureCode": "calls", "customerId": "acme"}
        track = ("POST", "/usage/events")
        await desk.refuse(*track, {**use, "value": -1}, expect=400, rule="R-TRACK-3")
        await desk.refuse(*track, {**use, "customerId": "nobody"}, expect=404, rule="R-TRACK-7")
        early = await desk.refuse(*track, use, expect=404, rule="R-TRACK-7")
        made = await api.subscribe("acme", "free")
        foreign = await desk.refuse(*track, {**use, "featureCode": "words"}, expect=403, rule="R-TRACK-7")
        counted = await api.call(*track, {**use, "value": 8, "eventId": "k"})
        beyond = await desk.refuse(*track, {**use, "value": 3}, expect=402, rule="R-METER-4")
        twice = await desk.refuse(*track, {**use, "eventId": "k", "value": 1}, expect=409, rule="R-TRACK-13")
        batch = {"events": [{**use, "value": 3}, {**use, "value": 1}, {**use, "customerId": "nobody"}]}
        answer = await api.http.post(next(api.bases) + "/usage/events/batch", json=batch)
        results = answer.json()["results"]
        assert [one["status"] for one in results] == ["blocked", "accepted", "rejected"]
        whole = answer.headers["x-request-id"]
        assert results[0]["error"]["requestId"] == whole

        # Access: allowed, refused, and why.
        may = await api.call("GET", "/explain", customerId="acme", featureCode="calls")
        assert (may["allowed"], may["rule"], may["arithmetic"]["remaining"]) == (True, "R-ACC-8", "1")
        await api.call(*track, use)
        may = await api.call("GET", "/explain", customerId="acme", featureCode="calls")
        assert (may["allowed"], may["reason"], may["rule"]) == (False, "included_limit_reached", "R-METER-4")
        assert may["terms"]["feature"]["included"] == may["arithmetic"]["current"] == "10"
        may = await api.call("GET", "/explain", customerId="acme", featureCode="words")
        assert (may["reason"], may["rule"]) == ("feature_not_in_plan", "R-ACC-3")
        await desk.refuse("GET", "/feature-access/none", expect=404, rule="R-ACC-3", customerId="acme")

        # Money and subscriptions.
        await api.call("PATCH", "/organization", {"payments": "simulator"})
        path = f"/subscriptions/{made['id']}"
        again = {"customerId": "acme", "planCode": "free"}
        live = await desk.refuse("POST", "/subscriptions", again, expect=409, rule="R-SUB-3")
        await desk.refuse("POST", f"{path}/uncancel", expect=409, rule="R-SUB-6")
        await desk.refuse("POST", f"{path}/balance/topup", {"amount": 20}, expect=400, rule="R-TOPUP-5")
        await desk.refuse("POST", f"{path}/balance/topup", {"amount": 2000}, expect=400, rule="R-TOPUP-1")
        await desk.refuse("POST", f"{path}/credits", {"creditPackId": "none"}, expect=404, rule="R-PACK-1")
        await desk.refuse("DELETE", "/plans/free", expect=409, rule="R-PLAN-10")
        await desk.refuse("POST", "/customers", {"email": "no"}, expect=400, rule="R-CUST-4")
        await desk.refuse("GET", "/invoices", expect=400, rule="R-PAGE-2", limit="1000")
        promo = {"code": "LAST", "discountType": "percentage", "discountValue": 1000, "durationCycles": 1}
        await api.call("POST", "/promo-codes", {**promo, "maxRedemptions": 1})
        await api.call("POST", "/promo-codes", {**promo, "code": "MOST", "discountValue": 9999})
        wish = {"customerId": "buyer", "planCode": "pro"}
        await desk.refuse("POST", "/subscriptions", {**wish, "promoCode": "MOST"}, expect=400, rule="R-DISC-9")
        waiting = await api.call("POST", "/subscriptions", {**wish, "promoCode": "LAST"})
        token = waiting["checkoutUrl"].rpartition("/")[2]
        declined = await desk.refuse("POST", f"/checkout/{token}", {"number": DECLINED}, expect=402, rule="R-DUN-5")
        await api.call("POST", f"/checkout/{token}", {"number": CARD})
        late = {"customerId": "late", "planCode": "pro", "promoCode": "LAST"}
        await desk.refuse("POST", "/subscriptions", late, expect=400, rule="R-DISC-12")

        # A refusal that is replayed by its key carries the id of the first.
        key = {"Idempotency-Key": "again"}
        first = await desk.refuse("POST", "/subscriptions", again, expect=409, rule="R-SUB-3", headers=key)
        answer = await api.http.post(next(api.bases) + "/subscriptions", json=again, headers=key)
        assert (answer.status_code, answer.json()["requestId"]) == (409, first)

        # All of it asked about afterwards: what held then is told.
        why = await desk.ask()
        assert (why[early]["verdict"], why[early]["terms"]) == ("refused", None)
        assert (why[foreign]["terms"]["status"], why[foreign]["terms"]["feature"]) == ("active", None)
        asked = why[beyond]["arithmetic"]
        assert asked["inputs"] == {"usedBefore": "8", "eventsBefore": 1, "value": "3", "limit": "10"}
        assert (asked["result"], asked["fits"]) == ("11", False)
        terms = why[beyond]["terms"]
        assert (terms["subscriptionId"], terms["feature"]["included"]) == (made["id"], "10")
        assert (why[twice]["originalEventId"], why[twice]["original"]["value"]) == (counted["id"], "8")
        assert (why[live]["customerId"], why[live]["terms"]["planCode"]) == ("acme", "free")
        assert (why[declined]["code"], DECLINED in str(why[declined])) == ("charge_failed", False)
        both = await api.call("GET", f"/explain/{whole}")
        assert [one["rule"] for one in both["refusals"]] == ["R-METER-4", "R-TRACK-7"]

        # An event that counts, by its id, over HTTP and by the command; what is listed as refused usage is there once.
        told = await api.call("GET", f"/explain/{counted['id']}")
        assert (told["rule"], told["verdict"], told["arithmetic"]["result"]) == ("R-TRACK-8", "counted", "8")
        assert server.command("explain", counted["id"])[1]["arithmetic"] == told["arithmetic"]
        listed = await api.call("GET", "/usage/events", verdict="refused", limit=100)
        assert sorted(item["code"] for item in listed["data"]) == [
            *("customer_not_found",) * 2,
            "feature_not_in_plan",
            "no_active_subscription",
            "validation_error",
        ]

        # What was not refused, and what another organization was refused, is not told.
        answer = await api.http.get(next(api.bases) + "/plans")
        assert (await api.call("GET", f"/explain/{answer.headers['x-request-id']}", expect=404))["code"] == "not_found"
        other = server.command("org", "create", "Other")[1]
    async with Api(server, other["apiKey"]) as api:
        await api.call("GET", f"/explain/{live}", expect=404)
        await api.call("GET", f"/explain/{counted['id']}", expect=404)
