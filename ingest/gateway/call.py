"""One usage request under way: what it asks, how the catalog sees it, what became of each of its events.

Owns a call from its body to its last settled event. Invariant: it ends exactly once, when every event is settled or
when it is refused as a whole. Source: DESIGN 3.4.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final, Protocol

import msgspec

from catalog.definition import WRITE, Customer, Deployment, Feature, ModelPrice, Organization, Principal
from ingest.answer import Settled
from ingest.event import RequestDigester, UsageEvent
from ingest.head import Head
from ingest.matching import Known, Sent, match_events
from ingest.usage_event import Frame
from ingest.validation import Candidate, decode_batch, decode_element, decode_track, key_error
from kernel import lane
from kernel.errors import Refusal
from kernel.wire import Dialect

UNAUTHORIZED: Final = Refusal(code="unauthorized", message="The API key is missing, unknown or expired.")
_lane_of = lru_cache(maxsize=65_536)(lane.lane_of)
FORBIDDEN: Final = Refusal(code="forbidden", message="This API key may not write usage.")


class CatalogReader(Protocol):
    """What admission reads of `catalog.gateway.Catalog`."""

    @property
    def version(self) -> int:
        """Tell the version of what is cached."""
        ...

    @property
    def deployment(self) -> Deployment:
        """Tell the deployment's fixed facts."""
        ...

    def principal(self, key: str) -> Principal | None:
        """Tell whose key it is; None for one that is unknown, revoked or expired."""
        ...

    def organization(self, organization: bytes) -> Organization:
        """Tell an organization that has a key."""
        ...

    def feature(self, organization: bytes, code: str) -> Feature | None:
        """Find a feature by its event code, else its code."""
        ...

    def model_price(self, organization: bytes, model: str, at_ms: int) -> ModelPrice | Refusal:
        """Find what an AI model's tokens cost at an instant."""
        ...

    def customer_cached(self, organization: bytes, reference: str) -> Customer | None:
        """Find a customer among the cached ones."""
        ...

    async def customers(self, organization: bytes, references: Sequence[str]) -> dict[str, Customer | None]:
        """Find customers; None for a reference that names nobody."""
        ...

    async def refresh(self, version: int | None = None) -> None:
        """Read what changed, up to `version` at least; None asks SQL what is newest."""
        ...


