"""The catalog as one document: features, seat types, plans and offers, in TOML or YAML. Pure.

Names are codes, so a document says the same in every organization. Amounts are in the major unit and exact: a plan's
price is text (a bare number could be meant as minor units, as the API has it), quantities and unit prices are text or
a number, which never passes a float. Invariant: reading what was rendered gives the same document.
"""

import tomllib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec
import tomli_w
import yaml

from catalog import rule
from catalog.definition import Feature, Plan, SeatType
from catalog.document_offer import check_offers
from catalog.document_part import CatalogDocument, FeaturePart, PlanPart, SeatTypePart
from catalog.document_plan import check_plan_part, plan_part, within
from catalog.promo import promo_text
from kernel.errors import invalid
from kernel.quantity import canonical

Format = Literal["toml", "yaml"]
FORMATS: Final[Mapping[str, Format]] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}

NO_OFFERS: Final = CatalogDocument()


class _Loader(yaml.SafeLoader):
    """YAML whose fractions are decimals."""


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def hints_of(document: CatalogDocument) -> list[str]:
    """Tell what would be better about the codes under which usage is reported, feature after feature (R-TRACK-22)."""
    codes = [part.event_code or part.code for part in document.feature if part.type == "metered"]
    return [hint for hint in map(rule.code_hint, codes) if hint is not None]


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


def document_of(
    features: Sequence[Feature],
    plans: Sequence[Plan],
    seat_types: Sequence[SeatType] = (),
    offers: CatalogDocument = NO_OFFERS,
) -> CatalogDocument:
    """Spell catalog values as a document, in order of their codes.

    A seat type that is what its one feature would make of itself is not written. `offers` come as parts already: its
    plans say nothing but their regions.
    """
    regions = {part.code: part.regional for part in offers.plan}
    own = {feature.code: feature.name for feature in features if feature.seat_type == feature.code}
    shared = {feature.seat_type for feature in features if feature.seat_type != feature.code}
    return msgspec.structs.replace(
        offers,
        seat_type=tuple(
            SeatTypePart(code=one.code, name=one.name, description=one.description or "")
            for one in sorted(seat_types, key=lambda one: one.code)
            if one.description or one.code in shared or own.get(one.code) != one.name
        ),
        feature=tuple(_feature_part(feature) for feature in sorted(features, key=lambda feature: feature.code)),
        plan=tuple(
            msgspec.structs.replace(plan_part(plan), regional=regions.get(plan.code, {}))
            for plan in sorted(plans, key=lambda plan: plan.code)
        ),
    )


def _feature_part(feature: Feature) -> FeaturePart:
    return FeaturePart(
        code=feature.code,
        name=feature.name,
        type=feature.kind.value,
        event_code="" if feature.event_code == feature.code else feature.event_code,
        unit_name="" if feature.unit_name in (None, rule.unit_name_of(feature.kind, None)) else feature.unit_name,
        description=feature.description or "",
        seat_type="" if feature.seat_type in (None, feature.code) else feature.seat_type,
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
    for kind, key in (("addon", "slug"), ("credit_pack", "name")):
        for part in _listed(data, kind):
            _check_price_is_text(part, f"{kind}.{part.get(key)}")
    for plan in _listed(data, "plan"):
        _check_price_is_text(plan, f"plan.{plan.get('code')}")
        prices = plan.get("prices")
        for interval, price in prices.items() if isinstance(prices, Mapping) else ():
            _check_price_is_text(price, f"plan.{plan.get('code')}.prices.{interval}")


def _listed(data: Any, kind: str) -> list[Mapping[str, Any]]:
    parts = data.get(kind) if isinstance(data, Mapping) else None
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _check_price_is_text(part: Any, place: str) -> None:
    if isinstance(part, Mapping) and not isinstance(part.get("price", ""), str):
        raise invalid(f"{place}.price", 'must be text in the major unit of the currency, such as "20.00"')


def _checked(document: CatalogDocument) -> CatalogDocument:
    """Check every part by the same rules as the API, and spell its words in one way."""
    for part in document.seat_type:
        with within(f"seat_type.{part.code}"):
            rule.code_of(part.code)
            rule.name_of(part.name)
    seat_types = {part.code for part in document.seat_type}
    features = tuple(_checked_feature(part, seat_types) for part in document.feature)
    _once(document.seat_type, "seat_type")
    _once(features, "feature")
    _once(document.plan, "plan")
    for plan in document.plan:
        with within(f"plan.{plan.code}"):
            check_plan_part(plan, {feature.code: feature for feature in features})
    promos = tuple(msgspec.structs.replace(part, code=promo_text(part.code)) for part in document.promo_code)
    document = msgspec.structs.replace(document, feature=features, promo_code=promos)
    _once_named([part.slug for part in document.addon], "addon")
    _once_named([part.name for part in document.credit_pack], "credit_pack")
    _once_named([part.code for part in document.promo_code], "promo_code")
    _once_named([part.name for part in document.plan_group], "plan_group")
    check_offers(document, features)
    return document


def _checked_feature(part: FeaturePart, seat_types: AbstractSet[str]) -> FeaturePart:
    with within(f"feature.{part.code}"):
        event_code = "" if part.event_code in ("", part.code) else rule.code_of(part.event_code, "event_code")
        code, name, kind = rule.code_of(part.code), rule.name_of(part.name), rule.kind_of(part.type)
        feature = Feature(
            id=b"",
            organization=b"",
            code=code,
            event_code=event_code or code,
            name=name,
            kind=kind,
            seat_type=part.seat_type or None,
        )
        rule.check_feature(feature)
        if part.seat_type not in ("", code) and part.seat_type not in seat_types:
            raise invalid("seat_type", f"{part.seat_type} is no seat_type of this document")
    seat_type = "" if part.seat_type == code else part.seat_type
    return msgspec.structs.replace(part, type=kind.value, event_code=event_code, seat_type=seat_type)


def _once(parts: Sequence[FeaturePart | PlanPart | SeatTypePart], kind: str) -> None:
    _once_named([part.code for part in parts], kind)


def _once_named(names: Sequence[str], kind: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"{kind}.{name}", "is there twice")
