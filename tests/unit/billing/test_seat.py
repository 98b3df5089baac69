import msgspec
import pytest

from billing.life.paused import Part, days_of, parts_of
from billing.money.invoice import LineKind
from billing.sale.seat import (
    Operation,
    SeatBook,
    SeatChange,
    SeatEvent,
    book_of,
    camelized,
    count_after,
    extra_seats,
    refusal_of,
    seat_feature,
    seat_lines,
    true_up_lines,
)
from catalog.definition import Feature, FeatureKind
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal, Rejected
from kernel.period import DAY_MS, DAY_US, Interval, boundary
from tests.unit.billing.make import day, granted, period

MEMBER, ADMIN = "ftr_member", "ftr_admin"
JANUARY = (day("2026-01-01"), day("2026-02-01"))


def seats(feature=MEMBER, included="5", unit_price="25", code="member", **changes):
    return granted(
        feature=feature, code=code, name=code, kind="seats", included=included, unit_price=unit_price, **changes
    )


def terms(*features, days=JANUARY):
    return msgspec.structs.replace(period(0), since_day=days[0], until_day=days[1], features=features or (seats(),))


def book(at_start, *changes):
    found, held = [], at_start
    for when, after in changes:
        found.append(SeatChange(day(when), held, after))
        held = after
    return {MEMBER: SeatBook(at_start=at_start, changes=tuple(found))}


def lines(ending, following, books):
    made = seat_lines(ending, following, books, currency="usd", term=1, cut=1)
    return [(line.kind.value, line.quantity, line.amount_minor) for line in made]


def ending(*changes, at_start=5, period=None):
    """The true-ups of a period as (quantity, amount)."""
    return [(quantity, amount) for _, quantity, amount in lines(period or terms(), None, book(at_start, *changes))]


def test_seats_beyond_the_included_are_charged_in_advance():
    """R-SEAT-5, R-SEAT-6: DOC-SEAT-01, 8 held, 5 included, 25.00 each."""
    assert extra_seats(seats(), 8) == 3
    assert extra_seats(seats(), 5) == extra_seats(seats(), 0) == extra_seats(seats(included=None), 8) == 0
    assert lines(None, terms(), book(8)) == [("seats", "3", 7500)]
    assert lines(None, terms(), book(5)) == []


def test_a_renewal_charges_what_is_held_then():
    """R-SEAT-6: at the new period's allowance and price (DOC-SEAT-02, DOC-SEAT-03, DOC-SEAT-06)."""
    following = terms(seats(included="10", unit_price="35"), days=(day("2026-02-01"), day("2026-03-01")))
    assert lines(None, following, book(5, ("2026-01-20", 12))) == [("seats", "2", 7000)]


def test_growth_is_charged_once_for_the_days_that_are_left():
    """R-SEAT-7, R-SEAT-9: actual days, the day of the change used. Day 11 of 31 leaves 20: 50 x 20/31 = 32.26."""
    assert ending(("2026-01-11", 7)) == [("2", 3226)]
    assert ending(("2026-01-01", 6)) == [("1", 2419)], "on the first day 30 of 31 are left"
    assert ending(("2026-01-31", 6)) == [("1", 0)], "on the last day none"


def test_growth_of_two_days_is_two_lines_and_of_one_day_one():
    """R-SEAT-7, R-GEN-2: one rounding a line."""
    assert ending(("2026-01-11", 6), ("2026-01-11", 7), ("2026-01-21", 8)) == [("2", 3226), ("1", 806)]


@pytest.mark.parametrize(
    ("at_start", "changes", "charged"),
    [
        (8, [("2026-01-05", 5), ("2026-01-10", 8)], []),
        (8, [("2026-01-05", 5), ("2026-01-11", 10)], [("2", 3226)]),
        (3, [("2026-01-05", 5)], []),
        (3, [("2026-01-11", 6)], [("1", 1613)]),
        (5, [("2026-01-11", 7), ("2026-01-12", 2), ("2026-01-21", 7)], [("2", 3226)]),
        (5, [("2026-01-11", 7), ("2026-01-12", 2), ("2026-01-21", 8)], [("2", 3226), ("1", 806)]),
    ],
)
def test_only_growth_above_the_paid_level_is_charged(at_start, changes, charged):
    """R-SEAT-8: no refund for removal, adding again up to the level is free."""
    assert ending(*changes, at_start=at_start) == charged


def test_raised_included_seats_lift_the_level_at_once():
    """R-SEAT-11: what is not charged yet drops with it; lowered ones wait, since the terms never fall in a period."""
    raised = terms(seats(included="10"))
    assert ending(("2026-01-11", 8), period=raised) == []
    assert ending(("2026-01-11", 12), period=raised) == [("2", 3226)]


