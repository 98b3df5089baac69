"""The simulator: the payments port on the documented test cards, without money and without waiting.

A card's number decides: those of the countries pay, those of the failures decline, those that require 3-D Secure pay,
since it is completed when the card is given (R-CARD-1 to R-CARD-4). No check digit is looked at: two documented cards
fail it (AMB-45). It answers from its table alone, so that it may be asked within a transaction; a provider over the
network needs the payment's row committed before it is asked.
"""

from typing import Final

from billing.money.payment import Card, Charge, PaymentGateway, Refund
from catalog.definition import SIMULATOR, Organization

# Appendix A of the rules: the cards of 58 countries, each of which pays.
_PAYING: Final = frozenset(
    (
        *("4242424242424242", "4000003200000021", "4000000360000006", "4000000400000008", "4000001120000005"),
        *("4000000560000004", "4000007600000002", "4000001000000000", "4000001240000000", "4000001520000001"),
        *("4000001560000002", "4000001700000003", "4000001880000005", "4000001910000009", "4000001960000008"),
        *("4000002030000002", "4000002080000001", "4000002180000000", "4000002330000009", "4000002460000001"),
        *("4000002500000003", "4000002760000016", "4000002920000005", "4000003000000030", "4000003440000004"),
        *("4000003480000005", "4000003560000008", "4000003720000005", "4000003800000008", "4000003920000003"),
        *("3530111333300000", "4000004280000005", "4000004380000004", "4000004400000000", "4000004420000006"),
        *("4000004580000002", "4000004700000007", "4000004840008001", "5062210000000009", "4000005280000002"),
        *("4000005540000008", "4000005780000007", "4000005910000000", "4000006000000066", "4000006040000068"),
        *("4000006160000005", "4000006200000007", "4000006420000001", "4000006820000007", "4000007020000003"),
        *("4000007030000001", "4000007050000006", "4000007240000007", "4000007520000008", "4000007560000009"),
        *("4000001580000008", "4000007640000003", "4000057640000008", "4000007840000001", "5200007840000022"),
        *("4000008260000000", "4000058260000005", "5555558265554449", "4000008580000003"),
    )
)
_SECURED: Final = frozenset(("4000000000003220", "4000002500003155"))
_FAILING: Final = {
    "4000000000009995": "insufficient_funds",
    "4000000000000002": "card_declined",
    "4000000000000069": "expired_card",
}


class Simulator:
    """Keeps every documented card; its token is the test number itself."""

    async def keep(self, card: Card) -> str | None:
        """Keep a documented card; None for any other number."""
        known = card.number in _PAYING or card.number in _SECURED or card.number in _FAILING
        return card.number if known else None

    async def charge(self, charge: Charge) -> str | None:
        """Answer what the card's number says."""
        return _FAILING.get(charge.token)

    async def refund(self, refund: Refund) -> str | None:
        """Give it back: a card that paid takes money, whatever became of it since."""
        return None if refund.amount_minor > 0 else "invalid_amount"


def gateway_of(organization: Organization) -> PaymentGateway | None:
    """Tell who moves an organization's money; None in mode `none`, where nothing is charged (decision 9)."""
    return Simulator() if organization.payments == SIMULATOR else None
