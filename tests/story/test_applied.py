"""A catalog file beside the API and subscriptions: refused as a request is, and applied again without a change."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import update

from billing import tables
from catalog import store
from catalog.document import FORMATS, parse_document, render_document
from catalog.document_part import CatalogDocument, RegionPart
from catalog.gateway.document import apply, diff, export
from kernel import ids
from kernel.errors import Rejected
from tests.story.shop import NOW, Api, Shop
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

PRICED = """
[[feature]]
code = "calls"
name = "Calls"
[[plan]]
code = "pro"
name = "Pro"
prices.monthly = { price = "20.00", intro = { type = "fixed", value = "2.5", cycles = 1 } }
regional.eur = { prices = { monthly = "18" }, included = { monthly = "6" } }
[[addon]]
slug = "calls"
name = "Calls"
feature = "calls"
model = "metered"
price = "3.00"
prices.yearly = "30"
[[credit_pack]]
name = "Pack"
credits = 5
price = "4.00"
"""


@pytest.mark.parametrize("said", ["20.00", "2.5", "18", "6", "3.00", "30", "4.00"])
@pytest.mark.parametrize("wrong", ["Infinity", "NaN", "1e999999", "1e999999999", "-1"])
def test_what_is_no_price_is_refused_by_its_field(said: str, wrong: str) -> None:
    parse_document(PRICED, "toml")
    with pytest.raises(Rejected, match="validation_error"):
        parse_document(PRICED.replace(f'"{said}"', f'"{wrong}"'), "toml")


async def test_a_catalog_file_does_not_drop_a_regional_price_in_use(world: World) -> None:
    """R-REG-4: as a request does not; what follows the rate from then on is no drop (R-REG-3)."""
    path, organization = f"/plans/{world.starter}", ids.id_bytes(world.organization)
    price = (await world.call("GET", path))["prices"][0]["id"]
    await world.call("PUT", f"{path}/prices/{price}/regional", {"overrides": [{"currency": "eur", "price": 4500}]})
    await world.customer("acme")
    made = await world.subscribe("acme")
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.subscriptions).values(currency="eur"))
    document = await export(world.catalog, organization)

    def regional(*euro: RegionPart) -> CatalogDocument:
        said = {"starter": dict(zip(["eur"], euro, strict=False))}
        plans = (msgspec.structs.replace(part, regional=said.get(part.code, {})) for part in document.plan)
        return msgspec.structs.replace(document, plan=tuple(plans))

    for less in (regional(), regional(RegionPart(unit_prices={"calls": Decimal(1)}))):
        with pytest.raises(Rejected, match="pay the plan starter in EUR"):
            await apply(world.catalog, organization, less)
    assert await export(world.catalog, organization) == document
    await apply(world.catalog, organization, regional(RegionPart(rate=Decimal("0.9"))))
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    await apply(world.catalog, organization, regional())
    assert await apply(world.catalog, organization, regional()) == []


async def test_a_plan_that_goes_while_a_file_is_followed_keeps_no_other_from_being_followed(world: World) -> None:
    """R-BH-1: what is applied is applied, and reaches who is subscribed, whoever removes another plan beside it."""
    organization = ids.id_bytes(world.organization)
    gone = await world.plan("gone", 900, ids.id_text(ids.FEATURE, world.calls), {"includedAmount": 1})
    acme = await world.customer("acme")
    await world.subscribe("acme")
    document = await export(world.catalog, organization)
    wider = {"free": 3, "gone": 2, "starter": 90}
    plans = tuple(
        msgspec.structs.replace(
            part,
            features={"calls": msgspec.structs.replace(part.features["calls"], included=Decimal(wider[part.code]))},
        )
        for part in sorted(document.plan, key=lambda part: part.code)
    )
    follow = world.catalog.on_plan_changed
    assert follow is not None

    async def beside(of: bytes, plan: str) -> None:
        if plan not in (gone, world.starter):
            await world.call("DELETE", "/plans/gone")
        await follow(of, plan)

    world.catalog.on_plan_changed = beside
    changes = await apply(world.catalog, organization, msgspec.structs.replace(document, plan=plans))
    assert sorted(change.plan for change in changes) == ["free", "gone", "starter"]
    [granted] = (await world.snapshot(acme)).terms.features
    assert granted.included == 90 * 10**9


@pytest.mark.parametrize("amount", ["0.001", "10.005", "1e11"])
async def test_an_amount_of_a_code_is_one_of_the_organizations_currency(api: Api, shop: Shop, amount: str) -> None:
    """R-DISC-8: in a file as in the API, where it is an integer of minor units."""
    document = parse_document(f'[[promo_code]]\ncode = "less"\namount = "{amount}"\n', "toml")
    for verb in (diff, apply):
        with pytest.raises(Rejected) as refused:
            await verb(api.catalog, shop.organization.id, document)
        assert str(refused.value.refusal.param).startswith("promo_code.LESS.amount")
    assert (await api.call("GET", "/promo-codes"))["data"] == []


async def applied_again(api: Api, shop: Shop) -> CatalogDocument:
    """Write the catalog, read what was written, and apply it: nothing changes."""
    written = await export(api.catalog, shop.organization.id)
    for kind in FORMATS.values():
        document = parse_document(render_document(written, kind), kind)
        assert await apply(api.catalog, shop.organization.id, document, prune=True) == []
    return written


async def test_a_currency_that_only_a_removed_price_had_is_not_written(api: Api, shop: Shop) -> None:
    await api.pro()
    price = await api.price("pro", 99_000, "yearly")
    by_hand = {"overrides": [{"currency": "eur", "price": 90_000}]}
    await api.call("PUT", f"/plans/pro/prices/{price['id']}/regional", by_hand)
    assert list((await applied_again(api, shop)).plan[0].regional) == ["eur"]
    await api.call("DELETE", f"/plans/pro/prices/{price['id']}")
    assert (await applied_again(api, shop)).plan[0].regional == {}


async def test_a_feature_may_have_the_seat_type_that_another_brought_along(api: Api, shop: Shop) -> None:
    await api.feature("editor", "seats")
    assert (await applied_again(api, shop)).seat_type == ()
    await api.feature("author", "seats", seatType="editor")
    written = await applied_again(api, shop)
    assert [part.code for part in written.seat_type] == ["editor"]
    async with shop.sql.transaction() as conn:
        other = await store.create_organization(conn, "Other", "sandbox", NOW)
    await api.catalog.refresh()
    await apply(api.catalog, other.id, written)
    assert await export(api.catalog, other.id) == written


async def test_a_pack_of_a_plan_that_has_another_model_now_is_written_without_it(api: Api, shop: Shop) -> None:
    """R-PACK-1."""
    for code in ("small", "large"):
        await api.plan(code, "credits")
    made = {"name": "Pack", "credits": 5, "price": 100, "planIds": ["small", "large"]}
    await api.call("POST", "/credit-packs", made)
    assert (await applied_again(api, shop)).credit_pack[0].plans == ("small", "large")
    await api.call("PATCH", "/plans/small", {"consumptionModel": "balance"})
    assert (await applied_again(api, shop)).credit_pack[0].plans == ("large",)


async def test_a_plan_has_no_regional_prices_in_the_organizations_own_currency(api: Api, shop: Shop) -> None:
    """R-REG-3: they would be paid in place of its prices; a request is refused as well."""
    plan, _ = await api.pro()
    await api.invalid("PUT", f"/plans/{plan['id']}/regional", {"currency": "usd", "exchangeRate": "2"}, "currency")
    document = await export(api.catalog, shop.organization.id)
    plans = tuple(
        msgspec.structs.replace(part, regional={"usd": RegionPart(rate=Decimal(2))}) for part in document.plan
    )
    for verb in (diff, apply):
        with pytest.raises(Rejected) as refused:
            await verb(api.catalog, shop.organization.id, msgspec.structs.replace(document, plan=plans))
        assert refused.value.refusal.param == "plan.pro.regional.usd.currency"
    assert await export(api.catalog, shop.organization.id) == document