def test_the_periods_own_price_holds_for_true_ups():
    """R-SEAT-12: the ending period is trued up at its price, the following one charged at its own."""
    following = terms(seats(unit_price="35"), days=(day("2026-02-01"), day("2026-03-01")))
    assert lines(terms(), following, book(5, ("2026-01-11", 7))) == [
        ("seats", "2", 7000),
        ("seat_true_up", "2", 3226),
    ]


@pytest.mark.parametrize(("interval", "days", "amount"), [("quarterly", 90, 1972), ("yearly", 365, 2432)])
def test_a_true_up_is_a_share_of_the_whole_quarter_or_year(interval, days, amount):
    """R-SEAT-10: 25.00 x 71/90, and x 355/365, on 20 and 11 January... of the billing period, not of the month."""
    start = day("2026-01-01")
    end = boundary(start, 1, Interval(interval))
    added = "2026-01-19" if interval == "quarterly" else "2026-01-10"
    assert end - start == days
    assert ending((added, 6), period=terms(days=(start, end))) == [("1", amount)]


def test_each_seat_type_has_its_own_allowance_and_price():
    """R-SEAT-15."""
    both = terms(seats(), seats(ADMIN, included="1", unit_price="100", code="admin"))
    books = {MEMBER: SeatBook(at_start=4), ADMIN: SeatBook(at_start=3)}
    assert lines(None, both, books) == [("seats", "2", 20000)]
    [line] = seat_lines(None, both, books, currency="usd", term=1, cut=1)
    assert (line.feature_code, line.included, line.used, line.overage, line.unit_price) == (
        "admin",
        "1",
        "3",
        "2",
        "100",
    )
    assert "seats:admin" in line.description


def test_seat_lines_say_how_they_charge():
    """R-SEAT-13, R-INV-8: their own kinds, so that a discount, which is the base's alone, never touches them."""
    made = seat_lines(terms(), terms(), book(6, ("2026-01-11", 7)), currency="usd", term=1, cut=1)
    assert [(line.kind, line.line_type, line.charge_type) for line in made] == [
        (LineKind.SEATS, "feature_seats", "advance"),
        (LineKind.SEAT_TRUE_UP, "feature_seats", "true_up"),
    ]


def test_a_count_changes_as_documented():
    """R-SEAT-1, R-SEAT-2: DOC-SEAT-07, add 5, remove 2, set 10, and 11 cannot be removed."""
    counts, held = [], 0
    for operation, count in [(Operation.ADD, 5), (Operation.REMOVE, 2), (Operation.SET, 10), (Operation.REMOVE, 11)]:
        after = count_after(operation, held, count)
        held = held if isinstance(after, Refusal) else after
        counts.append(held)
    assert counts == [5, 3, 10, 10]
    assert count_after(Operation.REMOVE, 10, 11).code == "insufficient_seats"
    assert count_after(Operation.ADD, 1, 10**7).code == "seat_limit_exceeded"


def refused(feature, before, after, *, status=SubscriptionStatus.ACTIVE, free=False, currency="usd"):
    return refusal_of(feature, before, after, status=status, free=free, currency=currency)


@pytest.mark.parametrize(
    ("changes", "after", "status", "free", "code"),
    [
        ({}, 6, "active", False, None),
        ({}, 6, "past_due", False, None),
        ({}, 5, "trialing", False, None),
        ({}, 6, "trialing", False, "seat_limit_exceeded"),
        ({}, 5, "active", True, None),
        ({}, 6, "active", True, "seat_limit_exceeded"),
        ({"unit_price": "0"}, 6, "active", False, "seat_limit_exceeded"),
        ({"overage": False}, 6, "active", False, "seat_limit_exceeded"),
        ({"included": None, "unit_price": "0"}, 600, "trialing", False, None),
        ({"enabled": False}, 1, "active", False, "feature_not_in_plan"),
    ],
)
def test_seats_beyond_the_included_need_a_paid_plan_that_sells_them(changes, after, status, free, code):
    """R-SEAT-14."""
    found = refused(seats(**changes), 0, after, status=SubscriptionStatus(status), free=free)
    assert (found and found.code) == code


def test_what_is_held_is_never_refused():
    """R-SEAT-14: only growth is; and a plan without the type has no seats of it (R-SEAT-4)."""
    assert refused(seats(), 9, 8, status=SubscriptionStatus.TRIALING) is None
    assert refused(None, 0, 1).code == "feature_not_in_plan"
    assert refused(granted(), 0, 1).code == "feature_not_in_plan"


