"""POST /usage/events and /usage/events/batch, as raw ASGI callables.

Owns reading a request within its limits and sending its one answer. Invariant: every request that is read whole gets an
answer in the contract's envelope, with a request id. Source: contract 1.2 to 1.6, 2, 3.18, 3.19; DESIGN 7, 8.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import count
from typing import Any, Final

from ingest.answer import Answer, batch_answer, error_answer, event_of, refusal_of, single_answer
from ingest.gateway.admission import Admission
from ingest.gateway.call import Call, CatalogReader
from ingest.head import Head, read_head
from ingest.pressure import OVERLOADED, Pressure, Ticket
from ingest.refusal import Asked, RefusalQuota, RefusedRequest, refused_request
from ingest.replay import Firsts, as_first, repeated
from kernel import ids, limits
from kernel.clock import Clock
from kernel.errors import Refusal, Retryable
from kernel.telemetry import CounterName, GaugeName, HistogramName, Telemetry, logger

_log = logger("usage")

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
KeepRefusal = Callable[[RefusedRequest], None]

# What is read of a body that is too large, so that its sender gets to read the answer instead of a reset connection.
DRAIN_BYTES_MAX: Final = 8 * limits.BODY_BYTES_MAX
TOO_LARGE: Final = Refusal(code="payload_too_large", message=f"A body has at most {limits.BODY_BYTES_MAX} bytes.")
NOT_JSON: Final = Refusal(
    code="validation_error",
    message="The body must come with Content-Type: application/json.",
    param="Content-Type",
    details=[{"field": "Content-Type", "message": "must be application/json"}],
)
BROKEN: Final = Refusal(code="internal_error", message="Something went wrong here; it is logged.")
AWAY: Final = Refusal(code="service_unavailable", message="A store is away; send the request again.")
# What an answer says when nothing was refused, and which refusals of a whole call are the caller's doing.
_TAKEN: Final = frozenset({"accepted", "pending"})
_OF_THE_CALLER: Final = frozenset({"validation_error", "invalid_json", "forbidden"})


class _HungUpError(Exception):
    """The client went away before its request was read."""


class UsageRoutes:
    """The two hot routes."""

    def __init__(
        self,
        admission: Admission,
        catalog: CatalogReader,
        clock: Clock,
        telemetry: Telemetry,
        refusals: KeepRefusal,
        quota: RefusalQuota | None = None,
        firsts: Firsts | None = None,
    ) -> None:
        """`refusals` is handed what was refused, within the quota (None: one of its own); it must not wait.

        `firsts` finds what the first answers of repeats said; without it they go without draws and costs.
        """
        self._admission = admission
        self._catalog = catalog
        self._clock = clock
        self._telemetry = telemetry
        self._refusals = refusals
        self._firsts = firsts
        self._quota = quota or RefusalQuota()
        self._pressure = Pressure()
        # Unique by the process, then by number: a fresh id a request would cost as much as reading its event.
        process = ids.new_id(ids.REQUEST, clock.now_ms())
        self._request_ids = (f"{process}_{number}" for number in count(1))

    async def event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Track one event (contract 3.18)."""
        await self._serve(scope, receive, send, batch=False)

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Track 1 to 100 events (contract 3.19)."""
        await self._serve(scope, receive, send, batch=True)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, batch: bool) -> None:
        began_ms = self._clock.monotonic_ms()
        call: Call | None = None
        request_id = next(self._request_ids)
        try:
            head = read_head(scope["path"], scope["headers"])
            call, answer = await self._under_pressure(head, receive, request_id, batch=batch)
        except _HungUpError:
            return
        except Retryable as error:
            _log.warning("a store is away", reason=str(error))
            answer = error_answer(AWAY, request_id)
        except Exception as error:  # noqa: BLE001 - the edge: every request is answered
            _log.error("a usage request failed", path=scope["path"], exc_info=error)
            answer = error_answer(BROKEN, request_id)
        try:
            await self._send(send, answer, request_id)
        except OSError:
            _log.info("a client went away before its answer")
        self._account(call, answer, began_ms)

    async def _under_pressure(
        self, head: Head, receive: Receive, request_id: str, *, batch: bool
    ) -> tuple[Call | None, Answer]:
        """Read and submit a request, if no more than the limits allow is under way."""
        ticket = self._pressure.enter()
        if ticket is None:
            return None, error_answer(OVERLOADED, request_id)
        try:
            self._telemetry.set(GaugeName.IN_FLIGHT, self._pressure.requests)
            body = await _read(head, receive, ticket)
            if isinstance(body, Refusal):
                return None, error_answer(body, request_id)
            call = Call(head, body, batch=batch, at_ms=self._admission.stamp(), request_id=request_id)
            await self._admission.submit(call)
            await self._recall(call)
            return call, _answer(call)
        finally:
            ticket.leave()

    async def _recall(self, call: Call) -> None:
        """Let repeats say what their first answers said (decision 12)."""
        repeats = {} if call.refusal is not None or self._firsts is None else repeated(call.settled)
        if not repeats or self._firsts is None or call.organization is None:
            return
        found = await self._firsts(call.organization.id, list(repeats.values()))
        for index, position in repeats.items():
            if position in found:
                call.settled[index] = as_first(call.settled[index], found[position])

    async def _send(self, send: Send, answer: Answer, request_id: str) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", request_id.encode()),
        ]
        if answer.retry:
            headers.append((b"retry-after", b"1"))
        if answer.status == 429:  # noqa: PLR2004 - the standard's number
            headers += [
                (b"ratelimit-limit", str(limits.IN_FLIGHT_REQUESTS_MAX).encode()),
                (b"ratelimit-remaining", str(self._pressure.left).encode()),
                (b"ratelimit-reset", b"1"),
            ]
        if answer.status == 202:  # noqa: PLR2004 - the standard's number
            headers.append((b"preference-applied", b"respond-async"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _account(self, call: Call | None, answer: Answer, began_ms: float) -> None:
        """Count the answer, and keep what was refused."""
        for word, times in answer.saying.items():
            self._telemetry.count(CounterName.EVENTS_ANSWERED, times, verdict=word)
        self._telemetry.observe(HistogramName.VERDICT_SECONDS, (self._clock.monotonic_ms() - began_ms) / 1_000)
        self._telemetry.set(GaugeName.IN_FLIGHT, self._pressure.requests)
        if call is None or call.organization is None or answer.saying.keys() <= _TAKEN:
            return
        refused = _refused(call)
        if not refused:
            return
        kept = self._quota.take(call.organization.id, call.at_ms, len(refused))
        if kept < len(refused):
            self._telemetry.count(CounterName.REFUSALS_DROPPED, len(refused) - kept)
        asked = Asked(
            organization=call.organization.id,
            request=call.request_id or "",
            route=f"POST /usage/events{'/batch' if call.batch else ''}",
            at_ms=call.at_ms,
            now_ms=call.organization.now_ms(call.at_ms),
        )
        # In order of the events, so that they are read back in it.
        refusal_ids = sorted(ids.new_id(ids.REFUSAL, call.at_ms) for _ in range(kept))
        for refusal_id, (index, refusal, event) in zip(refusal_ids, refused, strict=False):
            self._keep(call, asked, refusal_id, index, refusal, event)

    def _keep(self, call: Call, asked: Asked, refusal_id: str, index: int, refusal: Refusal, event: str) -> None:
        refused = refused_request(
            refusal,
            call.candidate(index),
            bytes(call.elements[index]) if index < len(call.elements) else call.body,
            asked,
            refusal_id=refusal_id,
            event=event,
        )
        try:
            self._refusals(refused)
        except Exception as error:  # noqa: BLE001 - best effort, and the answer is given
            _log.warning("a refusal was not kept", reason=str(error))


def _answer(call: Call) -> Answer:
    if call.refusal is not None:
        return error_answer(call.refusal, call.request_id)
    settled = [each for each in call.settled if each is not None]
    assert len(settled) == len(call.events), "a call that ended has settled all its events"
    if call.batch:
        return batch_answer(settled, call.elements, call.frame())
    return single_answer(settled[0], call.frame())


def _refused(call: Call) -> list[tuple[int, Refusal, str]]:
    """List what was refused of a call: the whole body, or events by index, each with its id if it is in the log."""
    if call.refusal is not None:
        return [(0, call.refusal, "")] if call.refusal.code in _OF_THE_CALLER else []
    found = []
    for index, settled in enumerate(call.settled):
        refusal = None if settled is None else refusal_of(settled)
        if settled is not None and refusal is not None and refusal.code != AWAY.code:
            found.append((index, refusal, event_of(settled)))
    return found


async def _read(head: Head, receive: Receive, ticket: Ticket) -> bytes | Refusal:
    """Read a body; of one that is refused the rest is read and thrown away, within DRAIN_BYTES_MAX."""
    if head.length is not None and head.length > DRAIN_BYTES_MAX:
        return TOO_LARGE
    parts: list[bytes] = []
    size, more, refusal = 0, True, None
    while more and size <= DRAIN_BYTES_MAX:
        message = await receive()
        if message["type"] != "http.request":
            raise _HungUpError
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if refusal is None:
            if size > limits.BODY_BYTES_MAX:
                refusal = TOO_LARGE
            elif not ticket.grow(len(part)):
                refusal = OVERLOADED
            else:
                parts.append(part)
    if refusal is None and size and not head.json:
        refusal = NOT_JSON
    if refusal is not None:
        return refusal
    return parts[0] if len(parts) == 1 else b"".join(parts)
