"""How subscriptions begin again after a pause, and what late usage of before it finds."""

import msgspec
import pytest

from aggregator.standing import NO_SUBSCRIPTION, NOT_IN_PLAN, Standing
from billing.life.beginning import anew, continued
from billing.life.frozen import framed
from billing.life.showing import AccountRow, snapshot_of
from billing.life.subscription import Pause, PauseMode
from billing.life.turning import entered
from catalog.terms import SubscriptionStatus, decode_snapshot, encode_snapshot
from kernel import ids
from kernel.limits import ENDED_FEATURES_MAX, ENDED_TERMS_DAYS, ENDED_TERMS_MAX
from kernel.period import DAY_US, parse_instant_us
from tests.unit.billing.make import ANCHOR, FEATURE, day, granted, period, subscription

RESUMED = day("2026-02-20")
PAUSED_AT = {
    PauseMode.IMMEDIATE: parse_instant_us("2026-02-10T15:00:00Z"),
    PauseMode.PERIOD_END: day("2026-02-28") * DAY_US,
}


def resumed(current, pause, term, on):
    """The terms with which a subscription goes on, on day `on`, under the number `term`."""
    if pause.mode is PauseMode.PERIOD_END:
        return framed(current, anew(current, pause, term, on * DAY_US // 1000))
    paused = subscription(status=SubscriptionStatus.PAUSED, pause=pause)
    return continued(paused, current, term, on * DAY_US // 1000)


def paused(mode, at_us):
    return Pause(mode=mode, effective_us=at_us, days=None, requested_ms=0)


def shown(periods, **changes):
    """The snapshot of a subscription that is in the last of its periods, as the log carries it."""
    account = AccountRow(
        customer_id=subscription().customer_id,
        organization_id=subscription().organization_id,
        rev=9,
        shown_rev=9,
        cut=1,
        open_cut=None,
        terms=3,
    )
    made = snapshot_of(account, entered(subscription(**changes), periods[-1]), periods)
    assert decode_snapshot(encode_snapshot(made)) == made
    return made


def place(snapshot, text, clock="2026-03-10", feature=FEATURE):
    return Standing(snapshot).place(ids.id_bytes(feature), parse_instant_us(text), day(clock) * DAY_US // 1000)


@pytest.mark.parametrize("mode", PauseMode)
def test_usage_of_before_a_pause_counts_in_its_own_window_and_what_is_within_it_nowhere(mode):
    """R-TRACK-20, R-SUB-13: to the instant of the pause, also where a change of plan came before it."""
    changed = period(0, term=2, start_us=day("2026-02-05") * DAY_US, counts_us=ANCHOR * DAY_US)
    on = RESUMED if mode is PauseMode.IMMEDIATE else day("2026-03-05")
    after = resumed(changed, paused(mode, PAUSED_AT[mode]), 3, on)
    assert after.first_us == on * DAY_US
    snapshot = shown([period(0), changed, after])
    [before] = snapshot.ended
    assert (before.terms.number, before.until_us) == (2, PAUSED_AT[mode])
    last = "2026-02-10T14:59:59.999999Z" if mode is PauseMode.IMMEDIATE else "2026-02-27T23:59:59.999999Z"
    for happened in ("2026-01-30T23:56:00Z", "2026-02-07T00:00:00Z", last):
        found = place(snapshot, happened)
        assert (found.key[1:], found.end, found.counted.cut) == ((2, ANCHOR), day("2026-02-28"), 2), happened
    first = "2026-02-10T15:00:00Z" if mode is PauseMode.IMMEDIATE else "2026-02-28T00:00:00Z"
    begun = "2026-02-19T23:55:00Z" if mode is PauseMode.IMMEDIATE else "2026-03-04T23:55:00Z"
    for happened in ("2026-01-30T23:54:00Z", first, begun.replace("55:00", "54:59")):
        assert place(snapshot, happened) == NO_SUBSCRIPTION, happened
    assert place(snapshot, begun).key[1] == 3


def test_between_terms_that_follow_each_other_the_instant_decides():
    """R-TRACK-10: no slack for clocks that differ reaches into the terms before, whose window is known."""
    noon, later = (parse_instant_us(f"2026-02-10T12:0{minute}:00Z") for minute in (0, 3))
    second = period(0, term=2, since_day=day("2026-02-10"), start_us=noon, ended_us=noon)
    third = msgspec.structs.replace(second, term=3, start_us=later, ended_us=later)
    snapshot = shown([period(0), second, third])
    at = {"11:59:59.999999": 1, "12:00:00": 2, "12:02:59.999999": 2, "12:03:00": 3}
    assert {time: place(snapshot, f"2026-02-10T{time}Z").key[1] for time in at} == at


def test_a_pause_at_the_periods_end_waits_for_no_close():
    """R-SUB-13: usage of from then on is refused while the settling delay runs; what is late for before counts."""
    snapshot = shown([period(0)], pause=paused(PauseMode.PERIOD_END, day("2026-02-28") * DAY_US))
    assert snapshot.status is SubscriptionStatus.ACTIVE
    assert place(snapshot, "2026-02-27T23:59:59.999999Z", "2026-02-28").key[1:] == (1, ANCHOR)
    assert place(snapshot, "2026-02-28T00:00:00Z", "2026-02-28") == NO_SUBSCRIPTION
    ends = shown([period(0)], end_us=7, pause=paused(PauseMode.PERIOD_END, 8)).end_us
    assert ends == 7


def test_each_of_several_pauses_leaves_what_was_before_it():
    """R-TRACK-20: between two pauses the terms of the first resume hold; two on one day leave both their sides."""
    noon, two, four, six = (parse_instant_us(f"2026-02-10T{hour}:00:00Z") for hour in (12, 14, 16, 18))
    second = msgspec.structs.replace(resumed(period(0), paused(PauseMode.IMMEDIATE, noon), 2, RESUMED), start_us=two)
    second = msgspec.structs.replace(second, since_day=day("2026-02-10"))
    third = msgspec.structs.replace(second, term=3, start_us=six, ended_us=four)
    snapshot = shown([period(0), second, third])
    assert [one.terms.number for one in snapshot.ended] == [2, 1]
    at = {"11:59": 1, "13:55": 2, "15:59": 2, "18:00": 3}
    assert {hour: place(snapshot, f"2026-02-10T{hour}:00Z").key[1] for hour in at} == at
    for hour in ("12:00", "13:54", "16:00", "17:54"):
        assert place(snapshot, f"2026-02-10T{hour}:00Z") == NO_SUBSCRIPTION, hour


def test_a_feature_that_was_not_granted_before_the_pause_does_not_count_there():
    """R-TRACK-7: the terms of the event's own time decide, whatever the plan grants now."""
    other = ids.id_text(ids.FEATURE, b"g" * 16)
    before = period(0, granted(), granted(feature=other, kind="boolean"))
    after = resumed(before, paused(PauseMode.IMMEDIATE, PAUSED_AT[PauseMode.IMMEDIATE]), 2, RESUMED)
    after = msgspec.structs.replace(after, features=(granted(), granted(feature=other)))
    snapshot = shown([before, after])
    assert [one.feature for one in snapshot.ended[0].terms.features] == [ids.id_bytes(FEATURE)]
    assert place(snapshot, "2026-02-07T00:00:00Z", feature=other) == NOT_IN_PLAN
    assert place(snapshot, "2026-02-21T00:00:00Z", feature=other).key[1] == 2


def test_a_snapshot_carries_no_more_pauses_than_late_usage_may_name():
    """R-TRACK-20: bounded, so that a record stays small; the latest are kept."""
    days = [RESUMED + 10 * number for number in range(ENDED_TERMS_MAX + 2)]
    periods = [period(0)]
    for number, on in enumerate(days, 2):
        periods.append(resumed(periods[-1], paused(PauseMode.IMMEDIATE, (on - 5) * DAY_US), number, on))
    assert [one.terms.number for one in shown(periods).ended] == [6, 5, 4, 3]
    assert ENDED_TERMS_MAX == 4
    [begin, first] = periods[:2]
    for later, kept in ((0, 1), (1, 0)):
        since = (first.ended_us // DAY_US) + ENDED_TERMS_DAYS - 1 + later
        renewed = msgspec.structs.replace(first, since_day=since, until_day=since + 30, ended_us=None)
        assert len(shown([begin, first, renewed]).ended) == kept
    many = tuple(granted(feature=ids.id_text(ids.FEATURE, number.to_bytes(16, "big"))) for number in range(300))
    wide = [period(0, *many), *(msgspec.structs.replace(one, features=many) for one in periods[1:4])]
    assert len(shown(wide).ended) == ENDED_FEATURES_MAX // len(many)
