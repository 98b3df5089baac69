"""Usage of before a pause that arrives during it and when it is over: over HTTP, to the invoice and the audit."""

from tests.story.harness import Api

PAUSE = {"durationDays": None}


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant}, expect=202)


async def used(api, who, happened, key, value=20, *, refused=False):
    """Send an event that happened at an instant; returns its id, None when it is to be refused."""
    body = {"customerId": who, "featureCode": "calls", "eventId": key, "value": value, "timestamp": happened}
    answer = await api.call("POST", "/usage/events", body, expect=404 if refused else 200)
    assert answer.get("code") == ("no_active_subscription" if refused else None)
    return answer.get("id")


async def usage_lines(api, who):
    """Tell the lines of usage of a customer's invoices: `{day of the invoice: [(kind, amount, used)]}`."""
    page = await api.call("GET", "/invoices", customerId=who)
    found = [await api.call("GET", f"/invoices/{item['id']}") for item in page["data"]]
    return {
        one["issueDate"][:10]: [
            (line["kind"], line["amount"], line["usedDecimal"])
            for line in one["lineItems"]
            if line["kind"] != "plan_base"
        ]
        for one in found
    }


async def test_usage_of_before_a_pause_counts_when_it_arrives_after_the_resume(server):
    """R-TRACK-20, R-SUB-13: ann pauses at once, bob at the period's end; the audit and the explanations agree."""
    async with Api(server) as api:
        calls = await api.feature("calls")
        overage = {"enabled": True, "unitPriceDecimal": "1.5"}
        plan = await api.plan("pro", {calls["id"]: {"includedAmount": 10, "overage": overage}}, price=4_900)
        await clock(api, "2026-01-01T00:00:00Z")
        paths = {}
        for who in ("ann", "bob"):
            await api.customer(who)
            paths[who] = f"/subscriptions/{(await api.subscribe(who, 'pro'))['id']}"
        await clock(api, "2026-01-11T12:00:00Z")
        await used(api, "ann", "2026-01-11T11:00:00Z", "in time", 8)
        await api.call("POST", f"{paths['ann']}/pause", {"mode": "immediate", **PAUSE})
        await api.call("POST", f"{paths['bob']}/pause", {"mode": "period_end", **PAUSE})
        await clock(api, "2026-01-15T00:00:00Z")
        await used(api, "ann", "2026-01-05T00:00:00Z", "early", refused=True)

        # The window of before the pause is not invoiced yet: what is late is part of its overage.
        await clock(api, "2026-01-21T12:00:00Z")
        await api.call("POST", f"{paths['ann']}/resume")
        await used(api, "ann", "2026-01-05T00:00:00Z", "early")
        await used(api, "ann", "2026-01-11T11:59:59Z", "at the last second", 2)
        for happened in ("2026-01-11T12:00:00Z", "2026-01-15T00:00:00Z"):
            await used(api, "ann", happened, f"within {happened}", refused=True)
        await used(api, "ann", "2026-01-21T12:00:00Z", "again", 1)

        # It is invoiced: by the pause (bob), by a later close (ann).
        await clock(api, "2026-02-05T00:00:00Z")
        await used(api, "bob", "2026-01-20T00:00:00Z", "late", refused=True)
        await api.call("PATCH", f"/plans/{plan['id']}/features/{calls['id']}", {"includedAmount": 100})
        await clock(api, "2026-02-11T00:00:00Z")
        await api.call("POST", f"{paths['bob']}/resume")
        late = await used(api, "bob", "2026-01-20T00:00:00Z", "late")
        await used(api, "bob", "2026-02-05T00:00:00Z", "within", refused=True)
        await used(api, "ann", "2026-01-11T10:00:00Z", "later", 3)
        told = await api.call("GET", f"/explain/{late}")
        assert (told["terms"]["number"], told["window"]["start"], told["window"]["end"]) == (
            1,
            "2026-01-01",
            "2026-02-01",
        )
        await clock(api, "2026-03-11T00:00:00Z")
        assert await usage_lines(api, "ann") == {
            "2026-01-01": [],
            "2026-02-11": [("overage", 3_000, "30")],
            "2026-03-11": [("late_usage", 450, "33")],
        }
        assert await usage_lines(api, "bob") == {
            "2026-01-01": [],
            "2026-02-11": [],
            "2026-03-11": [("late_usage", 1_500, "20")],
        }
    report = server.command("audit")[1]
    assert (report["differences"], report["unbilled"], report["eventsCounted"]) == ([], [], 6)
