"""What settling did, as counts."""

import msgspec


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
