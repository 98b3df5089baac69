"""Names of AI models, their dated prices, and files of them. Pure."""

from decimal import Decimal

import msgspec
import pytest

from catalog.definition import ModelPrice
from catalog.model_price import ModelPriceBook
from catalog.price_edition import PriceEdition, added_by, added_lines, model_id, parse_price_file
from kernel.errors import Refusal, Rejected

SELLER, OTHER = b"a" * 16, b"b" * 16
DAY = 86_400_000


def price(model, cost="1", since_ms=0, **more):
    return ModelPrice(model=model, since_ms=since_ms, input=cost, output=cost, version="v", **more)


def book(*prices):
    filled = ModelPriceBook()
    filled.take(prices)
    return filled


def named(filled, text, organization=SELLER):
    found = filled.resolve(organization, text)
    return found.code if isinstance(found, Refusal) else found


def test_a_bare_name_is_its_makers_or_the_only_one():
    """R-AI-6."""
    filled = book(
        *(price(f"{provider}/gpt-4o") for provider in ("azure", "openai", "router")),
        *(price(f"{provider}/qwen-9") for provider in ("azure", "router")),
        price("router/solo"),
        price("router/openai/gpt-4o"),
    )
    assert named(filled, "gpt-4o") == "openai/gpt-4o"
    assert named(filled, "azure/gpt-4o") == "azure/gpt-4o"
    assert named(filled, "solo") == "router/solo"
    assert named(filled, "router/openai/gpt-4o") == "router/openai/gpt-4o", "split at the first slash"
    assert named(filled, "qwen-9") == "model_not_found", "of two that are not its maker neither"
    assert named(filled, "router/qwen-9") == "router/qwen-9"
    for unknown in ("gpt-5", "nobody/gpt-4o", "/gpt-4o", "openai/", "", "/"):
        assert named(filled, unknown) == "model_not_found"


def test_a_name_is_read_in_the_spellings_that_clients_use():
    """R-AI-6."""
    filled = book(
        price("anthropic/claude-sonnet-4-6", aliases=("claude-4-6-sonnet",)),
        price("openai/gpt-4.1"),
        price("openai/gpt-4-1"),
        price("openai/gpt-4o"),
        price("openai/gpt-4o-2024-05-13"),
    )
    for text in ("anthropic/claude-sonnet-4.6", "Claude-Sonnet-4-6", "claude-4.6-sonnet", "claude-sonnet-4-6@20260101"):
        assert named(filled, text) == "anthropic/claude-sonnet-4-6", text
    assert (named(filled, "gpt-4.1"), named(filled, "gpt-4-1")) == ("openai/gpt-4.1", "openai/gpt-4-1")
    assert named(filled, "gpt-4o-2024-05-13") == "openai/gpt-4o-2024-05-13"
    assert named(filled, "gpt-4o-2024-08-06") == "openai/gpt-4o"


def test_the_price_in_force_is_the_last_that_has_begun():
    """R-AI-8."""
    filled = book(price("openai/x", "1"), price("openai/x", "3", 20 * DAY), price("openai/x", "2", 10 * DAY))
    costs = [filled.find(SELLER, "x", at).input for at in (0, 10 * DAY - 1, 10 * DAY, 20 * DAY - 1, 20 * DAY)]
    assert costs == ["1", "1", "2", "2", "3"]
    filled.take([price("openai/x", "9", 10 * DAY, recorded_ms=5)])
    assert filled.find(SELLER, "x", 15 * DAY).input == "9", "the later recorded of one instant"
    late = book(price("openai/y", since_ms=DAY))
    assert late.find(SELLER, "y", DAY - 1).code == "model_not_found"


def test_an_override_holds_for_one_merchant_until_it_ends():
    """R-AI-8."""
    own = price("openai/x", "7", DAY, organization=SELLER)
    ended = msgspec.structs.replace(own, since_ms=2 * DAY, ended=True)
    filled = book(price("openai/x", "1"), own, ended)
    assert [filled.find(SELLER, "x", at).input for at in (0, DAY, 2 * DAY)] == ["1", "7", "1"]
    assert filled.find(OTHER, "x", DAY).input == "1"
    private = book(price("own/y", organization=SELLER))
    assert named(private, "y") == "own/y"
    assert named(private, "y", OTHER) == "model_not_found"
    assert private.models(OTHER) == []


