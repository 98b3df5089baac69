from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.document import parse_document, render_document
from catalog.document_change import diff_documents
from catalog.document_part import CatalogDocument, FeaturePart, GrantPart, IntroPart, PlanPart, PricePart, SeatTypePart
from catalog.document_plan import price_minor
from kernel.errors import Rejected

TOML = """
[[feature]]
code = "tokens"
name = "Tokens"
[[feature]]
code = "sso"
name = "SSO"
type = "boolean"

[[plan]]
code = "pro"
name = "Pro"
price = "20.00"
[plan.features.tokens]
included = 0.5
overage = 0.0000025
[plan.features.sso]
"""
YAML = """
feature:
  - {code: tokens, name: Tokens, type: usage}
  - {code: sso, name: SSO, type: boolean}
plan:
  - code: pro
    name: Pro
    price: "20"
    features:
      tokens: {included: 0.5, overage: "0.0000025"}
      sso: {}
"""

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=10).filter(
    str.strip
)
codes = st.text("abc_1", min_size=1, max_size=5)
amounts = st.decimals(0, 10**6, places=9)


intros = st.builds(
    IntroPart,
    type=st.sampled_from(["percent", "fixed"]),
    value=st.decimals("0.01", 100, places=2),
    cycles=st.integers(1, 120),
)


@st.composite
def grants(draw, kind, model, free):
    enabled = draw(st.booleans())
    over = st.none() if free else st.none() | amounts
    if kind == "boolean":
        return GrantPart(enabled=enabled)
    if kind == "seats":
        return GrantPart(enabled=enabled, included=Decimal(draw(st.integers(0, 99))), overage=draw(over))
    if model == "credits":
        return GrantPart(enabled=enabled, credits=draw(amounts))
    if model == "balance":
        margin = draw(st.none() | st.decimals(0, 100, places=2))
        return GrantPart(enabled=enabled, margin=margin, unit_price=draw(amounts) if margin is None else None)
    return GrantPart(enabled=enabled, included=draw(amounts), unlimited=draw(st.booleans()), overage=draw(over))


@st.composite
def plans(draw, code, features):
    free, model = draw(st.booleans()), draw(st.sampled_from(["metered", "credits", "balance"]))
    pools = st.none() if model == "metered" else st.none() | amounts
    prices = {}
    for interval in ("monthly", "quarterly", "yearly"):
        if not free and draw(st.booleans()):
            prices[interval] = PricePart(
                price=draw(st.decimals(0, 10**6, places=2)),
                trial_days=draw(st.integers(0, 30)),
                included=draw(pools),
                intro=draw(st.none() | intros),
            )
    return PlanPart(
        code=code,
        name=draw(texts),
        public=draw(st.booleans()),
        free=free,
        deprecated=draw(st.booleans()),
        model=model,
        included=draw(pools),
        overdraft=model != "balance" or draw(st.booleans()),
        price=None if free or "monthly" in prices else draw(st.none() | st.decimals(0, 10**6, places=2)),
        prices=prices,
        features={name: draw(grants(features[name], model, free)) for name in sorted(features) if draw(st.booleans())},
    )


@st.composite
def documents(draw):
    seats = draw(st.sets(codes, max_size=2))
    features = {
        code: draw(st.sampled_from(["metered", "boolean", "seats"])) for code in draw(st.sets(codes, max_size=4))
    }
    parts = tuple(FeaturePart(code=code, name=draw(texts), type=kind) for code, kind in sorted(features.items()))
    return CatalogDocument(
        seat_type=tuple(SeatTypePart(code=code, name=draw(texts)) for code in sorted(seats)),
        feature=parts,
        plan=tuple(draw(plans(code, features)) for code in sorted(draw(st.sets(codes, max_size=3)))),
    )


def test_both_spellings_say_the_same_exactly():
    document = parse_document(TOML, "toml")
    assert parse_document(YAML, "yaml") == document
    grant = document.plan[0].features["tokens"]
    assert (grant.included, grant.overage) == (Decimal("0.5"), Decimal("0.0000025"))


@given(documents(), st.sampled_from(["toml", "yaml"]))
def test_what_is_written_reads_back_the_same(document, kind):
    assert parse_document(render_document(document, kind), kind) == document


