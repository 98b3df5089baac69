"""How the events of a lane become records: as few as the limits allow, in order. Pure. Source: DESIGN 3.2."""

from collections.abc import Iterator

from ingest.event import UsageEvent, encode_usage
from kernel.limits import RECORD_BYTES_MAX, RECORD_EVENTS_MAX


def chunks(gateway: str, events: list[UsageEvent]) -> Iterator[tuple[int, int, bytes]]:
    """Cut `events` into records: (first index, end index, encoded record), each within the limits.

    Most lanes need one record and so one encoding; a part that is too large is halved. One event always fits: 50
    properties with names and values of 500 characters of four bytes are 200,000 bytes.
    """
    parts = [
        (start, min(start + RECORD_EVENTS_MAX, len(events))) for start in range(0, len(events), RECORD_EVENTS_MAX)
    ][::-1]
    while parts:
        start, end = parts.pop()
        data = encode_usage(gateway, events[start:end])
        if len(data) <= RECORD_BYTES_MAX:
            yield start, end, data
            continue
        assert end - start > 1, "one event of the permitted size fits a record"
        middle = (start + end) // 2
        parts += [(middle, end), (start, middle)]
