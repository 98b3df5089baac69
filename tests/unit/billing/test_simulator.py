import re

import msgspec
import pytest

from billing.gateway.simulator import Simulator, gateway_of
from billing.money.payment import Card, Charge
from catalog.definition import Organization

ORGANIZATION = Organization(id=b"o" * 16, name="Test", environment="sandbox", payments="simulator")


async def charged(number):
    token = await Simulator().keep(Card(number=number))
    if token is None:
        return "not kept"
    return await Simulator().charge(Charge(id="pay_1", token=token, amount_minor=100, currency="usd"))


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("4242424242424242", None),
        ("4000003200000021", None),  # Argentina's, which fails the check digit (R-CARD-4)
        ("4000007600000002", None),  # and Brazil's
        ("3530111333300000", None),
        ("5062210000000009", None),
        ("4000000000003220", None),
        ("4000002500003155", None),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000000002", "card_declined"),
        ("4000000000000069", "expired_card"),
        ("4111111111111111", "not kept"),
        ("5105105105105100", "not kept"),
    ],
)
async def test_a_cards_number_decides(number, answer):
    """R-CARD-1/2, R-CARD-4, AMB-45: documented cards alone, and no check digit."""
    assert await charged(number) == answer


async def test_every_countrys_card_pays(shared):
    """R-CLOCK-5, R-CARD-1: what the sandbox offers to copy, Appendix A of the rules; the panel is the pages'."""
    if shared is None:
        pytest.skip("there is no reference folder")
    text = (shared / "reference" / "billing-rules.md").read_text(encoding="utf-8")
    appendix = text.partition("## Appendix A")[2].partition("## Appendix B")[0]
    numbers = re.findall(r"\b\d{15,16}\b", appendix)
    assert len(numbers) > 58
    assert [number for number in numbers if await charged(number) is not None] == []


def test_an_organization_without_payments_has_nobody_to_ask():
    """Contract, decision 9."""
    assert gateway_of(msgspec.structs.replace(ORGANIZATION, payments="none")) is None
    assert isinstance(gateway_of(ORGANIZATION), Simulator)


def test_a_card_shows_its_last_digits():
    assert Card(number="4242424242424242").last4 == "4242"