@given(documents())
def test_a_document_does_not_differ_from_itself(document):
    assert diff_documents(document, document, prune=True) == []


@given(documents())
def test_from_nothing_everything_is_made_and_back_everything_goes(document):
    nothing = CatalogDocument()
    made = diff_documents(nothing, document)
    assert {change.action for change in made} <= {"create"}
    entries = sum(1 + len(plan.every_price()) + len(plan.features) for plan in document.plan)
    assert len(made) == len(document.seat_type) + len(document.feature) + entries
    assert diff_documents(document, nothing) == []
    gone = diff_documents(document, nothing, prune=True)
    assert [change.action for change in gone] == ["remove"] * (
        len(document.seat_type) + len(document.feature) + len(document.plan)
    )


def test_changes_are_said_by_field():
    before = parse_document(TOML, "toml")
    after = parse_document(
        TOML.replace("20.00", "25.50")
        .replace("0.5", "1")
        .replace("[plan.features.sso]", "")
        .replace('"SSO"', '"Login"'),
        "toml",
    )
    assert [str(change) for change in diff_documents(before, after)] == [
        "update feature sso (name: SSO -> Login)",
        "update price pro/monthly (price: 20.00 -> 25.50)",
        "update plan_feature pro/tokens (included: 0.5 -> 1)",
        "remove plan_feature pro/sso",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        TOML.replace('"boolean"', '"quota"'),
        TOML.replace('name = "Pro"', 'nome = "Pro"'),
        TOML.replace('"20.00"', "2000"),
        TOML.replace('"20.00"', "20.00"),
        TOML.replace('"20.00"', '"-1"'),
        TOML.replace('"20.00"', '"NaN"'),
        TOML.replace('"20.00"', '"twenty"'),
        TOML.replace("overage = 0.0000025", "overage = true"),
        TOML.replace('"boolean"', '"boolean"\nevent_code = "login"'),
        TOML.replace("included = 0.5", "included = -1"),
        TOML.replace("included = 0.5", 'included = "x"'),
        TOML.replace("included = 0.5", "included = inf"),
        TOML.replace("[plan.features.sso]", "[plan.features.none]"),
        TOML.replace('price = "20.00"', "free = true"),
        TOML.replace("[plan.features.sso]", "[plan.features.sso]\noverage = 1"),
        TOML + '[[plan]]\ncode = "pro"\nname = "Again"\n',
        "feature = ",
    ],
)
def test_what_the_api_would_refuse_is_refused(changed):
    with pytest.raises(Rejected):
        parse_document(changed, "toml")


@pytest.mark.parametrize(
    "text",
    ["feature: [", "- 1", "feature: 1", "plan: [{code: a, name: a, features: {x: {included: .nan}}}]"],
)
def test_yaml_is_held_to_the_same(text):
    with pytest.raises(Rejected):
        parse_document(text, "yaml")


def test_what_never_changes_is_refused():
    before = parse_document(TOML, "toml")
    retyped = parse_document(TOML.replace("[plan.features.sso]", "").replace('"boolean"', '"metered"'), "toml")
    freed = parse_document(
        TOML.split("[[plan]]", maxsplit=1)[0] + '[[plan]]\ncode = "pro"\nname = "Pro"\nfree = true\n', "toml"
    )
    for after in (retyped, freed):
        with pytest.raises(Rejected):
            diff_documents(before, after)


def test_a_price_is_exact_in_its_currency():
    assert [price_minor(Decimal("20.5"), currency) for currency in ("usd", "kwd")] == [2050, 20500]
    assert price_minor(Decimal(2000), "jpy") == 2000
    for price, currency in (("20.005", "usd"), ("20.5", "jpy"), ("1e11", "usd")):
        with pytest.raises(Rejected):
            price_minor(Decimal(price), currency)


def test_a_refusal_says_where():
    with pytest.raises(Rejected) as refused:
        parse_document(TOML.replace("included = 0.5", "included = -1"), "toml")
    assert refused.value.refusal.param == "plan.pro.features.tokens.includedAmount"


