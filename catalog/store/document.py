"""The catalog of one organization, exported to a document and brought to what a document says."""

from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Feature, FeatureKind, Organization, Plan, PlanPrice
from catalog.document import CatalogDocument, FeaturePart, PlanPart, document_of, grant_of, price_minor
from catalog.document_change import Change, diff_documents
from catalog.store.feature import create_feature, list_features, load_feature, remove_feature, save_feature
from catalog.store.plan import create_plan, list_plans, load_plan, remove_plan, save_plan
from catalog.store.plan_feature import put_plan_feature, remove_plan_feature
from catalog.store.price import create_price, remove_price, save_price
from kernel import ids
from kernel.errors import rejected
from kernel.period import Interval

InUse = Callable[[AsyncConnection, str], Awaitable[bool]]


async def export_document(conn: AsyncConnection, organization: bytes) -> CatalogDocument:
    """Write an organization's catalog as a document."""
    return document_of(await list_features(conn, organization), await list_plans(conn, organization, private=True))


async def diff_document(
    conn: AsyncConnection, organization: Organization, document: CatalogDocument, *, prune: bool = False
) -> list[Change]:
    """Tell what `apply_document` would change. Raises Rejected for what never changes, and for an impossible price."""
    for part in document.plan:
        if part.price is not None:
            price_minor(part, organization.currency)
    return diff_documents(await export_document(conn, organization.id), document, prune=prune)


async def apply_document(
    conn: AsyncConnection,
    organization: Organization,
    document: CatalogDocument,
    *,
    now_ms: int,
    prune: bool = False,
    plan_in_use: InUse | None = None,
) -> list[Change]:
    """Bring an organization's catalog to what the document says, and return what that changed; twice changes nothing.

    `now_ms` is real time. With `prune` what the document does not name is removed. Raises Rejected, and the
    transaction is to be rolled back, when a change is not possible (`plan_in_use`, `feature_in_use`).
    """
    changes = await diff_document(conn, organization, document, prune=prune)
    applying = _Applying(conn, organization, document, now_ms, plan_in_use)
    for change in changes:
        await applying.apply(change)
    return changes


class _Applying:
    """One document on its way into one organization."""

    def __init__(
        self,
        conn: AsyncConnection,
        organization: Organization,
        document: CatalogDocument,
        real_ms: int,
        plan_in_use: InUse | None,
    ) -> None:
        self._conn = conn
        self._organization = organization
        self._features = {part.code: part for part in document.feature}
        self._plans = {part.code: part for part in document.plan}
        self._real_ms = real_ms
        self._now_ms = organization.now_ms(real_ms)
        self._plan_in_use = plan_in_use

    async def apply(self, change: Change) -> None:
        if change.kind == "feature":
            await self._feature(change)
        elif change.kind == "plan":
            await self._plan(change)
        elif change.kind == "price":
            await self._price(change)
        else:
            await self._grant(change)

    async def _feature(self, change: Change) -> None:
        if change.action == "create":
            await create_feature(self._conn, self._new_feature(self._features[change.name]))
            return
        feature = await load_feature(self._conn, self._organization.id, change.name)
        if change.action == "remove":
            await remove_feature(self._conn, feature, self._real_ms)
            return
        part = self._features[change.name]
        changed = msgspec.structs.replace(
            feature,
            name=part.name,
            unit_name=part.unit_name or None,
            description=part.description or None,
            updated_ms=self._now_ms,
        )
        await save_feature(self._conn, changed)

    def _new_feature(self, part: FeaturePart) -> Feature:
        return Feature(
            id=ids.new_bytes(self._real_ms),
            organization=self._organization.id,
            code=part.code,
            event_code=part.event_code or part.code,
            name=part.name,
            kind=FeatureKind(part.type),
            unit_name=part.unit_name or None,
            description=part.description or None,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
        )

    async def _plan(self, change: Change) -> None:
        if change.action == "create":
            await create_plan(self._conn, self._new_plan(self._plans[change.plan]))
            return
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        if change.action == "remove":
            if self._plan_in_use is not None and await self._plan_in_use(self._conn, plan.id):
                raise rejected("plan_in_use", f"Customers are subscribed to the plan {plan.code}.")
            await remove_plan(self._conn, plan, self._real_ms)
            return
        part = self._plans[change.plan]
        changed = msgspec.structs.replace(
            plan,
            name=part.name,
            description=part.description or None,
            is_public=part.public,
            updated_ms=self._now_ms,
        )
        await save_plan(self._conn, changed)

    def _new_plan(self, part: PlanPart) -> Plan:
        return Plan(
            id=ids.new_id(ids.PLAN, self._real_ms),
            organization=self._organization.id,
            code=part.code,
            name=part.name,
            description=part.description or None,
            is_public=part.public,
            is_free=part.free,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
        )

    async def _price(self, change: Change) -> None:
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        interval = Interval(change.name)
        price = plan.price_of(interval)
        if change.action == "remove":
            assert price is not None, "the diff found it"
            await remove_price(self._conn, price, self._real_ms)
            return
        amount = price_minor(self._plans[change.plan], self._organization.currency)
        if price is not None:
            await save_price(self._conn, msgspec.structs.replace(price, amount_minor=amount, updated_ms=self._now_ms))
            return
        made = PlanPrice(
            id=ids.new_id(ids.PRICE, self._real_ms),
            plan=plan.id,
            interval=interval,
            amount_minor=amount,
            currency=self._organization.currency,
            is_default=not plan.prices,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
        )
        await create_price(self._conn, self._organization.id, made)

    async def _grant(self, change: Change) -> None:
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        if change.action == "remove":
            gone = next(granted for granted in plan.features if granted.feature.code == change.name)
            await remove_plan_feature(self._conn, plan, gone, self._now_ms)
            return
        feature = await load_feature(self._conn, self._organization.id, change.name)
        part = self._plans[change.plan].features[change.name]
        await put_plan_feature(self._conn, plan, grant_of(part, feature), self._now_ms)
