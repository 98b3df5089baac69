"""A request that was refused, kept for audit and for whoever asks why, and how many are kept. Pure.

Owns the value and the quota: at most 100 a second for each organization are kept, the rest only counted. Best effort:
a refusal speaks of that request alone and changes nothing. Source: DESIGN 8.
"""

from typing import Final

import msgspec

from ingest.validation import Candidate
from kernel.errors import Refusal
from kernel.limits import REFUSALS_PER_SECOND_MAX
from kernel.reason import rule_of

EXCERPT_BYTES_MAX: Final = 500  # enough to recognise the event, small enough for 100 a second
_SECOND_MS: Final = 1_000


class RefusedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, or one event of it, that was refused.

    `id` is `rej_…`, `organization` 16 bytes. `customer`, `feature`, `quantity` and `key` are what the client sent,
    empty where it could not be read; `body` is the beginning of a usage event as it came, of no other request. `at_ms`
    is real time, `now_ms` the organization's. `request` is the id that the answer carried, `route` method and path,
    `param` the field at fault, `rule` the rule on which the refusal rests, `event` the id of an event that reached the
    log and was refused there, or of the one that holds its key.
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
    request: str = ""
    route: str = ""
    param: str = ""
    rule: str = ""
    event: str = ""
    now_ms: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: `request` is its id, `route` method and path without the prefix; times as in `RefusedRequest`."""

    organization: bytes
    request: str
    route: str
    at_ms: int
    now_ms: int


def refused_request(
    refusal: Refusal, candidate: Candidate | None, body: bytes, asked: Asked, *, refusal_id: str, event: str = ""
) -> RefusedRequest:
    """Make the record of a usage event's refusal; `candidate` is None when the event could not be read."""
    made = refused_call(refusal, asked, refusal_id=refusal_id, customer=candidate.customer if candidate else "")
    return msgspec.structs.replace(
        made,
        feature=candidate.feature if candidate else "",
        quantity=candidate.quantity if candidate else "",
        key=(candidate.key or "") if candidate else "",
        body=body[:EXCERPT_BYTES_MAX].decode(errors="replace"),
        event=event,
    )


def refused_call(refusal: Refusal, asked: Asked, *, refusal_id: str, customer: str) -> RefusedRequest:
    """Make the record of any request's refusal; nothing of its body is kept, which may hold a card or an address."""
    path = asked.route.partition(" ")[2]
    return RefusedRequest(
        id=refusal_id,
        organization=asked.organization,
        customer=customer[:EXCERPT_BYTES_MAX],
        feature="",
        quantity="",
        key="",
        at_ms=asked.at_ms,
        code=refusal.code,
        message=refusal.message[:EXCERPT_BYTES_MAX],
        body="",
        request=asked.request,
        route=asked.route[:EXCERPT_BYTES_MAX],
        param=(refusal.param or "")[:EXCERPT_BYTES_MAX],
        rule=rule_of(refusal, path),
        now_ms=asked.now_ms,
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