class Call:
    """A request, its events and what became of them."""

    __slots__ = (
        "_candidates",
        "_codes",
        "_decoded",
        "_malformed",
        "_open",
        "at_ms",
        "batch",
        "body",
        "by_lane",
        "done",
        "elements",
        "events",
        "head",
        "organization",
        "refusal",
        "request_id",
        "settled",
        "version",
    )

    def __init__(self, head: Head, body: bytes, *, batch: bool, at_ms: int, request_id: str | None = None) -> None:
        """`at_ms` is when the request was read, `request_id` what its answer carries."""
        self.head = head
        self.request_id = request_id
        self.body = body
        self.batch = batch
        self.at_ms = at_ms
        self.elements: Sequence[msgspec.Raw] = ()
        self.events: list[UsageEvent | Refusal] = []
        self.by_lane: dict[int, list[int]] = {}
        self.settled: list[Settled | None] = []
        self.refusal: Refusal | None = None
        self.organization: Organization | None = None
        self.version = -1
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._malformed: Refusal | None = None
        self._candidates: list[Candidate | Refusal] = []
        self._codes: dict[bytes, str] = {}
        self._decoded = False
        self._open = 0

    def _decode(self) -> None:
        self._decoded = True
        key = self.head.idempotency_key
        if key is not None:
            self._malformed = key_error(key)
        if not self.batch:
            self._candidates = [decode_track(self.body)]
            return
        elements = decode_batch(self.body)
        if isinstance(elements, Refusal):
            self._malformed = self._malformed or elements
            return
        self.elements = elements
        self._candidates = [decode_element(element) for element in elements]

    async def resolve(self, catalog: CatalogReader) -> None:
        """Authenticate and match the events with the catalog as it is cached; may be done again with a newer one."""
        version = catalog.version
        self.events, self.refusal, self.organization = [], None, None
        organization = self._authenticated(catalog)
        if organization is not None:
            known = await self._known(catalog, organization)
            self._codes = {feature.id: feature.code for feature in known.features.values() if feature is not None}
            sent = Sent(
                at_ms=self.at_ms,
                header_key=self.head.idempotency_key,
                batch=self.batch,
                requests=RequestDigester(self.head.idempotency_key, self.head.dialect.value, self.body),
            )
            self.events = match_events(self._candidates, known, sent, catalog.deployment.secret)
        self.by_lane = self._sorted(catalog.deployment.lanes)
        self.settled = [None] * len(self.events)
        self._open = len(self.events)
        self.version = version

    def _authenticated(self, catalog: CatalogReader) -> Organization | None:
        """Tell whose events these are; None when the call is refused. The body of a stranger is not decoded."""
        key = self.head.api_key
        principal = catalog.principal(key) if key is not None else None
        if principal is None:
            self.refusal = UNAUTHORIZED
            return None
        self.organization = catalog.organization(principal.organization)
        if not principal.may("usage", WRITE):
            self.refusal = FORBIDDEN
            return None
        if not self._decoded:
            self._decode()
        self.refusal = self._malformed
        return self.organization if self.refusal is None else None

    async def _known(self, catalog: CatalogReader, organization: Organization) -> Known:
        customers: dict[str, Customer | None] = {}
        features: dict[str, Feature | None] = {}
        for candidate in self._candidates:
            if type(candidate) is Candidate:
                if candidate.customer not in customers:
                    customers[candidate.customer] = catalog.customer_cached(organization.id, candidate.customer)
                if candidate.feature not in features:
                    features[candidate.feature] = catalog.feature(organization.id, candidate.feature)
        missing = [reference for reference, customer in customers.items() if customer is None]
        if missing:
            customers.update(await catalog.customers(organization.id, missing))
        price = partial(catalog.model_price, organization.id)
        return Known(organization=organization, customers=customers, features=features, price=price)

    def _sorted(self, lanes: int) -> dict[int, list[int]]:
        """List the events by lane, in their order."""
        by_lane: dict[int, list[int]] = {}
        for index, event in enumerate(self.events):
            if type(event) is UsageEvent:
                by_lane.setdefault(_lane_of(event.customer, lanes), []).append(index)
        return by_lane

    def candidate(self, index: int) -> Candidate | None:
        """Tell the event at `index` as the client described it; None when it could not be read."""
        found = self._candidates[index] if index < len(self._candidates) else None
        return found if isinstance(found, Candidate) else None

    def settle(self, index: int, settled: Settled) -> None:
        """Say what became of the event at `index`."""
        assert self.settled[index] is None, "an event is settled once"
        self.settled[index] = settled
        self.closed(1)

    def closed(self, count: int) -> None:
        """Count events whose place in `settled` was filled; with the last one the call ends."""
        self._open -= count
        if not self._open and not self.done.done():
            self.done.set_result(None)

    def refuse(self, refusal: Refusal) -> None:
        """End the call with one refusal for all of it."""
        self.refusal = refusal
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the call with an error that nobody expected."""
        if not self.done.done():
            self.done.set_exception(error)

    def frame(self) -> Frame:
        """Tell what its answers share."""
        assert self.organization is not None, "an answer to events belongs to an organization"
        return Frame(
            dialect=self.head.dialect,
            organization=self.organization.id_text,
            livemode=self.organization.livemode,
            codes=self._codes,
            keys=[each.key if type(each) is Candidate else None for each in self._candidates],
            respond_async=self.head.respond_async,
            currency=self.organization.currency,
            request_id=self.request_id,
        )


class PreparedCall(Call):
    """One event that was made already, a correction, instead of a body that describes it."""

    __slots__ = ("_event",)

    def __init__(self, event: UsageEvent, dialect: Dialect) -> None:
        head = Head(api_key=None, dialect=dialect, idempotency_key=None, respond_async=False, json=True, length=None)
        super().__init__(head, b"", batch=False, at_ms=event.at_ms)
        self._event = event

    async def resolve(self, catalog: CatalogReader) -> None:
        """Take the event as it is: nothing of it is the catalog's to say."""
        self.events = [self._event]
        self.by_lane = self._sorted(catalog.deployment.lanes)
        self.settled = [None]
        self._open = 1
        self.version = catalog.version
