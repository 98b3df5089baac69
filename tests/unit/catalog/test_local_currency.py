"""In which currency a plan is paid: the billing address's, where the whole plan has prices in it."""

import msgspec
import pytest

from catalog.local_currency import asked_currency, home_currency, paid_currency
from catalog.regional import CURRENCIES, ManualPrice
from kernel.errors import Rejected
from tests.unit.catalog.test_regional import plan, regions


@pytest.mark.parametrize(
    ("address", "currency"),
    [
        ({"country": "BR"}, "brl"),
        ({"country": "br"}, "brl"),
        ({"country": "DE"}, "eur"),
        ({"country": "US"}, "usd"),
        ({"country": "CH"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_billing_address_tells_the_currency(address, currency):
    """R-REG-5."""
    assert home_currency(address) == currency


def test_every_currency_is_at_home_somewhere():
    """R-REG-1."""
    letters = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    found = {home_currency({"country": one + two}) for one in letters for two in letters}
    assert found - {None} == CURRENCIES


def test_a_plan_is_paid_in_a_currency_in_which_all_of_it_is_priced():
    """R-REG-5: no regional price, the plan's own; a rate or values by hand, that currency."""
    by_rate = regions(plan(), {"brl": "5"})
    assert [paid_currency(by_rate, price, "brl") for price in by_rate.prices] == ["brl", "brl"]
    assert [paid_currency(by_rate, by_rate.prices[0], wanted) for wanted in ("eur", "usd", None)] == ["usd"] * 3
    by_hand = {("monthly", "brl"): ManualPrice(amount_minor=20_000)}
    bare = regions(plan(), {}, by_hand)
    assert paid_currency(bare, bare.prices[0], "brl") == "usd", "a call would cost 0.01 BRL in place of 0.01 USD"
    whole = regions(plan(), {}, by_hand, {"brl": "0.05"})
    assert [paid_currency(whole, price, "brl") for price in whole.prices] == ["brl", "usd"]
    without_units = regions(plan(unit_price="0"), {}, by_hand)
    assert paid_currency(without_units, without_units.prices[0], "brl") == "brl"


def test_tokens_are_paid_in_the_currency_of_their_prices():
    by_rate = regions(plan(), {"brl": "5"})
    [calls] = by_rate.features
    tokens = msgspec.structs.replace(by_rate, features=(msgspec.structs.replace(calls, margin="20"),))
    assert paid_currency(tokens, tokens.prices[0], "brl") == "usd"


def test_a_currency_that_a_client_names_is_one_of_ours():
    """R-REG-1."""
    assert asked_currency("BRL") == "brl"
    for wrong in ("chf", "", "br"):
        with pytest.raises(Rejected):
            asked_currency(wrong)
