"""What settling reads and what it did: RAW's sums at a customer's cut, and counts of closes and invoices."""

import msgspec

from aggregator.account import DrawKey
from billing.agreement import RawDraws
from billing.closing import Window, WindowUsage


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
