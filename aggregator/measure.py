"""How much of one feature is used, left and chargeable: metered usage and seats. Pure; pools are `pool_measure`'s.

A measure answers for one feature under terms that grant it. Quantities are decimals; None is "no limit" or "no number".
Source: R-ACC-7 to R-ACC-11.
"""

from decimal import Decimal
from typing import Final

import msgspec

from catalog.terms import FeatureTerms
from kernel.quantity import UNITS_PER_ONE, from_units

LIMIT_REACHED: Final = "included_limit_reached"  # contract 6: the denial word of the wire
NO_SEATS: Final = "seat_limit_reached"


class _Measure(msgspec.Struct, frozen=True, kw_only=True):
    """Of one feature `used` 1e-9 units of a window, or of seats that are held, beside what its terms include."""

    granted: FeatureTerms
    used: int

    @property
    def _included(self) -> int:
        return self.granted.included or 0

    @property
    def unlimited(self) -> bool:
        """Tell whether the terms include any amount."""
        return self.granted.included is None

    @property
    def current(self) -> Decimal:
        """Tell what is used or held."""
        return from_units(self.used)

    @property
    def included(self) -> Decimal | None:
        """Tell what is included; None for unlimited."""
        return None if self.unlimited else from_units(self._included)

    @property
    def remaining(self) -> Decimal | None:
        """Tell what is left of it; None for unlimited."""
        return None if self.unlimited else from_units(max(0, self._included - self.used))

    @property
    def overage(self) -> Decimal:
        """Tell what is used or held beyond it."""
        return Decimal(0) if self.unlimited else from_units(max(0, self.used - self._included))


class MeteredMeasure(_Measure, frozen=True, kw_only=True):
    """Usage of a metered plan's feature in its window."""

    @property
    def overage_enabled(self) -> bool:
        """Tell whether usage goes on beyond what is included."""
        return self.granted.overage

    @property
    def denied(self) -> str | None:
        """Tell why none of it may be used (R-ACC-8)."""
        limited = self.granted.limited and self.used >= self._included
        return LIMIT_REACHED if limited else None

    def refusal(self, units: int) -> str | None:
        """Tell what the fold would say of so many units more (R-METER-4)."""
        if not self.granted.limited or not units:
            return None
        return LIMIT_REACHED if self.used + units > self._included else None

    def will_be_charged(self, units: int) -> bool:
        """Tell whether so many units more would be overage with a price."""
        if self.unlimited or not self.granted.overage:
            return False
        return self.used + units > self._included and Decimal(self.granted.unit_price) > 0


class SeatMeasure(_Measure, frozen=True, kw_only=True):
    """Seats of one type that are held. With `priced` more than the included ones may be taken, for money."""

    priced: bool

    @property
    def overage_enabled(self) -> bool:
        """Tell whether more may be taken, for money."""
        return self.priced

    @property
    def denied(self) -> str | None:
        """Tell why none may be used: none is held, and none is to be had (R-ACC-8)."""
        some = self.unlimited or self.priced or self.used > 0 or self._included > 0
        return None if some else NO_SEATS

    def refusal(self, units: int) -> str | None:
        """Tell whether so many seats more would be refused (R-SEAT-2, R-TRIAL-6)."""
        if self.unlimited or self.priced or not units:
            return None
        return NO_SEATS if self.used + units > self._included else None

    def will_be_charged(self, units: int) -> bool:
        """Tell whether so many seats more would be paid for."""
        return self.priced and not self.unlimited and self.used + units > self._included


def seats_of(granted: FeatureTerms, count: int, *, paid: bool) -> SeatMeasure:
    """Measure seats: extra ones need overage and a price, and a subscription that is paid and no trial (R-SEAT-14)."""
    priced = paid and granted.overage and Decimal(granted.unit_price) > 0
    return SeatMeasure(granted=granted, used=count * UNITS_PER_ONE, priced=priced)
