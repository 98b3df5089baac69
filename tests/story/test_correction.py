"""Corrections over HTTP: the live balance moves, the next invoice carries what was invoiced, the audit agrees."""

import asyncio

from tests.story.harness import Api

OVER = {"includedAmount": 100, "overage": {"enabled": True, "unitPriceDecimal": "0.5"}}
HARD = {"includedAmount": 10, "overage": {"enabled": False}}


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant}, expect=202)


async def track(api, key, value, *, customer="acme", feature="calls", expect=200, **members):
    body = {"customerId": customer, "featureCode": feature, "eventId": key, "value": value, **members}
    return await api.call("POST", "/usage/events", body, expect=expect)


async def correct(api, word, *, expect=200, headers=None, customer="acme", **members):
    body = {"customerId": customer, **members}
    answer = await api.call("POST", f"/usage/events/{word}", body, expect=expect, headers=headers)
    return answer if expect == 200 else answer["code"]


async def used(api, feature="calls"):
    return (await api.access("acme", feature))["consumption"]["unitsUsed"]


async def lines(api, customer="acme"):
    """Usage lines of all invoices, oldest first: (kind, amount, words), and each invoice's total."""
    page = await api.call("GET", "/invoices", customerId=customer)
    found = [await api.call("GET", f"/invoices/{item['id']}") for item in reversed(page["data"])]
    told = [
        [(line["kind"], line["amount"]) for line in one["lineItems"] if line["kind"] != "plan_base"] for one in found
    ]
    return told, found


async def stored(api, event_id):
    async with asyncio.timeout(60):
        while True:
            told = await api.call("GET", f"/usage/events/{event_id}")
            if told["stage"] == "raw":
                return told
            await asyncio.sleep(0.1)


async def sell(api):
    calls, mails = await api.feature("calls"), await api.feature("mails")
    await api.plan("pro", {calls["id"]: OVER, mails["id"]: HARD}, price=2_000)
    plan = {"name": "Talk", "code": "talk", "consumptionModel": "balance", "isPublic": True, "isFree": False}
    talk = await api.call("POST", "/plans", plan)
    await api.call(
        "POST", f"/plans/{talk['id']}/prices", {"billingInterval": "monthly", "price": 1000, "isDefault": True}
    )
    chat = await api.feature("chat")
    await api.call(
        "POST",
        f"/plans/{talk['id']}/features",
        {"featureId": chat["id"], "unitPriceDecimal": "0.25"},
    )
    await clock(api, "2026-01-01T00:00:00Z")
    for name, code in (("acme", "pro"), ("bank", "talk")):
        await api.customer(name)
        await api.subscribe(name, code)


async def in_the_open_period(api):
    """What is wrong is corrected before anything is invoiced."""
    first = await track(api, "a", 90, timestamp="2026-01-05T06:30:00Z")
    await track(api, "b", 40)
    assert await correct(api, "void", eventId="nope", expect=404) == "event_not_found"
    once = {"Idempotency-Key": "request-1"}
    gone = await correct(api, "void", idempotencyKey="b", reason="sent twice", headers=once)
    assert (gone["value"], gone["verdict"], gone["properties"]) == (
        -40,
        "counted",
        [{"property": "reason", "value": "sent twice"}],
    )
    assert gone["correction"] == {"number": 1, "void": True, "before": 40, "after": 0}
    assert await used(api) == 90
    again = await correct(api, "void", idempotencyKey="b", reason="sent twice", headers=once)
    assert {**again, "stage": None} == {**gone, "stage": None}
    assert await correct(api, "void", eventId="a", headers=once, expect=409) == "idempotency_key_mismatch"
    assert await used(api) == 90
    assert await correct(api, "void", eventId="b", expect=409) == "event_voided"
    assert await correct(api, "amend", eventId="b", value=1, expect=409) == "event_voided"
    assert await correct(api, "void", id=gone["id"], expect=409) == "event_is_correction"

    more = await correct(api, "amend", id=first["id"], value=130.5)
    less = await correct(api, "amend", eventId="a", value=120)
    assert (more["correction"]["after"], less["correction"]["number"], less["value"]) == (130.5, 2, -10.5)
    assert await used(api) == 120
    assert await correct(api, "amend", eventId="a", value=120, expect=400) == "no_change_requested"
    assert await correct(api, "amend", eventId="a", value=-1, expect=400) == "validation_error"
    told = await stored(api, less["id"])
    assert (told["correctsEventId"], told["window"]) == (first["id"], {"start": "2026-01-01", "end": "2026-02-01"})
    why = await api.call("GET", f"/explain/{less['id']}")
    assert (why["correctsEventId"], why["arithmetic"]["result"]) == (first["id"], "120")
    assert why["why"].startswith(f"It changes what {first['id']} counts")
    assert (await api.call("GET", f"/explain/{first['id']}"))["correctionIds"] == [more["id"], less["id"]]
    told = await stored(api, first["id"])
    assert (told["value"], told["valueNow"]) == (90, 120)
    assert [one["value"] for one in told["corrections"]] == [40.5, -10.5]
    series = await api.call(
        "GET", "/usage/query", feature="calls", customerId="acme", to="2026-01-31", granularity="day"
    )
    assert {one["start"]: one["value"] for one in series["buckets"] if one["value"]} == {
        "2026-01-05T00:00:00.000Z": 120
    }
    assert series["total"] == 120


