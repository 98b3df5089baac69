"""Offers in a catalog document, pure."""

from pathlib import Path

import pytest

from catalog.document import parse_document, render_document
from catalog.document_change import diff_documents
from kernel.errors import Rejected

EXAMPLE = (Path(__file__).parents[3] / "docs/examples/offers.toml").read_text()


@pytest.mark.parametrize("kind", ["toml", "yaml"])
def test_offers_come_back_as_they_were_rendered(kind):
    document = parse_document(EXAMPLE, "toml")
    assert parse_document(render_document(document, kind), kind) == document
    assert diff_documents(document, document) == []
    assert [len(getattr(document, part)) for part in ("addon", "credit_pack", "promo_code", "plan_group")] == [
        2,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("was", "becomes", "place"),
    [
        ('feature = "sso"', 'feature = "nope"', "addon.sso-access.feature"),
        ('feature = "sso"', 'feature = "exports"\nmodel = "metered"', "addon.more-exports.feature"),
        ('model = "metered"\nprice', 'model = "boolean"\nprice', "addon.more-exports.consumptionModel"),
        ('price = "50.00"', "price = 50.00", "addon.sso-access.price"),
        ('price = "50.00"', 'price = "50.0005"', "addon.sso-access.price"),
        ("yearly =", "weekly =", "addon.sso-access.billingInterval"),
        ('plans = ["studio"]', 'plans = ["starter"]', "credit_pack.Starter Pack.plans"),
        ('plans = ["studio"]', 'plans = ["nope"]', "credit_pack.Starter Pack.plans"),
        ("credits = 100", "credits = 0", "credit_pack.Starter Pack.credits"),
        ("percent = 20", "percent = 120", "promo_code.LAUNCH20.discountValue"),
        ("percent = 20", "percent = 20\namount = 1", "promo_code.LAUNCH20.percent"),
        ('expires = "2027-12-31"', 'expires = "later"', "promo_code.LAUNCH20.expires"),
        ('plans = ["free", "starter"]', 'plans = ["free", "world"]', "plan_group.Main.plans"),
        ('plans = ["free", "starter"]', 'plans = ["free", "free"]', "plan_group.Main.plans"),
        ("regional.jpy", "regional.chf", "plan.world.regional.chf.currency"),
        ("rate = 150", "rate = 0", "plan.world.regional.jpy.exchangeRate"),
        ("rate = 150", "", "plan.world.regional.jpy.rate"),
        ("rate = 150", 'prices = { monthly = "1.5" }', "plan.world.regional.jpy.price"),
        ("rate = 150", 'prices = { yearly = "1" }', "plan.world.regional.jpy.prices.yearly"),
        ("rate = 150", 'unit_prices = { images = "1" }', "plan.world.regional.jpy.unit_prices.images"),
        ('name = "Main"', 'name = " "', "plan_group. .name"),
    ],
)
def test_an_offer_that_the_api_would_refuse_says_where(was, becomes, place):
    """R-ADDON-1, R-GROUP-2, R-PACK-1."""
    assert EXAMPLE.count(was) == 1, was
    with pytest.raises(Rejected) as refused:
        parse_document(EXAMPLE.replace(was, becomes), "toml")
    assert refused.value.refusal.param == place, refused.value


def changes(was, becomes, **how):
    document = parse_document(EXAMPLE, "toml")
    assert EXAMPLE.count(was) == 1, was
    return [str(one) for one in diff_documents(document, parse_document(EXAMPLE.replace(was, becomes), "toml"), **how)]


def test_changes_of_offers_are_told_one_by_one():
    assert changes('price = "50.00"', 'price = "60.00"') == ["update addon sso-access (price: 50.00 -> 60.00)"]
    assert changes("rate = 150", "rate = 151") == ["update region world/jpy (rate: 150 -> 151)"]
    assert changes("[plan.regional.jpy]\nrate = 150\n", "") == ["remove region world/jpy"]
    assert changes("max_redemptions = 100", "active = false") == [
        "update promo_code LAUNCH20 (max_redemptions: 100 -> nothing, active: True -> False)"
    ]
    assert changes('["free", "starter"]', '["starter", "free"]') == [
        "update plan_group Main (plans: free starter -> starter free)"
    ]
    assert changes('name = "Main"', 'name = "Other"') == ["create plan_group Other"]
    assert changes('name = "Main"', 'name = "Other"', prune=True) == [
        "create plan_group Other",
        "remove plan_group Main",
    ]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("percent = 20", "percent = 30"), ("cycles = 3 #", "cycles = 0 #"), ("percent = 20", "amount = 5")],
)
def test_what_a_code_takes_off_never_changes(was, becomes):
    """R-DISC-15."""
    with pytest.raises(Rejected, match="never changes"):
        changes(was, becomes)
