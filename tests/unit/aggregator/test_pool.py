from itertools import permutations

import pytest

from aggregator.pool import Draw, Left, PoolWindow, draw, draw_down, left_of, overdrafts


def window(granted=100, bought=0, plan=0, beyond=0, *, renews=False):
    return PoolWindow(granted=granted, bought=bought, plan=plan, beyond=beyond, renews=renews)


@pytest.mark.parametrize(
    ("cost", "left", "drawn"),
    [
        (40, Left(plan=100, extra=50, overdraft=0), Draw(plan=40)),
        (120, Left(plan=100, extra=50, overdraft=0), Draw(plan=100, extra=20)),
        (150, Left(plan=100, extra=50, overdraft=0), Draw(plan=100, extra=50)),
        (151, Left(plan=100, extra=50, overdraft=0), None),
        (0, Left(plan=0, extra=0, overdraft=0), Draw()),
    ],
)
def test_a_hard_pool_is_drawn_in_order_and_blocks_whole(cost, left, drawn):
    """R-CREDIT-4, R-CREDIT-5, R-BAL-7."""
    assert draw(cost, left, overdraft=False) == drawn


def test_a_balance_goes_past_zero_where_overdraft_is_allowed():
    """R-BAL-3, R-BAL-5."""
    left = Left(plan=10, extra=5, overdraft=0)
    assert draw(18, left, overdraft=True) == Draw(plan=10, extra=5, overdraft=3)


@pytest.mark.parametrize(
    ("cost", "plan", "extra", "drawn"),
    [
        (5, 10, 0, Draw(plan=5)),
        (18, 10, 5, Draw(plan=10, extra=5)),  # floors at zero: 3 are forgiven
        (1, 0, 1, Draw(extra=1)),
        (1, 0, 0, None),
    ],
)
def test_an_ai_event_takes_what_a_hard_pool_has_left(cost, plan, extra, drawn):
    """R-BAL-7."""
    assert draw_down(cost, Left(plan=plan, extra=extra, overdraft=0), overdraft=False) == drawn


def test_what_was_bought_carries_over_and_the_plan_part_does_not():
    """R-CREDIT-2, R-CREDIT-3."""
    assert left_of([window(bought=50, plan=100, beyond=20), window(plan=10)]) == Left(plan=90, extra=30, overdraft=0)


def test_what_was_bought_is_lost_where_a_period_begins():
    """R-BAL-5, R-TOPUP-3."""
    assert left_of([window(bought=50, beyond=20, plan=100), window(renews=True)]).extra == 0


def test_a_top_up_pays_the_overdraft_of_its_window_first():
    """R-TOPUP-4."""
    overdrawn = window(plan=100, beyond=30)
    assert left_of([overdrawn]) == Left(plan=0, extra=0, overdraft=30)
    assert left_of([window(plan=100, beyond=30, bought=50)]) == Left(plan=0, extra=20, overdraft=0)
    assert left_of([overdrawn, window(bought=50)]).extra == 50  # that overdraft was invoiced with its window


def test_a_plan_part_that_grows_pays_the_overdraft_of_its_window_first():
    """R-BH-4, R-BAL-3: an overdraft is what nothing covers, so there is none while anything is left."""
    assert left_of([window(granted=120, plan=100, beyond=30)]) == Left(plan=0, extra=0, overdraft=10)
    assert left_of([window(granted=150, plan=100, beyond=30)]) == Left(plan=20, extra=0, overdraft=0)
    assert left_of([window(granted=150, plan=100, beyond=30, bought=10)]) == Left(plan=30, extra=0, overdraft=0)
    assert left_of([window(granted=150, plan=100, beyond=30, bought=40)]) == Left(plan=50, extra=10, overdraft=0)
    assert left_of([window(granted=150, plan=100, beyond=30), window(bought=5)]).extra == 5


def test_a_plan_part_that_shrinks_takes_nothing_from_what_was_bought():
    """R-FREE-7: it floors at zero."""
    assert left_of([window(granted=60, plan=80, bought=50)]) == Left(plan=0, extra=50, overdraft=0)
    assert left_of([window(granted=150, plan=80)]).plan == 70  # a raise adds the difference


def test_each_window_tells_its_own_overdraft():
    """R-BAL-3."""
    assert overdrafts([window(plan=100, beyond=7), window(bought=5, plan=100, beyond=9), window()]) == [7, 4, 0]


def test_any_order_of_one_windows_events_leaves_the_same():
    costs = [30, 55, 41, 9]
    ends = set()
    for order in permutations(costs):
        plan = beyond = 0
        for cost in order:
            drawn = draw(cost, left_of([window(bought=20, plan=plan, beyond=beyond)]), overdraft=True)
            plan, beyond = plan + drawn.plan, beyond + drawn.beyond
        ends.add(left_of([window(bought=20, plan=plan, beyond=beyond)]))
    assert ends == {Left(plan=0, extra=0, overdraft=15)}
