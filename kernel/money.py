"""Money: integer minor units of a currency, and the one place where a decimal becomes money. Pure.

Unit prices stay exact decimals in the major unit; an amount becomes money once per invoice line, by a named rounding.
Invariant: splitting money gives parts whose sum is the whole. Source: DESIGN 5; R-MONEY.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from kernel.quantity import EXACT

# ISO 4217 currencies whose minor unit is not a hundredth.
_EXPONENTS: Final = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
RATE_SCALE: Final = 10_000  # unit prices on the wire: 10,000 = one major unit (contract, decision 6)
UNIT_PRICE_PLACES_MAX: Final = 12


def minor_places(currency: str) -> int:
    """Tell how many decimal places the currency's minor unit has (USD 2, JPY 0)."""
    return _EXPONENTS.get(currency.upper(), 2)


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
        """Split by non-negative weights (not all zero); the parts sum to the whole, left-over units go to the first parts by largest remainder."""
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
    """Turn an exact major amount into money, halves away from zero: the rounding of every invoice line (R-MONEY)."""
    places = minor_places(currency)
    minor = EXACT.scaleb(amount, places).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return Money(int(minor), currency)


def parse_unit_price(text: str) -> Decimal:
    """Read a unit price in the major unit, at most 12 places, not negative. Raises ValueError with the reason."""
    try:
        price = Decimal(text)
    except ArithmeticError as error:
        raise ValueError("must be a decimal number") from error
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int) or price < 0:
        raise ValueError("must be a finite number that is not negative")
    if exponent < -UNIT_PRICE_PLACES_MAX:
        raise ValueError(f"must have at most {UNIT_PRICE_PLACES_MAX} decimal places")
    return price
