from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.document import (
    CatalogDocument,
    FeaturePart,
    GrantPart,
    PlanPart,
    diff_documents,
    parse_document,
    render_document,
)
from kernel.errors import Rejected

TOML = """
[[feature]]
code = "tokens"
name = "Tokens"
type = "metered"
[[feature]]
code = "sso"
name = "SSO"
type = "boolean"

[[plan]]
code = "pro"
name = "Pro"
prices = { monthly = 2000 }
[plan.features.tokens]
included = 0.5
overage = true
unit_price = 0.0000025
[plan.features.sso]
"""
YAML = """
feature:
  - {code: tokens, name: Tokens, type: usage}
  - {code: sso, name: SSO, type: boolean}
plan:
  - code: pro
    name: Pro
    prices: {monthly: 2000}
    features:
      tokens: {included: 0.5, overage: true, unit_price: "0.0000025"}
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
                overage=metered and not free and draw(st.booleans()),
                unit_price=draw(amounts),
            )
        prices = {} if free else draw(st.dictionaries(st.just("monthly"), st.integers(0, 10**9)))
        plans.append(
            PlanPart(code=code, name=draw(texts), public=draw(st.booleans()), free=free, prices=prices, features=grants)
        )
    parts = tuple(FeaturePart(code=code, name=draw(texts), type=kind) for code, kind in sorted(features.items()))
    return CatalogDocument(feature=parts, plan=tuple(plans))


def test_both_spellings_say_the_same_exactly():
    document = parse_document(TOML, "toml")
    assert parse_document(YAML, "yaml") == document
    grant = document.plan[0].features["tokens"]
    assert (grant.included, grant.unit_price) == (Decimal("0.5"), Decimal("0.0000025"))


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
    entries = sum(1 + len(plan.prices) + len(plan.features) for plan in document.plan)
    assert len(made) == len(document.feature) + entries
    assert diff_documents(document, nothing) == []
    gone = diff_documents(document, nothing, prune=True)
    assert [change.action for change in gone] == ["remove"] * (len(document.feature) + len(document.plan))


def test_changes_are_said_by_field():
    before = parse_document(TOML, "toml")
    after = parse_document(
        TOML.replace("2000", "2500").replace("0.5", "1").replace("[plan.features.sso]", "").replace('"SSO"', '"Login"'),
        "toml",
    )
    assert [str(change) for change in diff_documents(before, after)] == [
        "update feature sso (name: SSO -> Login)",
        "update price pro/monthly (price: 2000 -> 2500)",
        "update plan_feature pro/tokens (included: 0.5 -> 1)",
        "remove plan_feature pro/sso",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        TOML.replace('"boolean"', '"seats"'),
        TOML.replace('name = "Pro"', 'nome = "Pro"'),
        TOML.replace("monthly", "yearly"),
        TOML.replace("included = 0.5", "included = -1"),
        TOML.replace("included = 0.5", 'included = "x"'),
        TOML.replace("included = 0.5", "included = inf"),
        TOML.replace("[plan.features.sso]", "[plan.features.none]"),
        TOML.replace("prices = { monthly = 2000 }", "free = true"),
        TOML.replace("[plan.features.sso]", "[plan.features.sso]\noverage = true"),
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
