"""The catalog as one document: features, and plans with their prices and features, in TOML or YAML. Pure.

Names are codes, so a document says the same in every organization. Amounts are in the major unit and exact: a plan's
price is text (a bare number could be meant as minor units, as the API has it), quantities and unit prices are text or
a number, which never passes a float. Invariant: reading what was rendered gives the same document.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec
import tomli_w
import yaml

from catalog import rule
from catalog.definition import Feature, FeatureKind, Plan, PlanFeature
from kernel.errors import Rejected, invalid
from kernel.money import Money, minor_places, parse_unit_price
from kernel.period import Interval
from kernel.quantity import EXACT, canonical

Format = Literal["toml", "yaml"]
FORMATS: Final[Mapping[str, Format]] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}

_NONE: Final = Decimal(0)  # the default itself, which msgspec leaves out by identity


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the document: a misspelled member is refused, one at its default is not written."""


class FeaturePart(_Part, frozen=True, kw_only=True):
    """A feature. `type` and `event_code` never change; an empty `event_code` is the code."""

    code: str
    name: str
    type: str = "metered"
    event_code: str = ""
    unit_name: str = ""
    description: str = ""


class GrantPart(_Part, frozen=True, kw_only=True):
    """What a plan grants of a feature a month.

    `overage` is the price of a unit beyond `included`, in the major unit; without it usage stops there.
    """

    enabled: bool = True
    included: Decimal = _NONE
    unlimited: bool = False
    overage: Decimal | None = None


class PlanPart(_Part, frozen=True, kw_only=True):
    """A plan. `price` is a month's, in the major unit, `features` grants by feature code. `free` never changes."""

    code: str
    name: str
    description: str = ""
    public: bool = True
    free: bool = False
    price: Decimal | None = None
    features: dict[str, GrantPart] = msgspec.field(default_factory=dict)

    def prices(self) -> dict[str, Decimal]:
        """Tell the prices by interval: billing knows months."""
        return {} if self.price is None else {Interval.MONTHLY.value: self.price}


class CatalogDocument(_Part, frozen=True, kw_only=True):
    """The whole catalog."""

    feature: tuple[FeaturePart, ...] = ()
    plan: tuple[PlanPart, ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML whose fractions are decimals."""


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def parse_document(text: str, kind: Format) -> CatalogDocument:
    """Read a document and check it whole. Raises Rejected with the field at fault."""
    try:
        data = tomllib.loads(text, parse_float=Decimal) if kind == "toml" else yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        _check_prices_are_text(data)
        document = msgspec.convert(data or {}, CatalogDocument)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, InvalidOperation) as error:
        raise invalid("document", f"is not {kind.upper()}: {error}") from error
    except msgspec.ValidationError as error:
        raise invalid("document", str(error)) from error
    return _checked(document)


def render_document(document: CatalogDocument, kind: Format) -> str:
    """Write a document; prices and fractions become text, so that no reader rounds them."""
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
        overage=part.overage is not None,
        unit_price=canonical(part.overage or Decimal(0)),
    )


def price_minor(part: PlanPart, currency: str) -> int:
    """Turn a plan's price into minor units. Raises Rejected where the currency has fewer places."""
    assert part.price is not None, "only a plan with a price is asked for it"
    minor = EXACT.scaleb(part.price, minor_places(currency))
    if minor != minor.to_integral_value():
        raise invalid(f"plan.{part.code}.price", f"has more than the {minor_places(currency)} places of {currency}")
    return rule.amount_of(int(minor))


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
    price = plan.price_of(Interval.MONTHLY)
    return PlanPart(
        code=plan.code,
        name=plan.name,
        description=plan.description or "",
        public=plan.is_public,
        free=plan.is_free,
        price=None if price is None else Money(price.amount_minor, price.currency).major(),
        features={
            granted.feature.code: GrantPart(
                enabled=granted.enabled,
                included=granted.included or _NONE,
                unlimited=granted.unlimited,
                overage=Decimal(granted.unit_price) if granted.overage else None,
            )
            for granted in sorted(plan.features, key=lambda granted: granted.feature.code)
        },
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: format(item, "f") if key == "price" and isinstance(item, Decimal) else _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else canonical(value)
    return value


def _check_prices_are_text(data: Any) -> None:
    plans = data.get("plan") if isinstance(data, Mapping) else None
    for plan in plans if isinstance(plans, list) else ():
        if isinstance(plan, Mapping) and not isinstance(plan.get("price", ""), str):
            raise invalid(
                f"plan.{plan.get('code')}.price", 'must be text in the major unit of the currency, such as "20.00"'
            )


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Say where in the document a rule was broken."""
    try:
        yield
    except Rejected as error:
        raise invalid(f"{place}.{error.refusal.param}", error.refusal.message) from error


def _checked(document: CatalogDocument) -> CatalogDocument:
    """Check every part by the same rules as the API, and spell its words in one way."""
    features = tuple(_checked_feature(part) for part in document.feature)
    _once(features, "feature")
    _once(document.plan, "plan")
    for part in document.plan:
        with _within(f"plan.{part.code}"):
            _check_plan(part, {feature.code: feature for feature in features})
    return CatalogDocument(feature=features, plan=document.plan)


def _checked_feature(part: FeaturePart) -> FeaturePart:
    with _within(f"feature.{part.code}"):
        event_code = "" if part.event_code in ("", part.code) else rule.code_of(part.event_code, "event_code")
        code, name, kind = rule.code_of(part.code), rule.name_of(part.name), rule.kind_of(part.type)
        rule.check_event_code(
            Feature(id=b"", organization=b"", code=code, event_code=event_code or code, name=name, kind=kind)
        )
    return msgspec.structs.replace(part, type=kind.value, event_code=event_code)


def _once(parts: Sequence[FeaturePart | PlanPart], kind: str) -> None:
    codes = [part.code for part in parts]
    for code in codes:
        if codes.count(code) > 1:
            raise invalid(f"{kind}.{code}", "is there twice")


def _check_plan(part: PlanPart, features: Mapping[str, FeaturePart]) -> None:
    plan = Plan(id="", organization=b"", code=rule.code_of(part.code), name=part.name, is_free=part.free)
    rule.name_of(part.name)
    if part.price is not None:
        rule.check_priced(plan)
        try:
            parse_unit_price(str(part.price))
        except ValueError as error:
            raise invalid("price", str(error)) from error
    for code, grant in part.features.items():
        if code not in features:
            raise invalid(f"features.{code}", "is no feature of this document")
        with _within(f"features.{code}"):
            rule.included_of(grant.included)
            rule.unit_price_of(None, str(grant.overage or 0))
            kind = FeatureKind(features[code].type)
            named = Feature(id=b"", organization=b"", code=code, event_code=code, name=code, kind=kind)
            rule.check_granted(plan, grant_of(grant, named))