def test_an_override_under_a_bare_name_is_one_of_the_model_that_it_means():
    """R-AI-6, R-AI-8: the catalog learned the model after the merchant had priced it."""
    bare = price("own/gpt-4o", "7", organization=SELLER)
    alone = book(bare)
    assert [named(alone, text) for text in ("gpt-4o", "openai/gpt-4o", "azure/gpt-4o")] == [
        "own/gpt-4o",
        "own/gpt-4o",
        "model_not_found",
    ]
    known = [price(f"{provider}/gpt-4o") for provider in ("openai", "azure")]
    filled = book(bare, *known)
    told = {text: filled.find(SELLER, text, DAY) for text in ("gpt-4o", "openai/gpt-4o", "azure/gpt-4o")}
    assert [(one.model, one.input) for one in told.values()] == [
        ("openai/gpt-4o", "7"),
        ("openai/gpt-4o", "7"),
        ("azure/gpt-4o", "1"),
    ]
    assert filled.find(OTHER, "gpt-4o", DAY).input == "1"
    assert filled.models(SELLER) == ["azure/gpt-4o", "openai/gpt-4o"]
    whole = price("openai/gpt-4o", "5", organization=SELLER)
    ended = msgspec.structs.replace(whole, since_ms=2 * DAY, ended=True)
    filled.take([whole, ended])
    assert [filled.find(SELLER, "gpt-4o", at).input for at in (DAY, 2 * DAY)] == ["5", "7"], "the whole name first"
    assert len(filled.overrides(SELLER, "openai/gpt-4o")) == 3


def test_a_merchants_model_without_a_provider_is_the_last_that_its_name_means():
    """R-AI-6."""
    own = price("own/qwen-9", "7", organization=SELLER)
    several = book(own, price("azure/qwen-9"), price("router/qwen-9"))
    assert (named(several, "qwen-9"), named(several, "router/qwen-9")) == ("own/qwen-9", "router/qwen-9")
    assert several.find(SELLER, "router/qwen-9", DAY).input == "1"
    one = book(own, price("router/qwen-9"))
    assert (named(one, "qwen-9"), one.find(SELLER, "router/qwen-9", DAY).input) == ("router/qwen-9", "7")
    dated = book(price("own/gpt-4o-2024-05-13", "7", organization=SELLER), price("openai/gpt-4o"))
    assert named(dated, "gpt-4o-2024-05-13") == "own/gpt-4o-2024-05-13"
    assert (named(dated, "gpt-4o"), dated.find(SELLER, "gpt-4o", DAY).input) == ("openai/gpt-4o", "1")


def test_a_missing_cache_price_is_the_input_price():
    """R-AI-5."""
    one = price("openai/x", "2", cache_read="0.5")
    assert (one.cache_read_price, one.cache_write_price) == ("0.5", "2")
    assert price("openai/x", "2", cache_write="0").cache_write_price == "0", "a price of 0 is a price"


def test_an_edition_adds_and_never_changes():
    """R-AI-8."""
    filled, now = book(price("openai/x", "1"), price("openai/y", "5")), 100 * DAY

    def added(*prices):
        edition = PriceEdition(version="next", prices=prices)
        return [(one.model, one.since_ms, one.input, one.version) for one in added_by(edition, filled, now)]

    assert added(price("openai/x", "1")) == []
    assert added(price("openai/x", "2")) == [("openai/x", now, "2", "next")]
    dated = (price("openai/x", "1"), price("openai/x", "2", 90 * DAY), price("openai/x", "3", 110 * DAY))
    assert added(*dated) == [("openai/x", 90 * DAY, "2", "next"), ("openai/x", 110 * DAY, "3", "next")]
    assert added(price("openai/new", "1"), price("openai/new", "2", DAY)) == [
        ("openai/new", 0, "1", "next"),
        ("openai/new", DAY, "2", "next"),
    ]


