"""Exact quantities: decimals with at most nine places, counted in units of 1e-9. Pure.

Owns how a number of the wire becomes a quantity, its one canonical spelling, and the integer units in which LIVE adds.
Invariant: no float anywhere, and nothing is rounded: what does not fit is refused. Source: DESIGN 5; R-TRACK-3.
"""

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from kernel.limits import QUANTITY_MAX, QUANTITY_PLACES_MAX

UNITS_PER_ONE = 10**QUANTITY_PLACES_MAX
# Sums of 1e12 with 9 places stay exact far beyond any number of events: 60 digits leave 39 for the count.
EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, Overflow])


def parse_quantity(value: Decimal | int) -> Decimal:
    """Check a number of the wire and return it. Raises ValueError with the reason, in words for the sender."""
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("must be a finite number")
    if number < 0:
        raise ValueError("must not be negative")
    if number > QUANTITY_MAX:
        raise ValueError(f"must be at most {QUANTITY_MAX}")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -QUANTITY_PLACES_MAX and number != number.quantize(
        Decimal(1).scaleb(-QUANTITY_PLACES_MAX)
    ):
        raise ValueError(f"must have at most {QUANTITY_PLACES_MAX} decimal places")
    return number


def canonical(value: Decimal) -> str:
    """Spell a parsed quantity in its one way: no exponent, no trailing zeros (`"1.50"` is `"1.5"`)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text or "0"


def to_units(value: Decimal | str) -> int:
    """Count the 1e-9 units of a quantity, exactly. Raises decimal.Inexact for a tenth place."""
    return int(EXACT.to_integral_exact(EXACT.scaleb(Decimal(value), QUANTITY_PLACES_MAX)))


def from_units(units: int) -> Decimal:
    """Spell 1e-9 units as a decimal without trailing zeros."""
    value = EXACT.scaleb(Decimal(units), -QUANTITY_PLACES_MAX)
    return Decimal(canonical(value))
