"""A catalog file beside the API and subscriptions: refused as a request is, and applied again without a change."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import update

from billing import tables
from catalog.document import parse_document
from catalog.document_part import CatalogDocument, RegionPart
from catalog.gateway.document import apply, diff, export
from kernel import ids
from kernel.errors import Rejected
from tests.story.shop import Api, Shop
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


@pytest.mark.parametrize("amount", ["0.001", "10.005", "1e11"])
async def test_an_amount_of_a_code_is_one_of_the_organizations_currency(api: Api, shop: Shop, amount: str) -> None:
    """R-DISC-8: in a file as in the API, where it is an integer of minor units."""
    document = parse_document(f'[[promo_code]]\ncode = "less"\namount = "{amount}"\n', "toml")
    for verb in (diff, apply):
        with pytest.raises(Rejected) as refused:
            await verb(api.catalog, shop.organization.id, document)
        assert str(refused.value.refusal.param).startswith("promo_code.LESS.amount")
    assert (await api.call("GET", "/promo-codes"))["data"] == []
