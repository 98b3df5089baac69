"""Applying, comparing and exporting the whole catalog of an organization.

Invariants: an apply is one transaction, all or nothing; a second one changes nothing; a diff is an apply that is taken
back, so the two cannot disagree. What the file does not name stays, because subscriptions may rest on it.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Feature, Organization, Plan, PlanFeature, PlanPrice
from catalog.store.version import read_version
from kernel import ids
from kernel.errors import Misconfigured, Rejected
from kernel.money import minor_places
from kernel.period import Interval
from kernel.quantity import EXACT
from meterline.operation.catalog_file import (
    UNLIMITED,
    CatalogFile,
    FeatureEntry,
    GrantEntry,
    PlanEntry,
    feature_entry,
    file_of,
    grant_entry,
    parse,
    plan_entry,
    render,
)
from meterline.operation.organization import chosen

if TYPE_CHECKING:
    from meterline.app import App


class Change(msgspec.Struct, frozen=True):
    """One difference between file and catalog."""

    kind: str
    name: str
    change: str


class _TakenBack(Exception):
    pass


class _Application:
    """One apply under way, in one transaction."""

    def __init__(self, connection: AsyncConnection, organization: Organization, now_ms: int, real_ms: int) -> None:
        self._connection = connection
        self._organization = organization
        self._now_ms, self._real_ms = now_ms, real_ms
        self.changes: list[Change] = []
        self.plans: set[str] = set()

    async def run(self, wanted: CatalogFile) -> None:
        """Make everything that the file names what it says."""
        owner = self._organization.id
        features = {one.code: one for one in await store.list_features(self._connection, owner)}
        for entry in wanted.feature:
            features[entry.code] = await self._feature(entry, features.get(entry.code))
        plans = {one.code: one for one in await store.list_plans(self._connection, owner, private=True)}
        for plan in wanted.plan:
            await self._plan(plan, plans.get(plan.code), features)

    def _note(self, kind: str, name: str, before: msgspec.Struct | None, after: msgspec.Struct) -> None:
        if before is None:
            self.changes.append(Change(kind, name, "new"))
            return
        for field in after.__struct_fields__:
            old, new = getattr(before, field), getattr(after, field)
            if old != new and field != "feature":
                self.changes.append(Change(kind, name, f"{field}: {_shown(old)} → {_shown(new)}"))

    async def _feature(self, entry: FeatureEntry, old: Feature | None) -> Feature:
        kind = rule.kind_of(entry.type)
        if old is not None and feature_entry(old) == msgspec.structs.replace(entry, type=kind.value):
            return old
        if old is not None and old.kind is not kind:
            raise Misconfigured(
                f"feature {entry.code} is {old.kind.value}: a feature's type never changes, make a new code"
            )
        self._note("feature", entry.code, None if old is None else feature_entry(old), entry)
        values: dict[str, Any] = {
            "name": rule.name_of(entry.name),
            "event_code": entry.event_code or entry.code,
            "unit_name": entry.unit,
            "description": entry.description,
            "updated_ms": self._now_ms,
        }
        if old is not None:
            changed = msgspec.structs.replace(old, **values)
            return await store.save_feature(self._connection, rule.check_event_code(changed))
        made = Feature(
            id=ids.new_bytes(self._real_ms),
            organization=self._organization.id,
            code=rule.code_of(entry.code),
            kind=kind,
            created_ms=self._now_ms,
            **values,
        )
        return await store.create_feature(self._connection, rule.check_event_code(made))

    async def _plan(self, entry: PlanEntry, old: Plan | None, features: dict[str, Feature]) -> None:
        if old is not None and old.is_free != (entry.price is None):
            raise Misconfigured(f"plan {entry.code}: a free plan stays free and a paid one paid, make a new code")
        texts: dict[str, Any] = {
            "name": rule.name_of(entry.name),
            "description": entry.description,
            "is_public": entry.public,
            "updated_ms": self._now_ms,
        }
        before = None if old is None else plan_entry(old)
        self._note("plan", entry.code, before, msgspec.structs.replace(entry, price=_spelled(entry.price)))
        if old is None:
            old = await store.create_plan(
                self._connection,
                Plan(
                    id=ids.new_id(ids.PLAN, self._real_ms),
                    organization=self._organization.id,
                    code=rule.code_of(entry.code),
                    is_free=entry.price is None,
                    created_ms=self._now_ms,
                    **texts,
                ),
            )
        elif (old.name, old.description, old.is_public) != (entry.name, entry.description, entry.public):
            await store.save_plan(self._connection, msgspec.structs.replace(old, **texts))
            self.plans.add(old.id)
        if entry.price is not None:
            await self._price(old, entry.price)
        await self._grants(old, entry.feature, features)

    async def _price(self, plan: Plan, text: str) -> None:
        amount = rule.amount_of(_minor(text, self._organization.currency, plan.code))
        old = plan.price_of(Interval.MONTHLY)
        if old is None:
            made = PlanPrice(
                id=ids.new_id(ids.PRICE, self._real_ms),
                plan=plan.id,
                interval=Interval.MONTHLY,
                amount_minor=amount,
                currency=self._organization.currency,
                is_default=True,
                created_ms=self._now_ms,
                updated_ms=self._now_ms,
            )
            await store.create_price(self._connection, self._organization.id, made)
        elif old.amount_minor != amount:
            changed = msgspec.structs.replace(old, amount_minor=amount, updated_ms=self._now_ms)
            await store.save_price(self._connection, changed)
        else:
            return
        self.plans.add(plan.id)

    async def _grants(self, plan: Plan, entries: list[GrantEntry], features: dict[str, Feature]) -> None:
        have = {one.feature.code: one for one in plan.features}
        for entry in entries:
            feature = features.get(entry.code)
            if feature is None:
                raise Misconfigured(f"plan {plan.code} grants feature {entry.code}, which the catalog does not have")
            old = have.pop(entry.code, None)
            granted = rule.check_granted(plan, _granted(plan, feature, entry, old))
            if old is not None and grant_entry(old) == grant_entry(granted):
                continue
            name = f"{plan.code}.{entry.code}"
            self._note("plan feature", name, None if old is None else grant_entry(old), grant_entry(granted))
            await store.put_plan_feature(self._connection, plan, granted, self._now_ms)
            self.plans.add(plan.id)
        for code, granted in have.items():
            self.changes.append(Change("plan feature", f"{plan.code}.{code}", "removed"))
            await store.remove_plan_feature(self._connection, plan, granted, self._now_ms)
            self.plans.add(plan.id)


async def apply(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Make the catalog what the file says, and answer when every gateway sees it."""
    organization = await chosen(app, params)
    wanted = parse(str(params["file"]), str(params["format"]))
    real_ms = app.clock.now_ms()
    async with app.sql.transaction() as connection:
        work = _Application(connection, organization, organization.now_ms(real_ms), real_ms)
        await _run(work, wanted)
        version = await read_version(connection)
    await app.catalog.published(version)
    if app.catalog.on_plan_changed is not None:
        for plan in sorted(work.plans):
            await app.catalog.on_plan_changed(organization.id, plan)
    return {"organization": organization.id_text, "changes": msgspec.to_builtins(work.changes)}


