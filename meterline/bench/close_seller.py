"""Making the seller that the bench of the close bills, in the stores themselves: ten times as fast as over HTTP.

The functions are those behind the routes: what is in SQL and in the log is what ten thousand calls would have left.
"""

from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addons import activate_addon
from billing.gateway.purchasing import buy_pack
from billing.gateway.seating import change_seats
from billing.gateway.subscribing import Wish, subscribe
from billing.sale.seat import Operation
from catalog import store
from catalog.definition import Customer, Feature, Organization
from catalog.store.customer import create_customer
from catalog.store.organization import load_organization, set_clock
from kernel import ids
from kernel.settings import Settings
from meterline.app import App, opened
from meterline.bench.close_load import CATALOG, KINDS, PLANS, START, name_of
from meterline.operation import OPERATIONS
from meterline.role import Role

_IN_ONE: Final = 100  # of one transaction
_SEATS_GROW_DAYS: Final = 15
_DAY_MS: Final = 86_400_000


async def make_seller(data_dir: Path, count: int) -> str:
    """Make `count` subscriptions that begin on START and seats that grow in the middle of the month.

    Returns the seller's API key. Everything is shown in LIVE when this returns; nothing runs any more.
    """
    async with opened(Settings(data_dir=data_dir), Role.ALL, logs="error") as app:
        seller = {"name": "Bench", "environment": "sandbox", "currency": "usd"}
        made = await OPERATIONS["org_create"](app, seller)
        document = {"organization": made["id"], "file": CATALOG, "format": "toml"}
        await OPERATIONS["catalog_apply"](app, document)
        organization = ids.id_bytes(made["id"])
        start_ms = int(START.timestamp()) * 1000
        await _move(app, organization, start_ms)
        for first in range(0, count, _IN_ONE):
            await _subscribe(app, organization, range(first, min(first + _IN_ONE, count)))
        await _move(app, organization, start_ms + _SEATS_GROW_DAYS * _DAY_MS)
        growing = [number for number in range(count) if KINDS[number % len(KINDS)] == "seats"]
        for at in range(0, len(growing), _IN_ONE):
            await _grow(app, organization, growing[at : at + _IN_ONE])
        return str(made["apiKey"])


async def _move(app: App, organization: bytes, instant_ms: int) -> None:
    async with app.sql.transaction() as connection:
        await set_clock(connection, organization, instant_ms)


async def _subscribe(app: App, organization: bytes, numbers: range) -> None:
    real_ms = app.clock.now_ms()
    shown: list[str] = []
    async with app.sql.transaction() as connection:
        seller = await _seller(connection, organization)
        for number in numbers:
            made = Customer(
                id=ids.new_bytes(real_ms),
                organization=organization,
                external_id=name_of(number),
                email="bench@example.com",
                created_ms=real_ms,
                updated_ms=real_ms,
            )
            await create_customer(connection, made)
            await _begin(connection, seller, KINDS[number % len(KINDS)], made, real_ms)
            shown.append(made.id_text)
    await app.relay.show_all(shown)


async def _begin(
    connection: AsyncConnection, seller: Organization, kind: str, customer: Customer, real_ms: int
) -> None:
    wish = Wish(
        customer=customer.id_text,
        plan=PLANS.get(kind, "metered"),
        interval=None,
        name=None,
        start_ms=None,
        promo="BENCH20" if kind == "promo" else None,
        seats={"member": 5} if kind == "seats" else {},
    )
    subscription, _ = await subscribe(connection, seller, wish, real_ms)
    if kind == "addon":
        await activate_addon(connection, seller, subscription.id, "exports", real_ms)
    if kind == "pack":
        pack = await store.load_pack(connection, seller.id, "Pack")
        await buy_pack(connection, seller, subscription.id, pack, real_ms)


async def _grow(app: App, organization: bytes, numbers: list[int]) -> None:
    """Add two seats to each."""
    real_ms = app.clock.now_ms()
    features: list[Feature] = app.catalog.features(organization)
    async with app.sql.transaction() as connection:
        seller = await _seller(connection, organization)
        grown = [
            await change_seats(connection, seller, features, name_of(number), Operation.ADD, {"member": 2}, real_ms)
            for number in numbers
        ]
    await app.relay.show_all(event.customer_id for [event] in grown)


async def _seller(connection: AsyncConnection, organization: bytes) -> Organization:
    found = await load_organization(connection, organization)
    assert found is not None, "it was just made"
    return found
