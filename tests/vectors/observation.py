"""What a run of a scenario showed, as plain values: amounts are exact decimals in USD, days are text.

The surface fills them in from answers; the comparison reads them. Neither knows the other.
"""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class SeenLine:
    """A line; `words` is all it says of what it bills, to be read by people."""

    type: str
    amount: Decimal
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class SeenInvoice:
    """An invoice; what it does not show is None. `next_renewal` is what the subscription showed when it appeared."""

    on: str
    type: str
    total: Decimal
    lines: tuple[SeenLine, ...] = ()
    amount_due: Decimal | None = None
    credited_to_account: Decimal | None = None
    days_remaining: int | None = None
    days_in_cycle: int | None = None
    next_renewal: str | None = None
    final: bool | None = None


@dataclass(frozen=True, kw_only=True)
class SeenEvent:
    """A tracked event: was it accepted, what did it draw from the pool, what did it cost; `costs` are of AI tokens."""

    on: str
    feature: str
    value: Decimal
    accepted: bool
    deducted: Decimal | None = None
    cost: Decimal | None = None
    costs: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SeenState:
    """A subscription: its plan's code, its status, what is left in its pools."""

    plan: str
    status: str
    next_renewal: str | None = None
    trial_ends_on: str | None = None
    plan_credits: Decimal | None = None
    purchased_credits: Decimal | None = None
    plan_balance: Decimal | None = None
    topup_balance: Decimal | None = None
    overdraft: Decimal | None = None
    discount_cycles: int | None = None
    discounts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Observation:
    """All that a scenario showed; `names` are the codes of what it was given."""

    invoices: tuple[SeenInvoice, ...] = ()
    events: tuple[SeenEvent, ...] = ()
    log: tuple[dict[str, str | None], ...] = ()
    before: SeenState
    after: SeenState
    trial_ends_on: str | None = None
    redemptions: dict[str, int] = field(default_factory=dict)
    next_full_invoice: SeenInvoice | None = None
    names: frozenset[str] = frozenset()
