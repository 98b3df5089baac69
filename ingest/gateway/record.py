"""The events of a group that share a lane, and the records that carry them until each event is settled.

Owns which event of a record belongs to which call. Invariant: an event is settled once; what a client asked not to
wait for is pending from the moment it is durable. Source: DESIGN 3.4.3 to 3.4.5.
"""

from collections.abc import Sequence
from typing import Final

from ingest.answer import UNAVAILABLE, Judged, Pending
from ingest.event import UsageEvent
from ingest.gateway.call import Call
from ingest.gateway.hub import VerdictHub
from ingest.verdict import Outcome, Verdict

# These verdicts are about terms, so that their word on limits holds for the next event too.
_COUNTED: Final = Verdict.COUNTED  # by name, and first: nearly all are
_ON_TERMS: Final = frozenset({Verdict.COUNTED, Verdict.BLOCKED, Verdict.REFUSED})


Segment = tuple[Call, Sequence[int]]  # events of one call, by their indexes there


class Part:
    """The events of a group that go to one lane, and whose they are, segment by segment."""

    __slots__ = ("events", "owners")

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.owners: list[Segment] = []

    def add(self, call: Call, indexes: Sequence[int]) -> None:
        """Take in events of a call."""
        events = call.events
        self.events += [event for index in indexes if type(event := events[index]) is UsageEvent]
        self.owners.append((call, indexes))

    def cut(self, start: int, end: int) -> list[Segment]:
        """Tell whose the events from `start` to `end` are."""
        segments: list[Segment] = []
        reached = 0
        for call, indexes in self.owners:
            inside = indexes[max(0, start - reached) : max(0, end - reached)]
            if inside:
                segments.append((call, inside))
            reached += len(indexes)
        return segments


class SentRecord:
    """One record that is or will be durable, and whose events it carries."""

    __slots__ = ("events", "lane", "offset", "owners")

    def __init__(self, lane: int, events: Sequence[UsageEvent], owners: Sequence[Segment]) -> None:
        self.lane = lane
        self.offset = -1
        self.events = events
        self.owners = owners

    def settle_lost(self) -> None:
        """Settle every event as unknown: the append's end is."""
        for call, indexes in self.owners:
            for index in indexes:
                call.settle(index, UNAVAILABLE)

    def settle_async(self, epoch: int) -> None:
        """Settle the events of those who asked not to wait; the other ways to settle leave them alone."""
        place = 0
        for call, indexes in self.owners:
            if call.head.respond_async:
                for there, index in enumerate(indexes, place):
                    call.settle(index, Pending(self.events[there], epoch, self.lane, self.offset, there))
            place += len(indexes)

    def settle_late(self, epoch: int, hub: VerdictHub) -> None:
        """Settle without a verdict: pending where no hard limit applies, else unknown. Source: DESIGN 3.4.5."""
        place = 0
        for call, indexes in self.owners:
            for there, index in enumerate(indexes, place):
                event = self.events[there]
                if call.head.respond_async:
                    continue
                if hub.limited(event.customer, event.feature):
                    call.settle(index, UNAVAILABLE)
                else:
                    call.settle(index, Pending(event, epoch, self.lane, self.offset, there))
            place += len(indexes)

    def settle_judged(self, epoch: int, outcomes: Sequence[Outcome], hub: VerdictHub) -> None:
        """Settle with the fold's outcomes, and learn from them whether hard limits apply."""
        assert len(outcomes) == len(self.events), "one event has one outcome"
        lane, offset, place = self.lane, self.offset, 0
        for call, indexes in self.owners:
            if not call.head.respond_async:
                settled = call.settled
                for there, index in enumerate(indexes, place):
                    settled[index] = Judged(self.events[there], outcomes[there], epoch, lane, offset, there)
                call.closed(len(indexes))
            place += len(indexes)
        hub.learn(
            {
                (event.customer, event.feature): outcome.limited
                for event, outcome in zip(self.events, outcomes, strict=True)
                if outcome.verdict is _COUNTED or outcome.verdict in _ON_TERMS
            }
        )
