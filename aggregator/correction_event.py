"""The event that corrects another: what that one counts now, and the difference that is asked for. Pure.

Owns which events can be corrected, and which facts a correction carries. Invariant: the facts of correction n follow
from the event and its corrections 1 to n - 1 alone, whose rows never change: whoever makes it makes the same.
Source: ADR 10; DESIGN 3.1.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from aggregator.row import EventRow, corrected_of, drawn_of
from aggregator.usage import position_of
from ingest.event import CORRECTION_KEY, NO_REQUEST, Corrected, UsageEvent, content_digest, key_digest
from ingest.verdict import Verdict
from kernel import ids
from kernel.errors import invalid, rejected
from kernel.limits import PROPERTY_CHARS_MAX
from kernel.quantity import EXACT, canonical, parse_quantity

REASON: Final = "reason"  # the property that says why


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: the whole new `value` of an event, None: it is void. `reason` is the seller's own words."""

    value: Decimal | None
    reason: str | None = None


def checked_value(value: Decimal) -> Decimal:
    """Tell the value that an event is to count. Raises Rejected `validation_error` for one that no event may have."""
    try:
        return parse_quantity(value)
    except ValueError as error:
        raise invalid("value", str(error)) from error


def checked_reason(reason: str | None) -> str | None:
    """Tell why an event is corrected. Raises Rejected `validation_error` for words that are too long."""
    if reason is not None and len(reason) > PROPERTY_CHARS_MAX:
        raise invalid("reason", f"must have at most {PROPERTY_CHARS_MAX} characters")
    return reason


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """What all corrections of a request share.

    `at_ms` is when it was read, `clock_ms` the organization's test clock, `secret` keys digests; `request` is the
    digest by which an identical retry is known (eight zero bytes: none is).
    """

    at_ms: int
    clock_ms: int | None
    secret: bytes
    request: bytes = NO_REQUEST


def counted_now(original: EventRow, corrections: Sequence[EventRow]) -> Decimal:
    """Tell what an event counts after its corrections."""
    total = Decimal(original.quantity)
    for row in corrections:
        total = EXACT.add(total, Decimal(row.quantity))
    return total


def voided_by(corrections: Sequence[EventRow]) -> EventRow | None:
    """Tell the correction that made an event void; None when it counts."""
    last = corrections[-1] if corrections else None
    said = None if last is None else corrected_of(last)
    return last if said is not None and said.void else None


def check_correctable(original: EventRow) -> None:
    """Raise Rejected unless an event can be corrected: it counts, and is no correction itself."""
    event_id = position_of(original).event_id()
    if not original.verdict:
        raise rejected("event_not_settled", "This event is not judged yet; correct it once it is.")
    if original.verdict != Verdict.COUNTED:
        details = {"verdict": original.verdict, "code": original.code or None, "eventId": original.original or None}
        raise rejected("event_not_counted", f"{event_id} does not count: nothing is to be corrected.", details=details)
    if original.corrects:
        details = {"eventId": original.corrects}
        raise rejected(
            "event_is_correction", "A correction is not corrected: name the original event.", details=details
        )


def correction_event(
    original: EventRow, corrections: Sequence[EventRow], asked: Correction, sending: Sending
) -> UsageEvent:
    """Make the event that corrects `original`, which `corrections` did before, in the order of their numbers.

    Raises Rejected when the event is void, when nothing would change, and for another value of an AI event.
    """
    voided, now = voided_by(corrections), counted_now(original, corrections)
    if voided is not None:
        details = {"eventId": position_of(voided).event_id()}
        raise rejected("event_voided", "This event is void already.", details=details)
    if asked.value is not None:
        _check_value(original, asked.value, now)
    corrects = _corrected(original, corrections, now, void=asked.value is None)
    quantity = canonical(EXACT.subtract(Decimal(0) if asked.value is None else asked.value, now))
    organization, customer = ids.id_bytes(original.organization), ids.id_bytes(original.customer)
    feature, key = ids.id_bytes(original.feature), corrects.key()
    return UsageEvent(
        organization=organization,
        customer=customer,
        feature=feature,
        event_time_us=original.event_time,
        at_ms=sending.at_ms,
        clock_ms=sending.clock_ms,
        quantity=quantity,
        key=key,
        digest=correction_digest(original, corrects.number, sending.secret),
        content=content_digest(feature, quantity),
        request=sending.request,
        properties=((REASON, asked.reason),) if asked.reason else (),
        corrects=corrects,
    )


def correction_digest(original: EventRow, number: int, secret: bytes) -> bytes:
    """Digest the key of the `number`-th correction of an event."""
    organization, customer = ids.id_bytes(original.organization), ids.id_bytes(original.customer)
    key = f"{position_of(original).event_id()}#{number}"
    return key_digest(secret, organization, customer, CORRECTION_KEY, key)


def _corrected(original: EventRow, corrections: Sequence[EventRow], now: Decimal, *, void: bool) -> Corrected:
    drawn = [one for row in (original, *corrections) if (one := drawn_of(row)) is not None]
    return Corrected(
        position=position_of(original).to_bytes(),
        number=len(corrections) + 1,
        void=void,
        term=original.term,
        window=original.window,
        window_end=original.window_end,
        quantity=canonical(now),
        pool=original.pool,
        cost=sum(one.cost for one in drawn),
        taken=sum(one.plan + one.packs + one.top_ups + one.overdraft for one in drawn),
    )


def _check_value(original: EventRow, value: Decimal, now: Decimal) -> None:
    if original.model:
        raise invalid("value", "cannot be amended on an event of tokens: void it, and send it again")
    if value == now:
        raise rejected("no_change_requested", f"The event counts {canonical(now)} already.", param="value")
