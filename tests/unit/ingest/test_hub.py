"""Where verdicts meet those who wait: in either order, in time or not, and never without bound."""

import asyncio

from ingest.gateway import hub as hub_module
from ingest.gateway.hub import VerdictHub
from ingest.verdict import Outcome, Verdict

OUTCOMES = [Outcome(verdict=Verdict.COUNTED)]
OTHERS = [Outcome(verdict=Verdict.BLOCKED)]


async def test_a_verdict_reaches_who_waits_for_it():
    hub = VerdictHub(epoch=1)
    waiting = [asyncio.create_task(hub.wait(lane, offset, 1_000)) for lane, offset in ((0, 7), (1, 7), (0, 8))]
    await asyncio.sleep(0)
    hub.publish(1, 1, 7, OTHERS)
    hub.publish(1, 0, 7, OUTCOMES)
    hub.publish(1, 0, 8, [])
    assert await asyncio.gather(*waiting) == [OUTCOMES, OTHERS, []]


async def test_a_verdict_may_come_before_anybody_waits_and_is_given_once():
    hub = VerdictHub()
    hub.publish(1, 0, 7, OUTCOMES)
    hub.publish(1, 0, 7, OUTCOMES)
    assert await hub.wait(0, 7, 0) == OUTCOMES
    assert await hub.wait(0, 7, 5) is None


async def test_no_verdict_in_time_is_none_and_a_late_one_is_remembered():
    hub = VerdictHub(epoch=1)
    assert await hub.wait(0, 7, 10) is None
    hub.publish(1, 0, 7, OUTCOMES)
    assert await hub.wait(0, 7, 10) == OUTCOMES


async def test_another_epoch_says_nothing():
    hub = VerdictHub(epoch=2)
    hub.publish(1, 0, 7, OUTCOMES)
    assert await hub.wait(0, 7, 5) is None


async def test_a_waiter_that_went_away_leaves_the_verdict_to_the_next():
    hub = VerdictHub()
    gone = asyncio.create_task(hub.wait(0, 7, 1_000))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    hub.publish(1, 0, 7, OUTCOMES)
    assert await hub.wait(0, 7, 0) == OUTCOMES


async def test_what_nobody_claims_is_bounded_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setattr(hub_module, "UNCLAIMED_OUTCOMES_MAX", 100)
    hub = VerdictHub()
    for offset in range(1_000):
        hub.publish(1, 0, offset, OUTCOMES * 3)
    assert await hub.wait(0, 966, 0) is None
    assert await hub.wait(0, 967, 0) == OUTCOMES * 3
    assert await hub.wait(0, 999, 0) == OUTCOMES * 3


def test_hints_are_bounded_and_absent_counts_as_limited(monkeypatch):
    monkeypatch.setattr(hub_module, "HINTS_MAX", 3)
    hub = VerdictHub()
    assert hub.limited(b"a", b"f")
    for customer in (b"a", b"b", b"c", b"a", b"d"):
        hub.learn({(customer, b"f"): False})
    assert not hub.limited(b"a", b"f")
    assert hub.limited(b"b", b"f")
    assert hub.limited(b"a", b"g")
    hub.learn({(b"a", b"f"): True})
    assert hub.limited(b"a", b"f")
