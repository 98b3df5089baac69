"""The catalog of one organization, exported to a document and brought to what a document says."""

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import plan_rule, rule
from catalog.definition import Feature, FeatureKind, Organization, Plan, PlanPrice, SeatType
from catalog.document import document_of
from catalog.document_change import OFFERS, Change, diff_documents
from catalog.document_part import CatalogDocument, FeaturePart, PlanPart
from catalog.document_plan import grant_of, price_minor, price_terms, within
from catalog.regional import currency_of
from catalog.store.document_offer import ApplyingOffers, CurrencyInUse, InUse, export_offers
from catalog.store.feature import create_feature, list_features, load_feature, remove_feature, save_feature
from catalog.store.plan import create_plan, list_plans, load_plan, plans_moving_to, remove_plan, save_plan
from catalog.store.plan_feature import put_plan_feature, remove_plan_feature
from catalog.store.price import create_price, remove_price, save_price
from catalog.store.seat_type import (
    create_seat_type,
    find_seat_type,
    list_seat_types,
    remove_seat_type,
    save_seat_type,
    with_seat_type,
)
from catalog.terms import ConsumptionModel
from kernel import ids
from kernel.errors import rejected
from kernel.period import Interval


async def export_document(conn: AsyncConnection, organization: Organization) -> CatalogDocument:
    """Write an organization's catalog as a document; a plan that is deleted and waits for renewals is not in it."""
    found = await list_plans(conn, organization.id, private=True, deprecated=True)
    plans = [plan for plan in found if plan.ending is None]
    return document_of(
        await list_features(conn, organization.id),
        plans,
        await list_seat_types(conn, organization.id),
        await export_offers(conn, organization, plans),
    )


async def diff_document(
    conn: AsyncConnection, organization: Organization, document: CatalogDocument, *, prune: bool = False
) -> list[Change]:
    """Tell what `apply_document` would change. Raises Rejected for what never changes, and for an impossible price."""
    for part in document.plan:
        for interval, price in part.every_price().items():
            with within(f"plan.{part.code}" if price.price is part.price else f"plan.{part.code}.prices.{interval}"):
                price_terms(price, organization.currency)
        for currency in part.regional:
            with within(f"plan.{part.code}.regional.{currency}"):
                currency_of(currency, organization.currency)
    for addon in document.addon:
        with within(f"addon.{addon.slug}"):
            for amount in (addon.price, *addon.prices.values()):
                price_minor(amount, organization.currency)
    for promo in document.promo_code:
        if promo.amount is not None:
            with within(f"promo_code.{promo.code}.amount"):
                price_minor(promo.amount, organization.currency, "amount")
    return diff_documents(await export_document(conn, organization), document, prune=prune)


