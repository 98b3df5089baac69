"""Reading the stored bytes with code of the audit's own, so that a mistake in the pipeline's encoders shows. Pure.

Layouts, as the design fixes them: record `[version, kind, gateway, body]` (DESIGN 3.2); account `rev` and msgpack of
clock, cut and totals, key entry of 34 bytes (DESIGN 3.3); outcome `[verdict, code, …]` (DESIGN 3.5).
"""

import base64
from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

_POSITION_BYTES: Final = 11
UNITS: Final = Decimal(10) ** -9
_EVENT_FIELDS: Final = 13  # of the first records; replays, tokens and corrections came later
_EVENT_FIELDS_MAX: Final = 16

Position = tuple[int, int, int, int]  # epoch, lane, offset, index


class Tokens(NamedTuple):
    """The AI part of an event: model, counts, exact costs in USD by kind, their sum, and the price's edition."""

    model: str
    read: int
    wrote: int
    cache_read: int
    cache_write: int
    read_cost: Decimal
    wrote_cost: Decimal
    cache_read_cost: Decimal
    cache_write_cost: Decimal
    base_cost: Decimal
    version: str
    since_ms: int

    @classmethod
    def of(cls, fields: Sequence[Any]) -> "Tokens":
        """Read them. Raises ValueError for a sum that is none, or counts that cannot be."""
        model, read, wrote, cache_read, cache_write, *costs, base, version, since_ms = fields
        by_kind = [Decimal(cost) for cost in costs]
        told = (model, read, wrote, cache_read, cache_write, *by_kind, Decimal(base), version, since_ms)
        tokens = cls._make(told)
        if (
            sum(by_kind) != tokens.base_cost
            or min(wrote, cache_read, cache_write) < 0
            or cache_read + cache_write > read
        ):
            raise ValueError(f"the tokens of {model} do not add up")
        return tokens


class Correction(NamedTuple):
    """What a correction says of the event that it corrects: its place, and what it counts, costs and took before.

    Amounts are in whole units.
    """

    original: Position
    number: int
    void: bool
    term: int
    window: int
    window_end: int
    quantity: Decimal
    pool: str
    cost: Decimal
    taken: Decimal

    @classmethod
    def of(cls, fields: Sequence[Any]) -> "Correction":
        """Read it as a record carries it."""
        place, number, void, term, window, window_end, quantity, pool, cost, taken = fields
        amounts = cost * UNITS, taken * UNITS
        return cls(position_of(place), number, void, term, window, window_end, Decimal(quantity), pool, *amounts)

    @classmethod
    def named(cls, original: str, said: str) -> "Correction | None":
        """Read it as a row spells it: the id of the event, and JSON; None for an empty one."""
        place = position_named(original)
        if place is None:
            return None
        names = ("number", "void", "term", "window", "window_end", "quantity", "pool", "cost", "taken")
        facts = msgspec.json.decode(said)
        return cls.of((position_bytes(place), *(facts[name] for name in names)))


class Attempt(NamedTuple):
    """One event as the judge sees it.

    Ids are bytes; `effective_ms` is the lower of `at` and the log's time (DESIGN 3.2). `replays` is the place of the
    dead letter that is judged again, under the digest that it is remembered by; `corrects` is set on a correction,
    whose quantity is signed.
    """

    position: Position
    organization: bytes
    customer: bytes
    feature: bytes
    event_time_us: int
    effective_ms: int
    clock_ms: int | None
    has_timestamp: bool
    quantity: Decimal
    key: str
    digest: bytes
    content: bytes
    request: bytes
    properties: tuple[tuple[str, str], ...]
    gateway: str
    replays: Position | None = None
    tokens: Tokens | None = None
    corrects: Correction | None = None

    @property
    def accepted_ms(self) -> int:
        """Tell when it was accepted on the organization's clock."""
        return self.effective_ms if self.clock_ms is None else self.clock_ms


class FeatureRule(NamedTuple):
    """What the terms say of a feature: `included` in whole units, None is unlimited."""

    kind: str
    enabled: bool
    included: Decimal | None
    overage: bool
    unit_price: Decimal = Decimal(0)
    credits: Decimal = Decimal(0)
    margin: Decimal | None = None

    @property
    def limited(self) -> bool:
        """Tell whether usage stops at `included`."""
        return self.kind == "metered" and self.included is not None and not self.overage


