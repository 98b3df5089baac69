"""Prices of AI models from outside: the packaged catalog, what a merchant sets, and what a refresh adds."""

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from catalog.definition import ModelPrice
from catalog.gateway.price_refresh import import_lines, refresh
from catalog.price_edition import parse_price_file
from kernel.errors import Refusal
from kernel.limits import DAY_MS as DAY
from tests.story.shop import NOW

PRO = {"inputPrice": "2.5", "outputPrice": 10}


@pytest.fixture
async def priced(api):
    """The gateway with the packaged catalog."""
    await refresh(api.catalog, packaged_only=True)
    return api


def price_at(api, model, at_ms=NOW):
    organization = api.catalog.organizations()[0].id
    found = api.catalog.model_price(organization, model, at_ms)
    assert isinstance(found, ModelPrice), found
    return found


async def test_the_packaged_catalog_prices_180_models_with_all_four_prices(priced):
    """R-AI-7, R-AI-5."""
    models, cursor = [], ""
    while True:
        page = await priced.call("GET", f"/ai-models?limit=100{cursor}")
        models += page["data"]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    kinds = ("inputPrice", "outputPrice", "cacheReadPrice", "cacheWritePrice")
    assert all(isinstance(model[kind], str) and Decimal(model[kind]) >= 0 for model in models for kind in kinds)
    assert len({model["id"] for model in models}) == len(models) >= 180
    stated = [model for model in models if None not in model["stated"].values()]
    assert len(stated) >= 180
    assert {model["version"].split()[0] for model in models} == {"genai-prices"}
    assert {"openai", "anthropic", "google", "meta", "mistral", "cohere"} <= {model["provider"] for model in models}
    fallen = [model for model in models if model["stated"]["cacheReadPrice"] is None]
    assert fallen
    assert all(model["cacheReadPrice"] == model["inputPrice"] for model in fallen)


async def test_a_model_is_named_bare_or_with_its_provider(priced):
    """R-AI-6: split at the first slash; a bare name means its maker's model."""
    assert price_at(priced, "gpt-4o").model == price_at(priced, "openai/gpt-4o").model == "openai/gpt-4o"
    assert (price_at(priced, "gpt-4o").input, price_at(priced, "gpt-4o").output) == ("2.5", "10")
    assert price_at(priced, "anthropic/claude-sonnet-4.6").model == "anthropic/claude-sonnet-4-6"
    assert price_at(priced, "claude-sonnet-4-5-20250929").provider == "anthropic"
    routed = price_at(priced, "openrouter/anthropic/claude-sonnet-4.6")
    assert (routed.provider, routed.name) == ("openrouter", "anthropic/claude-sonnet-4.6")
    shown = await priced.call("GET", "/ai-models/openrouter/anthropic/claude-sonnet-4.6")
    assert shown["id"] == routed.model
    for unknown in ("nope/x", "gpt-nope", "openai/claude-sonnet-4-6"):
        organization = priced.catalog.organizations()[0].id
        assert isinstance(priced.catalog.model_price(organization, unknown, NOW), Refusal)
        await priced.refused("GET", f"/ai-models/{unknown}", status=404, code="model_not_found")


async def test_the_same_edition_twice_adds_nothing(priced):
    assert (await refresh(priced.catalog, packaged_only=True)).edition is None
    before = await priced.call("GET", "/ai-models/openai/gpt-4o")
    assert [price["ended"] for price in before["prices"]] == [False] * len(before["prices"])


async def test_a_merchants_price_holds_from_its_day(priced):
    """R-AI-8: dated prices, and one that is set or ended changes nothing before its day."""
    body = {"inputPrice": "3", "outputPrice": "12.000000000001", "cacheReadPrice": 1, "since": "2026-02-01"}
    made = await priced.call("PUT", "/ai-models/openai/gpt-4o", body)
    assert (made["outputPrice"], made["cacheWritePrice"], made["source"]) == ("12.000000000001", "3", "override")
    february = NOW + 31 * DAY
    assert price_at(priced, "gpt-4o", february - 1).input == "2.5"
    assert price_at(priced, "gpt-4o", february).input == "3"
    assert price_at(priced, "gpt-4o", february).organization is not None
    await priced.call("PUT", "/ai-models/openai/gpt-4o", PRO | {"inputPrice": "4"})
    assert price_at(priced, "gpt-4o").input == "4"
    await priced.call("PUT", "/ai-models/openai/gpt-4o", PRO | {"inputPrice": "5"})
    assert price_at(priced, "gpt-4o").input == "5", "the later recorded one of one instant holds"
    gone = await priced.call("DELETE", "/ai-models/openai/gpt-4o", idempotency_key="gone")
    assert gone["deleted"] is True
    assert await priced.call("DELETE", "/ai-models/openai/gpt-4o", idempotency_key="gone") == gone
    assert price_at(priced, "gpt-4o").input == "2.5"
    assert price_at(priced, "gpt-4o", february).input == "3"
    await priced.refused("DELETE", "/ai-models/openai/gpt-4o", status=404, code="model_not_found")


