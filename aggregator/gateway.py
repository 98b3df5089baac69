"""Feature access as the gateway serves it: one atomic look at LIVE, judged by the pure `aggregator.access`.

Owns freshness of reads. Invariants: an answer never rests on a catalog older than the newest change that was answered
(the look carries the catalog's version); nothing is written; LIVE away or a lane that is not ready is 503, never a
guess. Reads of one lane that wait together share one look. Public contract of `aggregator`.
Source: DESIGN 3.3, 3.12, 8.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from litestar import Response

from aggregator.access import FeatureAccess, all_access, feature_access
from aggregator.access_answer import access_wire, can_use_wire, usage_check_wire
from aggregator.access_reason import access_why
from aggregator.account import Account, decode_account
from catalog.definition import READ, Customer, Feature, Organization, Principal
from catalog.gateway.catalog import Catalog
from catalog.gateway.http import HttpRequest, authorize, reply, reply_list
from catalog.terms import Snapshot, decode_snapshot
from kernel.clock import Clock
from kernel.engine.live.base import READY, AccountState, LaneHeader, LaneView, Live
from kernel.errors import Rejected, Unavailable, invalid, rejected
from kernel.lane import lane_of
from kernel.limits import ACCOUNTS_CACHED_MAX, LAG_SHOWN_MS_MIN, MIN_POSITION_WAIT_MS
from kernel.period import DAY_MS, instant_text
from kernel.quantity import to_units
from kernel.wire import Dialect

CAN_USE: Final = "canUse"
RESOURCE: Final = "feature"
# A read is repeated only when the reference names another customer by then.
_LOOKS_MAX: Final = 8
_POSITION_LOOK_MS: Final = 2
_POSITION_PARTS: Final = 3
_POSITION_DIGITS_MAX: Final = 15


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: of which customer, one feature's `code` or all, and from which `position` on at least."""

    customer: str | None
    code: str | None = None
    can_use: bool = False
    min_position: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], code: str | None = None, customer: str | None = None) -> "Question":
        """Read the query of a request; era A0 says `externalId`. Raises Rejected for an action that does not exist."""
        action = query.get("action")
        if action not in (None, CAN_USE):
            raise invalid("action", f"must be {CAN_USE}")
        return cls(
            customer=customer or query.get("customerId") or query.get("externalId") or None,
            code=code,
            can_use=action == CAN_USE and code is not None,
            min_position=query.get("minPosition"),
        )


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a question concerns, as the catalog says."""

    organization: Organization
    customer: Customer
    feature: Feature | None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a customer saw. `reached` is None when no position was asked for."""

    subject: Subject
    snapshot: Snapshot | None
    account: Account | None
    as_of_ms: int
    lag_ms: int
    reached: bool | None


