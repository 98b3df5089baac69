"""Correcting an event: find it and what corrected it before, append the difference, answer with the fold's verdict.

Invariants: a correction is answered when it is folded, and as it then stands; what is not in RAW yet is found in LIVE
and in the log, so that two corrections in a row know of each other. Source: ADR 10; DESIGN 3.4.
"""

from collections.abc import Sequence
from typing import Protocol

from aggregator.correction_event import Correction, Sending, check_correctable, correction_digest, correction_event
from aggregator.fold_slice import generations_read
from aggregator.routes.lookup import find_event
from aggregator.row import EventRow
from aggregator.store import UsageStore
from aggregator.usage import position_of
from catalog.definition import Customer
from catalog.gateway.http import Caller
from ingest.answer import Judged, refusal_of
from ingest.event import BODY_KEY, HEADER_KEY, NO_REQUEST, UsageEvent, key_digest
from ingest.gateway.call import PreparedCall
from ingest.key_entry import EntryKind, KeyEntry, decode_entry
from ingest.verdict import Verdict
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.errors import Rejected, Unavailable, invalid, rejected
from kernel.lane import lane_of
from kernel.position import Position

_LOST = frozenset({Verdict.DUPLICATE, Verdict.CONFLICT})


class Submission(Protocol):
    """Takes a correction to its lane and waits for its verdict, as `ingest.gateway.Admission` does."""

    def stamp(self) -> int:
        """Tell `at` for a request that was just read: real time, which never falls within this process."""
        ...

    async def submit(self, call: PreparedCall) -> None:
        """Take a call; returns when its event is settled, or the call refused."""
        ...


