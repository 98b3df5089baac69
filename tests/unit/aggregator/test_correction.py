"""Corrections: what they give back and to what, which are judged like usage, and which are refused. Source: ADR 10."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregator.account import Draws
from aggregator.correction_event import (
    REASON,
    Correction,
    Sending,
    check_correctable,
    correction_event,
    counted_now,
)
from aggregator.pool_left import left
from aggregator.row import corrected_of, drawn_of
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, SubscriptionStatus, TopUp
from ingest.verdict import Verdict
from kernel.errors import Rejected
from kernel.period import parse_instant_us
from kernel.position import Position
from tests.unit.aggregator.correction_case import Customer, later
from tests.unit.aggregator.pool_case import (
    CHAT,
    FREE,
    IMAGES,
    ONE,
    TEXTS,
    balance,
    chat,
    day,
    event,
    ms,
    snapshot,
    terms,
)

JANUARY, FEBRUARY = day("2026-01-01"), day("2026-02-01")
COUNTED = (Verdict.COUNTED, "")
CLOSED = (Verdict.REFUSED, "window_closed")
HARD = FeatureTerms(feature=IMAGES, code="images", kind="metered", included=10 * ONE)
OVER = FeatureTerms(feature=TEXTS, code="texts", kind="metered", included=10 * ONE, overage=True, unit_price="0.1")


def metered(**change: Any) -> Snapshot:
    return snapshot(terms(ConsumptionModel.METERED, 0, features=(HARD, OVER)), **change)


def used(customer: Customer, feature: bytes = IMAGES, window: int = JANUARY) -> float:
    return customer.account.totals[feature, 1, window].now / ONE


def test_a_voided_event_counts_nothing_in_its_own_window() -> None:
    customer = Customer(metered())
    kept, wrong = customer.use(event(TEXTS, "2")), customer.use(event(TEXTS, "3.5", happened="2026-01-05T06:00"))
    gone = customer.void(wrong)
    assert (customer.last, used(customer, TEXTS)) == (COUNTED, 2)
    assert (gone.quantity, gone.event_time, gone.cut) == ("-3.5", wrong.event_time, 1)
    assert (gone.term, gone.window, gone.window_end) == (wrong.term, wrong.window, wrong.window_end)
    assert gone.corrects == Position(1, 0, wrong.offset, 0).event_id()
    assert customer.corrections_of(kept) == []


def test_an_amended_event_is_amended_again_from_what_it_counts() -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "2"))
    for number, value in enumerate(("5", "1.25", "0", "7"), 1):
        changed = customer.amend(row, value)
        said = corrected_of(changed)
        assert said is not None
        assert (customer.last, said.number, said.void) == (COUNTED, number, False)
        assert used(customer, TEXTS) == float(value)
        assert counted_now(row, customer.corrections_of(row)) == customer.account.totals[TEXTS, 1, JANUARY].now / ONE
    customer.void(row)
    assert used(customer, TEXTS) == 0


def test_an_amendment_upward_is_blocked_by_a_hard_limit_and_may_be_tried_again() -> None:
    """R-METER-4."""
    customer = Customer(metered())
    row, other = customer.use(event(IMAGES, "4")), customer.use(event(IMAGES, "5"))
    customer.amend(row, "6")
    assert customer.last == (Verdict.BLOCKED, "included_limit_reached")
    customer.void(other)
    customer.use(later(customer.correction(row, "6"), "2026-01-13"))
    assert (customer.last, used(customer)) == (COUNTED, 6)


def test_an_amendment_downward_needs_no_room() -> None:
    customer = Customer(metered())
    row = customer.use(event(IMAGES, "9"))
    customer.show(metered(rev=2, terms=replace(metered().terms, features=(replace(HARD, included=ONE), OVER))))
    customer.amend(row, "8")
    assert (customer.last, used(customer)) == (COUNTED, 8)


def test_of_two_corrections_with_one_number_one_counts() -> None:
    """ADR 10: two gateways read the same and correct at once."""
    customer = Customer(metered())
    row = customer.use(event(IMAGES, "4"))
    first, second, third = (customer.correction(row, value) for value in ("3", None, "3"))
    customer.use(first)
    customer.use(second)
    assert customer.last == (Verdict.CONFLICT, "")
    customer.use(third)
    assert (customer.last, used(customer)) == ((Verdict.DUPLICATE, ""), 3)
    customer.void(row)
    assert (customer.last, used(customer)) == (COUNTED, 0)


@pytest.mark.parametrize("value", [None, "1"])
def test_an_earlier_window_is_corrected_until_it_is_forgotten(value: str | None) -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    customer.show(metered(rev=2, cut=1))
    customer.use(later(customer.correction(row, "2"), "2026-02-20"))
    total = customer.account.totals[TEXTS, 1, JANUARY]
    assert (customer.last, total.now, total.at_cut) == (COUNTED, 2 * ONE, 4 * ONE)
    assert customer.said[-1].cut == 2
    customer.use(later(customer.correction(row, value), "2026-03-09"))
    assert customer.last == CLOSED


def test_more_counts_in_an_earlier_window_where_late_usage_would() -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    customer.use(later(customer.correction(row, "5"), "2026-02-20"))
    assert (customer.last, used(customer, TEXTS)) == (COUNTED, 5)


def test_more_is_refused_once_other_terms_have_its_time_and_less_is_not() -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    old = metered().terms
    assert old is not None
    new = replace(
        old, number=2, start_us=parse_instant_us("2026-01-11"), anchor=day("2026-01-11"), counts_us=old.start_us
    )
    customer.show(metered(rev=2, terms=new))
    customer.amend(row, "5")
    assert customer.last == CLOSED
    customer.use(later(customer.correction(row, "3"), "2026-01-13"))
    assert (customer.last, used(customer, TEXTS)) == (COUNTED, 3)


def test_what_no_live_subscription_covers_is_not_corrected() -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    customer.show(metered(rev=2, status=SubscriptionStatus.CANCELED))
    customer.void(row)
    assert customer.last == (Verdict.REFUSED, "no_active_subscription")
    began = terms(ConsumptionModel.METERED, 0, features=(OVER,), number=2, start_us=parse_instant_us("2026-01-11"))
    customer.show(snapshot(began, rev=3))
    customer.use(later(customer.correction(row, None), "2026-01-13"))
    assert customer.last == (Verdict.REFUSED, "no_active_subscription")
    assert used(customer, TEXTS) == 4


def test_what_counts_for_a_subscription_that_ended_is_not_corrected_in_the_slack_of_the_next() -> None:
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    start_us = row.event_time + 60_000_000
    began = terms(ConsumptionModel.METERED, 0, features=(OVER,), number=2, start_us=start_us)
    customer.show(snapshot(began, rev=2))
    customer.void(row)
    assert customer.last == (Verdict.REFUSED, "no_active_subscription")
    own = customer.use(event(TEXTS, "3"))
    customer.void(own)
    assert (customer.last, used(customer, TEXTS)) == (COUNTED, 4)


def test_what_its_window_does_not_hold_is_not_taken_back() -> None:
    """Facts that cannot be make a dead letter, and change nothing."""
    customer = Customer(metered())
    row = customer.use(event(TEXTS, "4"))
    sent = customer.correction(row, None)
    customer.use(replace(sent, quantity="-5"))
    assert (customer.last[0], used(customer, TEXTS)) == (Verdict.DEAD, 4)


def test_a_void_gives_back_last_what_was_drawn_first() -> None:
    """R-BAL-3, R-TOPUP-4: as if the event had never been sent."""
    bought = (TopUp(term=1, window=JANUARY, amount=2 * ONE),)
    customer = Customer(snapshot(balance(5, overdraft=True), top_ups=bought))
    first = customer.use(event(IMAGES, "20"))  # 5.00: the plan's part
    customer.use(event(IMAGES, "12"))  # 3.00: 2.00 of top-ups, 1.00 beyond
    assert customer.account.draws[1, JANUARY].now == Draws(plan=5 * ONE, top_ups=2 * ONE, overdraft=ONE)
    told = drawn_of(customer.amend(first, "12"))  # 3.00
    assert told is not None
    assert (told.cost, told.plan, told.top_ups, told.overdraft, told.left) == (-2 * ONE, 0, -ONE, -ONE, ONE)
    told = drawn_of(customer.void(first))
    assert told is not None
    assert (told.cost, told.plan, told.top_ups, told.left) == (-3 * ONE, -2 * ONE, -ONE, 4 * ONE)
    assert customer.account.draws[1, JANUARY].now == Draws(plan=3 * ONE)


def test_packs_of_an_earlier_window_can_be_used_again_and_its_plan_part_not() -> None:
    """R-CREDIT-3."""
    under = snapshot(terms(pool=25), packs=20 * ONE)
    customer = Customer(under)
    row = customer.use(event(IMAGES, "4"))  # 25 of the plan, 15 of packs
    customer.use(later(customer.correction(row, "1"), "2026-02-03"))  # 30 less
    assert customer.said[-1].drawn is not None
    assert customer.said[-1].drawn.left == 45 * ONE
    now = left(customer.account, under, ms("2026-02-03"))
    assert (now.plan, now.extra, customer.account.packs) == (25 * ONE, 20 * ONE, 0)


def test_more_of_a_pool_is_drawn_like_usage_in_its_own_window_alone() -> None:
    """R-CREDIT-5."""
    customer = Customer(snapshot(terms(pool=50)))
    row = customer.use(event(IMAGES, "2"))
    customer.amend(row, "6")
    assert customer.last == (Verdict.BLOCKED, "insufficient_credits")
    customer.use(later(customer.correction(row, "5"), "2026-01-13"))
    assert (customer.last, left(customer.account, snapshot(terms(pool=50)), ms("2026-01-13")).plan) == (COUNTED, 0)
    customer.use(later(customer.correction(row, "6"), "2026-02-13"))
    assert customer.last == CLOSED


def test_a_draw_that_came_to_nothing_stays_as_long_as_its_window() -> None:
    customer = Customer(snapshot(terms(pool=50)))
    customer.void(customer.use(event(IMAGES, "2")))
    assert customer.account.draws[1, JANUARY].now == Draws()
    customer.use(event(FREE, at="2026-01-20"))
    assert (1, JANUARY) in customer.account.draws
    customer.use(event(FREE, at="2026-03-09"))
    assert (1, JANUARY) not in customer.account.draws


def test_an_ai_event_is_voided_for_what_it_took() -> None:
    """R-BAL-7: it took the rest of a hard balance, less than it cost."""
    customer = Customer(snapshot(balance(1)))
    row = customer.use(chat("2"))
    told = drawn_of(customer.void(row))
    assert told is not None
    assert (told.cost, told.plan, told.left) == (-2_400_000_000, -ONE, ONE)
    assert used(customer, CHAT) == 0


@pytest.mark.parametrize(
    ("sent", "value", "code"),
    [
        (event(IMAGES, "3"), "3", "no_change_requested"),
        (chat("0.1"), "7", "validation_error"),
    ],
)
def test_what_cannot_be_asked_for(sent: Any, value: str, code: str) -> None:
    customer = Customer(snapshot(balance(20)))
    row = customer.use(sent)
    with pytest.raises(Rejected) as refused:
        customer.correction(row, value)
    assert refused.value.refusal.code == code


def test_a_void_event_is_not_corrected_again() -> None:
    customer = Customer(metered())
    row = customer.use(event(IMAGES, "3"))
    gone = customer.void(row)
    for value in (None, "2"):
        with pytest.raises(Rejected) as refused:
            customer.correction(row, value)
        assert refused.value.refusal.code == "event_voided"
        assert refused.value.refusal.details == {"eventId": Position(1, 0, gone.offset, 0).event_id()}


def test_what_a_correction_says() -> None:
    customer = Customer(snapshot(terms(pool=50)))
    row = customer.use(event(IMAGES, "2"))
    customer.amend(row, "3")
    sending = Sending(at_ms=9, clock_ms=7, secret=b"s", request=b"request1")
    asked = Correction(value=None, reason="sent twice")
    made = correction_event(row, customer.corrections_of(row), asked, sending)
    said = made.corrects
    assert said is not None
    assert (made.quantity, made.at_ms, made.clock_ms, made.request) == ("-3", 9, 7, b"request1")
    assert (made.key, made.properties) == (f"{said.event().event_id()}#2", ((REASON, "sent twice"),))
    assert (said.number, said.void, said.quantity, said.cost, said.taken) == (2, True, "3", 30 * ONE, 30 * ONE)
    assert said.pool == "credits"
    refused = replace(row, verdict="blocked", code="insufficient_credits")
    for bad, code in (
        (refused, "event_not_counted"),
        (replace(row, verdict=""), "event_not_settled"),
        (customer.rows[-1], "event_is_correction"),
    ):
        with pytest.raises(Rejected) as error:
            check_correctable(bad)
        assert error.value.refusal.code == code
    check_correctable(row)


def test_what_is_rounded_is_rounded_as_the_whole() -> None:
    """R-GEN-2: a use of 3 at 1.5e-9 costs 4.5e-9, 5e-9 rounded; of 1 it costs 2e-9."""
    tiny = FeatureTerms(feature=IMAGES, code="images", kind="metered", unit_price="0.0000000015")
    customer = Customer(snapshot(balance(1, features=(tiny,))))
    row = customer.use(event(IMAGES, "1"))
    for value, cost in (("3", 5), ("2", 3), ("1", 2), ("2", 3), ("0", 0)):
        customer.amend(row, value)
        assert customer.account.draws[1, JANUARY].now.plan == cost
