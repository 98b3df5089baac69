"""Prices of AI models over HTTP: an addition of ours to the contract (R-AI-5 to R-AI-8).

A model is named in the path as events name it, slashes included. Prices are decimals in USD per million tokens.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import Response, Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import ModelPrice
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.model_price import OWN
from catalog.price_edition import model_id, optional_price, since_of
from kernel import wire
from kernel.errors import Refusal, Rejected
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "plan"
_QUERY: Final = {"provider": "models of this provider alone", **PAGE}


class ModelPriceInput(Wire, frozen=True, kw_only=True):
    """A seller's own price of a model, from `since` on (default: now); an absent cache price is the input price."""

    input_price: Decimal
    output_price: Decimal
    cache_read_price: Decimal | None = None
    cache_write_price: Decimal | None = None
    since: str | None = None


def model_wire(caller: Caller, price: ModelPrice) -> dict[str, Any]:
    """Spell a model with its price in force; `stated` tells the cache prices that the source gives (R-AI-5)."""
    return {**caller.object("ai_model"), "id": price.model, **_price(price)}


def _price(price: ModelPrice) -> dict[str, Any]:
    return {
        "provider": price.provider,
        "name": price.name,
        "currency": "usd",
        "perTokens": 1_000_000,
        "inputPrice": price.input,
        "outputPrice": price.output,
        "cacheReadPrice": price.cache_read_price,
        "cacheWritePrice": price.cache_write_price,
        "stated": {"cacheReadPrice": price.cache_read, "cacheWritePrice": price.cache_write},
        "since": instant_text(price.since_ms),
        "recordedAt": instant_text(price.recorded_ms),
        "version": price.version,
        "source": "catalog" if price.organization is None else "override",
    }


@get("/", summary="List AI models with their prices in force", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """The catalog's models and the seller's own, by name, each with the price that holds now."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    after = wire.decode_cursor(query["cursor"], str)[0] if "cursor" in query else ""
    book, organization = caller.catalog.model_prices, caller.organization.id
    begins = f"{query['provider'].lower()}/" if "provider" in query else ""
    found: list[ModelPrice] = []
    for model in book.models(organization):
        if model > after and model.startswith(begins):
            price = book.in_force(organization, model, caller.now_ms)
            found += [] if price is None else [price]
            if len(found) > limit:
                break
    page, cursor = wire.cut_page(found, limit, _model)
    return reply_list(caller.dialect, [model_wire(caller, price) for price in page], cursor)


def _model(price: ModelPrice) -> tuple[str]:
    return (price.model,)


@get("/{model:path}", summary="Read an AI model with its dated prices")
async def read(caller: NamedDependency[Caller], model: FromPath[str]) -> Response[bytes]:
    """The price in force, and in `prices` all dated ones of the catalog and the seller, oldest first."""
    caller.must_read(_RESOURCE)
    price = caller.catalog.model_price(caller.organization.id, _named(model), caller.now_ms)
    if isinstance(price, Refusal):
        raise Rejected(price)
    book = caller.catalog.model_prices
    dated = [*book.timeline(None, price.model), *book.overrides(caller.organization.id, price.model)]
    history = [{**_price(one), "ended": one.ended} for one in sorted(dated, key=lambda one: one.since_ms)]
    return reply(caller.dialect, {**model_wire(caller, price), "prices": history})


@put(
    "/{model:path}",
    status_code=200,
    summary="Set a seller's own price of an AI model",
    operation_class=documented(ModelPriceInput),
)
async def override(request: HttpRequest, caller: NamedDependency[Caller], model: FromPath[str]) -> Response[bytes]:
    """It holds for events from its `since` on; what was tracked keeps its price. A model may be the seller's own."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, ModelPriceInput)
    price = ModelPrice(
        model=_to_be_priced(caller, _named(model)),
        since_ms=caller.now_ms if made.since is None else since_of(made.since),
        input=rule.unit_price_text(made.input_price, "inputPrice"),
        output=rule.unit_price_text(made.output_price, "outputPrice"),
        cache_read=optional_price(made.cache_read_price, "cacheReadPrice"),
        cache_write=optional_price(made.cache_write_price, "cacheWritePrice"),
        version=f"override {instant_text(caller.real_ms)}",
        organization=caller.organization.id,
        recorded_ms=caller.real_ms,
    )

    async def work(conn: AsyncConnection) -> object:
        return model_wire(caller, await _added(conn, price))

    return await once(request, caller, work)


@delete("/{model:path}", status_code=200, summary="End a seller's own price of an AI model")
async def end_override(request: HttpRequest, caller: NamedDependency[Caller], model: FromPath[str]) -> Response[bytes]:
    """From now on the catalog's price holds again, if it has one; there is nothing to end twice."""
    caller.must_write(_RESOURCE)
    book = caller.catalog.model_prices

    async def work(conn: AsyncConnection) -> object:
        found = book.resolve(caller.organization.id, _named(model))
        if isinstance(found, Refusal):
            raise Rejected(found)
        current = book.override_in_force(caller.organization.id, found, caller.now_ms)
        if current is None:
            refusal = Refusal(code="model_not_found", message=f"There is no own price of {found}.", param="model")
            raise Rejected(refusal)
        end = msgspec.structs.replace(current, since_ms=caller.now_ms, recorded_ms=caller.real_ms, ended=True)
        await _added(conn, end)
        return {**caller.object("ai_model"), "id": found, "deleted": True}

    return await once(request, caller, work)


async def _added(conn: AsyncConnection, price: ModelPrice) -> ModelPrice:
    """Add a price, which holds from its `since` on whatever else is known of that instant."""
    added = (await store.load_price_book(conn)).last_recorded(price)
    await store.add_model_prices(conn, [added])
    return added


def _named(path: str) -> str:
    return path.strip("/")


def _to_be_priced(caller: Caller, name: str) -> str:
    """Tell which model a seller prices: one that the name means, else a new one of that name."""
    found = caller.catalog.model_prices.resolve(caller.organization.id, name)
    if not isinstance(found, Refusal):
        return found
    return model_id(name if "/" in name else f"{OWN}/{name}")


AI_MODELS: Final = Router(
    path="/ai-models",
    route_handlers=[list_all, read, override, end_override],
    dependencies=DEPENDENCIES,
    tags=["ai models"],
)