async def under_a_key_of_two(api):
    """What is sent as `eventId` and as `Idempotency-Key` are two events; a correction says which of them it means."""
    named = await track(api, "twin", 6)
    once = {"Idempotency-Key": "request-2"}
    less = await correct(api, "amend", eventId="twin", value=2, headers=once)
    other = await api.call(
        "POST",
        "/usage/events",
        {"customerId": "acme", "featureCode": "calls", "value": 9},
        headers={"Idempotency-Key": "twin"},
    )
    assert other["id"] != named["id"]
    again = await correct(api, "amend", eventId="twin", value=2, headers=once)
    assert {**again, "stage": None} == {**less, "stage": None}
    body = {"customerId": "acme", "idempotencyKey": "twin"}
    refused = await api.call("POST", "/usage/events/void", body, expect=400)
    assert (refused["code"], refused["details"][0]["field"]) == ("validation_error", "id")
    assert named["id"] in refused["message"]
    assert other["id"] in refused["message"]
    assert await used(api) == 120 + 2 + 9
    for event in (named, other):
        assert (await correct(api, "void", id=event["id"]))["correctsEventId"] == event["id"]
    assert await used(api) == 120


async def under_a_hard_limit(api):
    """R-METER-4: more is judged like usage, less frees the room."""
    await track(api, "m", 8, feature="mails")
    assert await correct(api, "amend", eventId="m", value=11, expect=402) == "included_limit_reached"
    await track(api, "n", 3, feature="mails", expect=402)
    assert await correct(api, "void", eventId="n", expect=409) == "event_not_counted"
    await correct(api, "amend", eventId="m", value=7)
    await track(api, "n", 3, feature="mails")
    assert await used(api, "mails") == 10


async def at_once(api):
    """Of many who correct one event at once, one wins."""
    event = await track(api, "race", 5)
    answers = await asyncio.gather(
        *(
            api.http.post(
                next(api.bases) + "/usage/events/amend", json={"customerId": "acme", "eventId": "race", "value": value}
            )
            for value in range(6, 14)
        )
    )
    won = [one.json() for one in answers if one.status_code == 200]
    lost = {one.json()["code"] for one in answers if one.status_code != 200}
    assert lost <= {"correction_conflict"}
    numbers = [one["correction"]["number"] for one in won]
    assert sorted(numbers) == list(range(1, len(won) + 1))
    last = max(won, key=lambda one: one["correction"]["number"])
    assert await used(api) == 120 + last["correction"]["after"]
    await correct(api, "void", id=event["id"])
    assert await used(api) == 120


