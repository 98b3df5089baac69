"""Where refusals of every other route than usage are handed in: kept with their request's id, so that one may ask why.

Owns what of a request is kept: its id, method and path, the customer that it names, code, field and rule; never its
body. Best effort and within the quota, like usage's own refusals. Nothing is kept of who has no key, of what failed on
our side, and of what is to be sent again. Source: DESIGN 8; R-ERR-2.
"""

from collections.abc import Callable, Mapping
from typing import Final

from catalog.definition import Organization
from catalog.gateway.catalog import Catalog
from ingest.refusal import Asked, RefusalQuota, RefusedRequest, refused_call
from kernel import ids, wire
from kernel.errors import Refusal
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("refusals")
_CUSTOMERS: Final = "customers"
_NOT_KEPT: Final = frozenset({401, 429})
_SERVER_ERROR: Final = 500


class RefusalDesk:
    """Takes refusals and hands them to whoever writes them."""

    def __init__(
        self, catalog: Catalog, sink: Callable[[RefusedRequest], None], quota: RefusalQuota, telemetry: Telemetry
    ) -> None:
        self._catalog = catalog
        self._sink = sink
        self._quota = quota
        self._telemetry = telemetry

    def keep(
        self,
        refusal: Refusal,
        request_id: str,
        route: str,
        *,
        key: str | None = None,
        organization: Organization | None = None,
        customer: str = "",
    ) -> None:
        """Keep a refusal. `route` is method and path as called, `key` the API key unless `organization` is given.

        It neither waits nor raises: the answer does not depend on it.
        """
        status = wire.status_of(refusal.code)
        if status >= _SERVER_ERROR or status in _NOT_KEPT:
            return
        try:
            owner = organization or self._owner(key)
            if owner is not None:
                self._keep(refusal, request_id, owner, bare(route), customer)
        except Exception as error:  # noqa: BLE001 - best effort, and the answer is given
            _log.warning("a refusal was not kept", reason=str(error))

    def _owner(self, key: str | None) -> Organization | None:
        principal = None if key is None else self._catalog.principal(key)
        return None if principal is None else self._catalog.organization(principal.organization)

    def _keep(self, refusal: Refusal, request_id: str, owner: Organization, route: str, customer: str) -> None:
        at_ms = self._catalog.clock.now_ms()
        if not self._quota.take(owner.id, at_ms, 1):
            self._telemetry.count(CounterName.REFUSALS_DROPPED)
            return
        asked = Asked(organization=owner.id, request=request_id, route=route, at_ms=at_ms, now_ms=owner.now_ms(at_ms))
        refusal_id = ids.new_id(ids.REFUSAL, at_ms)
        self._sink(refused_call(refusal, asked, refusal_id=refusal_id, customer=customer or named_in(route)))


def bare(route: str) -> str:
    """Take the prefix off a route's path, so that every era's path reads the same."""
    method, _, path = route.partition(" ")
    prefix = next((prefix for prefix in wire.PREFIXES if path.startswith(prefix + "/")), "")
    return f"{method} {path.removeprefix(prefix)}"


def named_in(route: str, query: Mapping[str, str] | None = None) -> str:
    """Tell the customer that a path or a query names; empty when none does."""
    told = (query or {}).get("customerId") or ""
    parts = route.partition(" ")[2].strip("/").split("/")
    if not told and parts[0] == _CUSTOMERS and len(parts) > 1:
        return parts[1]
    return told
