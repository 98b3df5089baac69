"""Who sells, as values: the deployment, organizations with their settings, keys and who comes with them. Pure.

Public by `catalog.definition`. Invariant: an organization is one environment (R-GEN-7).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from kernel import ids

SANDBOX: Final = "sandbox"
PRODUCTION: Final = "production"
# Payments modes: without a payment service what needs a payment counts as paid (decision 9).
NO_PAYMENTS: Final = "none"
SIMULATOR: Final = "simulator"
READ: Final = "read"
WRITE: Final = "write"


class DayCount(StrEnum):
    """How a change of plan counts days: an organization's setting `plan_change_day_count` (R-PRO-2, R-PRO-5)."""

    MONTHS_OF_30 = "30/360"
    ACTUAL = "actual"


class UpgradeCharge(StrEnum):
    """What an upgrade charges of the new price: an organization's setting `upgrade_charge` (R-CHG-4)."""

    PRORATED = "prorated"
    FULL = "full"


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment's facts: epoch of the log, its lanes, secret of the key digests (32 bytes).

    `rules` is the number of the fold's rules by which the epoch is judged. All but the secret change with an epoch.
    """

    epoch: int
    lanes: int
    secret: bytes
    rules: int


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """A seller in one environment.

    `clock_ms` is its test clock (None: real time), `settle_ms` its delay before a close (None: the deployment's).
    `payments` is NO_PAYMENTS or SIMULATOR.
    """

    id: bytes
    name: str
    environment: str
    clock_ms: int | None = None
    payments: str = NO_PAYMENTS
    currency: str = "usd"
    settle_ms: int | None = None
    created_ms: int = 0
    day_count: DayCount = DayCount.MONTHS_OF_30
    upgrade_charge: UpgradeCharge = UpgradeCharge.PRORATED

    @property
    def id_text(self) -> str:
        """Spell the id."""
        return ids.id_text(ids.ORGANIZATION, self.id)

    @property
    def livemode(self) -> bool:
        """Tell whether this is production."""
        return self.environment == PRODUCTION

    def now_ms(self, real_now_ms: int) -> int:
        """Tell the organization's now: its test clock, else real time (R-GEN-6)."""
        return real_now_ms if self.clock_ms is None else self.clock_ms


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a key's organization and what it may do.

    `permissions` maps a resource to `read` and `write`; `expires_ms` None is never.
    """

    organization: bytes
    key_id: str
    restricted: bool = False
    permissions: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    expires_ms: int | None = None

    def may(self, resource: str, action: str) -> bool:
        """Tell whether the key may `read` or `write` the resource; a full key may everything."""
        return not self.restricted or action in self.permissions.get(resource, ())


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed: never its secret, only the `prefix` that is shown."""

    id: str
    organization: bytes
    name: str
    prefix: str
    hash: str
    permissions: Mapping[str, tuple[str, ...]] | None
    expires_ms: int | None
    created_ms: int

    def principal(self) -> Principal:
        """Tell who comes with this key."""
        return Principal(
            organization=self.organization,
            key_id=self.id,
            restricted=self.permissions is not None,
            permissions=self.permissions or {},
            expires_ms=self.expires_ms,
        )