async def diff(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Tell what an apply would change, and change nothing."""
    organization = await chosen(app, params)
    wanted = parse(str(params["file"]), str(params["format"]))
    real_ms = app.clock.now_ms()
    try:
        async with app.sql.transaction() as connection:
            work = _Application(connection, organization, organization.now_ms(real_ms), real_ms)
            await _run(work, wanted)
            raise _TakenBack  # noqa: TRY301 - the only way to end a transaction without its effects
    except _TakenBack:
        return {"organization": organization.id_text, "changes": msgspec.to_builtins(work.changes)}


async def export(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Spell the catalog as a file's text."""
    organization = await chosen(app, params)
    async with app.sql.snapshot() as connection:
        features = await store.list_features(connection, organization.id)
        plans = await store.list_plans(connection, organization.id, private=True)
    text = render(file_of(list(features), list(plans)), str(params["format"]))
    return {"organization": organization.id_text, "features": len(features), "plans": len(plans), "text": text}


async def _run(work: _Application, wanted: CatalogFile) -> None:
    try:
        await work.run(wanted)
    except Rejected as error:
        raise Misconfigured(f"the catalog file: {error.refusal.param or ''} {error.refusal.message}".strip()) from error


def _granted(plan: Plan, feature: Feature, entry: GrantEntry, old: PlanFeature | None) -> PlanFeature:
    try:
        included = Decimal(0) if entry.included == UNLIMITED else rule.included_of(Decimal(entry.included))
    except ArithmeticError as error:
        raise Misconfigured(
            f"plan {plan.code}: included of {entry.code} is {entry.included!r}, not a number"
        ) from error
    unlimited = entry.included == UNLIMITED
    keep = old.unit_price if old is not None else "0"
    return PlanFeature(
        feature=feature,
        enabled=entry.enabled,
        included=included,
        unlimited=unlimited,
        overage=entry.overage is not None,
        unit_price=keep if entry.overage is None else rule.unit_price_of(None, entry.overage),
    )


def _minor(text: str, currency: str, plan: str) -> int:
    try:
        amount = EXACT.scaleb(Decimal(text), minor_places(currency))
        if amount == amount.to_integral_value():
            return int(amount)
    except (ArithmeticError, ValueError):
        pass
    raise Misconfigured(f"plan {plan}: price {text!r} is not an amount of {currency}")


def _spelled(price: str | None) -> str | None:
    """Spell a price as an export does, so that 20.00 and 20 are no difference."""
    if price is None:
        return None
    try:
        value = Decimal(price)
    except ArithmeticError:
        return price
    return format(value.normalize(), "f") if value.is_finite() else price


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
