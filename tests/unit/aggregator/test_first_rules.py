"""An epoch of rules 1 is folded to its end as it was begun."""

from msgspec.structs import replace

from aggregator.account import Account
from aggregator.fold import JUDGES, RULES
from aggregator.standing import Standing
from catalog.terms import ConsumptionModel, SubscriptionStatus
from ingest.key_entry import EntryKind, KeyEntry
from ingest.verdict import Verdict
from kernel.position import Position
from tests.unit.aggregator.pool_case import FEATURES, IMAGES, ONE, day, event, snapshot, terms

LIMITED = replace(FEATURES[0], included=2 * ONE)
METERED = terms(ConsumptionModel.METERED, features=(LIMITED,))


def judged(rules, under, *events, entry=None):
    account, standing = Account(), Standing(under) if under is not None else None
    return [JUDGES[rules](account, standing, one, entry, lane_clock_ms=one.at_ms, at_ms=one.at_ms) for one in events]


def test_the_terms_are_those_of_the_windows_first_day():
    following = replace(METERED, since=day("2026-01-15"), features=(replace(LIMITED, included=9 * ONE),))
    under, sent = snapshot(METERED, next=following), event(IMAGES, "5", at="2026-01-20")
    assert judged(1, under, sent)[0].verdict is Verdict.BLOCKED
    assert judged(RULES, under, sent)[0].verdict is Verdict.COUNTED


def test_both_rules_agree_on_what_was_before_there_were_pools():
    events = [
        event(IMAGES, "2"),
        event(IMAGES, "1"),
        event(IMAGES, "2", at="2026-02-10"),
        event(b"?" * 16),
        event(at="2025-12-31T23:54:00"),
        event(at="2025-12-31T23:56:00", quantity="0"),
        event(IMAGES, "1", at="2026-03-28", happened="2026-02-21"),
        event(IMAGES, "1", at="2026-06-28", happened="2026-01-21"),
    ]
    for under in (
        None,
        snapshot(METERED),
        snapshot(METERED, end_us=event(at="2026-02-01").event_time_us),
        snapshot(METERED, status=SubscriptionStatus.CANCELED),
        replace(snapshot(METERED), terms=None),
    ):
        assert judged(1, under, *events) == judged(RULES, under, *events)


def test_only_an_active_subscription_took_usage():
    assert judged(1, snapshot(METERED, status=SubscriptionStatus.PAST_DUE), event())[0].verdict is Verdict.REFUSED


def test_keys_are_judged_alike():
    entry = KeyEntry(
        kind=EntryKind.COUNTED,
        position=Position(1, 0, 4, 2),
        at_ms=event().at_ms,
        content=b"content1",
        request=bytes(8),
    )
    [first], [second] = (judged(rules, snapshot(METERED), event(), entry=entry) for rules in (1, RULES))
    assert first == second
    assert first.verdict is Verdict.DUPLICATE
