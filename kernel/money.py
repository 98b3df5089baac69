"""Money: integer minor units of a currency, and the one place where a decimal becomes money. Pure.

Unit prices stay exact decimals in the major unit; an amount becomes money once per invoice line, by a named rounding.
Invariant: splitting money gives parts whose sum is the whole. Source: DESIGN 5; R-GEN-2.
"""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from kernel.quantity import EXACT, canonical, fit_places

# ISO 4217 currencies whose minor unit is not a hundredth.
_EXPONENTS: Final = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
RATE_SCALE: Final = 10_000  # unit prices on the wire: 10,000 = one major unit (contract, decision 6)
UNIT_PRICE_PLACES_MAX: Final = 12
# 24 digits at most, so that price times a window's usage stays within the 60 digits of EXACT.
UNIT_PRICE_MAX: Final = Decimal(10) ** 12
_PRICE: Final = re.compile(r"[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,3})?")


def minor_places(currency: str) -> int:
    """Tell how many decimal places the currency's minor unit has (USD 2, JPY 0)."""
    return _EXPONENTS.get(currency.upper(), 2)


def exact_minor(amount: Decimal, currency: str) -> Decimal:
    """Tell an exact major amount in minor units; it may have a fraction."""
    return Decimal(canonical(EXACT.scaleb(amount, minor_places(currency))))


class Money(msgspec.Struct, frozen=True, order=False, gc=False):
    """An amount in minor units of `currency` (ISO 4217, upper case)."""

    minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        """Add money of one currency."""
        assert self.currency == other.currency, "sums have one currency"
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        """Subtract money of one currency."""
        assert self.currency == other.currency, "differences have one currency"
        return Money(self.minor - other.minor, self.currency)

    def major(self) -> Decimal:
        """Tell the exact amount in the major unit."""
        return EXACT.scaleb(Decimal(self.minor), -minor_places(self.currency))

    def split(self, weights: Sequence[int]) -> list["Money"]:
        """Split by non-negative weights (not all zero); the parts sum to the whole.

        Left-over units go to the largest remainders, of equal ones to the first.
        """
        total = sum(weights)
        assert total > 0 and min(weights) >= 0, "weights are not negative and not all zero"  # noqa: PT018 - one law
        sign = -1 if self.minor < 0 else 1
        shares = [divmod(abs(self.minor) * weight, total) for weight in weights]
        parts = [whole for whole, _ in shares]
        left = abs(self.minor) - sum(parts)
        for index in sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))[:left]:
            parts[index] += 1
        return [Money(sign * part, self.currency) for part in parts]


def round_half_away(amount: Decimal, currency: str) -> Money:
    """Turn an exact major amount into money, halves away from zero: the rounding of every invoice line (R-GEN-2)."""
    minor = EXACT.scaleb(amount, minor_places(currency)).to_integral_value(rounding=ROUND_HALF_UP)
    return Money(int(minor), currency)


def parse_unit_price(text: str) -> Decimal:
    """Read a unit price in the major unit: at most 12 places, not negative. Raises ValueError with the reason.

    Only ASCII digits, a point and an exponent count as a number: no sign, blanks or underscores.
    """
    if _PRICE.fullmatch(text) is None:
        raise ValueError("must be a decimal number that is not negative")
    price = Decimal(text)
    if price > UNIT_PRICE_MAX:
        raise ValueError(f"must be at most {UNIT_PRICE_MAX}")
    return fit_places(price, UNIT_PRICE_PLACES_MAX)
