"""The catalog as one file: features, and plans with their price and what they grant. TOML or YAML, one shape. Pure.

Amounts are text in the currency's major unit, quantities whole numbers or text, so that no float stands near money.
Invariant: what `render` writes, `parse` reads back to an equal value.
"""

from decimal import Decimal
from typing import Any

import msgspec
import tomli_w
import yaml

from catalog.definition import Feature, Plan, PlanFeature
from kernel.errors import Misconfigured
from kernel.money import Money
from kernel.period import Interval
from kernel.quantity import canonical

UNLIMITED = "unlimited"


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base: what is misspelt is refused, what is as usual is not written."""


class FeatureEntry(_Strict, frozen=True, kw_only=True):
    """A feature; `type` is `metered` or `boolean`, `event_code` what events may name instead of `code`."""

    code: str
    name: str
    type: str = "metered"
    unit: str | None = None
    event_code: str | None = None
    description: str | None = None


class GrantEntry(_Strict, frozen=True, kw_only=True):
    """What a plan grants of a feature a month.

    `included` counts units or is `unlimited`; `overage` is the price of a unit beyond it (absent: usage stops there).
    """

    code: str
    enabled: bool = True
    included: int | str = 0
    overage: str | None = None


class PlanEntry(_Strict, frozen=True, kw_only=True):
    """A plan; `price` is a month's base price (absent: the plan is free)."""

    code: str
    name: str
    price: str | None = None
    public: bool = True
    description: str | None = None
    feature: list[GrantEntry] = []


class CatalogFile(_Strict, frozen=True, kw_only=True):
    """The whole file."""

    feature: list[FeatureEntry] = []
    plan: list[PlanEntry] = []


def parse(text: str, kind: str) -> CatalogFile:
    """Read a file's text (`toml` or `yaml`). Raises Misconfigured with what to change."""
    try:
        if kind == "toml":
            found = msgspec.toml.decode(text, type=CatalogFile)
        else:
            found = msgspec.convert(yaml.safe_load(text) or {}, CatalogFile)
    except (msgspec.DecodeError, ValueError, yaml.YAMLError) as error:
        raise Misconfigured(f"the catalog file: {error}") from error
    for kind_name, codes in (
        ("feature", [one.code for one in found.feature]),
        ("plan", [one.code for one in found.plan]),
        *((f"feature of plan {plan.code}", [one.code for one in plan.feature]) for plan in found.plan),
    ):
        twice = {code for code in codes if codes.count(code) > 1}
        if twice:
            raise Misconfigured(f"the catalog file: {kind_name} {', '.join(sorted(twice))} stands there twice")
    return found


def render(file: CatalogFile, kind: str) -> str:
    """Write a file's text."""
    built: dict[str, Any] = msgspec.to_builtins(file)
    if kind == "toml":
        return tomli_w.dumps(built)
    written: str = yaml.safe_dump(built, sort_keys=False, allow_unicode=True)
    return written


def file_of(features: list[Feature], plans: list[Plan]) -> CatalogFile:
    """Spell what an organization has."""
    return CatalogFile(feature=[feature_entry(one) for one in features], plan=[plan_entry(one) for one in plans])


def feature_entry(feature: Feature) -> FeatureEntry:
    """Spell a feature."""
    return FeatureEntry(
        code=feature.code,
        name=feature.name,
        type=feature.kind.value,
        unit=feature.unit_name,
        event_code=None if feature.event_code == feature.code else feature.event_code,
        description=feature.description,
    )


def plan_entry(plan: Plan) -> PlanEntry:
    """Spell a plan."""
    price = plan.price_of(Interval.MONTHLY)
    return PlanEntry(
        code=plan.code,
        name=plan.name,
        price=None if price is None else canonical(Money(price.amount_minor, price.currency).major()),
        public=plan.is_public,
        description=plan.description,
        feature=[grant_entry(one) for one in plan.features],
    )


def grant_entry(granted: PlanFeature) -> GrantEntry:
    """Spell what a plan grants of a feature."""
    return GrantEntry(
        code=granted.feature.code,
        enabled=granted.enabled,
        included=UNLIMITED if granted.unlimited else _number(granted.included),
        overage=granted.unit_price if granted.overage else None,
    )


def _number(value: Decimal) -> int | str:
    text = canonical(value)
    return int(text) if text.isdigit() else text