async def test_a_merchants_own_model_has_a_price_where_the_catalog_has_none(priced):
    made = await priced.call("PUT", "/ai-models/in-house", PRO)
    assert made["id"] == "own/in-house"
    assert price_at(priced, "in-house").output == "10"
    await priced.call("PUT", "/ai-models/acme/big/one", PRO)
    assert (await priced.call("GET", "/ai-models?provider=acme"))["data"][0]["id"] == "acme/big/one"
    for wrong, field in (({"inputPrice": -1, "outputPrice": 1}, "inputPrice"), ({"outputPrice": 1}, "inputPrice")):
        await priced.refused("PUT", "/ai-models/in-house", wrong, status=400, code="validation_error", field=field)
    await priced.refused(
        "PUT", "/ai-models/in-house", PRO | {"since": "soon"}, status=400, code="validation_error", field="since"
    )


async def test_a_price_under_a_bare_name_is_an_override_once_the_catalog_knows_the_model(api):
    """R-AI-6, R-AI-8: under the whole name goes first, and the bare one holds again when that ends."""
    assert (await api.call("PUT", "/ai-models/gpt-4o", PRO | {"inputPrice": "7"}))["id"] == "own/gpt-4o"
    await refresh(api.catalog, packaged_only=True)
    shown = await api.call("GET", "/ai-models/openai/gpt-4o")
    assert (shown["id"], shown["inputPrice"], shown["source"]) == ("openai/gpt-4o", "7", "override")
    assert [one["inputPrice"] for one in shown["prices"]] == ["2.5", "7"]
    await api.call("PUT", "/ai-models/openai/gpt-4o", PRO | {"inputPrice": "5"})
    assert price_at(api, "gpt-4o").input == "5"
    for left in ("7", "2.5"):
        await api.call("DELETE", "/ai-models/gpt-4o")
        assert price_at(api, "openai/gpt-4o").input == left
    await api.refused("DELETE", "/ai-models/gpt-4o", status=404, code="model_not_found")


async def test_a_file_adds_dated_prices_once(priced):
    """R-AI-8."""
    head = "model,input,output,cache_read,cache_write,since"
    text = f"{head}\nopenai/gpt-4o,2.6,10,,,2026-03-01\nacme/one,0.1,0.2,0.3,0.4,\n"
    lines = parse_price_file(text, "csv")
    assert (await import_lines(priced.catalog, lines, version="prices.csv")).added == 2
    assert (await import_lines(priced.catalog, lines, version="prices.csv")).added == 0
    assert price_at(priced, "gpt-4o", NOW + 30 * DAY).input == "2.5"
    assert price_at(priced, "gpt-4o", NOW + 60 * DAY).four == ("2.6", "10", None, None)
    assert price_at(priced, "acme/one").four == ("0.1", "0.2", "0.3", "0.4")
    assert price_at(priced, "gpt-4o", NOW + 60 * DAY).version == "prices.csv"


class _Source(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(type(self).body)

    def log_message(self, *_):
        pass


def edition(price, start=None):
    prices = {"input_mtok": price, "output_mtok": 10}
    dated = (
        prices
        if start is None
        else [
            {"prices": {"input_mtok": 2.5, "output_mtok": 10}},
            {
                "constraint": {"type": "start_date", "start_date": start},
                "prices": prices,
            },
        ]
    )
    model = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": dated}
    return json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "x", "models": [model]}]).encode()


@pytest.fixture
def source():
    server = HTTPServer(("127.0.0.1", 0), _Source)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_download_dates_what_changed_and_leaves_the_past(priced, shop, source):
    """R-AI-8: a refresh adds dated prices and never changes old ones."""
    shop.clock.advance(DAY)
    _Source.body = edition(2)
    done = await refresh(priced.catalog, source)
    assert (done.added, done.away) == (1, None)
    assert price_at(priced, "gpt-4o", NOW + DAY - 1).input == "2.5"
    assert price_at(priced, "gpt-4o", NOW + DAY).input == "2"
    assert (await refresh(priced.catalog, source)).added == 0
    shop.clock.advance(DAY)
    _Source.body = edition(1.5, "2026-02-01")
    await refresh(priced.catalog, source)
    assert price_at(priced, "gpt-4o", NOW + 31 * DAY - 1).input == "2.5"
    assert price_at(priced, "gpt-4o", NOW + 31 * DAY).input == "1.5"
    assert price_at(priced, "claude-sonnet-4-6").provider == "anthropic", "what the source leaves out stays"


async def test_a_source_that_is_away_fails_nothing(api):
    done = await refresh(api.catalog, "http://127.0.0.1:9/")
    assert done.away is not None
    assert done.models >= 180, "the packaged catalog is there without a network"
    again = await refresh(api.catalog, "http://127.0.0.1:9/")
    assert (again.edition, again.added) == (None, 0)
    assert again.away is not None
