from aggregator.account import Account, WindowTotal
from billing.money.agreement import difference, live_usage
from billing.money.closing import Window, WindowUsage
from kernel.limits import DAY_MS
from tests.unit.billing.make import ANCHOR, FEATURE

END = ANCHOR + 28
WINDOW = Window(FEATURE, 1, ANCHOR)


def account(at_cut, now=None, clock_day=END):
    total = WindowTotal(end=END, now=at_cut if now is None else now, at_cut=at_cut)
    return Account(rev=1, clock_ms=clock_day * DAY_MS, cut=1, totals={(b"f" * 16, 1, ANCHOR): total})


def raw(units):
    return {WINDOW: WindowUsage(end=END, units=units)}


def test_the_total_at_the_cut_counts_not_the_one_now():
    assert difference(account(5, now=9), raw(5)) is None
    assert difference(account(9, now=5), raw(5)) is not None


def test_a_difference_of_one_billionth_is_one():
    found = difference(account(2_000_000_000), raw(2_000_000_001))
    name = f"{FEATURE}/1/{ANCHOR}"
    assert (found.live, found.raw) == ({name: "2"}, {name: "2.000000001"})


def test_nothing_on_one_side_equals_zero_on_the_other():
    assert difference(account(0), {}) is None
    assert difference(Account(), raw(0)) is None
    assert difference(account(1), {}) is not None


def test_raw_alone_speaks_of_windows_that_live_forgot():
    forgotten = Account(clock_ms=(END + 36) * DAY_MS)
    assert difference(forgotten, raw(5)) is None
    kept = Account(clock_ms=(END + 36) * DAY_MS - 1)
    assert difference(kept, raw(5)) is not None


def test_the_upcoming_invoice_reads_what_is_used_now():
    assert live_usage(account(5, now=9)) == raw(9)
