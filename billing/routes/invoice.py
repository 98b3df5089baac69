"""Invoices over HTTP: list, read, adjust, the events behind a line, and the invoice to come (rows 106 to 110)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.row import EventRow
from aggregator.store import UsageStore
from aggregator.usage import position_of
from aggregator.usage_answer import Reader, event_wire
from billing.gateway.adjusting import AdjustmentWish, adjust
from billing.gateway.event_invoice import events_of
from billing.gateway.invoice_status import SettableStatus, set_status
from billing.gateway.upcoming import upcoming
from billing.money.invoice import Invoice
from billing.routes.customer import customer_of
from billing.routes.shown import shown
from billing.store import credit
from billing.store import invoice as invoices
from billing.wire import invoice as shape
from billing.worker.relay import Relay
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from kernel import ids, wire
from kernel.engine.live.base import Live
from kernel.errors import invalid, rejected
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.position import Position
from kernel.wire import Wire

_RESOURCE: Final = "invoice"
_STATUSES: Final = ("draft", "outstanding", "paid", "void", "uncollectible")
_QUERY: Final = {
    **PAGE,
    "customerId": "`cus_…` or the seller's own id",
    "subscriptionId": "`sub_…`",
    "status": f"one of {', '.join(_STATUSES)}",
}


class AdjustmentInput(Wire, frozen=True, kw_only=True):
    """A correction by hand: `amount` in minor units of the customer's currency; `reason` is taken for `description`.

    Additive: `refund` says where a negative amount goes, to the card that paid (true) or to the account (false).
    """

    customer_id: str
    amount: int
    description: str | None = None
    reason: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    refund: bool | None = None


class StatusInput(Wire, frozen=True, kw_only=True):
    """What an outstanding invoice becomes: `paid` elsewhere, or `void`."""

    status: str


@get("/", summary="List invoices, newest first", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Filter by `customerId`, `subscriptionId` and `status`."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    cursor, status = query.get("cursor"), query.get("status")
    if status is not None and status not in _STATUSES:
        raise invalid("status", f"must be one of {', '.join(_STATUSES)}")
    reference, subscription_id = query.get("customerId"), query.get("subscriptionId")
    if subscription_id is not None and not ids.is_id(ids.SUBSCRIPTION, subscription_id):
        raise rejected("subscription_not_found", "subscriptionId names no subscription.", param="subscriptionId")
    customer_id = None if reference is None else (await customer_of(caller, reference)).id_text
    async with caller.catalog.sql.snapshot() as connection:
        rows = await invoices.page(
            connection,
            caller.organization.id_text,
            customer_id=customer_id,
            subscription_id=subscription_id,
            status=status,
            limit=limit + 1,
            before=None if cursor is None else wire.decode_cursor(cursor, int, bits=32)[0],
        )
    page, following = wire.cut_page(rows, limit, lambda one: (one.number,))
    return reply_list(caller.dialect, [_members(caller, one) for one in page], following)


@get("/{invoice_id:str}", summary="Read an invoice with its lines")
async def read(caller: NamedDependency[Caller], invoice_id: FromPath[str]) -> Response[bytes]:
    """Read one."""
    caller.must_read(_RESOURCE)
    found = await _load(caller, invoice_id)
    async with caller.catalog.sql.snapshot() as connection:
        lines = await invoices.lines(connection, invoice_id)
    details = shape.invoice_details(found.plan_name, lines, found.currency)
    return reply(caller.dialect, {**_members(caller, found), **details})


@post("/", status_code=200, summary="Charge or credit a customer once", operation_class=documented(AdjustmentInput))
async def adjust_customer(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Charge a positive `amount` once; a negative one goes back to the card if one paid, else it becomes credit.

    Source: row 110; R-INV-5, AMB-19.
    """
    caller.must_write(_RESOURCE)
    wish = _wish(await read_body(request, AdjustmentInput))

    async def work(connection: AsyncConnection) -> object:
        made = await adjust(connection, caller.organization, wish, caller.real_ms)
        lines = await invoices.lines(connection, made.id)
        return {**_members(caller, made), **shape.invoice_details(made.plan_name, lines, made.currency)}

    return await once(request, caller, work)


def _wish(asked: AdjustmentInput) -> AdjustmentWish:
    if not -AMOUNT_MINOR_MAX <= asked.amount <= AMOUNT_MINOR_MAX or asked.amount == 0:
        raise invalid("amount", f"must be minor units from 1 to {AMOUNT_MINOR_MAX}, or negative to give a credit")
    description = asked.description or asked.reason
    if not description or not description.strip():
        raise invalid("description", "must say what the customer pays for, or is given back: the invoice shows it")
    return AdjustmentWish(
        customer=asked.customer_id,
        amount_minor=asked.amount,
        description=description,
        metadata=asked.metadata,
        refund=asked.refund,
    )


