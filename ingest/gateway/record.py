"""The events of a group that share a lane, and the records that carry them until each event is settled.

Owns which event of a record belongs to which call. Invariant: an event is settled once; what a client asked not to
wait for is pending from the moment it is durable. Source: DESIGN 3.4.3 to 3.4.5.
"""

from collections.abc import Sequence
from typing import Final

from ingest.answer import UNAVAILABLE, Judged, Pending, Settled
from ingest.event import UsageEvent
from ingest.gateway.call import Call
from ingest.gateway.hub import VerdictHub
from ingest.verdict import Outcome, Verdict

# These verdicts are about terms, so that their word on limits holds for the next event too.
_ON_TERMS: Final = frozenset({Verdict.COUNTED, Verdict.BLOCKED, Verdict.REFUSED})


class Part:
    """The events of a group that go to one lane, with the call and index that each belongs to."""

    __slots__ = ("events", "owners")

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.owners: list[tuple[Call, int]] = []


class SentRecord:
    """One record that is or will be durable, and whose events it carries."""

    __slots__ = ("events", "lane", "offset", "owners")

    def __init__(self, lane: int, events: Sequence[UsageEvent], owners: Sequence[tuple[Call, int]]) -> None:
        self.lane = lane
        self.offset = -1
        self.events = events
        self.owners = owners

    def settle_all(self, settled: Settled) -> None:
        """Settle every event alike."""
        for call, index in self.owners:
            call.settle(index, settled)

    def settle_async(self, epoch: int) -> None:
        """Settle the events of those who asked not to wait."""
        for place, (call, index) in enumerate(self.owners):
            if call.head.respond_async:
                call.settle(index, Pending(self.events[place], epoch, self.lane, self.offset, place))

    def settle_late(self, epoch: int, hub: VerdictHub) -> None:
        """Settle without a verdict: pending where no hard limit applies, else unknown. Source: DESIGN 3.4.5."""
        for place, (call, index) in enumerate(self.owners):
            event = self.events[place]
            if hub.limited(event.customer, event.feature):
                call.settle(index, UNAVAILABLE)
            else:
                call.settle(index, Pending(event, epoch, self.lane, self.offset, place))

    def settle_judged(self, epoch: int, outcomes: Sequence[Outcome], hub: VerdictHub) -> None:
        """Settle with the fold's outcomes, and learn from them whether hard limits apply."""
        assert len(outcomes) == len(self.events), "one event has one outcome"
        for place, (call, index) in enumerate(self.owners):
            event, outcome = self.events[place], outcomes[place]
            if outcome.verdict in _ON_TERMS:
                hub.learn(event.customer, event.feature, limited=outcome.limited)
            call.settle(index, Judged(event, outcome, epoch, self.lane, self.offset, place))
