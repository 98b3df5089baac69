"""What settling reads and what it did: RAW's sums at a customer's cut, and counts of closes and invoices."""

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.account import DrawKey, Draws
from aggregator.store import UsageStore
from billing.money.agreement import RawDraws
from billing.money.closing import Window, WindowUsage
from billing.money.invoice import Line


async def counted_at(usage_store: UsageStore, organization: str, cuts: Mapping[str, int]) -> "dict[str, Counted]":
    """Read what RAW counts of customers (`cus_…`), each up to its own cut."""
    counted = {customer: Counted() for customer in cuts}
    for row in await usage_store.totals_at_cut(organization, cuts):
        window = Window(row.feature, row.term, row.window)
        counted[row.customer].totals[window] = WindowUsage(end=row.window_end, units=row.units)
    for drew in await usage_store.draws_at_cut(organization, cuts):
        drawn = RawDraws(end=drew.window_end, drawn=drew.at_cut, price_versions=drew.price_versions)
        counted[drew.customer].pool[drew.term, drew.window] = drawn
    return counted


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of closes settled, invoices written, and closes stopped."""

    settled: int = 0
    invoices: int = 0
    stopped: int = 0

    def __add__(self, other: "Settled") -> "Settled":
        """Add counts."""
        return Settled(
            settled=self.settled + other.settled,
            invoices=self.invoices + other.invoices,
            stopped=self.stopped + other.stopped,
        )


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What RAW counts of a customer at its cut: usage by window, and draws by draw window."""

    totals: dict[Window, WindowUsage] = msgspec.field(default_factory=dict)
    pool: dict[DrawKey, RawDraws] = msgspec.field(default_factory=dict)

    @property
    def drawn(self) -> dict[DrawKey, Draws]:
        """Tell the draws alone."""
        return {key: one.drawn for key, one in self.pool.items()}

    def price_versions(self, lines: Sequence[Line]) -> tuple[str, ...]:
        """Name the editions of AI prices behind the overdrafts on an invoice, in order."""
        windows = {(line.term, line.window.start) for line in lines if line.window and not line.feature_id}
        found = {version for key, one in self.pool.items() if key in windows for version in one.price_versions}
        return tuple(sorted(found))
