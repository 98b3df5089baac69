"""One customer's events and what corrects them, judged one after the other, each as the row that RAW would have."""

from decimal import Decimal

from msgspec.structs import replace

from aggregator.account import Account
from aggregator.correction_event import Correction, Sending, correction_event
from aggregator.fold import RULES
from aggregator.fold_slice import CustomerState, SliceFold
from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from catalog.terms import Snapshot
from ingest.event import UsageEvent
from ingest.verdict import Outcome, Verdict
from kernel.engine.live.base import READY, LaneHeader
from kernel.position import Position
from tests.unit.aggregator.pool_case import CUSTOMER, ms

SECRET = b"s" * 32
EPOCH, LANE = 1, 0


class Customer:
    """Its account, and every row so far."""

    def __init__(self, under: Snapshot) -> None:
        header = LaneHeader(epoch=EPOCH, token=b"t", rules=RULES, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
        self._fold = SliceFold(header, LANE, {CUSTOMER: CustomerState(Account(), None)}, {})
        self.rows: list[EventRow] = []
        self.said: list[Outcome] = []
        self.show(under)

    @property
    def account(self) -> Account:
        return self._fold.changed[CUSTOMER].account

    @property
    def last(self) -> tuple[Verdict, str]:
        return self.said[-1].verdict, self.said[-1].code

    def show(self, under: Snapshot) -> None:
        self._fold.account(self._fold.next, under)

    def use(self, event: UsageEvent) -> EventRow:
        offset = self._fold.next
        self._fold.usage(offset, event.at_ms, [event])
        [outcome] = self._fold.outcomes[offset]
        self.said.append(outcome)
        values = event_row(EPOCH, LANE, offset, event.at_ms, "gw", 0, event, outcome)
        self.rows.append(EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True))))
        return self.rows[-1]

    def corrections_of(self, row: EventRow) -> list[EventRow]:
        name = Position(row.epoch, row.lane, row.offset, row.index).event_id()
        return [one for one in self.rows if one.corrects == name and one.verdict == Verdict.COUNTED]

    def correction(self, row: EventRow, value: str | None, at: str = "2026-01-12") -> UsageEvent:
        """The event that makes `row` count `value`, or nothing (None)."""
        asked = Correction(value=None if value is None else Decimal(value))
        sending = Sending(at_ms=ms(at), clock_ms=None, secret=SECRET)
        return correction_event(row, self.corrections_of(row), asked, sending)

    def amend(self, row: EventRow, value: str, at: str = "2026-01-12") -> EventRow:
        return self.use(self.correction(row, value, at))

    def void(self, row: EventRow, at: str = "2026-01-12") -> EventRow:
        return self.use(self.correction(row, None, at))


def later(event: UsageEvent, at: str) -> UsageEvent:
    return replace(event, at_ms=ms(at))