def test_seats_cost_no_more_than_a_price_may_be():
    """R-GEN-2: what is charged fits its column. 10,000 beyond the included ones at 1,000,000.00 are the most."""
    dear = seats(unit_price="1000000")
    assert refused(dear, 0, 10_005) is None
    found = refused(dear, 0, 10_006)
    assert found.code == "seat_limit_exceeded"
    assert found.message.endswith("10006 would cost 1000100000000 minor units a period, of at most 1000000000000.")
    assert refused(dear, 0, 1_000_005, currency="jpy") is None, "a yen has no minor unit"
    assert refused(dear, 20_000, 20_000) is None, "what is held stays"


def event(number, after, ts_ms, term):
    return SeatEvent(
        id=f"ste_{number}",
        organization_id="org_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        feature_id=MEMBER,
        feature_code="member",
        number=number,
        operation=Operation.SET,
        quantity=after,
        before=0,
        after=after,
        term=term,
        ts_ms=ts_ms,
        created_ms=0,
    )


def test_a_book_divides_events_by_time_and_at_one_instant_by_terms():
    """R-SEAT-6, AMB-5: a change at a boundary's instant belongs to the period that begins."""
    start, end = (one * DAY_MS for one in JANUARY)
    events = [event(1, 3, start - 1, 1), event(2, 4, start, 1), event(3, 6, start, 2), event(4, 7, end - 1, 2)]
    later = [*events, event(5, 9, end, 2)]
    found = book_of(later, parts=[Part(2, start, 0)], until_ms=end)
    assert (found.at_start, [one.after for one in found.changes], found.at_end) == (4, [6, 7], 7)
    ended = book_of(later, parts=[Part(1, start, 0)], until_ms=end)
    assert (ended.at_start, [one.after for one in ended.changes]) == (3, [4])
    assert book_of(later, parts=[Part(2, end, 0)], until_ms=end).at_end == 7
    assert book_of([], parts=[Part(1, start, 0)], until_ms=end) == SeatBook()


def test_a_pause_is_cut_out_of_a_book():
    """R-SEAT-7, R-SEAT-8, R-SEAT-9: one paid level for both parts, and each change has the days that were left."""
    begun = msgspec.structs.replace(terms(), anchor_day=JANUARY[0], start_us=JANUARY[0] * DAY_US)
    shift = 60
    rest = msgspec.structs.replace(
        begun,
        term=2,
        since_day=JANUARY[0] + 10 + shift,
        until_day=JANUARY[1] + shift,
        anchor_day=JANUARY[1] + shift,
        start_us=(JANUARY[0] + 10 + shift) * DAY_US,
    )
    parts, days = parts_of([begun, rest], rest), days_of([begun, rest], rest)
    assert [(part.term, part.shift) for part in parts] == [(1, shift), (2, 0)]
    assert days is not None
    assert (days.end - days.start, days.end) == (31, rest.until_day)
    assert days_of([begun, rest], begun) is None
    events = [
        event(1, 7, JANUARY[0] * DAY_MS - 1, 1),
        event(2, 9, (JANUARY[0] + 4) * DAY_MS, 1),
        event(3, 2, (JANUARY[0] + 5) * DAY_MS, 1),
        event(4, 10, (JANUARY[0] + shift + 20) * DAY_MS, 2),
    ]
    held = book_of(events, parts=parts, until_ms=(JANUARY[1] + shift) * DAY_MS, days=days)
    made = true_up_lines(rest, {MEMBER: held}, currency="usd", term=2, cut=1)
    # 2 seats with 26 of 31 days left, 1 with 10
    assert [(line.quantity, line.amount_minor) for line in made] == [("2", 4194), ("1", 806)]
    assert "2026-01-05: 26 of 31 days" in made[0].description


def feature(code, kind=FeatureKind.SEATS, seat_type=None):
    return Feature(
        id=code.encode().ljust(16, b"."),
        organization=b"o" * 16,
        code=code,
        event_code=code,
        name=code,
        kind=kind,
        seat_type=seat_type,
    )


def test_a_seat_type_is_found_by_every_spelling_that_clients_send():
    """R-SEAT-4, contract 1.8: the code, the seat type, the code camelized; two candidates are refused."""
    known = [
        feature("team_member"),
        feature("editor", seat_type="writer"),
        feature("calls", FeatureKind.METERED),
        feature("a_b"),
        feature("a__b"),
        feature("x", seat_type="both"),
        feature("y", seat_type="both"),
    ]
    assert [seat_feature(known, key).code for key in ("team_member", "teamMember", "editor", "writer")] == [
        "team_member",
        "team_member",
        "editor",
        "editor",
    ]
    for key, code in [
        ("calls", "feature_not_found"),
        ("nothing", "feature_not_found"),
        ("aB", "validation_error"),
        ("both", "validation_error"),
    ]:
        with pytest.raises(Rejected) as caught:
            seat_feature(known, key)
        assert caught.value.refusal.code == code
    assert camelized("team_member_x") == "teamMemberX"
