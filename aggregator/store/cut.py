"""What the closer reads: sums at a cut, where a cut lies, and the events behind an invoice line."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from aggregator.account import Draws
from aggregator.row import EventRow
from aggregator.store.draws import DRAW_COLUMNS, DRAWS, DRAWS_BEFORE, draws_of
from aggregator.store.event import COLUMNS, event_row
from aggregator.tables import ACCOUNT_RECORDS, EVENTS
from aggregator.usage import EventSums
from kernel.engine.raw.base import Raw
from kernel.position import Position
from kernel.quantity import to_units


class CutTotal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counted usage of one feature in one window, in 1e-9 units. Ids are text, days since 1970-01-01.

    `units` is what the window held at the cut that was asked for, `units_before` at the cut before it: what the earlier
    invoices of the window were rated from.
    """

    customer: str
    feature: str
    term: int
    window: int
    window_end: int
    units: int
    units_before: int


class CutDraws(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a customer drew on its pool in one window: at the cut that was asked for, and at the cut before it.

    The customer is text, days since 1970-01-01, amounts 1e-9 credits or 1e-9 of the currency's major unit.
    `price_versions` names the editions of AI prices behind them, in order.
    """

    customer: str
    term: int
    window: int
    window_end: int
    at_cut: Draws
    before: Draws
    price_versions: tuple[str, ...] = ()


class InvoiceLineEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Which counted events stand behind an invoice line: one window's, of the cuts after `cut_after` up to `cut`.

    An empty `feature` means the pool: every event that drew on it in its draw window.
    """

    organization: str
    customer: str
    feature: str
    term: int
    window: int
    cut_after: int
    cut: int


# transform() spells "the cut that was asked for this customer"; a customer that was not asked for has none.
_TOTALS: Final = f"""
SELECT customer, feature, term, toInt32(window), max(toInt32(window_end)), sum(quantity), sumIf(quantity, cut < asked)
FROM (
    SELECT customer, feature, term, window, window_end, quantity, cut,
        transform(customer, {{customers:Array(String)}}, {{cuts:Array(UInt32)}}, toUInt32(0)) AS asked
    FROM {EVENTS} FINAL
    WHERE organization = {{organization:String}} AND customer IN {{customers:Array(String)}} AND verdict = 'counted'
)
WHERE cut <= asked
GROUP BY customer, feature, term, window
ORDER BY customer, feature, term, window"""

_DRAWS: Final = f"""
SELECT customer, term, toInt32(window), max(toInt32(window_end)),
    arraySort(groupUniqArrayIf(toString(price_version), price_version != '')), {DRAWS}, {DRAWS_BEFORE}
FROM (
    SELECT customer, term, window, window_end, cut, price_version, {DRAW_COLUMNS},
        transform(customer, {{customers:Array(String)}}, {{cuts:Array(UInt32)}}, toUInt32(0)) AS asked
    FROM {EVENTS} FINAL
    WHERE organization = {{organization:String}} AND customer IN {{customers:Array(String)}} AND verdict = 'counted'
        AND pool != ''
)
WHERE cut <= asked
GROUP BY customer, term, window
ORDER BY customer, term, window"""

_FIRST_CUT: Final = f"""
SELECT customer, min((epoch, lane, `offset`)) FROM (
    SELECT customer, epoch, lane, `offset`, cut,
        transform(customer, {{customers:Array(String)}}, {{cuts:Array(UInt32)}}, toUInt32(0)) AS asked
    FROM {ACCOUNT_RECORDS} FINAL WHERE customer IN {{customers:Array(String)}}
)
WHERE cut >= asked GROUP BY customer"""

_OF_LINE: Final = f"""
FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND customer = {{customer:String}}
    AND (feature = {{feature:String}} OR ({{feature:String}} = '' AND pool != ''))
    AND verdict = 'counted' AND term = {{term:UInt32}} AND toInt32(window) = {{window:Int32}}
    AND cut <= {{cut:UInt32}}"""
_LINE: Final = f"""{_OF_LINE} AND cut > {{cut_after:UInt32}}
    AND (epoch, lane, `offset`, `index`) > ({{epoch:Int16}}, {{lane:Int32}}, {{offset:Int64}}, {{index:Int32}})
ORDER BY epoch, lane, `offset`, `index` LIMIT {{limit:UInt32}}"""
_ADDED: Final = "cut > {cut_after:UInt32}"
_SUMS: Final = f"""
SELECT countIf({_ADDED}), sumIf(quantity, {_ADDED}), sumIf(overdraft, {_ADDED}), sum(quantity),
    minIf(toUnixTimestamp64Micro(event_time), {_ADDED}), maxIf(toUnixTimestamp64Micro(event_time), {_ADDED}),
    arraySort(groupUniqArrayIf(price_version, price_version != ''))
{_OF_LINE}"""
_KINDS: Final = len(Draws.__struct_fields__)
_BEFORE_ALL: Final = Position(-1, -1, -1, -1)


class CutReads:
    """Reads for billing."""

    raw: Raw

    async def totals_at_cut(self, organization: str, cuts: Mapping[str, int]) -> list[CutTotal]:
        """Sum the counted events of many customers of an organization, each up to its own cut: `{customer: cut}`."""
        if not cuts:
            return []
        rows = await self.raw.query(_TOTALS, {"organization": organization, **_asked(cuts)})
        return [
            CutTotal(
                customer=customer,
                feature=feature,
                term=term,
                window=window,
                window_end=window_end,
                units=to_units(total),
                units_before=to_units(before),
            )
            for customer, feature, term, window, window_end, total, before in rows
        ]

    async def draws_at_cut(self, organization: str, cuts: Mapping[str, int]) -> list[CutDraws]:
        """Sum what many customers of an organization drew on pools, each up to its own cut: `{customer: cut}`.

        By customer, term and window; one in which nothing cost anything is there, with no draws.
        """
        if not cuts:
            return []
        rows = await self.raw.query(_DRAWS, {"organization": organization, **_asked(cuts)})
        return [
            CutDraws(
                customer=customer,
                term=term,
                window=window,
                window_end=window_end,
                at_cut=draws_of(sums[:_KINDS]),
                before=draws_of(sums[_KINDS:]),
                price_versions=tuple(versions),
            )
            for customer, term, window, window_end, versions, *sums in rows
        ]

    async def first_cut_positions(self, cuts: Mapping[str, int]) -> dict[str, tuple[int, int, int]]:
        """Tell `(epoch, lane, offset)` of each customer's first record with at least its cut; without one, absent."""
        if not cuts:
            return {}
        rows = await self.raw.query(_FIRST_CUT, _asked(cuts))
        return {customer: (epoch, lane, offset) for customer, (epoch, lane, offset) in rows}

    async def first_cut_position(self, customer: str, cut: int) -> tuple[int, int, int] | None:
        """Tell `(epoch, lane, offset)` of the customer's first account record with a cut of at least `cut`."""
        return (await self.first_cut_positions({customer: cut})).get(customer)

    async def line_sums(self, line: InvoiceLineEvents) -> EventSums:
        """Sum the events behind an invoice line, exactly those that `line_events` lists."""
        [[count, quantity, overdraft, of_window, first_us, last_us, versions]] = await self.raw.query(
            _SUMS, msgspec.structs.asdict(line)
        )
        return EventSums(
            count=count,
            units=to_units(quantity),
            overdraft=to_units(overdraft),
            of_window=to_units(of_window),
            first_us=first_us if count else None,
            last_us=last_us if count else None,
            price_versions=tuple(versions),
        )

    async def line_events(
        self, line: InvoiceLineEvents, *, limit: int, after: Position | None = None
    ) -> Sequence[EventRow]:
        """Read the events behind an invoice line in the log's order, at most `limit`, those after position `after`."""
        parameters: dict[str, Any] = {
            **msgspec.structs.asdict(line),
            **(after or _BEFORE_ALL)._asdict(),
            "limit": limit,
        }
        return [event_row(row) for row in await self.raw.query(f"SELECT {COLUMNS} {_LINE}", parameters)]


def _asked(cuts: Mapping[str, int]) -> dict[str, Any]:
    return {"customers": list(cuts), "cuts": list(cuts.values())}
