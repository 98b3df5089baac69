"""The sellers' side of the simulated deployment: an organization, three plans, four customers; made once, then copied.

Two lanes hold two customers each, on the cheapest plan and with a card that pays. `open` is unlimited, `capped` stops
at 4, `over` is charged beyond 2; the dearer plans give more of both.
"""

import asyncio
import types
from contextlib import asynccontextmanager
from functools import cache
from random import Random

import msgspec

from billing.gateway.paying import complete_checkout
from billing.gateway.subscribing import Wish, activate, subscribe
from billing.money.payment import Card
from catalog.definition import SANDBOX, Customer
from catalog.document import parse_document
from catalog.store.customer import create_customer
from catalog.store.deployment import ensure_deployment
from catalog.store.document import apply_document
from catalog.store.key import create_key
from catalog.store.organization import create_organization
from kernel import ids
from kernel.lane import lane_of
from meterline.schema import migrate
from tests.simulation.sql import Database

LANES = 2
KEY = "ck_simulation"
JANUARY_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MONTH_END_MS = JANUARY_MS + 31 * 86_400_000
CAP, INCLUDED, PRICE = 4, 2, "0.30"
FEATURES = ("open", "capped", "over")
PLANS = ("pro", "team", "firm")
PAYING = "4242424242424242"
CATALOG = f"""
[[feature]]
code = "open"
name = "Open"
[[feature]]
code = "capped"
name = "Capped"
[[feature]]
code = "over"
name = "Over"
[[plan]]
code = "pro"
name = "Pro"
price = "10"
[plan.features.open]
unlimited = true
[plan.features.capped]
included = {CAP}
[plan.features.over]
included = {INCLUDED}
overage = "{PRICE}"
[[plan]]
code = "team"
name = "Team"
price = "30"
[plan.features.open]
unlimited = true
[plan.features.capped]
included = {2 * CAP}
[plan.features.over]
included = {2 * INCLUDED}
overage = "0.25"
[[plan]]
code = "firm"
name = "Firm"
price = "60"
[plan.features.open]
unlimited = true
[plan.features.capped]
included = {4 * CAP}
[plan.features.over]
included = {3 * INCLUDED}
overage = "0.20"
[[plan_group]]
name = "Main"
plans = ["pro", "team", "firm"]
"""


class Town(msgspec.Struct, frozen=True):
    """What every seed starts from: the bytes of SQL, and the ids in it."""

    state: bytes
    organization: bytes
    plan: str
    customers: tuple[str, ...]  # external ids
    ids: dict[str, bytes]


class _Plain:
    """The sql port without faults or turns, to make the template."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self):
        return self._opened()

    def snapshot(self):
        return self._opened()

    @asynccontextmanager
    async def _opened(self):
        connection = self._database.begin()
        try:
            yield connection
            connection.end(commit=True)
        finally:
            connection.end(commit=False)


@cache
def database() -> Database:
    return Database()


@cache
def town() -> Town:
    """Make the template, the same in every process."""
    before, ids.os = ids.os, types.SimpleNamespace(urandom=Random(1).randbytes)
    try:
        return asyncio.run(_make())
    finally:
        ids.os = before


async def _make() -> Town:
    store = database()
    sql = _Plain(store)
    await migrate(sql)
    async with sql.transaction() as connection:
        await ensure_deployment(connection, LANES)
        await connection.exec_driver_sql("UPDATE deployment SET secret = ?", (b"s" * 32,))
        organization = await create_organization(connection, "Simulated", SANDBOX, JANUARY_MS, payments="simulator")
        await create_key(connection, organization, name="all", now_ms=JANUARY_MS, secret=KEY)
        await apply_document(connection, organization, parse_document(CATALOG, "toml"), now_ms=JANUARY_MS)
        made: dict[str, bytes] = {}
        room = dict.fromkeys(range(LANES), 2)
        while any(room.values()):
            name = f"customer-{len(made)}"
            raw = ids.new_bytes(JANUARY_MS)
            lane = lane_of(raw, LANES)
            if room[lane]:
                room[lane] -= 1
                made[name] = raw
                await create_customer(connection, customer_made(organization.id, raw, name))
        plan = (await connection.exec_driver_sql("SELECT id FROM plans WHERE code = 'pro'")).scalar_one()
        for name in made:
            wish = Wish(customer=name, plan="pro", interval=None, name=None, start_ms=None)
            waiting, _ = await subscribe(connection, organization, wish, JANUARY_MS)
            await complete_checkout(connection, organization, waiting, Card(number=PAYING), activate, JANUARY_MS)
    return Town(state=store.dump(), organization=organization.id, plan=plan, customers=tuple(made), ids=made)


def customer_made(organization: bytes, raw: bytes, name: str) -> Customer:
    return Customer(
        id=raw, organization=organization, external_id=name, email=f"{name}@example.com", created_ms=JANUARY_MS
    )