def test_an_edition_brings_every_price_that_changes_what_holds():
    """R-AI-8: what came back to an older price is a change, and so is what began between two looks."""
    filled = book(price("openai/x", "1", DAY))

    def added(now, *prices):
        return [(one.since_ms, one.input) for one in added_by(PriceEdition(version="next", prices=prices), filled, now)]

    dated = (price("openai/x", "2", 10 * DAY), price("openai/x", "1", 100 * DAY))
    assert added(20 * DAY, *dated) == [(10 * DAY, "2"), (100 * DAY, "1")]
    assert added(5 * DAY, *dated) == [(10 * DAY, "2"), (100 * DAY, "1")]
    assert added(200 * DAY, *dated) == [(10 * DAY, "2"), (100 * DAY, "1")]
    assert added(20 * DAY, price("openai/x", "3")) == [(20 * DAY, "3")]
    filled.take(added_by(PriceEdition(version="next", prices=dated), filled, 20 * DAY))
    assert added(20 * DAY, *dated) == added(300 * DAY, *dated) == []


def test_lines_of_one_instant_are_one_or_refused():
    """A changed file of the same instant holds; two lines of one file do not say which."""
    csv = parse_price_file("model,input,output\na/b,1,1\n", "csv")
    changed = parse_price_file("model,input,output\na/b,2,1\n", "csv")
    filled = book(*added_lines(csv, book(), SELLER, "f", now_ms=DAY, real_ms=9 * DAY))
    filled.take(added_lines(changed, filled, SELLER, "g", now_ms=DAY, real_ms=9 * DAY))
    held = filled.in_force(SELLER, "a/b", DAY)
    assert (held.input, held.recorded_ms) == ("2", 9 * DAY + 1)
    with pytest.raises(Rejected) as refused:
        added_lines([*csv, *changed], book(), SELLER, "f", now_ms=DAY, real_ms=DAY)
    assert "line 2" in refused.value.refusal.param


def test_a_file_is_read_exactly():
    """R-AI-8: no float on the way."""
    json = parse_price_file('[{"model": "a/b", "input": 0.1, "output": "1e-7", "cache_read": 0.3}]', "json")
    assert (json[0].input, json[0].output, json[0].cache_read) == (Decimal("0.1"), Decimal("1e-7"), Decimal("0.3"))
    csv = parse_price_file("model,input,output,cache_read\na/b,0.1,0.0000001,\n", "csv")
    (added,) = added_lines(csv, book(), None, "f", now_ms=DAY, real_ms=DAY)
    assert (added.four, added.since_ms) == (("0.1", "0.0000001", None, None), DAY)
    assert added_lines(csv, book(added), None, "f", now_ms=2 * DAY, real_ms=2 * DAY) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("model,input,output,extra\na/b,1,1,1\n", "csv"),
        ("model,input\na/b,1\n", "csv"),
        ('[{"model": "a/b", "input": "x", "output": 1}]', "json"),
        ('{"model": "a/b"}', "json"),
        ("[", "json"),
    ],
)
def test_a_file_that_is_none_is_refused(text, kind):
    with pytest.raises(Rejected):
        parse_price_file(text, kind)


@pytest.mark.parametrize(
    "line", ["b,1,1,", "a/b,-1,1,", "a/b,1,NaN,", "a/b,0.0000000000001,1,", "a/b,1,1,soon", "a/,1,1,", "/b,1,1,"]
)
def test_a_line_that_is_no_price_is_refused(line):
    lines = parse_price_file(f"model,input,output,since\n{line}\n", "csv")
    with pytest.raises(Rejected):
        added_lines(lines, book(), None, "f", now_ms=0, real_ms=0)


def test_a_models_whole_name_has_a_provider():
    assert model_id("XAI/Grok-4") == "x-ai/grok-4"
    assert model_id("a/b/c") == "a/b/c"
    with pytest.raises(Rejected):
        model_id("a" * 150 + "/" + "b" * 100)
