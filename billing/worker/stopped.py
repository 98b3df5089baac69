"""Steps that stopped: subscriptions whose next step raised, add-ons on free plans whose month did, closes.

A close whose writing raises is stopped in SQL; here are those on which something before it raised.

Invariant: what raised is left alone for a while, so that it keeps nobody else from being closed; it is never forgotten,
because what it was about to do stays due in SQL. One process remembers it: another one, and the next start, tries it
anew. Source: DESIGN 3.8; ADR 9.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from billing.life.subscription import Subscription
from billing.sale.addon import SubscriptionAddon
from billing.store.close import CloseRow
from billing.worker.apart import Fault
from kernel.clock import Clock
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("closer")

# Ten minutes are within the fifteen over which the alert looks, so that it goes on for as long as something is stopped,
# and a thousand of them are two tries a second.
AGAIN_MS: Final = 600_000


class _Waiting(NamedTuple):
    organization_id: str
    until_ms: float


class Stopped:
    """The steps that one process leaves alone."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._waiting: dict[str, _Waiting] = {}

    def add(self, faults: Sequence[Fault[Subscription] | Fault[SubscriptionAddon] | Fault[CloseRow]]) -> int:
        """Leave alone for AGAIN_MS what raised, and tell the operator of each; returns how many they are."""
        for fault in faults:
            one = fault.item
            self._waiting[one.id] = _Waiting(one.organization_id, self._clock.monotonic_ms() + AGAIN_MS)
            self._telemetry.count(CounterName.CLOSE_STOPPED)
            _log.error(
                "a step stops: it raised; mend the cause, then close",
                id=one.id,
                customer=one.customer_id,
                organization=one.organization_id,
                reason=fault.reason,
                exc_info=fault.error,
            )
        return len(faults)

    def resume(self, organization_id: str | None) -> None:
        """Let everything be tried at once, of one organization or all."""
        self._waiting = {
            one: waiting
            for one, waiting in self._waiting.items()
            if organization_id is not None and waiting.organization_id != organization_id
        }

    def names(self) -> frozenset[str]:
        """Name what is left alone now: ids of subscriptions, of add-ons as they were switched on, and of closes."""
        now_ms = self._clock.monotonic_ms()
        self._waiting = {one: waiting for one, waiting in self._waiting.items() if waiting.until_ms > now_ms}
        return frozenset(self._waiting)

    def any_of(self, organization_id: str) -> bool:
        """Tell whether anything of the organization is left alone now."""
        self.names()
        return any(waiting.organization_id == organization_id for waiting in self._waiting.values())