class Corrector:
    """Corrects events for one caller."""

    def __init__(
        self, caller: Caller, admission: Submission, store: UsageStore, log: Log, live: Live, clock: Clock
    ) -> None:
        self._caller = caller
        self._admission = admission
        self._store = store
        self._log = log
        self._live = live
        self._clock = clock

    async def find(
        self, event_id: str | None, reference: str | None, key: str | None, request: bytes = NO_REQUEST
    ) -> EventRow:
        """Find an event by its id, or by the customer and the key under which it was sent; `request` as in `correct`.

        Raises Rejected `customer_not_found`, `event_not_found`, and `validation_error` when neither is named whole, or
        when the key names two events.
        """
        customer = None
        if reference:
            customer = await self._caller.catalog.customer(self._caller.organization.id, reference)
            if customer is None:
                raise rejected("customer_not_found", f"No customer {reference}.", param="customerId")
        if event_id:
            found = await self.by_id(event_id)
            if customer is not None and found.customer != customer.id_text:
                raise rejected("event_not_found", f"This customer has no usage event {event_id}.")
            return found
        if not key:
            raise invalid("id", "is required, or customerId with the event's key")
        if customer is None:
            raise invalid("customerId", "is required with the event's key")
        return await self.by_key(customer, key, request)

    async def by_key(self, customer: Customer, key: str, request: bytes = NO_REQUEST) -> EventRow:
        """Find a customer's event by its key, which counts or else is the latest.

        One event may hold the key as `eventId` and one as `Idempotency-Key`. Where both count, it is the one that the
        same request corrected before. Raises Rejected: `event_not_found`, and `validation_error` when it is neither.
        """
        found = await self._keyed(customer, key)
        if not found:
            raise rejected("event_not_found", "This customer has no event with this key.")
        counted = [row for row in found if row.verdict == Verdict.COUNTED.value] or [max(found, key=position_of)]
        if len(counted) == 1:
            return counted[0]
        for row in counted:
            if _asked_before(await self._corrections(row), request) is not None:
                return row
        names = " and ".join(sorted(position_of(row).event_id() for row in counted))
        raise invalid("id", f"is required: {names} both have this key, one as eventId and one as Idempotency-Key")

    async def _keyed(self, customer: Customer, key: str) -> list[EventRow]:
        """List what was sent under a key, as `eventId` or as `Idempotency-Key`: from LIVE, and what only RAW knows."""
        organization, secret = self._caller.organization, self._caller.catalog.deployment.secret
        digests = [key_digest(secret, organization.id, customer.id, kind, key) for kind in (BODY_KEY, HEADER_KEY)]
        entries = await self._entries(customer.id, digests)
        found = [row for entry in entries if (row := await self._at(entry.position)) is not None]
        known = {row.digest for row in found}
        rest = [digest for digest in digests if digest.hex() not in known]
        return found + await self._store.keyed_events(organization.id_text, customer.id_text, rest) if rest else found

    async def by_id(self, event_id: str) -> EventRow:
        """Find an event by its id. Raises Rejected `event_not_found`."""
        position = Position.from_event_id(event_id)
        found = None if position is None else await self._at(position)
        if found is None:
            raise rejected("event_not_found", f"No usage event {event_id}.")
        return found

    async def correct(self, original: EventRow, asked: Correction, request: bytes) -> EventRow:
        """Correct an event; returns the correction as it is judged. `request` is the digest of the HTTP request.

        Raises Rejected: `correction_conflict` when another came first, and what `correction_event` and the fold refuse;
        Unavailable when nobody said yet what became of it.
        """
        check_correctable(original)
        before = await self._corrections(original)
        again = _asked_before(before, request)
        if again is not None:
            return again
        sending = Sending(
            at_ms=self._admission.stamp(),
            clock_ms=self._caller.organization.clock_ms,
            secret=self._caller.catalog.deployment.secret,
            request=request,
        )
        return await self._judged(correction_event(original, before, asked, sending))

    async def _judged(self, event: UsageEvent) -> EventRow:
        call = PreparedCall(event, self._caller.dialect)
        await self._admission.submit(call)
        if call.refusal is not None:
            raise Rejected(call.refusal)
        settled = call.settled[0]
        if not isinstance(settled, Judged):
            raise Unavailable("whether this correction counts is not known yet")
        outcome = settled.outcome
        original = outcome.original_position()
        if outcome.verdict in _LOST and original is not None:
            details = {"eventId": original.event_id()}
            raise rejected("correction_conflict", "Another correction of this event came first.", details=details)
        refusal = refusal_of(settled)
        if refusal is not None:
            raise Rejected(refusal)
        place = original or Position(settled.epoch, settled.lane, settled.offset, settled.index)
        row = await self._at(place)
        if row is None:
            raise Unavailable("the correction counts, and cannot be read yet")
        return row

    async def _corrections(self, original: EventRow) -> Sequence[EventRow]:
        """List the corrections that count: RAW's, and those that it does not have yet."""
        found = await self._store.corrections_of(original)
        secret = self._caller.catalog.deployment.secret
        while True:
            digest = correction_digest(original, len(found) + 1, secret)
            entries = await self._entries(ids.id_bytes(original.customer), [digest])
            counts = bool(entries) and entries[0].kind is EntryKind.COUNTED
            row = await self._at(entries[0].position) if counts else None
            if row is None:
                return found
            found = [*found, row]

    async def _entries(self, customer: bytes, digests: Sequence[bytes]) -> list[KeyEntry]:
        """Read what LIVE knows of keys. Raises Unavailable when the lane is not ready."""
        lane = lane_of(customer, self._log.lanes)
        look = await self._live.look({lane: list(digests)}, list(generations_read(self._clock.now_ms())))
        if not look.ready.get(lane, False):
            raise Unavailable("the lane is not ready")
        return [decode_entry(entry) for entry in look.entries[lane] if entry is not None]

    async def _at(self, position: Position) -> EventRow | None:
        organization = self._caller.organization
        found = await find_event(self._store, self._log, self._live, organization.id, organization.id_text, position)
        return None if found is None else found[0]


def _asked_before(corrections: Sequence[EventRow], request: bytes) -> EventRow | None:
    """Tell which of an event's corrections the same HTTP request made."""
    return None if request == NO_REQUEST else next((row for row in corrections if row.request == request.hex()), None)
