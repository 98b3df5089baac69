"""The catalog as one document: features, and plans with their prices and features, in TOML or YAML. Pure.

Names are codes, so a document says the same in every organization. Prices are minor units; quantities and unit prices
are exact: a fraction may be written as a number or a string, and never passes a float. Invariants: reading what was
rendered gives the same document; the diff of a document and itself is empty.
"""

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeVar

import msgspec
import tomli_w
import yaml

from catalog import rule
from catalog.definition import Feature, FeatureKind, Plan, PlanFeature
from kernel.errors import invalid
from kernel.quantity import canonical

Format = Literal["toml", "yaml"]
FORMATS: Final[Mapping[str, Format]] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
T = TypeVar("T", bound=msgspec.Struct)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the document: a misspelled member is refused, one at its default is not written."""


class FeaturePart(_Part, frozen=True, kw_only=True):
    """A feature. `type` and `event_code` never change; an empty `event_code` is the code."""

    code: str
    name: str
    type: str
    event_code: str = ""
    unit_name: str = ""
    description: str = ""


class GrantPart(_Part, frozen=True, kw_only=True):
    """What a plan grants of a feature; `unit_price` in the major unit, per unit beyond `included`."""

    enabled: bool = True
    included: Decimal = Decimal(0)
    unlimited: bool = False
    overage: bool = False
    unit_price: Decimal = Decimal(0)


class PlanPart(_Part, frozen=True, kw_only=True):
    """A plan. `prices` are minor units by interval, `features` grants by feature code. `free` never changes."""

    code: str
    name: str
    description: str = ""
    public: bool = True
    free: bool = False
    prices: dict[str, int] = msgspec.field(default_factory=dict)
    features: dict[str, GrantPart] = msgspec.field(default_factory=dict)


class CatalogDocument(_Part, frozen=True, kw_only=True):
    """The whole catalog."""

    feature: tuple[FeaturePart, ...] = ()
    plan: tuple[PlanPart, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: what it concerns by codes, and by field what it was and what it becomes."""

    action: Literal["create", "update", "remove"]
    kind: Literal["feature", "plan", "price", "plan_feature"]
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
        said = ", ".join(f"{field}: {was} -> {becomes}" for field, (was, becomes) in self.fields.items())
        return f"{self.action} {where}" + (f" ({said})" if said else "")


class _Loader(yaml.SafeLoader):
    """YAML whose fractions are decimals."""


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def parse_document(text: str, kind: Format) -> CatalogDocument:
    """Read a document and check it whole. Raises Rejected with the field at fault."""
    try:
        data = tomllib.loads(text, parse_float=Decimal) if kind == "toml" else yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        document = msgspec.convert(data or {}, CatalogDocument)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, InvalidOperation) as error:
        raise invalid("document", f"is not {kind.upper()}: {error}") from error
    except msgspec.ValidationError as error:
        raise invalid("document", str(error)) from error
    return _checked(document)


def render_document(document: CatalogDocument, kind: Format) -> str:
    """Write a document; fractions become strings, so that no reader rounds them."""
    data = msgspec.to_builtins(document, enc_hook=str, builtin_types=(Decimal,))
    plain = _plain(data)
    if kind == "toml":
        return tomli_w.dumps(plain)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def document_of(features: Sequence[Feature], plans: Sequence[Plan]) -> CatalogDocument:
    """Spell catalog values as a document, in order of their codes."""
    return CatalogDocument(
        feature=tuple(_feature_part(feature) for feature in sorted(features, key=lambda feature: feature.code)),
        plan=tuple(_plan_part(plan) for plan in sorted(plans, key=lambda plan: plan.code)),
    )


def grant_of(part: GrantPart, feature: Feature) -> PlanFeature:
    """Turn a grant of the document into the catalog's value."""
    return PlanFeature(
        feature=feature,
        enabled=part.enabled,
        included=part.included,
        unlimited=part.unlimited,
        overage=part.overage,
        unit_price=canonical(part.unit_price),
    )


def diff_documents(before: CatalogDocument, after: CatalogDocument, *, prune: bool = False) -> list[Change]:
    """Tell what turns `before` into `after`, in an order in which it can be done.

    Features and plans that `after` does not name stay, unless `prune`. Within a plan it names, prices and features that
    are not there go. Raises Rejected for what never changes: a feature's type and event code, whether a plan is free.
    """
    old_features, new_features = ({part.code: part for part in side.feature} for side in (before, after))
    old_plans, new_plans = ({part.code: part for part in side.plan} for side in (before, after))
    changes: list[Change] = []
    gone: list[Change] = []
    for code, feature in new_features.items():
        changes += _feature_changes(old_features.get(code), feature)
    for code, plan in new_plans.items():
        changes += _plan_changes(old_plans.get(code), plan)
    if prune:
        gone += [Change(action="remove", kind="plan", plan=code) for code in old_plans if code not in new_plans]
        gone += [
            Change(action="remove", kind="feature", name=code) for code in old_features if code not in new_features
        ]
    return changes + gone


