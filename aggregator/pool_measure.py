"""How much of a feature a pool still pays for: credits, fixed prices and AI models. Pure.

What the pool has left comes from `pool_left`, what a use costs from there too: so `canUse` says what the fold would.
Source: R-ACC-8, R-ACC-9, R-AI-12, R-BAL-7, R-BAL-8; AMB-32.
"""

from decimal import Decimal
from typing import Final

import msgspec

from aggregator.pool import Left, draw, draw_down, within_bounds
from aggregator.pool_left import cost_of
from aggregator.standing import priced_by_model
from catalog.terms import ConsumptionModel, FeatureTerms, Terms
from kernel.quantity import EXACT, UNITS_PER_ONE, from_units

CREDITS_EXHAUSTED: Final = "credits_exhausted"
BALANCE_EXHAUSTED: Final = "balance_exhausted"
_NONE: Final = Decimal(0)


class PoolMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of a feature that draws on a pool: `used` 1e-9 units of the window, `left` what the pool has.

    `spent` is what this usage took of the pool, in 1e-9 of it: what one use costs in credits may have fallen since.
    """

    terms: Terms
    granted: FeatureTerms
    used: int
    left: Left
    spent: int = 0

    @property
    def by_model(self) -> bool:
        """Tell whether it is priced by AI model; then it is counted in tokens (R-AI-12)."""
        return priced_by_model(self.terms, self.granted)

    @property
    def price(self) -> Decimal:
        """Tell what one unit takes of the pool; without meaning where it is priced by AI model."""
        credit = self.terms.model is ConsumptionModel.CREDITS
        return Decimal(self.granted.credits if credit else self.granted.unit_price)

    @property
    def overdraft(self) -> bool:
        """Tell whether the pool may go below zero (R-BAL-3, R-BAL-6)."""
        return self.terms.overdraft and self.terms.model is ConsumptionModel.BALANCE

    @property
    def unlimited(self) -> bool:
        """Tell whether it is free to use (R-ACC-9)."""
        return not self.by_model and not self.price

    @property
    def current(self) -> Decimal:
        """Tell what is used in the window; of AI models tokens."""
        return from_units(self.used)

    @property
    def included(self) -> Decimal | None:
        """Tell how many units the plan's part pays for in a window; None for free ones and tokens."""
        return self._whole(self.terms.pool)

    @property
    def remaining(self) -> Decimal | None:
        """Tell how many units what is left pays for; None for free ones and tokens."""
        return self._whole(self.left.usable)

    def _whole(self, amount: int) -> Decimal | None:
        if self.unlimited or self.by_model:
            return None
        return EXACT.divide_int(from_units(amount), self.price)

    @property
    def overage(self) -> Decimal:
        """Tell how many units the overdraft amounts to, rounded up; 0 for tokens, whose overdraft is money."""
        if self.unlimited or self.by_model or not self.left.overdraft:
            return _NONE
        owed, price = from_units(self.left.overdraft), self.price
        whole = EXACT.divide_int(owed, price)
        return whole if EXACT.remainder(owed, price) == 0 else whole + 1

    @property
    def overage_enabled(self) -> bool:
        """Tell whether usage goes on below zero."""
        return self.overdraft

    @property
    def denied(self) -> str | None:
        """Tell why none of it may be used (R-ACC-8)."""
        return self.refusal(UNITS_PER_ONE)

    def cost(self, units: int) -> int | None:
        """Tell what so many 1e-9 units would take, in 1e-9 of the pool; None for tokens: their model says."""
        return None if self.by_model else cost_of(self.terms, self.granted, units)

    def refusal(self, units: int) -> str | None:
        """Tell what the fold would say of so many units more (R-CREDIT-5, R-BAL-7)."""
        cost = self.cost(units)
        if cost is None:  # the least that tokens may cost
            cost = 1 if units else 0
            drawn = draw_down(cost, self.left, overdraft=self.overdraft)
        else:
            drawn = draw(cost, self.left, overdraft=self.overdraft)
        if drawn is not None and within_bounds(cost, self.left, drawn):
            return None
        return CREDITS_EXHAUSTED if self.terms.model is ConsumptionModel.CREDITS else BALANCE_EXHAUSTED

    def will_be_charged(self, units: int) -> bool:
        """Tell whether so many units more would go into the overdraft; credits never do, nor does what is refused."""
        cost = self.cost(units)
        least = (1 if units else 0) if cost is None else cost
        return self.overdraft and least > self.left.usable and self.refusal(units) is None
