"""The only place that reads the clock. UTC, unix milliseconds or microseconds."""

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Tells the time; handed in wherever time matters."""

    def now_ms(self) -> int:
        """Tell real time in unix milliseconds."""
        ...

    def now_us(self) -> int:
        """Tell real time in unix microseconds."""
        ...

    def monotonic_ms(self) -> float:
        """Tell a time that only rises, for waits and durations; its zero means nothing."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Tell real time in unix milliseconds."""
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        """Tell real time in unix microseconds."""
        return time.time_ns() // 1_000

    def monotonic_ms(self) -> float:
        """Tell a time that only rises, in milliseconds."""
        return time.monotonic_ns() / 1_000_000


class ManualClock:
    """A clock that stands until it is moved: the simulator for tests of what depends on time."""

    def __init__(self, now_ms: int) -> None:
        self._now_us = now_ms * 1_000

    def now_ms(self) -> int:
        """Tell the set time in unix milliseconds."""
        return self._now_us // 1_000

    def now_us(self) -> int:
        """Tell the set time in unix microseconds."""
        return self._now_us

    def monotonic_ms(self) -> float:
        """Tell the set time; it rises because `advance` never goes back."""
        return self._now_us / 1_000

    def advance(self, by_ms: int) -> None:
        """Move forward by `by_ms` milliseconds."""
        assert by_ms >= 0, "a clock only moves forward"
        self._now_us += by_ms * 1_000
