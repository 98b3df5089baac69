"""What the catalog knows, as values: organizations, keys, features, plans, customers. Pure; public contract.

Ids that travel in the log (organization, feature, customer) are 16 bytes here, the others text. Instants are unix
milliseconds. Invariants: a value is one committed state; every value belongs to one organization, which is one
environment (R-GEN-7).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from catalog.terms import FeatureTerms
from kernel import ids
from kernel.period import Interval
from kernel.quantity import to_units

SANDBOX: Final = "sandbox"
PRODUCTION: Final = "production"
READ: Final = "read"
WRITE: Final = "write"


class FeatureKind(StrEnum):
    """What a feature grants (R-FEAT-1); seats are not sold yet."""

    BOOLEAN = "boolean"
    METERED = "metered"


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
    """

    id: bytes
    name: str
    environment: str
    clock_ms: int | None = None
    payments: str = "none"
    currency: str = "usd"
    settle_ms: int | None = None
    created_ms: int = 0

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


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """What plans grant and events name. `event_code` is what usage may name instead of `code` (R-FEAT-4)."""

    id: bytes
    organization: bytes
    code: str
    event_code: str
    name: str
    kind: FeatureKind
    unit_name: str | None = None
    description: str | None = None
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def id_text(self) -> str:
        """Spell the id."""
        return ids.id_text(ids.FEATURE, self.id)


class PlanPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's price an interval, in minor units of `currency`."""

    id: str
    plan: str
    interval: Interval
    amount_minor: int
    currency: str
    is_default: bool
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    created_ms: int = 0
    updated_ms: int = 0


class PlanFeature(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan grants of one feature in a usage window.

    `included` counts units (with `unlimited` it means nothing); `unit_price` is a decimal string in the currency's
    major unit, per unit beyond `included`, and counts only with `overage`.
    """

    feature: Feature
    enabled: bool = True
    included: Decimal = Decimal(0)
    unlimited: bool = False
    overage: bool = False
    unit_price: str = "0"

    def terms(self) -> FeatureTerms:
        """Freeze it as terms; included quantities become 1e-9 units."""
        return FeatureTerms(
            feature=self.feature.id,
            code=self.feature.code,
            kind=self.feature.kind.value,
            enabled=self.enabled,
            included=None if self.unlimited else to_units(self.included),
            overage=self.overage,
            unit_price=self.unit_price,
        )


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is sold: a metered plan's prices and features, as they are shown; a free one has no prices (R-PLAN-6)."""

    id: str
    organization: bytes
    code: str
    name: str
    description: str | None = None
    is_public: bool = True
    is_free: bool = False
    is_default: bool = False
    sort_order: int = 0
    metadata: Mapping[str, Any] | None = None
    prices: tuple[PlanPrice, ...] = ()
    features: tuple[PlanFeature, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0

    def price_of(self, interval: Interval | None) -> PlanPrice | None:
        """Tell the price of an interval, or the default one for None; None when there is none."""
        for price in self.prices:
            if price.interval == interval or (interval is None and price.is_default):
                return price
        return None

    def feature_terms(self) -> tuple[FeatureTerms, ...]:
        """Freeze what the plan grants now (R-PRICE-1)."""
        return tuple(feature.terms() for feature in self.features)


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """The party that pays.

    `external_id` is the seller's own id; `profile` holds the members on which nothing here decides (domain, …).
    """

    id: bytes
    organization: bytes
    external_id: str | None
    email: str
    full_name: str | None = None
    timezone: str | None = None
    metadata: Mapping[str, Any] | None = None
    address: Mapping[str, Any] | None = None
    profile: Mapping[str, str] = msgspec.field(default_factory=dict)
    archived: bool = False
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def id_text(self) -> str:
        """Spell the id."""
        return ids.id_text(ids.CUSTOMER, self.id)
