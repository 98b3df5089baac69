from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.document import (
    CatalogDocument,
    FeaturePart,
    GrantPart,
    PlanPart,
    parse_document,
    price_minor,
    render_document,
)
from catalog.document_change import diff_documents
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


@st.composite
def documents(draw):
    features = {code: draw(st.sampled_from(["metered", "boolean"])) for code in draw(st.sets(codes, max_size=4))}
    plans = []
    for code in draw(st.sets(codes, max_size=3)):
        free = draw(st.booleans())
        grants = {}
        for name in sorted(features):
            if not draw(st.booleans()):
                continue
            metered = features[name] == "metered"
            grants[name] = GrantPart(
                enabled=draw(st.booleans()),
                included=draw(amounts) if metered else Decimal(0),
                unlimited=metered and draw(st.booleans()),
                overage=draw(st.none() | amounts) if metered and not free else None,
            )
        price = None if free else draw(st.none() | st.decimals(0, 10**6, places=2))
        plans.append(
            PlanPart(code=code, name=draw(texts), public=draw(st.booleans()), free=free, price=price, features=grants)
        )
    parts = tuple(FeaturePart(code=code, name=draw(texts), type=kind) for code, kind in sorted(features.items()))
    return CatalogDocument(feature=parts, plan=tuple(plans))


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
    entries = sum(1 + len(plan.prices()) + len(plan.features) for plan in document.plan)
    assert len(made) == len(document.feature) + entries
    assert diff_documents(document, nothing) == []
    gone = diff_documents(document, nothing, prune=True)
    assert [change.action for change in gone] == ["remove"] * (len(document.feature) + len(document.plan))


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
        TOML.replace('"boolean"', '"seats"'),
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
    def plan(price):
        return PlanPart(code="pro", name="Pro", price=Decimal(price))

    assert [price_minor(plan("20.5"), currency) for currency in ("usd", "kwd")] == [2050, 20500]
    assert price_minor(plan("2000"), "jpy") == 2000
    for price, currency in (("20.005", "usd"), ("20.5", "jpy"), ("1e11", "usd")):
        with pytest.raises(Rejected):
            price_minor(plan(price), currency)


def test_a_refusal_says_where():
    with pytest.raises(Rejected) as refused:
        parse_document(TOML.replace("included = 0.5", "included = -1"), "toml")
    assert refused.value.refusal.param == "plan.pro.features.tokens.includedAmount"
