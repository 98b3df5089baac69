"""What turns one catalog document into another. Pure. Invariant: a document and itself differ in nothing."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from catalog.document_part import (
    AddonPart,
    CatalogDocument,
    CreditPackPart,
    FeaturePart,
    PlanGroupPart,
    PlanPart,
    PromoCodePart,
    SeatTypePart,
)
from kernel.errors import invalid

T = TypeVar("T", bound=msgspec.Struct)
PLAN_FIELDS: Final = ("name", "description", "public", "deprecated", "model", "included", "overdraft")

OfferKind = Literal["addon", "credit_pack", "promo_code", "plan_group"]
# The offers of a document, in the order in which they are applied, and what of each never changes.
OFFERS: Final[Mapping[OfferKind, tuple[str, ...]]] = {
    "addon": ("feature", "model"),
    "credit_pack": (),
    "promo_code": ("percent", "amount", "cycles"),
    "plan_group": (),
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: what it concerns by codes, and by field what it was and what it becomes."""

    action: Literal["create", "update", "remove"]
    kind: Literal["seat_type", "feature", "plan", "price", "plan_feature", "region", OfferKind]
    plan: str = ""
    name: str = ""
    fields: Mapping[str, tuple[Any, Any]] = msgspec.field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line."""
        where = (
            f"{self.kind} {self.plan}/{self.name}"
            if self.plan and self.name
            else f"{self.kind} {self.name or self.plan}"
        )
        return f"{self.action} {where}" + (f" ({self.said()})" if self.fields else "")

    def said(self) -> str:
        """Say which fields change, from what to what."""
        return ", ".join(
            f"{field}: {_shown(was)} -> {_shown(becomes)}" for field, (was, becomes) in self.fields.items()
        )


def diff_documents(before: CatalogDocument, after: CatalogDocument, *, prune: bool = False) -> list[Change]:
    """Tell what turns `before` into `after`, in an order in which it can be done.

    What `after` does not name stays, unless `prune`. Within a plan it names, prices, features and currencies that are
    not there go. Raises Rejected for what never changes: a feature's type, event code and seat type, whether a plan
    is free, and that it is deprecated (AMB-46).
    """
    old_features, new_features = ({part.code: part for part in side.feature} for side in (before, after))
    old_plans, new_plans = ({part.code: part for part in side.plan} for side in (before, after))
    changes = _seat_type_changes(before, after)
    gone: list[Change] = []
    for code, feature in new_features.items():
        changes += _feature_changes(old_features.get(code), feature)
    for code, plan in new_plans.items():
        changes += _plan_changes(old_plans.get(code), plan)
    changes += _offer_changes(before, after)
    if prune:
        gone += _offers_gone(before, after)
        gone += [Change(action="remove", kind="plan", plan=code) for code in old_plans if code not in new_plans]
        gone += [
            Change(action="remove", kind="feature", name=code) for code in old_features if code not in new_features
        ]
        kept = {part.code for part in after.seat_type} | {code for code, part in new_features.items() if _own(part)}
        gone += [
            Change(action="remove", kind="seat_type", name=part.code)
            for part in before.seat_type
            if part.code not in kept
        ]
    return changes + gone


def _own(part: FeaturePart) -> bool:
    return part.type == "seats" and not part.seat_type


def _seat_type_changes(before: CatalogDocument, after: CatalogDocument) -> list[Change]:
    old = {part.code: part for part in before.seat_type}
    for part in before.feature:
        if _own(part):
            old.setdefault(part.code, SeatTypePart(code=part.code, name=part.name))
    changes = []
    for new in after.seat_type:
        if new.code not in old:
            changes.append(Change(action="create", kind="seat_type", name=new.code))
        elif fields := _changed(old[new.code], new, ("name", "description")):
            changes.append(Change(action="update", kind="seat_type", name=new.code, fields=fields))
    return changes


def _feature_changes(old: FeaturePart | None, new: FeaturePart) -> list[Change]:
    if old is None:
        return [Change(action="create", kind="feature", name=new.code)]
    for field in ("type", "event_code", "seat_type"):
        if getattr(old, field) != getattr(new, field):
            raise invalid(f"feature.{new.code}.{field}", "never changes: make another feature")
    fields = _changed(old, new, ("name", "unit_name", "description"))
    return [Change(action="update", kind="feature", name=new.code, fields=fields)] if fields else []


def _plan_changes(old: PlanPart | None, new: PlanPart) -> list[Change]:
    if old is None:
        old = PlanPart(code=new.code, name=new.name)
        changes = [Change(action="create", kind="plan", plan=new.code)]
    else:
        if old.free != new.free:
            raise invalid(f"plan.{new.code}.free", "never changes: make another plan")
        if old.deprecated and not new.deprecated:
            raise invalid(f"plan.{new.code}.deprecated", "stays: make another plan")
        fields = _changed(old, new, PLAN_FIELDS)
        changes = [Change(action="update", kind="plan", plan=new.code, fields=fields)] if fields else []
    changes += _entries(new.code, "price", old.every_price(), new.every_price())
    changes += _entries(new.code, "plan_feature", old.features, new.features)
    return changes + _entries(new.code, "region", old.regional, new.regional)


def _offer_changes(before: CatalogDocument, after: CatalogDocument) -> list[Change]:
    """Tell what creates and changes offers; groups come last, when all plans are there."""
    changes: list[Change] = []
    for kind, frozen in OFFERS.items():
        known = {_key(part): part for part in getattr(before, kind)}
        for part in getattr(after, kind):
            old = known.get(_key(part))
            if old is None:
                changes.append(Change(action="create", kind=kind, name=_key(part)))
                continue
            for field in frozen:
                if getattr(old, field) != getattr(part, field):
                    raise invalid(f"{kind}.{_key(part)}.{field}", "never changes: make another one")
            if fields := _changed(old, part, part.__struct_fields__):
                changes.append(Change(action="update", kind=kind, name=_key(part), fields=fields))
    return changes


def _offers_gone(before: CatalogDocument, after: CatalogDocument) -> list[Change]:
    """Tell which offers go with `prune`; a promo code stays, to be switched off."""
    gone: list[Change] = []
    pruned: tuple[OfferKind, ...] = ("plan_group", "credit_pack", "addon")
    for kind in pruned:
        kept = {_key(part) for part in getattr(after, kind)}
        gone += [
            Change(action="remove", kind=kind, name=_key(part))
            for part in getattr(before, kind)
            if _key(part) not in kept
        ]
    return gone


def _key(part: AddonPart | CreditPackPart | PromoCodePart | PlanGroupPart) -> str:
    """Tell what names an offer."""
    if isinstance(part, AddonPart):
        return part.slug
    return part.code if isinstance(part, PromoCodePart) else part.name


def _entries(
    plan: str, kind: Literal["price", "plan_feature", "region"], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[Change]:
    changes: list[Change] = []
    for name, entry in new.items():
        if name not in old:
            changes.append(Change(action="create", kind=kind, plan=plan, name=name))
        elif old[name] != entry:
            fields = _changed(old[name], entry, entry.__struct_fields__)
            changes.append(Change(action="update", kind=kind, plan=plan, name=name, fields=fields))
    return changes + [Change(action="remove", kind=kind, plan=plan, name=name) for name in old if name not in new]


def _changed(old: T, new: T, fields: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    return {
        field: (getattr(old, field), getattr(new, field))
        for field in fields
        if getattr(old, field) != getattr(new, field)
    }


def _shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_shown(item)}" for name, item in value.items()) or "nothing"
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "nothing"
    return "nothing" if value is None or value == "" else str(value)
