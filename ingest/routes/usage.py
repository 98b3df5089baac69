"""POST /usage/events and /usage/events/batch, as raw ASGI callables.

Owns reading a request within its limits and sending its one answer. Invariant: every request that is read whole gets an
answer in the contract's envelope, with a request id. Source: contract 1.2 to 1.6, 2, 3.18, 3.19; DESIGN 7, 8.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import count
from typing import Any, Final

from ingest.answer import Answer, batch_answer, error_answer, single_answer
from ingest.gateway.admission import Admission
from ingest.gateway.call import Call, CatalogReader
from ingest.head import Head, read_head
from ingest.pressure import OVERLOADED, Pressure, Ticket
from ingest.refusal import RefusalQuota, RefusedRequest, refused_request
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
RefusalSink = Callable[[RefusedRequest], None]

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
        refusals: RefusalSink,
        firsts: Firsts | None = None,
    ) -> None:
        """`refusals` is handed what the catalog alone refused, within the quota; it must not wait.

        `firsts` finds what the first answers of repeats said; without it they go without draws and costs.
        """
        self._admission = admission
        self._catalog = catalog
        self._clock = clock
        self._telemetry = telemetry
        self._refusals = refusals
        self._firsts = firsts
        self._quota = RefusalQuota()
        self._pressure = Pressure()
        # Unique by the process, then by number: a fresh id a request would cost as much as reading its event.
        process = ids.new_id(ids.REQUEST, clock.now_ms())
        self._request_ids = (f"{process}_{number}".encode() for number in count(1))

    async def event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Track one event (contract 3.18)."""
        await self._serve(scope, receive, send, batch=False)

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Track 1 to 100 events (contract 3.19)."""
        await self._serve(scope, receive, send, batch=True)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, batch: bool) -> None:
        began_ms = self._clock.monotonic_ms()
        call: Call | None = None
        try:
            head = read_head(scope["path"], scope["headers"])
            call, answer = await self._under_pressure(head, receive, batch=batch)
        except _HungUpError:
            return
        except Retryable as error:
            _log.warning("a store is away", reason=str(error))
            answer = error_answer(AWAY)
        except Exception as error:  # noqa: BLE001 - the edge: every request is answered
            _log.error("a usage request failed", path=scope["path"], exc_info=error)
            answer = error_answer(BROKEN)
        try:
            await self._send(send, answer)
        except OSError:
            _log.info("a client went away before its answer")
        self._account(call, answer, began_ms)

    async def _under_pressure(self, head: Head, receive: Receive, *, batch: bool) -> tuple[Call | None, Answer]:
        """Read and submit a request, if no more than the limits allow is under way."""
        ticket = self._pressure.enter()
        if ticket is None:
            return None, error_answer(OVERLOADED)
        try:
            self._telemetry.set(GaugeName.IN_FLIGHT, self._pressure.requests)
            body = await _read(head, receive, ticket)
            if isinstance(body, Refusal):
                return None, error_answer(body)
            call = Call(head, body, batch=batch, at_ms=self._admission.stamp())
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

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", next(self._request_ids)),
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
        """Count the answer, and keep what the catalog refused."""
        for word, times in answer.saying.items():
            self._telemetry.count(CounterName.EVENTS_ANSWERED, times, verdict=word)
        self._telemetry.observe(HistogramName.VERDICT_SECONDS, (self._clock.monotonic_ms() - began_ms) / 1_000)
        self._telemetry.set(GaugeName.IN_FLIGHT, self._pressure.requests)
        if call is None or call.organization is None:
            return
        refused = _refused(call)
        if not refused:
            return
        kept = self._quota.take(call.organization.id, call.at_ms, len(refused))
        if kept < len(refused):
            self._telemetry.count(CounterName.REFUSALS_DROPPED, len(refused) - kept)
        for index, refusal in refused[:kept]:
            self._keep(call, call.organization.id, index, refusal)

    def _keep(self, call: Call, organization: bytes, index: int, refusal: Refusal) -> None:
        refused = refused_request(
            refusal,
            call.candidate(index),
            bytes(call.elements[index]) if index < len(call.elements) else call.body,
            refusal_id=ids.new_id(ids.REFUSAL, call.at_ms),
            organization=organization,
            at_ms=call.at_ms,
        )
        try:
            self._refusals(refused)
        except Exception as error:  # noqa: BLE001 - best effort, and the answer is given
            _log.warning("a refusal was not kept", reason=str(error))


def _answer(call: Call) -> Answer:
    if call.refusal is not None:
        return error_answer(call.refusal)
    settled = [each for each in call.settled if each is not None]
    assert len(settled) == len(call.events), "a call that ended has settled all its events"
    if call.batch:
        return batch_answer(settled, call.elements, call.frame())
    return single_answer(settled[0], call.frame())


def _refused(call: Call) -> list[tuple[int, Refusal]]:
    """List what the catalog refused of a call: the whole body, or events by index."""
    if call.refusal is not None:
        return [(0, call.refusal)] if call.refusal.code in ("validation_error", "invalid_json") else []
    return [(index, event) for index, event in enumerate(call.events) if type(event) is Refusal]


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
