"""A catalog file beside the API and subscriptions: refused as a request is, and applied again without a change."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import update

from billing import tables
from catalog.document_part import CatalogDocument, RegionPart
from catalog.gateway.document import apply, export
from kernel import ids
from kernel.errors import Rejected
from tests.story.test_billing import World, world

__all__ = ["world"]


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