class TermsRule(NamedTuple):
    """Terms as the account record carries them."""

    number: int
    start_us: int
    anchor: int
    since: int
    features: dict[bytes, FeatureRule]
    model: str = "metered"
    months: int = 1
    window_days: int = 0
    pool: Decimal = Decimal(0)
    overdraft: bool = False
    chain: tuple[int, int] | None = None
    counts_us: int | None = None


class AccountRecord(NamedTuple):
    """One account record: `body` is its bytes, as LIVE keeps them.

    `ended` are the terms that a pause or a change of plan ended, the latest first, each with the instant (us).
    """

    organization: bytes
    customer: bytes
    rev: int
    status: str | None
    end_us: int | None
    terms: TermsRule | None
    next: TermsRule | None
    cut: int
    body: bytes
    packs: Decimal = Decimal(0)
    top_ups: tuple[tuple[int, int, Decimal], ...] = ()
    ended: tuple[tuple[TermsRule, int], ...] = ()


class KeyEntry(NamedTuple):
    """One remembered key."""

    kind: str
    position: Position
    at_ms: int
    content: bytes
    request: bytes

    def to_bytes(self) -> bytes:
        """Spell the 34 bytes: kind 1, epoch 1, lane 2, offset 6, index 2, at 6, content 8, request 8."""
        return (
            self.kind.encode()
            + position_bytes(self.position)
            + self.at_ms.to_bytes(6, "big")
            + self.content
            + self.request
        )


class LiveAccount(NamedTuple):
    """An account as LIVE keeps it; totals by (feature, term, window): end, now, at the last cut.

    `draws` by (term, window): end, then plan, packs, top-ups and overdraft, now and at the last cut. `spent` is what
    each feature's usage of a window took of the pool.
    """

    rev: int
    clock_ms: int
    cut: int
    totals: dict[tuple[bytes, int, int], tuple[int, Decimal, Decimal]]
    draws: dict[tuple[int, int], tuple[int, tuple[Decimal, ...], tuple[Decimal, ...]]]
    packs: Decimal
    spent: dict[tuple[bytes, int, int], Decimal]


def decode_record(epoch: int, lane: int, offset: int, time_ms: int, data: bytes) -> list[Attempt] | AccountRecord:
    """Read one record of the log. Raises ValueError for anything but version 1 of the two kinds."""
    version, kind, gateway, body = msgspec.msgpack.decode(data, type=tuple[int, str, str, msgspec.Raw])
    if version != 1 or kind not in ("u", "a"):
        raise ValueError(f"version {version} kind {kind!r}")
    if kind == "a":
        return decode_snapshot(bytes(body))
    events: list[list[Any]] = msgspec.msgpack.decode(body)
    return [_attempt((epoch, lane, offset, index), time_ms, gateway, event) for index, event in enumerate(events)]


def _attempt(position: Position, time_ms: int, gateway: str, event: Sequence[Any]) -> Attempt:
    if not _EVENT_FIELDS <= len(event) <= _EVENT_FIELDS_MAX:
        raise ValueError(f"an event has {len(event)} fields")
    replays, tokens, corrects = _padded(event[_EVENT_FIELDS:], (b"", None, None))
    if len(replays) not in (0, _POSITION_BYTES):
        raise ValueError("one of its fields is a position of another length")
    (
        organization,
        customer,
        feature,
        time_us,
        at_ms,
        clock_ms,
        quantity,
        key,
        digest,
        content,
        request,
        stamped,
        pairs,
    ) = event[:_EVENT_FIELDS]
    return Attempt(
        position,
        organization,
        customer,
        feature,
        time_us,
        min(at_ms, time_ms),
        clock_ms,
        stamped,
        Decimal(quantity),
        key,
        digest,
        content,
        request,
        tuple((name, value) for name, value in pairs),
        gateway,
        position_of(replays) if replays else None,
        None if tokens is None else Tokens.of(tokens),
        None if corrects is None else Correction.of(corrects),
    )


