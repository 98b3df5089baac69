"""A pool: what a plan grants and what was bought, and what usage draws from the two. Pure.

A pool holds credits or money, in units of 1e-9. Grants are SQL's and come with the snapshot; draws are the fold's and
are kept a draw window: the usage window that holds the account's clock when an event is folded. What is left is
computed from the two, window after window, so that neither the order of one window's draws and purchases nor the
process that asks makes a difference. Source: R-CREDIT-1 to 6, R-BAL-1 to 8, AMB-20, AMB-21; ADR 9.
"""

from collections.abc import Iterable, Sequence

import msgspec

from kernel.limits import DRAWN_UNITS_MAX


class Draw(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one event takes: from the plan's part, from what was bought, and beyond both (1e-9 units)."""

    plan: int = 0
    extra: int = 0
    overdraft: int = 0

    @property
    def beyond(self) -> int:
        """Tell what the plan's part did not cover."""
        return self.extra + self.overdraft


class PoolWindow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One window of a pool, in order of time.

    `granted` is the plan's part and `bought` what was bought in it; `plan` and `beyond` sum its draws. A window that
    `renews` begins without what the one before it left of what was bought.
    """

    granted: int
    bought: int
    plan: int
    beyond: int
    renews: bool


class Left(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a window has left, and how far it is overdrawn: while there is an overdraft, nothing is left."""

    plan: int
    extra: int
    overdraft: int

    @property
    def usable(self) -> int:
        """Tell what a hard pool may still give."""
        return self.plan + self.extra

    def told(self, taken: int = 0) -> int:
        """Tell what an outcome says is left once `taken` is drawn too; below zero it is the overdraft."""
        return max(-DRAWN_UNITS_MAX, min(self.usable - self.overdraft - taken, DRAWN_UNITS_MAX))


def left_of(windows: Iterable[PoolWindow]) -> Left:
    """Tell what the last of the windows has left.

    A plan's part that shrank below what was drawn leaves nothing, and takes nothing from what was bought (R-FREE-7); a
    top-up pays an overdraft of its window first (R-TOPUP-4), and so does what a plan's part grew by (R-BH-4); an
    overdraft ends with its window, when it is invoiced.
    """
    left = Left(plan=0, extra=0, overdraft=0)
    for window in windows:
        carried = 0 if window.renews else left.extra
        rest = carried + window.bought - window.beyond
        plan = max(0, window.granted - window.plan)
        grown = min(plan, max(0, -rest))
        left = Left(plan=plan - grown, extra=max(0, rest), overdraft=max(0, -rest - grown))
    return left


def draw(cost: int, left: Left, *, overdraft: bool) -> Draw | None:
    """Draw a unit-priced event's cost whole: plan first, then what was bought; None: it is blocked (R-CREDIT-4, 5)."""
    plan = min(cost, left.plan)
    extra = min(cost - plan, left.extra)
    rest = cost - plan - extra
    if rest and not overdraft:
        return None
    return Draw(plan=plan, extra=extra, overdraft=rest)


def draw_down(cost: int, left: Left, *, overdraft: bool) -> Draw | None:
    """Draw an AI event's cost: without overdraft it counts while anything is left, and takes that (R-BAL-7)."""
    if overdraft or cost <= left.usable:
        return draw(cost, left, overdraft=overdraft)
    if not left.usable:
        return None
    return Draw(plan=left.plan, extra=left.extra)


def within_bounds(cost: int, left: Left, drawn: Draw) -> bool:
    """Tell whether an outcome can say what an event costs, and how far the pool is overdrawn after it."""
    return cost <= DRAWN_UNITS_MAX and left.overdraft + drawn.overdraft <= DRAWN_UNITS_MAX


def overdrafts(windows: Sequence[PoolWindow]) -> list[int]:
    """Tell each window's overdraft: what its end invoices (R-BAL-3)."""
    return [left_of(windows[: index + 1]).overdraft for index in range(len(windows))]
