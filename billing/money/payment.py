"""Payments: the port to who moves money, and its values. Pure.

A charge is asked for by an id of ours, and one id is charged once however often it is asked. What a card answers is a
value, not an error: a declined charge changes nothing (R-DUN-5). In the sandbox cards are test numbers and no money
moves; production takes no test card (R-ENV-6, R-CARD-1 to R-CARD-4).
"""

from collections.abc import Awaitable
from enum import StrEnum
from typing import Final, Protocol

import msgspec

_SHOWN_DIGITS: Final = 4


class PaymentStatus(StrEnum):
    """What became of a charge (contract 6)."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card as the customer gives it: digits alone."""

    number: str

    @property
    def last4(self) -> str:
        """Tell the digits that are shown."""
        return self.number[-_SHOWN_DIGITS:]


class SavedCard(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's card as it is kept: `token` is the gateway's name for it, never a real number."""

    customer_id: str
    token: str
    last4: str
    created_ms: int


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """An amount to be taken from a card, in minor units; `id` is the payment's (`pay_…`)."""

    id: str
    token: str
    amount_minor: int
    currency: str


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A charge and what became of it, as its row has it; `failure` says why one failed."""

    id: str
    organization_id: str
    customer_id: str
    invoice_id: str
    status: PaymentStatus
    amount_minor: int
    currency: str
    last4: str
    description: str
    failure: str | None
    created_ms: int


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money that goes back to the card of a payment, by an adjustment's invoice (AMB-19); minor units, above 0."""

    id: str
    organization_id: str
    customer_id: str
    payment_id: str
    invoice_id: str
    amount_minor: int
    currency: str
    created_ms: int


class Collected(StrEnum):
    """What came of collecting an invoice."""

    UNASKED = "unasked"  # payments mode `none`, or nothing is due: the invoice stays as it is
    PAID = "paid"
    DECLINED = "declined"
    NO_CARD = "no_card"


FAILED: Final = frozenset({Collected.DECLINED, Collected.NO_CARD})


class PaymentGateway(Protocol):
    """Who keeps cards and moves money.

    `keep` gives the token of a card, or None for a card that it does not take. `charge` tells why it failed, None when
    the money is there; asked again with the same id it answers the same and takes nothing more. So does `refund`,
    which gives back a part of a payment that succeeded, or all of it.
    """

    def keep(self, card: Card) -> Awaitable[str | None]:
        """Keep a card for later charges."""
        ...

    def charge(self, charge: Charge) -> Awaitable[str | None]:
        """Take an amount from a card that was kept."""
        ...

    def refund(self, refund: Refund) -> Awaitable[str | None]:
        """Give an amount of a payment back to its card."""
        ...