class AccessGateway:
    """Answers questions about feature access."""

    def __init__(self, live: Live, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._looks = _SharedLooks(live)
        self._snapshots: dict[bytes, tuple[int, Snapshot]] = {}

    async def list(
        self, principal: Principal, dialect: Dialect, customer_ref: str, request: HttpRequest
    ) -> Response[bytes]:
        """Answer all feature states of a customer (contract 3.6; era D row 14)."""
        question = Question.of(request.query_params, customer=customer_ref)
        seen = await self.see(lambda: principal, question)
        return reply_list(dialect, self.all_of(seen, dialect))

    async def one(
        self, principal: Principal, dialect: Dialect, code: str, customer_ref: str, request: HttpRequest
    ) -> Response[bytes]:
        """Answer one feature's state for a customer; `action=canUse` is honoured (contract 3.7, 3.8; era D row 13)."""
        question = Question.of(request.query_params, code=code, customer=customer_ref)
        return reply(dialect, self.one_of(await self.see(lambda: principal, question), question, dialect))

    async def check(self, principal: Principal, customer_ref: str, code: str, quantity: Decimal) -> dict[str, Any]:
        """Answer a dry run of a consumption (era D row 20)."""
        seen = await self.see(lambda: principal, Question(customer=customer_ref, code=code))
        told = usage_check_wire(self._access(seen), quantity, to_units(quantity), _currency(seen))
        return {**_object("usage_check", seen), **told, **_freshness(seen)}

    async def why(self, principal: Principal, customer_ref: str, code: str) -> dict[str, Any]:
        """Say why a customer may use one more unit of a feature now, or not. Raises Rejected like `see`."""
        seen = await self.see(lambda: principal, Question(customer=customer_ref, code=code))
        organization = seen.subject.organization
        day = organization.now_ms(self._clock.now_ms()) // DAY_MS
        told = access_why(self._access(seen), seen.snapshot, day, _currency(seen))
        return {"customerId": seen.subject.customer.id_text, **told, **_freshness(seen)}

    def one_of(self, seen: Seen, question: Question, dialect: Dialect) -> dict[str, Any]:
        """Spell the answer to a question about one feature."""
        access = self._access(seen)
        told = can_use_wire(access) if question.can_use else self._wire(access, seen, dialect)
        return {**_object("feature_access", seen), **told, **_freshness(seen)}

    def all_of(self, seen: Seen, dialect: Dialect) -> Sequence[Mapping[str, Any]]:
        """Spell the answer to a question about all features."""
        organization = seen.subject.organization
        now_ms = organization.now_ms(self._clock.now_ms())
        states = all_access(self._catalog.feature_by_id, seen.snapshot, seen.account, now_ms)
        named, fresh = _object("feature_access", seen), _freshness(seen)
        return [{**named, **self._wire(state, seen, dialect), **fresh} for state in states]

    def _access(self, seen: Seen) -> FeatureAccess:
        assert seen.subject.feature is not None, "the question named a feature"
        now_ms = seen.subject.organization.now_ms(self._clock.now_ms())
        return feature_access(seen.subject.feature, seen.snapshot, seen.account, now_ms)

    def _wire(self, access: FeatureAccess, seen: Seen, dialect: Dialect) -> dict[str, Any]:
        return access_wire(access, dialect, _currency(seen))

    async def see(self, who: Callable[[], Principal], question: Question) -> Seen:
        """Look at the customer that a question concerns; `who` tells who asks, by the catalog as it then is.

        Raises Rejected: what the catalog says, `service_unavailable` while LIVE is away or the lane is not ready.
        """
        try:
            subject = await self._subject(who, question)
        except Rejected:
            await self._catalog.current()
            subject = await self._subject(who, question)
        for _ in range(_LOOKS_MAX):
            view, reached = await self._look(subject.customer.id, question.min_position)
            looked_at = subject.customer.id
            if await self._outdated(view.catalog):
                subject = await self._subject(who, question)
            if subject.customer.id == looked_at:
                return self._seen(subject, view, reached)
        raise _unavailable("The customer changes faster than it can be read.")

    async def _outdated(self, version: int | None) -> bool:
        """Make the catalog as new as the look was, which began after the question; tells whether it had to change."""
        if version is not None and version <= self._catalog.version:
            return False
        if version is None:
            await self._catalog.current()
        else:
            await self._catalog.refresh(version)
        return True

    async def _subject(self, who: Callable[[], Principal], question: Question) -> Subject:
        principal = who()
        authorize(principal, RESOURCE, READ)
        if question.customer is None:
            raise invalid("customerId", "is required")
        customer = self._catalog.customer_cached(principal.organization, question.customer)
        if customer is None:
            customer = await self._catalog.customer(principal.organization, question.customer)
        if customer is None:
            raise rejected("customer_not_found", f"No customer {question.customer}.", param="customerId")
        feature = None
        if question.code is not None:
            feature = self._catalog.feature(principal.organization, question.code)
            if feature is None:
                raise rejected("feature_not_found", f"No feature {question.code}.", param="code")
        organization = self._catalog.organization(principal.organization)
        return Subject(organization=organization, customer=customer, feature=feature)

    async def _look(self, customer: bytes, min_position: str | None) -> tuple[LaneView, bool | None]:
        """Look at a lane that is ready, once it has folded what is asked for, or MIN_POSITION_WAIT_MS later."""
        lane = lane_of(customer, self._catalog.deployment.lanes)
        wanted = None if min_position is None else _position(min_position, lane)
        begun_ms = self._clock.monotonic_ms()
        while True:
            try:
                view = await self._looks.view(lane, customer)
            except Unavailable as error:
                raise _unavailable("Live balances are away; ask again.") from error
            if view.header is None or view.header.state != READY:
                raise _unavailable("Live balances are being rebuilt; ask again.")
            if view.header.epoch > self._catalog.deployment.epoch:
                raise _unavailable("This gateway is of an epoch that has ended; ask another one.")
            if wanted is None:
                return view, None
            if _reached(view.header, wanted):
                return view, True
            if self._clock.monotonic_ms() - begun_ms >= MIN_POSITION_WAIT_MS:
                return view, False
            await asyncio.sleep(_POSITION_LOOK_MS / 1_000)

    def _seen(self, subject: Subject, view: LaneView, reached: bool | None) -> Seen:
        assert view.header is not None, "only a lane that is ready is looked at"
        lag_ms = view.now_ms - view.header.seen_ms
        [stored] = view.accounts
        account = decode_account(stored.account) if stored.account is not None else None
        return Seen(
            subject=subject,
            snapshot=self._snapshot(subject.customer.id, account, stored),
            account=account,
            as_of_ms=view.header.seen_ms,
            lag_ms=lag_ms if lag_ms >= LAG_SHOWN_MS_MIN else 0,
            reached=reached,
        )

    def _snapshot(self, customer: bytes, account: Account | None, stored: AccountState) -> Snapshot | None:
        """Decode the snapshot in force, or take the one that was decoded at the same `rev`."""
        if stored.snapshot is None or account is None:
            return None
        known = self._snapshots.get(customer)
        if known is not None and known[0] == account.rev:
            return known[1]
        snapshot = decode_snapshot(stored.snapshot)
        if len(self._snapshots) >= ACCOUNTS_CACHED_MAX:
            del self._snapshots[next(iter(self._snapshots))]
        self._snapshots[customer] = (account.rev, snapshot)
        return snapshot


class _SharedLooks:
    """Joins the reads of a lane that wait together into one look."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waiting: dict[int, dict[bytes, asyncio.Future[LaneView]]] = {}
        self._looking: dict[int, asyncio.Task[None]] = {}

    async def view(self, lane: int, customer: bytes) -> LaneView:
        """Look at one customer; the look begins after the call, so it sees everything that was answered before."""
        waiting = self._waiting.setdefault(lane, {})
        answer = waiting.get(customer)
        if answer is None:
            answer = waiting[customer] = asyncio.get_running_loop().create_future()
        if lane not in self._looking:
            self._looking[lane] = asyncio.create_task(self._look(lane))
        return await asyncio.shield(answer)

    async def _look(self, lane: int) -> None:
        try:
            while asked := self._waiting.pop(lane, None):
                try:
                    view = await self._live.view(lane, list(asked))
                except Exception as error:  # noqa: BLE001 - everyone who waits gets the error of the look
                    for answer in asked.values():
                        answer.set_exception(error)
                        answer.exception()  # whoever asked may be gone, and then nobody fetches it
                else:
                    for stored, answer in zip(view.accounts, asked.values(), strict=True):
                        answer.set_result(msgspec.structs.replace(view, accounts=[stored]))
        finally:
            del self._looking[lane]


def _object(name: str, seen: Seen) -> dict[str, Any]:
    return {"object": name, "livemode": seen.subject.organization.livemode}


def _freshness(seen: Seen) -> dict[str, Any]:
    told: dict[str, Any] = {"asOf": instant_text(seen.as_of_ms), "lagMs": seen.lag_ms}
    return told if seen.reached is None else {**told, "positionReached": seen.reached}


def _position(text: str, lane: int) -> tuple[int, int]:
    """Read `epoch.lane.offset` of the customer's own lane as (epoch, offset). Raises Rejected."""
    parts = text.split(".")
    if len(parts) != _POSITION_PARTS or not all(
        part.isascii() and part.isdigit() and len(part) <= _POSITION_DIGITS_MAX for part in parts
    ):
        raise invalid("minPosition", "must be epoch.lane.offset, as an accepted event's position")
    epoch, named, offset = map(int, parts)
    if named != lane:
        raise invalid("minPosition", "is the position of another customer's event")
    return epoch, offset


def _reached(header: LaneHeader, wanted: tuple[int, int]) -> bool:
    """Tell whether a lane has folded a position; an older epoch is reached (DESIGN 8)."""
    epoch, offset = wanted
    return epoch < header.epoch or (epoch == header.epoch and offset < header.next)


def _unavailable(message: str) -> Rejected:
    return rejected("service_unavailable", message)


def _currency(seen: Seen) -> str:
    """Tell in which currency a customer is told money: the subscription's (R-REG-5), else the organization's."""
    terms = None if seen.snapshot is None else seen.snapshot.terms
    return seen.subject.organization.currency if terms is None or not terms.currency else terms.currency
