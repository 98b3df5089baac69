"""Dead letters judged again: the fold of one deployment raises on an amount, the next one's does not."""

import asyncio
import sys

from tests.story.harness import METERLINE, Api, Server

# A Meterline whose fold raises on 13 and is at fault in nothing else.
BROKEN = """
import aggregator.fold as fold
right = fold._units
def _units(quantity):
    if quantity == "13":
        raise ZeroDivisionError(quantity)
    return right(quantity)
fold._units = _units
from meterline.cli import main
main()
"""


def start(server, *, broken):
    server.program = [sys.executable, "-c", BROKEN] if broken else [METERLINE]
    return server.start()


def use(value, key=None, reference="acme"):
    event = {"customerId": reference, "featureCode": "calls", "value": value}
    return event if key is None else {**event, "eventId": key}


async def letters(api, *events):
    found = []
    for event in events:
        answer = await api.call("POST", "/usage/events", event, expect=422)
        assert answer["code"] == "event_unprocessable"
        found.append(answer["details"]["eventId"])
    return found


def refused(server, *arguments):
    code, words = server.told("replay", *arguments)
    assert code == 2, words
    return words


async def test_dead_letters_are_replayed_once_the_fold_is_mended(tmp_path):
    server = Server(tmp_path / "server")
    try:
        await story(server)
    finally:
        server.stop()


async def story(server):
    start(server, broken=True)
    async with Api(server) as api:
        calls = await api.feature("calls")
        await api.plan("open", {calls["id"]: {"unlimited": True}}, price=1000)
        await api.plan("small", {calls["id"]: {"includedAmount": 20}})
        for reference, plan in (("acme", "open"), ("tiny", "small")):
            await api.customer(reference)
            await api.subscribe(reference, plan)
        fine = (await api.call("POST", "/usage/events", use(1, "fine")))["id"]
        keyed, keyless, other = await letters(api, use(13, "k"), use(13), use(13, "o"))
        assert await letters(api, use(13, "k")) == [keyed]
        small, large = await letters(api, use(13, "s", "tiny"), use(13, "l", "tiny"))

        # Beside the running server, and too early: it raises again, is no new dead letter, and may be tried again.
        code, early = server.command("replay", keyed, check=False)
        assert (code, early["verdicts"], early["sent"], early["counted"]) == (1, {"dead": 1}, 1, 0)
        assert server.command("audit")[1]["differences"] == []
    server.stop()

    # Offline, on the stores themselves.
    code, done = server.command("replay", keyless)
    assert (done["sent"], done["counted"], done["passedOver"]) == (1, 1, 0)
    assert done["letters"][0]["id"] == keyless

    start(server, broken=False)
    async with Api(server) as api:
        assert "is not an event's id" in refused(server, "evt_nothing")
        assert "there is no event" in refused(server, early["letters"][0]["replay"][:-2] + "g0")
        assert "it is counted" in refused(server, keyed, fine)
        assert done["letters"][0]["replay"] in refused(server, keyless)
        assert "--all" in refused(server)

        code, done = server.command("replay", keyed, keyed)
        assert (code, done["verdicts"]) == (0, {"counted": 1})
        duplicate = await api.call("POST", "/usage/events", use(13, "k"), expect=409)
        assert duplicate["details"]["eventId"] == done["letters"][0]["replay"]

        # What the customer's limit does not cover stays a dead letter, until it does.
        code, rest = server.command("replay", "--all", check=False)
        assert (code, rest["verdicts"], rest["passedOver"]) == (1, {"blocked": 1, "counted": 2}, 2)
        assert {one["id"] for one in rest["letters"]} == {other, small, large}
        [left] = [one["id"] for one in rest["letters"] if one["verdict"] == "blocked"]
        code, again = server.command("replay", "--all", check=False)
        assert (code, again["verdicts"], again["passedOver"]) == (1, {"blocked": 1}, 4)

        for _ in range(20):  # RAW has a row within a second or so
            told = server.command("explain", left)[1]
            if len(told["replayedBy"]) == 2:
                break
        assert [one["verdict"] for one in told["replayedBy"]] == ["blocked", "blocked"]
        told = server.command("explain", keyed)[1]
        assert [one["verdict"] for one in told["replayedBy"]] == ["dead", "counted"]
        told = server.command("explain", told["replayedBy"][1]["id"])[1]
        assert (told["event"]["replays"], told["event"]["verdict"]) == (keyed, "counted")
        assert keyed in told["why"]

        for reference, used in (("acme", 1 + 3 * 13), ("tiny", 13)):
            assert (await api.access(reference, "calls"))["consumption"]["unitsUsed"] == used
        assert all(one["identical"] for one in server.command("rebuild")[1]["lanes"])
        for reference, used in (("acme", 1 + 3 * 13), ("tiny", 13)):
            assert (await api.access(reference, "calls"))["consumption"]["unitsUsed"] == used
        _, verdict = server.command("audit")
        assert (verdict["differences"], verdict["eventsCounted"]) == ([], 5)
        async with asyncio.timeout(30):
            while True:
                metrics = (await api.http.get(server.url + "/metrics")).text
                if "meterline_dead_letters_open 1.0" in metrics:
                    break
                await asyncio.sleep(0.5)
