"""In which currency a customer sees and pays a plan. Pure.

Invariant: it is one in which the whole plan has prices, else the plan's own. Source: R-REG-1, R-REG-5.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from catalog.definition import Plan, PlanPrice
from catalog.regional import CURRENCIES
from kernel.errors import invalid

_EURO: Final = "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK"
_OTHERS: Final = "AR BO BR CA CL CN CO GB HK IN JP KR MX PE PY SG TH TW US UY"
_THEIRS: Final = "ars bob brl cad clp cny cop gbp hkd inr jpy krw mxn pen pyg sgd thb twd usd uyu"
# Where each of the currencies is paid, by ISO 3166; elsewhere a plan costs what it costs in its own.
_AT_HOME: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(_EURO.split(), "eur"),
        **dict(zip(_OTHERS.split(), _THEIRS.split(), strict=True)),
    }
)


def home_currency(address: Mapping[str, Any] | None) -> str | None:
    """Tell the currency of a customer's billing address; None without one, or where none of ours is paid."""
    country = None if address is None else address.get("country")
    return _AT_HOME.get(country.upper()) if isinstance(country, str) else None


def paid_currency(plan: Plan, price: PlanPrice, wanted: str | None) -> str:
    """Tell in which currency a price is paid: `wanted` where the plan is priced in it, else its own (R-REG-5).

    A unit price without a value there, or the dollars that tokens cost, would be charged as if the two currencies were
    worth the same: then the plan is not priced in it.
    """
    own = price.currency.lower()
    if wanted is None or wanted == own or price.in_currency(wanted) is None:
        return own
    priced = [granted for granted in plan.features if Decimal(granted.unit_price)]
    everywhere = all(any(rate.currency == wanted for rate in granted.regional) for granted in priced)
    by_tokens = any(granted.margin is not None for granted in plan.features)
    return wanted if everywhere and not by_tokens else own


def asked_currency(text: str) -> str:
    """Check a currency that a client names. Raises Rejected."""
    currency = text.lower()
    if currency not in CURRENCIES:
        raise invalid("currency", f"must be one of {', '.join(sorted(CURRENCIES))}")
    return currency
