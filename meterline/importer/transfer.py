"""The import itself: rows in, batches out, several in flight, a summary at the end.

Invariants: a batch is repeated byte for byte under one `Idempotency-Key` until every event of it has a definite answer,
so a retry is never mistaken for a duplicate; a second import answers every event as a duplicate and adds nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from kernel import ids
from kernel.clock import Clock
from kernel.errors import NotReachable, Rejected, rejected
from kernel.limits import BATCH_EVENTS_MAX
from meterline.importer.api import Answer, Api
from meterline.importer.mapping import Mapping
from meterline.importer.row import BadRow, RowEvents, events_of
from meterline.importer.source import SourceFile, rows_of

IN_FLIGHT_MAX: Final = 6  # enough to fill the group commit, few enough to keep the rows nearly in order
SAMPLES_MAX: Final = 20
UNDECIDED_MS_MAX: Final = 60_000
_PAUSE_S: Final = 0.2
_ALREADY: Final = "already_has_active_subscription"


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """One row or event that was not taken, and why."""

    line: int
    reason: str


class Summary(msgspec.Struct, kw_only=True, rename="camel"):
    """What an import did. `reasons` counts the codes of blocked and rejected events."""

    file: str
    file_key: str
    rows: int = 0
    bad_rows: int = 0
    empty_values: int = 0
    customers: int = 0
    subscribed: int = 0
    events: int = 0
    accepted: int = 0
    pending: int = 0
    duplicates: int = 0
    conflicts: int = 0
    blocked: int = 0
    rejected: int = 0
    reasons: dict[str, int] = {}
    problems: list[Problem] = []
    seconds: float = 0
    events_per_second: int = 0

    @property
    def clean(self) -> bool:
        """Tell whether every row was good and every event is stored, now or before."""
        return not (self.bad_rows or self.conflicts or self.blocked or self.rejected)


class Transfer:
    """One import under way."""

    def __init__(
        self, source: SourceFile, mapping: Mapping, api: Api, clock: Clock, told: Callable[[Summary], None]
    ) -> None:
        """`told` is called after each batch, for the progress bar."""
        self.summary = Summary(file=source.path.name, file_key=source.key)
        self._source = source
        self._mapping = mapping
        self._api = api
        self._clock = clock
        self._told = told
        self._ready: set[str] = set()
        self._run = ids.new_id("imp_", clock.now_ms())
        self._reasons: Counter[str] = Counter()

    async def run(self, *, prepare_only: bool = False) -> Summary:
        """Read the file to its end. Raises NotReachable when the server stays away; run it again to go on."""
        started = self._clock.monotonic_ms()
        slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        try:
            async with asyncio.TaskGroup() as group:
                for number, batch in enumerate(self._batches()):
                    await self._prepare(batch)
                    if not prepare_only:
                        await slots.acquire()
                        task = group.create_task(self._send(number, batch))
                        task.add_done_callback(lambda _: slots.release())
                    self._told(self.summary)
                    await asyncio.sleep(0)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            seconds = (self._clock.monotonic_ms() - started) / 1000
            self.summary.seconds = round(seconds, 3)
            self.summary.events_per_second = int(self.summary.events / seconds) if seconds else 0
            self.summary.reasons = dict(self._reasons.most_common())
            self._told(self.summary)
        return self.summary

    def _batches(self) -> Iterator[list[tuple[RowEvents, dict[str, Any]]]]:
        """Group the events of good rows, in order; a row's events may fall into two batches."""
        batch: list[tuple[RowEvents, dict[str, Any]]] = []
        for row in rows_of(self._source):
            self.summary.rows += 1
            read = events_of(self._mapping, self._source.key, row)
            if isinstance(read, BadRow):
                self.summary.bad_rows += 1
                self._problem(read.line, read.reason)
                continue
            self.summary.empty_values += read.empty
            for event in read.events:
                batch.append((read, event))
                if len(batch) == BATCH_EVENTS_MAX:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _problem(self, line: int, reason: str) -> None:
        if len(self.summary.problems) < SAMPLES_MAX:
            self.summary.problems.append(Problem(line, reason))

    async def _prepare(self, batch: list[tuple[RowEvents, dict[str, Any]]]) -> None:
        """Make and subscribe the batch's customers that this run has not seen."""
        if not self._mapping.create:
            return
        new = {row.customer: row for row, _ in batch if row.customer not in self._ready}
        await asyncio.gather(*(self._make(row) for row in new.values()))
        self._ready |= new.keys()

    async def _make(self, row: RowEvents) -> None:
        made = await self._api.post("/customers", {"externalId": row.customer, "email": row.email})
        _expect(made, f"customer {row.customer!r} (line {row.line})")
        self.summary.customers += 1
        body = {"customerId": row.customer, "planCode": self._mapping.plan}
        subscribed = await self._api.post("/subscriptions", body, key=f"{self._run}:{row.customer}")
        if subscribed.code != _ALREADY or subscribed.ok:
            _expect(subscribed, f"subscription of {row.customer!r} (line {row.line})")
            self.summary.subscribed += 1

    async def _send(self, number: int, batch: list[tuple[RowEvents, dict[str, Any]]]) -> None:
        body = {"events": [event for _, event in batch]}
        results = await send_batch(self._api, body, f"{self._run}:{number}", self._clock)
        for (row, event), result in zip(batch, results, strict=True):
            self._count(row.line, event["featureCode"], result)
        self._told(self.summary)

    def _count(self, line: int, feature: str, result: dict[str, Any]) -> None:
        summary = self.summary
        summary.events += 1
        error = error_of(result)
        match result["status"]:
            case "accepted":
                summary.accepted += 1
                summary.pending += bool(result.get("pending"))
                return
            case "duplicate":
                summary.duplicates += 1
                if not (error.get("details") or {}).get("conflict"):
                    return
                summary.conflicts += 1
            case "blocked":
                summary.blocked += 1
            case _:
                summary.rejected += 1
        code = str(error.get("code", result["status"]))
        self._reasons[code] += 1
        self._problem(line, f"{feature}: {code}: {error.get('message', '')}")


def error_of(result: dict[str, Any]) -> dict[str, Any]:
    """Read the error of one result of a batch; empty where it has none."""
    error = result.get("error")
    return error if isinstance(error, dict) else {}


async def send_batch(api: Api, body: object, key: str, clock: Clock) -> list[dict[str, Any]]:
    """Send one batch, again and again, until no event of it is undecided. Raises NotReachable and Rejected."""
    deadline = clock.monotonic_ms() + UNDECIDED_MS_MAX
    while True:
        answer = await api.post("/usage/events/batch", body, key=key)
        _expect(answer, "a batch of usage events")
        results: list[dict[str, Any]] = answer.body["results"]
        if all(result["status"] != "failed" for result in results):
            return results
        if clock.monotonic_ms() > deadline:
            raise NotReachable("events stay undecided: the server is up but does not judge them")
        await asyncio.sleep(_PAUSE_S)


def _expect(answer: Answer, what: str) -> None:
    if not answer.ok:
        raise _refused(answer, what)


def _refused(answer: Answer, what: str) -> Rejected:
    return rejected(answer.code, f"{what}: {answer.message or answer.status}")
