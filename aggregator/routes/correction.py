"""POST /usage/events/void and /usage/events/amend: an event that counts is taken back, or counts another amount.

Extensions of ours. Source: ADR 10; contract 1.5, 2.2.
"""

from decimal import Decimal
from typing import Final

from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.correction_event import Correction, checked_reason, checked_value
from aggregator.routes.corrector import Corrector
from aggregator.store import UsageStore
from aggregator.usage_answer import Reader, event_wire
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once, replayed
from catalog.gateway.openapi import documented
from ingest.event import request_digest
from ingest.gateway import Admission
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.errors import invalid
from kernel.limits import KEY_BYTES_MAX
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
    return await _answer(request, caller, corrector, asked, Correction(value=None, reason=checked_reason(asked.reason)))


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
    value = checked_value(asked.value)
    corrector = Corrector(caller, admission, usage_store, log, live, clock)
    return await _answer(
        request, caller, corrector, asked, Correction(value=value, reason=checked_reason(asked.reason))
    )


async def _answer(
    request: HttpRequest, caller: Caller, corrector: Corrector, asked: VoidInput, correction: Correction
) -> Response[bytes]:
    """Correct, and keep the answer for the key: another request under it is refused before it changes anything.

    Where the process dies between the two, the identical retry finds the correction by its digest.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise invalid("Idempotency-Key", f"must have 1 to {KEY_BYTES_MAX} bytes")
    way = f"{caller.dialect.value} {request.url.path}"
    digest = request_digest(key, way, await request.body(), 0)
    before = await replayed(request, caller)
    if before is not None:
        return before
    original = await corrector.find(asked.id, asked.customer_id, asked.event_id or asked.idempotency_key, digest)
    row = await corrector.correct(original, correction, digest)
    feature = caller.catalog.feature_by_id(ids.id_bytes(row.feature))
    organization = caller.organization
    reader = Reader(dialect=caller.dialect, livemode=organization.livemode, currency=organization.currency)
    code = row.feature if feature is None else feature.code

    async def said(_: AsyncConnection) -> object:
        return event_wire(row, code, organization.id_text, reader)

    return await once(request, caller, said)


ROUTES: Final = (Router(path="/usage", route_handlers=[void, amend], dependencies=dict(DEPENDENCIES), tags=["usage"]),)