def decode_snapshot(body: bytes) -> AccountRecord:
    """Read the body of an account record."""
    organization, customer, rev, status, end_us, terms, following, cut, *added = msgspec.msgpack.decode(body)
    packs, top_ups, _seats, ended, *_ = _padded(added, (0, (), (), ()))
    bought = tuple((term, window, amount * UNITS) for term, window, amount in top_ups)
    both = _terms(terms), _terms(following)
    before = tuple((rule, until_us) for value, until_us in ended if (rule := _terms(value)) is not None)
    return AccountRecord(organization, customer, rev, status, end_us, *both, cut, body, packs * UNITS, bought, before)


def _terms(value: Sequence[Any] | None) -> TermsRule | None:
    if value is None:
        return None
    number, _subscription, _plan, start_us, anchor, since, _free, features, *added = value
    defaults = ("metered", 1, 0, 0, False, None, None)
    model, months, window_days, pool, overdraft, chain, counts_us, *_ = _padded(added, defaults)
    rules = {feature[0]: _rule(feature) for feature in features}
    place = None if chain is None else (chain[0], chain[1])
    windows = (model, months, window_days, pool * UNITS, overdraft, place, counts_us)
    return TermsRule(number, start_us, anchor, since, rules, *windows)


def _padded(fields: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    """Add what older records, which end earlier, do not say."""
    return [*fields, *defaults[len(fields) :]]


def _rule(fields: Sequence[Any]) -> FeatureRule:
    _feature, _code, kind, enabled, included, overage, unit_price, *added = fields
    one_costs, margin, *_ = _padded(added, ("0", None))
    return FeatureRule(
        kind,
        enabled,
        None if included is None else included * UNITS,
        overage,
        Decimal(unit_price),
        Decimal(one_costs),
        None if margin is None else Decimal(margin),
    )


def decode_account(data: bytes) -> LiveAccount:
    """Read an account: eight bytes of `rev`, then clock, cut, totals, draws and packs, in 16-byte units of 1e-9."""
    clock_ms, cut, rows, *drawn = msgspec.msgpack.decode(data[8:])
    draw_rows, packs, spent_rows = _padded(drawn, ([], bytes(16), []))
    totals = {
        (feature, term, window): (end, _units(now), _units(at_cut)) for feature, term, window, end, now, at_cut in rows
    }
    draws = {
        (term, window): (end, tuple(map(_units, now)), tuple(map(_units, at_cut)))
        for term, window, end, now, at_cut in draw_rows
    }
    spent = {(feature, term, window): _units(amount) for feature, term, window, amount in spent_rows}
    return LiveAccount(int.from_bytes(data[:8], "big"), clock_ms, cut, totals, draws, _units(packs), spent)


def _units(data: bytes) -> Decimal:
    return int.from_bytes(data, "big", signed=True) * UNITS


def decode_outcomes(data: bytes) -> list[list[Any]]:
    """Read one record's outcomes: verdict, code, term, window, its end, cut, original, its time, limited, draws."""
    outcomes: list[list[Any]] = msgspec.msgpack.decode(data)
    return outcomes


def position_bytes(position: Position) -> bytes:
    """Spell a position: epoch 1, lane 2, offset 6, index 2."""
    epoch, lane, offset, index = position
    return epoch.to_bytes(1, "big") + lane.to_bytes(2, "big") + offset.to_bytes(6, "big") + index.to_bytes(2, "big")


def position_of(data: bytes) -> Position:
    """Read a position's eleven bytes."""
    number = [int.from_bytes(data[start:end], "big") for start, end in ((0, 1), (1, 3), (3, 9), (9, 11))]
    return number[0], number[1], number[2], number[3]


def position_named(text: str) -> Position | None:
    """Read an event's id, which is never a wrong one in RAW; None for an empty text."""
    return position_of(base64.b32hexdecode(text[4:].upper() + "======")) if text else None


def letter_digest(position: Position) -> bytes:
    """Tell under what digest LIVE remembers a dead letter that has no key."""
    return blake2b(position_bytes(position), digest_size=16, person=b"dead letter").digest()


def event_id(position: Position) -> str:
    """Spell a position as the event's id: base32hex of its bytes."""
    return "evt_" + base64.b32hexencode(position_bytes(position)).decode().rstrip("=").lower()
