"""POST /usage/events/void and /usage/events/amend: an event that counts is taken back, or counts another amount.

Extensions of ours. Source: ADR 10; contract 1.5, 2.2.
"""

from decimal import Decimal
from typing import Final

from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from aggregator.correction_event import Correction
from aggregator.routes.corrector import Corrector
from aggregator.row import EventRow
from aggregator.store import UsageStore
from aggregator.usage_answer import Reader, event_wire
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply
from catalog.gateway.openapi import documented
from ingest.event import request_digest
from ingest.gateway import Admission
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.errors import invalid, rejected
from kernel.limits import KEY_BYTES_MAX, PROPERTY_CHARS_MAX
from kernel.quantity import parse_quantity
from kernel.wire import Wire

_RESOURCE: Final = "usage"


class VoidInput(Wire, frozen=True, kw_only=True):
    """Which event: `id` is its `evt_…`; or the customer with the key under which it was sent, by either name."""

    id: str | None = None
    customer_id: str | None = None
    event_id: str | None = None
    idempotency_key: str | None = None
    reason: str | None = None


class AmendInput(VoidInput, frozen=True, kw_only=True):
    """Which event, and the whole `value` that it counts from now on."""

    value: Decimal


@post(
    "/events/void",
    status_code=200,
    summary="Void a usage event that counts",
    operation_class=documented(VoidInput),
)
async def void(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    admission: NamedDependency[SkipValidation[Admission]],
    usage_store: NamedDependency[UsageStore],
    log: NamedDependency[SkipValidation[Log]],
    live: NamedDependency[SkipValidation[Live]],
    clock: NamedDependency[SkipValidation[Clock]],
) -> Response[bytes]:
    """It counts nothing any more. What was invoiced of it comes back on the next invoice."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, VoidInput)
    corrector = Corrector(caller, admission, usage_store, log, live, clock)
    return await _answer(request, caller, corrector, asked, Correction(value=None, reason=_reason(asked)))


@post(
    "/events/amend",
    status_code=200,
    summary="Amend the value of a usage event that counts",
    operation_class=documented(AmendInput),
)
async def amend(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    admission: NamedDependency[SkipValidation[Admission]],
    usage_store: NamedDependency[UsageStore],
    log: NamedDependency[SkipValidation[Log]],
    live: NamedDependency[SkipValidation[Live]],
    clock: NamedDependency[SkipValidation[Clock]],
) -> Response[bytes]:
    """A smaller value gives back, a greater one is judged like usage of the difference."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, AmendInput)
    try:
        value = parse_quantity(asked.value)
    except ValueError as error:
        raise invalid("value", str(error)) from error
    corrector = Corrector(caller, admission, usage_store, log, live, clock)
    return await _answer(request, caller, corrector, asked, Correction(value=value, reason=_reason(asked)))


async def _answer(
    request: HttpRequest, caller: Caller, corrector: Corrector, asked: VoidInput, correction: Correction
) -> Response[bytes]:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise invalid("Idempotency-Key", f"must have 1 to {KEY_BYTES_MAX} bytes")
    way = f"{caller.dialect.value} {request.url.path}"
    digest = request_digest(key, way, await request.body(), 0)
    row = await corrector.correct(await _original(caller, corrector, asked), correction, digest)
    feature = caller.catalog.feature_by_id(ids.id_bytes(row.feature))
    organization = caller.organization
    reader = Reader(dialect=caller.dialect, livemode=organization.livemode, currency=organization.currency)
    code = row.feature if feature is None else feature.code
    return reply(caller.dialect, event_wire(row, code, organization.id_text, reader))


async def _original(caller: Caller, corrector: Corrector, asked: VoidInput) -> EventRow:
    key = asked.event_id or asked.idempotency_key
    customer = None
    if asked.customer_id:
        customer = await caller.catalog.customer(caller.organization.id, asked.customer_id)
        if customer is None:
            raise rejected("customer_not_found", f"No customer {asked.customer_id}.", param="customerId")
    if asked.id:
        found = await corrector.by_id(asked.id)
        if customer is not None and found.customer != customer.id_text:
            raise rejected("event_not_found", f"This customer has no usage event {asked.id}.")
        return found
    if not key:
        raise invalid("id", "is required, or customerId with the event's key")
    if customer is None:
        raise invalid("customerId", "is required with the event's key")
    return await corrector.by_key(customer, key)


def _reason(asked: VoidInput) -> str | None:
    if asked.reason is not None and len(asked.reason) > PROPERTY_CHARS_MAX:
        raise invalid("reason", f"must have at most {PROPERTY_CHARS_MAX} characters")
    return asked.reason


ROUTES: Final = (Router(path="/usage", route_handlers=[void, amend], dependencies=dict(DEPENDENCIES), tags=["usage"]),)
