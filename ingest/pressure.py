"""How much may be under way at once. Pure: counts alone. Source: DESIGN 8."""

from typing import Final

from kernel.errors import Refusal
from kernel.limits import IN_FLIGHT_BYTES_MAX, IN_FLIGHT_REQUESTS_MAX

OVERLOADED: Final = Refusal(code="rate_limited", message="Too much usage is under way here; send it again in a second.")


class Pressure:
    """Requests and bytes of bodies that are under way in this process."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0

    @property
    def left(self) -> int:
        """Tell how many requests may still enter."""
        return max(0, IN_FLIGHT_REQUESTS_MAX - self.requests)

    def enter(self) -> "Ticket | None":
        """Count one request in; None, and nothing is counted, when no more may enter."""
        if self.requests >= IN_FLIGHT_REQUESTS_MAX or self.bytes >= IN_FLIGHT_BYTES_MAX:
            return None
        self.requests += 1
        return Ticket(self)


class Ticket:
    """What one request that is under way is counted for."""

    __slots__ = ("_bytes", "_pressure")

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._bytes = 0

    def grow(self, size: int) -> bool:
        """Count bytes of its body in; False, and they are not counted, when that is too much for the process."""
        if self._pressure.bytes + size > IN_FLIGHT_BYTES_MAX:
            return False
        self._pressure.bytes += size
        self._bytes += size
        return True

    def leave(self) -> None:
        """Count the request and its bytes out."""
        self._pressure.requests -= 1
        self._pressure.bytes -= self._bytes
        self._bytes = 0
        assert self._pressure.requests >= 0, "what leaves has entered"