def _feature_changes(old: FeaturePart | None, new: FeaturePart) -> list[Change]:
    if old is None:
        return [Change(action="create", kind="feature", name=new.code)]
    for field in ("type", "event_code"):
        if getattr(old, field) != getattr(new, field):
            raise invalid(f"feature.{new.code}.{field}", "never changes: make another feature")
    fields = _changed(old, new, ("name", "unit_name", "description"))
    return [Change(action="update", kind="feature", name=new.code, fields=fields)] if fields else []


def _plan_changes(old: PlanPart | None, new: PlanPart) -> list[Change]:
    if old is None:
        old = PlanPart(code=new.code, name=new.name, description=new.description, public=new.public, free=new.free)
        changes = [Change(action="create", kind="plan", plan=new.code)]
    else:
        if old.free != new.free:
            raise invalid(f"plan.{new.code}.free", "never changes: make another plan")
        fields = _changed(old, new, ("name", "description", "public"))
        changes = [Change(action="update", kind="plan", plan=new.code, fields=fields)] if fields else []
    changes += _entries(new.code, "price", old.prices, new.prices)
    return changes + _entries(new.code, "plan_feature", old.features, new.features)


def _entries(
    plan: str, kind: Literal["price", "plan_feature"], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[Change]:
    changes: list[Change] = []
    for name, entry in new.items():
        if name not in old:
            changes.append(Change(action="create", kind=kind, plan=plan, name=name))
        elif old[name] != entry:
            fields = (
                {"price": (old[name], entry)}
                if kind == "price"
                else _changed(old[name], entry, GrantPart.__struct_fields__)
            )
            changes.append(Change(action="update", kind=kind, plan=plan, name=name, fields=fields))
    return changes + [Change(action="remove", kind=kind, plan=plan, name=name) for name in old if name not in new]


def _changed(old: T, new: T, fields: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    return {
        field: (getattr(old, field), getattr(new, field))
        for field in fields
        if getattr(old, field) != getattr(new, field)
    }


def _feature_part(feature: Feature) -> FeaturePart:
    return FeaturePart(
        code=feature.code,
        name=feature.name,
        type=feature.kind.value,
        event_code="" if feature.event_code == feature.code else feature.event_code,
        unit_name=feature.unit_name or "",
        description=feature.description or "",
    )


def _plan_part(plan: Plan) -> PlanPart:
    return PlanPart(
        code=plan.code,
        name=plan.name,
        description=plan.description or "",
        public=plan.is_public,
        free=plan.is_free,
        prices={price.interval.value: price.amount_minor for price in plan.prices},
        features={
            granted.feature.code: GrantPart(
                enabled=granted.enabled,
                included=granted.included,
                unlimited=granted.unlimited,
                overage=granted.overage,
                unit_price=Decimal(granted.unit_price),
            )
            for granted in sorted(plan.features, key=lambda granted: granted.feature.code)
        },
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else canonical(value)
    return value


def _checked(document: CatalogDocument) -> CatalogDocument:
    """Check every part by the same rules as the API, and spell its words in one way."""
    features = tuple(
        msgspec.structs.replace(
            part,
            code=rule.code_of(part.code, "feature.code"),
            name=rule.name_of(part.name, f"feature.{part.code}.name"),
            type=rule.kind_of(part.type).value,
            event_code="" if part.event_code in ("", part.code) else rule.code_of(part.event_code, "event_code"),
        )
        for part in document.feature
    )
    _once(features, "feature")
    _once(document.plan, "plan")
    for part in document.plan:
        _check_plan(part, {feature.code: feature for feature in features})
    return CatalogDocument(feature=features, plan=document.plan)


def _once(parts: Sequence[FeaturePart | PlanPart], kind: str) -> None:
    codes = [part.code for part in parts]
    for code in codes:
        if codes.count(code) > 1:
            raise invalid(f"{kind}.{code}", "is there twice")


def _check_plan(part: PlanPart, features: Mapping[str, FeaturePart]) -> None:
    plan = Plan(id="", organization=b"", code=rule.code_of(part.code, "plan.code"), name=part.name, is_free=part.free)
    rule.name_of(part.name, f"plan.{part.code}.name")
    for interval, price in part.prices.items():
        rule.check_priced(plan)
        rule.interval_of(interval)
        rule.amount_of(price)
    for code, grant in part.features.items():
        if code not in features:
            raise invalid(f"plan.{part.code}.features.{code}", "is no feature of this document")
        rule.included_of(grant.included)
        rule.unit_price_of(None, str(grant.unit_price))
        kind = FeatureKind(features[code].type)
        named = Feature(id=b"", organization=b"", code=code, event_code=code, name=code, kind=kind)
        rule.check_granted(plan, grant_of(grant, named))