async def apply_document(
    conn: AsyncConnection,
    organization: Organization,
    document: CatalogDocument,
    *,
    now_ms: int,
    prune: bool = False,
    plan_in_use: InUse | None = None,
    addon_in_use: InUse | None = None,
    currency_in_use: CurrencyInUse | None = None,
) -> list[Change]:
    """Bring an organization's catalog to what the document says, and return what that changed; twice changes nothing.

    `now_ms` is real time. With `prune` what the document does not name is removed. Raises Rejected, and the
    transaction is to be rolled back, when a change is not possible (`plan_in_use`, `feature_in_use`).
    """
    changes = await diff_document(conn, organization, document, prune=prune)
    applying = _Applying(conn, organization, document, now_ms, plan_in_use)
    offers = ApplyingOffers(conn, organization, document, now_ms, addon_in_use, currency_in_use)
    for change in changes:
        if change.kind == "region" or change.kind in OFFERS:
            await offers.apply(change)
        else:
            await applying.apply(change)
    await offers.check(changes)
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
        self._seat_types = {part.code: part for part in document.seat_type}
        self._features = {part.code: part for part in document.feature}
        self._plans = {part.code: part for part in document.plan}
        self._real_ms = real_ms
        self._now_ms = organization.now_ms(real_ms)
        self._plan_in_use = plan_in_use

    async def apply(self, change: Change) -> None:
        if change.kind == "seat_type":
            await self._seat_type(change)
        elif change.kind == "feature":
            await self._feature(change)
        elif change.kind == "plan":
            await self._plan(change)
        elif change.kind == "price":
            await self._price(change)
        else:
            await self._grant(change)

    async def _seat_type(self, change: Change) -> None:
        found = await find_seat_type(self._conn, self._organization.id, change.name)
        if change.action == "remove":
            assert found is not None, "the diff found it"
            await remove_seat_type(self._conn, found, self._real_ms)
            return
        part = self._seat_types[change.name]
        texts = {"name": part.name, "description": part.description or None, "updated_ms": self._now_ms}
        if found is not None:
            await save_seat_type(self._conn, msgspec.structs.replace(found, **texts))
            return
        made = SeatType(
            id=ids.new_id(ids.SEAT_TYPE, self._real_ms),
            organization=self._organization.id,
            code=part.code,
            name=part.name,
            created_ms=self._now_ms,
        )
        await create_seat_type(self._conn, msgspec.structs.replace(made, **texts))

    async def _feature(self, change: Change) -> None:
        if change.action == "create":
            made = self._new_feature(self._features[change.name])
            await create_feature(self._conn, await with_seat_type(self._conn, made, self._real_ms))
            return
        feature = await load_feature(self._conn, self._organization.id, change.name)
        if change.action == "remove":
            await remove_feature(self._conn, feature, self._real_ms)
            return
        part = self._features[change.name]
        changed = msgspec.structs.replace(
            feature,
            name=part.name,
            unit_name=rule.unit_name_of(feature.kind, part.unit_name),
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
            unit_name=rule.unit_name_of(FeatureKind(part.type), part.unit_name),
            description=part.description or None,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
            seat_type=part.seat_type or None,
        )

    async def _plan(self, change: Change) -> None:
        if change.action == "create":
            await create_plan(self._conn, self._new_plan(self._plans[change.plan]))
            return
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        if change.action == "remove":
            if await plans_moving_to(self._conn, plan.id) or await self._in_use(plan):
                raise rejected("plan_in_use", f"Customers are subscribed to the plan {plan.code}, or move to it.")
            await remove_plan(self._conn, plan, self._real_ms)
            return
        changed = msgspec.structs.replace(plan, **_said(self._plans[change.plan]), updated_ms=self._now_ms)
        if changed.model is not plan.model and await self._in_use(plan):
            plan_rule.check_model(changed, in_use=True)
        await save_plan(self._conn, changed)

    async def _in_use(self, plan: Plan) -> bool:
        return self._plan_in_use is not None and await self._plan_in_use(self._conn, plan.id)

    def _new_plan(self, part: PlanPart) -> Plan:
        made = Plan(
            id=ids.new_id(ids.PLAN, self._real_ms),
            organization=self._organization.id,
            code=part.code,
            name=part.name,
            is_free=part.free,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
        )
        return msgspec.structs.replace(made, **_said(part))

    async def _price(self, change: Change) -> None:
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        interval = Interval(change.name)
        price = plan.price_of(interval)
        if change.action == "remove":
            assert price is not None, "the diff found it"
            await remove_price(self._conn, price, self._real_ms)
            return
        part = self._plans[change.plan].every_price()[change.name]
        amount, intro = price_terms(part, self._organization.currency)
        said = {"amount_minor": amount, "trial_days": part.trial_days, "included": part.included, "intro": intro}
        if price is not None:
            offer_id = price.offer_id if intro == price.intro else None
            after = msgspec.structs.replace(price, **said, offer_id=offer_id, updated_ms=self._now_ms)
            await save_price(self._conn, after)
            return
        made = PlanPrice(
            id=ids.new_id(ids.PRICE, self._real_ms),
            plan=plan.id,
            interval=interval,
            amount_minor=amount,
            currency=self._organization.currency,
            is_default=False,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
        )
        await create_price(self._conn, self._organization.id, msgspec.structs.replace(made, **said))

    async def _grant(self, change: Change) -> None:
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        if change.action == "remove":
            gone = next(granted for granted in plan.features if granted.feature.code == change.name)
            await remove_plan_feature(self._conn, plan, gone, self._now_ms)
            return
        feature = await load_feature(self._conn, self._organization.id, change.name)
        part = self._plans[change.plan].features[change.name]
        await put_plan_feature(self._conn, plan, grant_of(part, feature), self._now_ms)


def _said(part: PlanPart) -> dict[str, Any]:
    """Tell what a document says of a plan itself, by the plan's members."""
    return {
        "name": part.name,
        "description": part.description or None,
        "is_public": part.public,
        "deprecated": part.deprecated,
        "model": ConsumptionModel(part.model),
        "included": part.included,
        "overdraft": part.overdraft,
    }
