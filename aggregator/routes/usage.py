"""GET /usage/query, /usage/events and /usage/events/{id}: what was used, event by event and summed.

Extensions of ours; the shapes are era D's, wrapped for older eras. Source: DESIGN 3.1, 3.6; contract 2.5; R-GEN-7.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from aggregator.routes.lookup import as_of_ms, find_event
from aggregator.row import EventRow, RefusalRow
from aggregator.store import UsageStore
from aggregator.usage import (
    EventFilter,
    EventQuestion,
    ListedEvent,
    UsageQuery,
    cursor_key,
    event_question,
    usage_question,
)
from aggregator.usage_answer import Reader, Stage, corrections_wire, event_wire, refusal_wire, series_wire
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, reply, reply_list
from ingest.verdict import Verdict
from kernel import ids
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.errors import rejected
from kernel.lane import lane_of
from kernel.position import Position
from kernel.wire import cut_page

_RESOURCE: Final = "usage"
_NOBODY: Final = ""  # an id that no row has

# Which invoice a counted event is on; None: on none yet. Billing gives it, the composition root provides it.
InvoiceOf = Callable[[EventRow], Awaitable[str | None]]


@get("/query", summary="Sum a feature's counted usage by hour or day")
async def query(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    usage_store: NamedDependency[UsageStore],
    live: NamedDependency[SkipValidation[Live]],
) -> Response[bytes]:
    """Sums by event time over a half-open interval, one customer's or everybody's."""
    caller.must_read(_RESOURCE)
    question = usage_question(dict(request.query_params), caller.now_ms)
    feature = caller.catalog.feature(caller.organization.id, question.feature)
    if feature is None:
        _no_feature(question.feature)
    customer = None if question.customer is None else await _customer(caller, question.customer)
    deployment = caller.catalog.deployment
    lanes = range(deployment.lanes) if customer is None else [lane_of(ids.id_bytes(customer), deployment.lanes)]
    as_of = await as_of_ms(
        usage_store, live, deployment.epoch, lanes
    )  # before the sums, so that it never promises more
    series = await usage_store.series(
        UsageQuery(
            organization=caller.organization.id_text,
            customer=customer,
            feature=feature.id_text,
            granularity=question.granularity,
            from_us=question.from_us,
            to_us=question.to_us,
        )
    )
    return reply(caller.dialect, series_wire(question, series, customer, as_of, _reader(caller)))


@get("/events", summary="List usage events, newest first")
async def events(
    request: HttpRequest, caller: NamedDependency[Caller], usage_store: NamedDependency[UsageStore]
) -> Response[bytes]:
    """Counted events; with `verdict` those of another one, or all. Refused requests have ids of their own, `rej_…`."""
    caller.must_read(_RESOURCE)
    question = event_question(dict(request.query_params))
    found = await usage_store.events(await _filter(caller, question), limit=question.limit + 1)
    page, next_cursor = cut_page(found, question.limit, cursor_key)
    return reply_list(caller.dialect, [_item(caller, item) for item in page], next_cursor)


@get("/events/{event:str}", summary="Where a usage event is, and why it counts or not")
async def one(
    caller: NamedDependency[Caller],
    event: FromPath[str],
    usage_store: NamedDependency[UsageStore],
    log: NamedDependency[SkipValidation[Log]],
    live: NamedDependency[SkipValidation[Live]],
    invoice_of: NamedDependency[SkipValidation[InvoiceOf | None]] = None,
) -> Response[bytes]:
    """An event from the moment it is durable, or a refused request, by its id."""
    caller.must_read(_RESOURCE)
    if ids.is_id(ids.REFUSAL, event):
        refusal = await usage_store.refusal(caller.organization.id_text, event)
        if refusal is None:
            _no_event(event)
        return reply(caller.dialect, _item(caller, refusal))
    position = Position.from_event_id(event)
    found = None if position is None else await _find(caller, usage_store, log, live, position)
    if found is None:
        _no_event(event)
    row, stage = found
    told = {**_item(caller, row), "stage": stage.value}
    if invoice_of is not None and row.verdict == Verdict.COUNTED:
        invoice = await invoice_of(row)
        told = {**told, "billed": invoice is not None, "invoiceId": invoice}
    if row.verdict == Verdict.COUNTED and not row.corrects:
        told = {**told, **corrections_wire(row, await usage_store.corrections_of(row))}
    return reply(caller.dialect, told)


async def _find(
    caller: Caller, store: UsageStore, log: Log, live: Live, position: Position
) -> tuple[EventRow, Stage] | None:
    organization = caller.organization
    return await find_event(store, log, live, organization.id, organization.id_text, position)


async def _customer(caller: Caller, reference: str) -> str:
    customer = await caller.catalog.customer(caller.organization.id, reference)
    if customer is None:
        raise rejected("customer_not_found", f"No customer {reference}.", param="customerId")
    return customer.id_text


async def _filter(caller: Caller, question: EventQuestion) -> EventFilter:
    """Turn names into ids. Where refusals are listed, an unknown name is no mistake: they may be about just that."""
    asked = EventFilter(
        organization=caller.organization.id_text,
        verdict=question.verdict,
        key=question.key,
        from_us=question.from_us,
        to_us=question.to_us,
        after=question.after,
        refusals=question.refusals,
    )
    if question.customer is not None:
        customer = await caller.catalog.customer(caller.organization.id, question.customer)
        if customer is None and not question.refusals:
            await _customer(caller, question.customer)
        names = (
            {question.customer} if customer is None else {customer.id_text, customer.external_id or question.customer}
        )
        asked = msgspec.structs.replace(
            asked, customer=_NOBODY if customer is None else customer.id_text, customer_names=tuple(sorted(names))
        )
    if question.feature is not None:
        feature = caller.catalog.feature(caller.organization.id, question.feature)
        if feature is None and not question.refusals:
            _no_feature(question.feature)
        codes = {question.feature} if feature is None else {feature.code, feature.event_code}
        asked = msgspec.structs.replace(
            asked, feature=_NOBODY if feature is None else feature.id_text, feature_names=tuple(sorted(codes))
        )
    return asked


def _item(caller: Caller, item: ListedEvent) -> dict[str, Any]:
    if isinstance(item, RefusalRow):
        return refusal_wire(item, _reader(caller))
    feature = caller.catalog.feature_by_id(ids.id_bytes(item.feature))
    code = item.feature if feature is None else feature.code
    return event_wire(item, code, caller.organization.id_text, _reader(caller))


def _reader(caller: Caller) -> Reader:
    organization = caller.organization
    return Reader(dialect=caller.dialect, livemode=organization.livemode, currency=organization.currency)


def _no_feature(code: str) -> NoReturn:
    raise rejected("feature_not_found", f"No feature {code}.", param="feature")


def _no_event(event: str) -> NoReturn:
    raise rejected("event_not_found", f"No usage event {event}.")


USAGE: Final = Router(
    path="/usage", route_handlers=[query, events, one], dependencies=dict(DEPENDENCIES), tags=["usage"]
)
ROUTES: Final[tuple[Router, ...]] = (USAGE,)
