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
    """Check a number of the wire and return its value. Raises ValueError with the reason, in words for the sender.

    What is returned has at most nine places and no negative zero, whatever exponent the number was written with.
    """
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - bad data, and one kind of error for all of it
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("must be a finite number")
    if number < 0:
        raise ValueError("must not be negative")
    if number > QUANTITY_MAX:
        raise ValueError(f"must be at most {QUANTITY_MAX}")
    return fit_places(number, QUANTITY_PLACES_MAX).copy_abs()


def fit_places(number: Decimal, places_max: int) -> Decimal:
    """Give a finite number of at most 60 digits an exponent from -`places_max` to 0, its value unchanged.

    A number off the wire passes here before anything spells it: 0E-999999999 is twelve bytes as a decimal, and a
    gigabyte once spelled without its exponent. Raises ValueError when it has more places than that.
    """
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -places_max <= exponent <= 0:
        return number
    try:
        return EXACT.quantize(number, Decimal(1).scaleb(-places_max))
    except Inexact as error:
        raise ValueError(f"must have at most {places_max} decimal places") from error


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
