"""The catalog as one process sees it: organizations, keys and features whole, customers as they are asked for.

Owns how a process stays fresh: it compares LIVE's version with its own and reads the rows with a newer one. Invariants:
after `current()` no answer rests on a state older than the newest change that was answered (DESIGN 3.4); what is not
found is remembered only as long as the version stands. Source: DESIGN 3.3, 3.4, 7.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Customer, Deployment, Feature, ModelPrice, Organization, Principal
from catalog.gateway.customer import CustomerCache, SharedLookUp
from catalog.model_price import ModelPriceBook
from catalog.store import customer as customer_store
from catalog.store import version as version_store
from catalog.store.deployment import load_deployment
from catalog.store.feature import feature_of_row
from catalog.store.key import hash_key, key_of_row
from catalog.store.model_price import model_price_of_row
from catalog.store.organization import organization_of
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.sql.base import Sql
from kernel.errors import Misconfigured, Refusal, Unavailable
from kernel.limits import CATALOG_RELAYED_MS_MAX, CATALOG_STALE_MS_MAX, CUSTOMERS_CACHED_MAX
from kernel.telemetry import logger

_log = logger("catalog")
_LOOK_UPS_MAX = 8  # a look-up is repeated only when the catalog changed under it

PlanChanged = Callable[[bytes, str], Awaitable[None]]
AddonChanged = Callable[[bytes, str], Awaitable[None]]
CustomerArchived = Callable[[bytes, bytes], Awaitable[None]]
EndCustomer = Callable[[AsyncConnection, Customer], Awaitable[None]]
PlanInUse = Callable[[AsyncConnection, str], Awaitable[bool]]
AddonInUse = Callable[[AsyncConnection, str], Awaitable[bool]]
# Of a plan (its id), at one of its prices or (None) at any, in which of some currencies a subscription pays.
CurrencyInUse = Callable[[AsyncConnection, str, str | None, Collection[str]], Awaitable[str | None]]


class Catalog:
    """The cached view. Its hooks, set by the composition root, tell billing what it has to know.

    `on_plan_changed(organization, plan id)`, `on_addon_changed(organization, add-on id)` and
    `on_customer_archived(organization, customer)` are awaited after the commit; `end_customer(connection, customer)`
    ends what a customer has within the transaction that archives or deletes it; `plan_in_use(connection, plan id)` is
    asked within the transaction that would remove the plan, as is `addon_in_use(connection, add-on id)` within the one
    that would archive an add-on (R-ADDON-11), and `currency_in_use` within one that would drop regional prices.
    """

    def __init__(self, sql: Sql, live: Live, clock: Clock, *, customers_max: int = CUSTOMERS_CACHED_MAX) -> None:
        self.sql = sql
        self.live = live
        self.clock = clock
        self.version = 0
        self.on_plan_changed: PlanChanged | None = None
        self.on_addon_changed: AddonChanged | None = None
        self.on_customer_archived: CustomerArchived | None = None
        self.end_customer: EndCustomer | None = None
        self.plan_in_use: PlanInUse | None = None
        self.addon_in_use: AddonInUse | None = None
        self.currency_in_use: CurrencyInUse | None = None
        self._deployment: Deployment | None = None
        self._organizations: dict[bytes, Organization] = {}
        self._principals: dict[str, Principal] = {}
        self._features: dict[bytes, Feature] = {}
        self._by_code: dict[tuple[bytes, str], Feature] = {}
        self._by_event_code: dict[tuple[bytes, str], Feature] = {}
        self.model_prices = ModelPriceBook()
        self._customers = CustomerCache(customers_max)
        self._looked_up = SharedLookUp(self._look_up)
        self._absent: set[tuple[bytes, str]] = set()
        self._refreshing = asyncio.Lock()
        self._asked_sql_ms: float | None = None

    @property
    def deployment(self) -> Deployment:
        """The deployment's facts; known after `start`."""
        assert self._deployment is not None, "start() comes first"
        return self._deployment

    async def start(self) -> None:
        """Read deployment and catalog, and tell LIVE the version. Raises Misconfigured before `migrate`."""
        async with self.sql.snapshot() as conn:
            self._deployment = await load_deployment(conn)
        if self._deployment is None:
            raise Misconfigured("the SQL database has no deployment yet: run `meterline migrate` first")
        await self.refresh()
        await self.republish()

    async def current(self) -> None:
        """Make the view as new as the newest change that was answered; called before every request.

        While LIVE is away or does not know the version, SQL is asked, at most every CATALOG_STALE_MS_MAX.
        """
        try:
            version = await self.live.catalog()
        except Unavailable:
            version = None
        if version is not None:
            await self.refresh(version)
            return
        asked = self._asked_sql_ms
        if asked is None or self.clock.monotonic_ms() - asked >= CATALOG_STALE_MS_MAX:
            asked = self.clock.monotonic_ms()
            await self.refresh()
            self._asked_sql_ms = asked

    async def refresh(self, version: int | None = None) -> None:
        """Read the rows that changed since this view's version, if `version` is newer (None: whatever SQL has)."""
        if version is not None and version <= self.version:
            return
        async with self._refreshing:
            if version is not None and version <= self.version:
                return
            async with self.sql.snapshot() as conn:
                await self._read(conn)

    async def published(self, version: int) -> None:
        """Make a committed change visible to every gateway before the call that made it answers.

        With LIVE away this waits until others' relays have told it, in case others reach it; when LIVE does not know
        its version, until every gateway has asked SQL again.
        """
        try:
            if not await self.live.raise_catalog(version):
                await asyncio.sleep(CATALOG_STALE_MS_MAX / 1000)
        except Unavailable:
            await asyncio.sleep(CATALOG_RELAYED_MS_MAX / 1000)
        await self.refresh(version)

    async def republish(self) -> None:
        """Raise LIVE's version to SQL's: a process died between commit and raising, or LIVE lost its last writes."""
        async with self.sql.snapshot() as conn:
            version = await version_store.read_version(conn)
        try:
            await self.live.raise_catalog(version)
        except Unavailable:
            _log.warning("LIVE is away: gateways ask SQL for the catalog's version")

    def principal(self, key: str) -> Principal | None:
        """Tell who comes with a key; None for one that is unknown, revoked or expired."""
        found = self._principals.get(hash_key(key))
        if found is None or (found.expires_ms is not None and found.expires_ms <= self.clock.now_ms()):
            return None
        return found

    def organization(self, organization: bytes) -> Organization:
        """Tell an organization that a principal or customer named. Raises KeyError for one that does not exist."""
        return self._organizations[organization]

    def organizations(self) -> list[Organization]:
        """Tell all organizations."""
        return list(self._organizations.values())

    def feature(self, organization: bytes, code: str) -> Feature | None:
        """Find the feature that an event names: by its event code first, then by its code (AMB-18)."""
        return self._by_event_code.get((organization, code)) or self._by_code.get((organization, code))

    def feature_by_id(self, feature: bytes) -> Feature | None:
        """Find a feature by its id."""
        return self._features.get(feature)

    def features(self, organization: bytes) -> list[Feature]:
        """Tell an organization's features, oldest first."""
        own = [feature for feature in self._features.values() if feature.organization == organization]
        return sorted(own, key=lambda feature: (feature.created_ms, feature.id))

    def model_price(self, organization: bytes, model: str, at_ms: int) -> ModelPrice | Refusal:
        """Find what an AI model's tokens cost at an instant, by a name as events give it (R-AI-6, R-AI-8).

        Refusal `model_not_found`: the name means no model, or several, or the model had no price then.
        """
        return self.model_prices.find(organization, model, at_ms)

    def customer_cached(self, organization: bytes, reference: str) -> Customer | None:
        """Find a customer in memory alone; None says nothing about SQL."""
        return self._customers.get(organization, reference)

    async def customer(self, organization: bytes, reference: str) -> Customer | None:
        """Find one customer by either id."""
        return (await self.customers(organization, [reference]))[reference]

    async def customers(self, organization: bytes, references: Sequence[str]) -> dict[str, Customer | None]:
        """Find customers by either id, in memory first; None for a reference that names nobody."""
        found: dict[str, Customer | None] = {}
        missing: list[str] = []
        for reference in dict.fromkeys(references):
            known = self._customers.get(organization, reference)
            if known is None and (organization, reference) not in self._absent:
                missing.append(reference)
            else:
                found[reference] = known
        if missing:
            found.update(await self._looked_up.find(organization, missing))
        return found

    async def _look_up(self, organization: bytes, references: Sequence[str]) -> dict[str, Customer | None]:
        for _ in range(_LOOK_UPS_MAX):
            async with self.sql.snapshot() as conn:
                version = await version_store.read_version(conn)
                rows = await customer_store.find_customers(conn, organization, references)
            if version < self.version:
                continue  # what was read may be older than what this view has already dropped
            for customer in rows.values():
                self._customers.put(customer)
            if version == self.version:
                self._remember_absent(organization, [name for name in references if name not in rows])
            return {name: rows.get(name) for name in references}
        raise Unavailable("the catalog changes faster than a customer can be read")

    def _remember_absent(self, organization: bytes, references: Sequence[str]) -> None:
        if len(self._absent) + len(references) > CUSTOMERS_CACHED_MAX:
            self._absent.clear()
        self._absent.update((organization, name) for name in references)

    async def _read(self, conn: AsyncConnection) -> None:
        """Take in what changed; nothing is awaited between the first change of the view and the last."""
        since = self.version
        version = await version_store.read_version(conn)
        organizations = await version_store.organizations_since(conn, since)
        keys = await version_store.keys_since(conn, since)
        features = await version_store.features_since(conn, since)
        priced = await version_store.model_prices_since(conn, since)
        changed = await version_store.customers_since(conn, since) if since else []  # before the first, none is cached
        for row in organizations:
            organization = organization_of(row)
            self._organizations[organization.id] = organization
        for row in keys:
            if row.deleted_ms:
                self._principals.pop(row.hash, None)
            else:
                self._principals[row.hash] = key_of_row(row).principal()
        for row in features:
            self._take(feature_of_row(row), removed=bool(row.deleted_ms))
        self.model_prices.take([model_price_of_row(row) for row in priced])
        for customer in changed:
            self._customers.drop(ids.id_bytes(customer))
        if version != since:
            self._absent.clear()
        self.version = version

    def _take(self, feature: Feature, *, removed: bool) -> None:
        for index, code in ((self._by_code, feature.code), (self._by_event_code, feature.event_code)):
            key = (feature.organization, code)
            if not removed:
                index[key] = feature
            elif key in index and index[key].id == feature.id:
                del index[key]
        if removed:
            self._features.pop(feature.id, None)
        else:
            self._features[feature.id] = feature
