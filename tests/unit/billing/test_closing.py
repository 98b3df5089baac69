from billing.life.frozen import Earlier
from billing.money.closing import Billed, Window, WindowUsage, plan_close
from kernel.period import DAY_MS, Interval, boundary
from kernel.quantity import to_units
from tests.unit.billing.make import ANCHOR, FEATURE, close, day, granted, period


def window(index, feature=FEATURE, term=1):
    return Window(feature, term, boundary(ANCHOR, index, Interval.MONTHLY))


def usage(index, quantity):
    return WindowUsage(end=boundary(ANCHOR, index + 1, Interval.MONTHLY), units=to_units(quantity))


def lines(draft):
    return [(line.kind.value, line.quantity, line.amount_minor) for line in draft.lines]


def test_a_renewal_bills_the_next_base_and_the_ended_window():
    periods = [period(0), period(1, base_minor=5900)]
    draft = plan_close(close(0, cut=1), periods, {window(0): usage(0, "12.5"), window(1): usage(1, "99")}, {})
    assert lines(draft) == [("plan_base", "1", 5900), ("overage", "2.5", 4)]
    assert draft.total_minor == 5904
    assert draft.period_start_ms == draft.issued_ms == day("2026-02-28") * DAY_MS
    assert draft.period_end_ms == day("2026-03-31") * DAY_MS
    overage = draft.lines[1]
    assert (overage.included, overage.used, overage.overage) == ("10", "12.5", "2.5")
    assert (overage.cut_after, overage.cut, overage.line_type) == (0, 1, "feature_overage")


def test_a_month_without_overage_is_the_base_alone():
    assert lines(plan_close(close(0, cut=1), [period(0), period(1)], {window(0): usage(0, "10")}, {})) == [
        ("plan_base", "1", 4900)
    ]


def test_a_base_of_zero_is_still_a_line():
    assert lines(plan_close(close(0, cut=1), [period(0), period(1, base_minor=0)], {}, {})) == [("plan_base", "1", 0)]


def test_late_usage_is_rated_at_its_own_windows_terms():
    periods = [period(0), period(1, granted(unit_price="0.5", included="0")), period(2)]
    billed = {window(0): Billed(units=to_units("2.5"), minor=4, cut=1)}
    totals = {window(0): usage(0, "22.5"), window(1): usage(1, "3")}
    draft = plan_close(close(1, cut=2), periods, totals, billed)
    # 12.5 x 0.015 = 0.1875 is 19 cents, 4 of which are billed
    assert lines(draft) == [("plan_base", "1", 4900), ("overage", "3", 150), ("late_usage", "10", 15)]
    assert (draft.lines[2].cut_after, draft.lines[2].cut) == (1, 2)


def test_late_usage_of_a_window_that_was_closed_without_a_line():
    draft = plan_close(close(1, cut=2), [period(0), period(1), period(2)], {window(0): usage(0, "110")}, {})
    assert lines(draft) == [("plan_base", "1", 4900), ("late_usage", "100", 150)]


def test_a_window_that_is_billed_up_has_no_line():
    billed = {window(0): Billed(units=to_units("100"), minor=150, cut=1)}
    draft = plan_close(close(1, cut=2), [period(0), period(1), period(2)], {window(0): usage(0, "110")}, billed)
    assert lines(draft) == [("plan_base", "1", 4900)]


def test_a_final_close_bills_usage_and_no_base():
    draft = plan_close(close(0, cut=1, final=True), [period(0), period(1)], {window(0): usage(0, "110")}, {})
    assert lines(draft) == [("overage", "100", 150)]
    assert (draft.period_start_ms, draft.period_end_ms) == (ANCHOR * DAY_MS, day("2026-02-28") * DAY_MS)


def test_a_final_close_without_usage_has_no_invoice():
    assert plan_close(close(0, cut=1, final=True), [period(0)], {window(0): usage(0, "5")}, {}) is None


def test_windows_of_another_subscription_are_not_its_business():
    totals = {window(0, term=2): usage(0, "110")}
    assert plan_close(close(0, cut=1, final=True), [period(0)], totals, {}) is None
    assert plan_close(close(0, cut=1, final=True), [period(0, term=2)], totals, {}) is not None


def test_a_late_event_of_a_feature_that_came_later_is_rated_by_the_terms_that_brought_it():
    other = granted(feature="ftr_new", code="new", included="0", unit_price="1")
    totals = {window(0, "ftr_new"): usage(0, "2"), window(0, "ftr_never"): usage(0, "2")}
    draft = plan_close(close(1, cut=2), [period(0), period(1, granted(), other), period(2)], totals, {})
    assert lines(draft) == [("plan_base", "1", 4900), ("late_usage", "2", 200)]


def test_lines_come_in_one_order_whatever_order_the_totals_came_in():
    features = [granted(feature=f"ftr_{n}", code=f"code_{9 - n}", included="0") for n in range(5)]
    periods = [period(0, *features), period(1, *features)]
    totals = {window(0, f"ftr_{n}"): usage(0, "100") for n in range(5)}
    forward = plan_close(close(0, cut=1), periods, totals, {})
    backward = plan_close(close(0, cut=1), periods, dict(reversed(totals.items())), {})
    assert forward == backward
    assert [line.feature_code for line in forward.lines[1:]] == sorted(feature.code for feature in features)


def test_a_closed_month_of_a_quarter_is_not_rated_anew_when_a_quantity_is_raised():
    """R-INT-4, R-BH-1: the month that runs has what was raised; the one before is billed up, and so is late usage."""
    raised = Earlier(before_day=boundary(ANCHOR, 1, Interval.MONTHLY), pool="0", included=((FEATURE, "10"),))
    quarter = period(0, granted(included="50"), until_day=boundary(ANCHOR, 3, Interval.MONTHLY), earlier=(raised,))
    billed = {window(0): Billed(units=to_units("100"), minor=150, cut=1)}
    second = close(1, cut=2, final=True)
    used = {window(0): usage(0, "110"), window(1): usage(1, "60")}
    assert lines(plan_close(second, [quarter], used, billed)) == [("overage", "10", 15)]
    late = {**used, window(0): usage(0, "120")}
    assert lines(plan_close(second, [quarter], late, billed)) == [("overage", "10", 15), ("late_usage", "10", 15)]
