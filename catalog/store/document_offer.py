"""Offers of one organization: exported as parts of a document, and brought to what a document says."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import CreditPack, Organization, Plan, PlanGroup, PlanPrice, PromoCode
from catalog.document_change import Change
from catalog.document_offer import (
    addon_of,
    addon_part,
    group_part,
    pack_of,
    pack_part,
    promo_of,
    promo_part,
    region_of,
    region_part,
)
from catalog.document_part import CatalogDocument, PlanPart
from catalog.regional import check_ungrouped, has_regions
from catalog.store.addon import archive_addon, create_addon, list_addons, load_addon, save_addon
from catalog.store.credit_pack import create_pack, list_packs, load_pack, remove_pack, save_pack
from catalog.store.feature import load_feature
from catalog.store.plan import load_plan
from catalog.store.plan_group import create_group, leave_group, list_groups, order_group, remove_group, save_group
from catalog.store.promo import create_promo, list_promos, load_promo, save_promo
from catalog.store.region import (
    put_exchange_rate,
    put_regional_price,
    put_regional_rate,
    remove_currency,
    said_regions,
)
from catalog.terms import ConsumptionModel
from kernel import ids
from kernel.errors import rejected
from kernel.period import Interval

InUse = Callable[[AsyncConnection, str], Awaitable[bool]]
CurrencyInUse = Callable[[AsyncConnection, str, str | None, Collection[str]], Awaitable[str | None]]


async def export_offers(conn: AsyncConnection, organization: Organization, plans: Sequence[Plan]) -> CatalogDocument:
    """Write offers as parts; the plans of this document say nothing but their regions."""
    codes = {plan.id: plan.code for plan in plans}
    pooled = {plan.id: plan.code for plan in plans if plan.model is ConsumptionModel.CREDITS}
    regions = await said_regions(conn, plans)
    addons = sorted(await list_addons(conn, organization.id), key=lambda one: one.slug)
    packs = sorted(await list_packs(conn, organization.id), key=lambda one: one.name)
    promos = sorted(await list_promos(conn, organization.id), key=lambda one: one.code)
    return CatalogDocument(
        plan=tuple(
            PlanPart(
                code=plan.code,
                name=plan.name,
                regional={currency: region_part(one, currency) for currency, one in regions[plan.id].items()},
            )
            for plan in plans
        ),
        addon=tuple(addon_part(addon, organization.currency) for addon in addons),
        credit_pack=tuple(pack_part(pack, pooled) for pack in packs),
        promo_code=tuple(promo_part(promo, codes) for promo in promos),
        plan_group=tuple(group_part(group, codes) for group in await list_groups(conn, organization.id)),
    )


class ApplyingOffers:
    """The offers of one document on their way into one organization. Every change raises Rejected when impossible."""

    def __init__(
        self,
        conn: AsyncConnection,
        organization: Organization,
        document: CatalogDocument,
        real_ms: int,
        addon_in_use: InUse | None,
        currency_in_use: CurrencyInUse | None,
    ) -> None:
        self._conn = conn
        self._organization = organization
        self._document = document
        self._real_ms = real_ms
        self._now_ms = organization.now_ms(real_ms)
        self._addon_in_use = addon_in_use
        self._currency_in_use = currency_in_use

    async def apply(self, change: Change) -> None:
        """Apply one change of an offer."""
        if change.kind == "addon":
            await self._addon(change)
        elif change.kind == "credit_pack":
            await self._pack(change)
        elif change.kind == "promo_code":
            await self._promo(change)
        elif change.kind == "plan_group":
            await self._group(change)
        else:
            await self._region(change)

    async def check(self, changes: Sequence[Change]) -> None:
        """Refuse what the changes together may not leave: a plan with a group and regional prices (R-GROUP-2)."""
        if any(change.kind in ("region", "plan_group") for change in changes):
            for part in self._document.plan:
                plan = await load_plan(self._conn, self._organization.id, part.code)
                if has_regions(plan):
                    check_ungrouped(plan)

    async def _addon(self, change: Change) -> None:
        if change.action == "remove":
            addon = await load_addon(self._conn, self._organization.id, change.name)
            if self._addon_in_use is not None and await self._addon_in_use(self._conn, addon.id):
                raise rejected("addon_has_activations", f"Subscriptions use the add-on {addon.slug}.")
            await archive_addon(self._conn, addon, self._real_ms)
            return
        part = next(one for one in self._document.addon if one.slug == change.name)
        feature = await load_feature(self._conn, self._organization.id, part.feature)
        said = addon_of(part, feature, self._organization.currency)
        if change.action == "create":
            made = msgspec.structs.replace(said, id=ids.new_id(ids.ADDON, self._real_ms), **self._new())
            await create_addon(self._conn, made)
            return
        before = await load_addon(self._conn, self._organization.id, change.name)
        await save_addon(self._conn, msgspec.structs.replace(said, **self._kept(before)))

    async def _pack(self, change: Change) -> None:
        if change.action == "remove":
            pack = await load_pack(self._conn, self._organization.id, change.name)
            await remove_pack(self._conn, pack, self._real_ms)
            return
        part = next(one for one in self._document.credit_pack if one.name == change.name)
        said = pack_of(part, await self._plans(part.plans))
        if change.action == "create":
            made = msgspec.structs.replace(said, id=ids.new_id(ids.CREDIT_PACK, self._real_ms), **self._new())
            await create_pack(self._conn, made)
            return
        before: CreditPack = await load_pack(self._conn, self._organization.id, change.name)
        await save_pack(self._conn, msgspec.structs.replace(said, **self._kept(before)))

    async def _promo(self, change: Change) -> None:
        part = next(one for one in self._document.promo_code if one.code == change.name)
        said = promo_of(part, await self._plans(part.plans))
        if change.action == "create":
            made = msgspec.structs.replace(said, id=ids.new_id(ids.PROMO_CODE, self._real_ms), **self._new())
            await create_promo(self._conn, made)
            return
        before: PromoCode = await load_promo(self._conn, self._organization.id, change.name)
        await save_promo(self._conn, msgspec.structs.replace(said, **self._kept(before)))

    async def _group(self, change: Change) -> None:
        groups = await list_groups(self._conn, self._organization.id)
        group = next((one for one in groups if one.name == change.name), None)
        if change.action == "remove":
            assert group is not None, "the diff found it"
            await remove_group(self._conn, group, self._now_ms)
            return
        part = next(one for one in self._document.plan_group if one.name == change.name)
        said = PlanGroup(
            id="",
            organization=b"",
            name=part.name,
            description=part.description or None,
            is_public=part.public,
        )
        if group is None:
            made = msgspec.structs.replace(said, id=ids.new_id(ids.PLAN_GROUP, self._real_ms), **self._new())
            group = await create_group(self._conn, made)
        else:
            kept = msgspec.structs.replace(said, plans=group.plans, **self._kept(group))
            group = await save_group(self._conn, kept)
        plans = list((await self._plans(part.plans)).values())
        for plan in plans:
            await leave_group(self._conn, plan)
        await order_group(self._conn, group, plans, self._now_ms)

    async def _region(self, change: Change) -> None:
        plan = await load_plan(self._conn, self._organization.id, change.plan)
        currency = change.name
        await remove_currency(self._conn, plan, currency, self._now_ms)
        if change.action == "remove":
            await self._check_unpaid(plan, None, currency)
            return
        part = next(one for one in self._document.plan if one.code == change.plan)
        region = region_of(part.regional[currency], currency)
        if region.rate is not None:
            await put_exchange_rate(self._conn, plan, currency, region.rate, self._now_ms)
        for word, manual in region.prices.items():
            price = plan.price_of(Interval(word))
            assert price is not None, "the document was checked"
            await put_regional_price(self._conn, price, currency, manual, self._now_ms)
        for granted in plan.features:
            by_hand = region.unit_prices.get(granted.feature.code)
            if by_hand is not None:
                await put_regional_rate(self._conn, plan, granted, currency, by_hand, self._now_ms)
        after = await load_plan(self._conn, self._organization.id, plan.id)
        left = {price.id for price in after.prices if price.in_currency(currency) is not None}
        for price in plan.prices:
            if price.in_currency(currency) is not None and price.id not in left:
                await self._check_unpaid(plan, price, currency)

    async def _check_unpaid(self, plan: Plan, price: PlanPrice | None, currency: str) -> None:
        """Raise Rejected `price_in_use` while a subscription pays what went in a currency (R-REG-4)."""
        asked = self._currency_in_use
        if asked is not None and await asked(self._conn, plan.id, None if price is None else price.id, {currency}):
            raise rejected("price_in_use", f"Customers pay the plan {plan.code} in {currency.upper()}.")

    async def _plans(self, codes: Sequence[str] | None) -> Mapping[str, str]:
        """Find the ids of plans, in order of their codes as they are named."""
        return {code: (await load_plan(self._conn, self._organization.id, code)).id for code in codes or ()}

    def _new(self) -> dict[str, bytes | int]:
        return {"organization": self._organization.id, "created_ms": self._now_ms, "updated_ms": self._now_ms}

    def _kept(self, before: object) -> dict[str, object]:
        names = ("id", "organization", "created_ms")
        return {**{name: getattr(before, name) for name in names}, "updated_ms": self._now_ms}
