"""A refusal that never reached the log, kept for audit, and how many are kept. Pure.

Owns the value and the quota: at most 100 a second for each organization are kept, the rest only counted. Best effort:
a refusal speaks of that request alone and changes nothing. Source: DESIGN 8.
"""

from typing import Final

import msgspec

from ingest.validation import Candidate
from kernel.errors import Refusal
from kernel.limits import REFUSALS_PER_SECOND_MAX

EXCERPT_BYTES_MAX: Final = 500  # enough to recognise the event, small enough for 100 a second
_SECOND_MS: Final = 1_000


class RefusedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event that the catalog alone refused.

    `id` is `rej_…`, `organization` 16 bytes. `customer`, `feature`, `quantity` and `key` are what the client sent,
    empty where it could not be read; `body` is the beginning of the event as it came. `at_ms` is real time.
    """

    id: str
    organization: bytes
    customer: str
    feature: str
    quantity: str
    key: str
    at_ms: int
    code: str
    message: str
    body: str


def refused_request(
    refusal: Refusal, candidate: Candidate | None, body: bytes, *, refusal_id: str, organization: bytes, at_ms: int
) -> RefusedRequest:
    """Make the record of a refusal; `candidate` is None when the event could not be read."""
    return RefusedRequest(
        id=refusal_id,
        organization=organization,
        customer=candidate.customer if candidate else "",
        feature=candidate.feature if candidate else "",
        quantity=candidate.quantity if candidate else "",
        key=(candidate.key or "") if candidate else "",
        at_ms=at_ms,
        code=refusal.code,
        message=refusal.message,
        body=body[:EXCERPT_BYTES_MAX].decode(errors="replace"),
    )


class RefusalQuota:
    """Counts what each organization had kept in the current second; it is told the time."""

    def __init__(self) -> None:
        self._second = 0
        self._kept: dict[bytes, int] = {}

    def take(self, organization: bytes, at_ms: int, wanted: int) -> int:
        """Tell how many of `wanted` refusals may be kept, and count them."""
        second = at_ms // _SECOND_MS
        if second != self._second:
            self._second = second
            self._kept.clear()
        kept = self._kept.get(organization, 0)
        granted = min(wanted, REFUSALS_PER_SECOND_MAX - kept)
        self._kept[organization] = kept + granted
        return granted