MODELS = """
[[feature]]
code = "calls"
name = "Calls"
[[feature]]
code = "member"
name = "Member"
type = "seats"

[[plan]]
code = "credits"
name = "Credits"
model = "credits"
included = 1000
price = "10.00"
features.calls = { credits = "2.5" }

[[plan]]
code = "balance"
name = "Balance"
model = "balance"
overdraft = false
features.calls = { margin = 20 }
features.member = { included = 3, overage = "25.00" }
[plan.prices.yearly]
price = "100.00"
trial_days = 14
included = "12.50"
intro = { type = "percent", value = 50, cycles = 2 }
"""


def test_plans_of_all_models_are_read():
    """R-PLAN-2, R-PLAN-3, R-FEAT-5: what the API takes stands in the file too."""
    units, money = parse_document(MODELS, "toml").plan
    assert (units.included, units.features["calls"].credits) == (Decimal(1000), Decimal("2.5"))
    assert (money.overdraft, money.features["calls"].margin) == (False, Decimal(20))
    yearly = PricePart(
        price=Decimal("100.00"),
        trial_days=14,
        included=Decimal("12.50"),
        intro=IntroPart(type="percent", value=Decimal(50), cycles=2),
    )
    assert money.every_price() == {"yearly": yearly}


@pytest.mark.parametrize(
    ("was", "becomes", "field"),
    [
        ('model = "credits"', 'model = "barter"', "plan.credits.consumptionModel"),
        ('model = "credits"\n', "", "plan.credits.included"),
        ('price = "10.00"', 'price = "10.00"\nprices.monthly = { price = "1" }', "plan.credits.price"),
        ('price = "10.00"', "free = true\nprices.yearly = { price = 1 }", "plan.credits.prices.yearly.price"),
        ('price = "10.00"', 'free = true\nprice = "1"', "plan.credits.price.billingInterval"),
        ('price = "10.00"', "overdraft = false", "plan.credits.overdraft"),
        ('credits = "2.5"', "", "plan.credits.features.calls.credits"),
        ('credits = "2.5"', "credits = 1, unit_price = 1", "plan.credits.features.calls.overage.unitPrice"),
        ("margin = 20", "", "plan.balance.features.calls.unit_price"),
        ("margin = 20", "unit_price = 1, credits = 1", "plan.balance.features.calls.creditsPerUnit"),
        ("margin = 20", "unit_price = 1, overage = 1", "plan.balance.features.calls.unit_price"),
        ('overage = "25.00"', "unit_price = 25", "plan.balance.features.member.unit_price"),
        ("included = 3", "included = 0.5", "plan.balance.features.member.includedAmount"),
        ("trial_days = 14", "trial_days = -1", "plan.balance.prices.yearly.trialDays"),
        ("cycles = 2", "cycles = 0", "plan.balance.prices.yearly.introOffer.durationCycles"),
        ("value = 50", "value = 101", "plan.balance.prices.yearly.introOffer.discountValueDecimal"),
        ("[plan.prices.yearly]", "[plan.prices.weekly]", "plan.balance.prices.weekly.billingInterval"),
        ('type = "seats"', 'type = "seats"\nseat_type = "editor"', "feature.member.seat_type"),
    ],
)
def test_what_does_not_fit_a_model_is_refused_where_it_stands(was, becomes, field):
    """R-PLAN-2, R-PLAN-6, R-FEAT-5."""
    assert was in MODELS
    with pytest.raises(Rejected) as refused:
        parse_document(MODELS.replace(was, becomes), "toml")
    assert refused.value.refusal.param == field


def test_deprecated_is_for_good():
    """R-PLAN-8."""
    before = parse_document(MODELS.replace('name = "Credits"', 'name = "Credits"\ndeprecated = true'), "toml")
    with pytest.raises(Rejected, match="another plan"):
        diff_documents(before, parse_document(MODELS, "toml"))


def test_changes_of_a_price_are_said_by_field():
    before, after = (
        parse_document(text, "toml")
        for text in (MODELS, MODELS.replace("value = 50", "value = 40").replace('"100.00"', '"90.00"'))
    )
    assert [str(change) for change in diff_documents(before, after)] == [
        "update price balance/yearly (price: 100.00 -> 90.00, intro: percent 50 for 2 -> percent 40 for 2)"
    ]