@route(
    "/{invoice_id:str}/status",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Set an outstanding invoice paid or void",
    operation_class=documented(StatusInput),
)
async def change_status(
    request: HttpRequest, caller: NamedDependency[Caller], relay: NamedDependency[Relay], invoice_id: FromPath[str]
) -> Response[bytes]:
    """One that is void gives back the account credit that it took; its number stays (row 108, R-INV-10)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, StatusInput)
    try:
        status = SettableStatus(asked.status)
    except ValueError as error:
        raise invalid("status", f"must be one of {', '.join(SettableStatus)}") from error
    customer = (await _load(caller, invoice_id)).customer_id

    async def work(connection: AsyncConnection) -> object:
        after = await set_status(connection, caller.organization, invoice_id, status, caller.real_ms)
        lines = await invoices.lines(connection, after.id)
        return {**_members(caller, after), **shape.invoice_details(after.plan_name, lines, after.currency)}

    return await once(request, caller, work, after=shown(relay, [customer]))


@get(
    "/{invoice_id:str}/lines/{line_id:str}/events",
    summary="List the events that an invoice line bills",
    operation_class=documented(query=PAGE),
)
async def line_events(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    usage_store: NamedDependency[UsageStore],
    invoice_id: FromPath[str],
    line_id: FromPath[str],
) -> Response[bytes]:
    """Every counted event behind the line, in the log's order; none stand behind a base price."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    after = None if "cursor" not in query else _place(query["cursor"])
    found = await _load(caller, invoice_id)
    async with caller.catalog.sql.snapshot() as connection:
        line = await invoices.line(connection, invoice_id, line_id) if ids.is_id(ids.INVOICE_LINE, line_id) else None
    if line is None:
        raise rejected("not_found", f"Invoice {invoice_id} has no line {line_id}.")
    asked = events_of(found, line)
    if asked is None:
        return reply_list(caller.dialect, [])
    rows = await usage_store.line_events(asked, limit=limit + 1, after=after)
    page, following = wire.cut_page(rows, limit, lambda row: (position_of(row).event_id(),))
    reader = Reader(dialect=caller.dialect, livemode=caller.organization.livemode)
    items = [event_wire(row, _code(caller, row), caller.organization.id_text, reader) for row in page]
    return reply_list(caller.dialect, items, following)


def _place(cursor: str) -> Position:
    place = Position.from_event_id(wire.decode_cursor(cursor, str)[0])
    if place is None:
        raise invalid("cursor", "is not a cursor of this list")
    return place


def _code(caller: Caller, row: EventRow) -> str:
    feature = caller.catalog.feature_by_id(ids.id_bytes(row.feature))
    return row.feature if feature is None else feature.code


@get("/{customer_ref:str}/upcoming-invoice", summary="Read the invoice that is to come")
async def read_upcoming(
    caller: NamedDependency[Caller], live: NamedDependency[SkipValidation[Live]], customer_ref: FromPath[str]
) -> Response[bytes]:
    """What a close at this instant would write; it has neither id nor number."""
    caller.must_read(_RESOURCE)
    customer = await customer_of(caller, customer_ref)
    catalog = caller.catalog
    draft = await upcoming(catalog.sql, live, catalog.deployment.lanes, customer.id_text)
    async with catalog.sql.snapshot() as connection:
        amounts = await credit.due_of(connection, draft)
    details = shape.invoice_details(draft.plan_name, [(None, line) for line in amounts.lines], draft.currency)
    members = {**caller.object("invoice"), **shape.draft_members(draft, amounts, caller.now_ms), **details}
    return reply(caller.dialect, members)


async def _load(caller: Caller, invoice_id: str) -> Invoice:
    found = None
    if ids.is_id(ids.INVOICE, invoice_id):
        async with caller.catalog.sql.snapshot() as connection:
            found = await invoices.read(connection, invoice_id, caller.organization.id_text)
    if found is None:
        raise rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
    return found


def _members(caller: Caller, invoice: Invoice) -> dict[str, Any]:
    return {**caller.object("invoice"), **shape.invoice_members(invoice)}


INVOICES: Final = Router(
    path="/invoices",
    route_handlers=[list_all, adjust_customer, read, change_status, line_events],
    dependencies=DEPENDENCIES,
    tags=["invoices"],
)
UPCOMING: Final = Router(
    path="/customers", route_handlers=[read_upcoming], dependencies=DEPENDENCIES, tags=["invoices"]
)
