"""How subscriptions begin again after a pause."""

import pytest

from aggregator.standing import NO_SUBSCRIPTION, Standing
from billing.life.beginning import anew, continued, next_frame
from billing.life.frozen import framed
from billing.life.showing import AccountRow, snapshot_of
from billing.life.subscription import Pause, PauseMode
from billing.life.turning import entered
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.period import DAY_US, Interval, parse_instant_us
from tests.unit.billing.make import FEATURE, day, period, subscription

PAUSED, RESUMED = day("2026-02-10"), day("2026-02-20")


def resumed(mode):
    """The terms after a pause of ten days; before it there had been a change of plan."""
    current = period(0, term=2, start_us=day("2026-02-05") * DAY_US, counts_us=day("2026-01-31") * DAY_US)
    now_ms = RESUMED * DAY_US // 1000
    if mode is PauseMode.PERIOD_END:
        return framed(current, anew(current, 3, now_ms))
    pause = Pause(mode=mode, effective_us=PAUSED * DAY_US, days=None, requested_ms=0)
    return continued(subscription(status=SubscriptionStatus.PAUSED, pause=pause), current, 3, now_ms)


@pytest.mark.parametrize("mode", PauseMode)
def test_usage_of_before_and_within_a_pause_is_refused_after_it(mode):
    """R-SUB-13: it is over with its invoice, or was never allowed, also where a change of plan came before."""
    terms = resumed(mode)
    assert terms.first_us == RESUMED * DAY_US
    assert next_frame(terms, Interval.MONTHLY, new_term=4).first_us == RESUMED * DAY_US, "and stays so"
    account = AccountRow(
        customer_id=subscription().customer_id,
        organization_id=subscription().organization_id,
        rev=9,
        shown_rev=9,
        cut=1,
        open_cut=None,
        terms=3,
    )
    standing = Standing(snapshot_of(account, entered(subscription(), terms), [terms]))

    def place(text):
        return standing.place(ids.id_bytes(FEATURE), parse_instant_us(text), RESUMED * DAY_US // 1000)

    for late in ("2026-02-09T12:00:00Z", "2026-02-15T12:00:00Z", "2026-02-19T23:54:00Z"):
        assert place(late) == NO_SUBSCRIPTION, late
    assert place("2026-02-20T00:00:00Z").key[1] == 3