async def from_the_command_line(server, api):
    """An operator corrects beside the server, with the same refusals."""
    event = await track(api, "typo", 6)
    named = ("typo", "--customer", "acme")
    _, told = server.command("event", "amend", "typo", "4.5", "--customer", "acme", "--reason", "a typo")
    assert {**told, "id": ""} == {
        "id": "",
        "event": event["id"],
        "customer": event["customerId"],
        "number": 1,
        "void": False,
        "before": "6",
        "after": "4.5",
    }
    assert (await stored(api, told["id"]))["properties"] == [{"property": "reason", "value": "a typo"}]
    assert await used(api) == 124.5
    for words, why in (
        (("void", "typo"), "is required with the event's key"),
        (("void", "nope", "--customer", "acme"), "event_not_found"),
        (("void", *named, "--organization", "org_nobody"), "there is no organization"),
        (("void", told["id"]), "event_is_correction"),
        (("amend", *named[:1], "-1", *named[1:]), ""),
        (("amend", *named[:1], "many", *named[1:]), "is not a number"),
        (("amend", *named[:1], "4.5", *named[1:]), "no_change_requested"),
    ):
        code, said = server.told("event", *words)
        assert (code, why in said) == (2, True), said
    assert server.command("event", "void", event["id"])[1]["after"] == "0"
    assert await used(api) == 120


async def test_corrections_before_and_after_the_invoice(server):
    """R-TRACK-20, R-METER-2: what was charged is credited, to the cent."""
    async with Api(server) as api:
        await sell(api)
        await clock(api, "2026-01-10T00:00:00Z")
        await in_the_open_period(api)
        await under_a_key_of_two(api)
        await under_a_hard_limit(api)
        await at_once(api)
        await from_the_command_line(server, api)
        await track(api, "chat", 60, customer="bank", feature="chat")  # 15.00 of 10.00
        wrong = await track(api, "chat2", 8, customer="bank", feature="chat")
        assert wrong["consumption"]["remainingDecimal"] == "-7"
        gone = await correct(api, "amend", customer="bank", eventId="chat2", value=2)
        assert gone["consumption"]["remainingDecimal"] == "-5.5"
        await clock(api, "2026-02-01T00:00:00Z")
        told, _ = await lines(api)
        assert told == [[], [("overage", 1_000)]]  # 20 beyond 100
        told, _ = await lines(api, "bank")
        assert told == [[], [("balance_overage", 550)]]

        # January is invoiced; what is wrong with it is on the invoice after.
        await clock(api, "2026-02-10T00:00:00Z")
        await correct(api, "amend", eventId="a", value=112)
        await correct(api, "void", customer="bank", eventId="chat")
        assert (await api.access("bank", "chat"))["pool"]["remainingDecimal"] == "10"
        assert await used(api) == 0
        await clock(api, "2026-03-01T00:00:00Z")
        told, found = await lines(api)
        assert told[2] == [("late_usage", -400)]
        [line] = [one for one in found[2]["lineItems"] if one["kind"] == "late_usage"]
        assert line["description"] == "calls (calls), correction of 2026-01-01 to 2026-01-31"
        assert (found[2]["total"], line["amount"]) == (1_600, -400)
        events = await api.call("GET", f"/invoices/{found[2]['id']}/lines/{line['id']}/events")
        assert [one["correctsEventId"] for one in events["data"]] == [
            (await api.call("GET", "/usage/events", customerId="acme", eventId="a"))["data"][0]["id"]
        ]
        told, found = await lines(api, "bank")
        assert told[2] == [("balance_overage", -550)]
        assert found[2]["total"] == 450

        # A forgotten window is not corrected, and neither is what a subscription that ended has used.
        assert await correct(api, "amend", customer="bank", eventId="chat2", value=5, expect=409) == "window_closed"
        await clock(api, "2026-03-09T00:00:00Z")
        assert await correct(api, "void", eventId="a", expect=409) == "window_closed"
        last = await track(api, "last", 3)
        active = await api.call("GET", "/subscriptions/active", customerId="acme")
        await api.call("POST", f"/subscriptions/{active['id']}/cancel", {"immediate": True})
        assert await correct(api, "void", id=last["id"], expect=404) == "no_active_subscription"
        invoices = [one["id"] for who in ("acme", "bank") for one in (await lines(api, who))[1]]
    _, told = server.command("explain", last["id"])
    assert "corrects" not in told["event"]
    _, verdict = server.command("audit")
    assert (verdict["differences"], verdict["verdict"]) == ([], "consistent")
    assert verdict["corrections"] >= 10
    for invoice in invoices:
        _, again = server.command("audit", "--invoice", invoice)
        assert again["verdict"] == "identical"
    server.command("rebuild")
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
