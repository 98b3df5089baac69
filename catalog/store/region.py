"""Exchange rates of plans, and what a seller set by hand of prices in other currencies (R-REG-2, R-REG-3).

Synced values are stored nowhere: they are computed when a plan is read, so they follow rate and price.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import regional
from catalog.definition import DiscountType, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.regional import ManualPrice, Region
from catalog.store.version import touch_plan
from catalog.tables import exchange_rates, regional_prices, regional_rates
from kernel.quantity import canonical

# By plan id: rates by currency, what is set by hand of a price by its id and currency, of a feature likewise.
_Rates = dict[str, dict[str, str]]
_Prices = dict[str, dict[tuple[str, str], ManualPrice]]
_Units = dict[str, dict[tuple[str, str], str]]


async def put_exchange_rate(conn: AsyncConnection, plan: Plan, currency: str, rate: str, now_ms: int) -> None:
    """Store a plan's exchange rate of a currency; synced values follow it."""
    own = (exchange_rates.c.plan_id == plan.id) & (exchange_rates.c.currency == currency)
    version = await touch_plan(conn, plan.id, now_ms)
    await _put(conn, exchange_rates, own, {"rate": rate, "version": version}, plan_id=plan.id, currency=currency)


async def put_regional_price(
    conn: AsyncConnection, price: PlanPrice, currency: str, manual: ManualPrice, now_ms: int
) -> None:
    """Store what is set by hand of a price in one currency, in place of what was."""
    version = await touch_plan(conn, price.plan, now_ms)
    intro = manual.intro
    values = {
        "plan_id": price.plan,
        "amount_minor": manual.amount_minor,
        "included": None if manual.included is None else canonical(manual.included),
        "intro_type": None if intro is None else intro.type.value,
        "intro_value": None if intro is None else canonical(intro.value),
        "intro_cycles": None if intro is None else intro.cycles,
        "version": version,
    }
    own = (regional_prices.c.price_id == price.id) & (regional_prices.c.currency == currency)
    await _put(conn, regional_prices, own, values, price_id=price.id, currency=currency)


async def put_regional_rate(
    conn: AsyncConnection, plan: Plan, granted: PlanFeature, currency: str, unit_price: str | None, now_ms: int
) -> None:
    """Store a feature's unit price of one currency set by hand; None lets it follow the rate again."""
    version = await touch_plan(conn, plan.id, now_ms)
    own = (
        (regional_rates.c.plan_id == plan.id)
        & (regional_rates.c.feature_id == granted.feature.id_text)
        & (regional_rates.c.currency == currency)
    )
    if unit_price is None:
        await conn.execute(delete(regional_rates).where(own))
        return
    values = {"unit_price": unit_price, "version": version}
    key = {"plan_id": plan.id, "feature_id": granted.feature.id_text, "currency": currency}
    await _put(conn, regional_rates, own, values, **key)


async def manual_price(conn: AsyncConnection, price: PlanPrice, currency: str) -> ManualPrice:
    """Read what is set by hand of a price in one currency."""
    statement = select(regional_prices).where(
        regional_prices.c.price_id == price.id, regional_prices.c.currency == currency
    )
    row = (await conn.execute(statement)).first()
    return ManualPrice() if row is None else _manual(row)


async def currencies_by_hand(conn: AsyncConnection, price: PlanPrice) -> set[str]:
    """Tell the currencies in which something of a price is set by hand."""
    query = select(regional_prices.c.currency).where(regional_prices.c.price_id == price.id)
    return set(await conn.scalars(query))


async def clear_regional_price(conn: AsyncConnection, price: PlanPrice, now_ms: int) -> None:
    """Drop what is set by hand of a price in all currencies."""
    await touch_plan(conn, price.plan, now_ms)
    await conn.execute(delete(regional_prices).where(regional_prices.c.price_id == price.id))


async def remove_currency(conn: AsyncConnection, plan: Plan, currency: str, now_ms: int) -> None:
    """Drop a currency of a plan: its rate and what is set by hand."""
    await touch_plan(conn, plan.id, now_ms)
    for table in (exchange_rates, regional_prices, regional_rates):
        await conn.execute(delete(table).where(table.c.plan_id == plan.id, table.c.currency == currency))


async def said_regions(conn: AsyncConnection, found: Sequence[Plan]) -> dict[str, dict[str, Region]]:
    """Read what sellers said of plans in other currencies, by plan id and currency."""
    rates, prices, units = await _read(conn, [plan.id for plan in found])
    said: dict[str, dict[str, Region]] = {}
    for plan in found:
        codes = {granted.feature.id_text: granted.feature.code for granted in plan.features}
        words = {price.id: price.interval.value for price in plan.prices}
        own = {
            *rates[plan.id],
            *(at for price, at in prices[plan.id] if price in words),
            *(at for feature, at in units[plan.id] if feature in codes),
        }
        said[plan.id] = {
            currency: Region(
                rate=rates[plan.id].get(currency),
                prices={
                    words[price]: manual
                    for (price, at), manual in prices[plan.id].items()
                    if at == currency and price in words
                },
                unit_prices={
                    codes[feature]: unit_price
                    for (feature, at), unit_price in units[plan.id].items()
                    if at == currency and feature in codes
                },
            )
            for currency in sorted(own)
        }
    return said


async def with_regions(conn: AsyncConnection, found: Sequence[Plan]) -> list[Plan]:
    """Tell plans their exchange rates, and prices and features what they cost in other currencies."""
    rates, prices, units = await _read(conn, [plan.id for plan in found])
    return [regional.with_regions(plan, rates[plan.id], prices[plan.id], units[plan.id]) for plan in found]


async def _read(conn: AsyncConnection, named: Sequence[str]) -> tuple[_Rates, _Prices, _Units]:
    rates: _Rates = {plan_id: {} for plan_id in named}
    prices: _Prices = {plan_id: {} for plan_id in named}
    units: _Units = {plan_id: {} for plan_id in named}
    for row in await conn.execute(
        select(exchange_rates).where(exchange_rates.c.plan_id.in_(named)).order_by(exchange_rates.c.currency)
    ):
        rates[row.plan_id][row.currency] = row.rate
    for row in await conn.execute(select(regional_prices).where(regional_prices.c.plan_id.in_(named))):
        prices[row.plan_id][row.price_id, row.currency] = _manual(row)
    for row in await conn.execute(select(regional_rates).where(regional_rates.c.plan_id.in_(named))):
        units[row.plan_id][row.feature_id, row.currency] = row.unit_price
    return rates, prices, units


def _manual(row: Row[Any]) -> ManualPrice:
    intro = None
    if row.intro_type is not None:
        intro = IntroOffer(type=DiscountType(row.intro_type), value=Decimal(row.intro_value), cycles=row.intro_cycles)
    included = None if row.included is None else Decimal(row.included)
    return ManualPrice(amount_minor=row.amount_minor, included=included, intro=intro)


async def _put(conn: AsyncConnection, table: Table, own: Any, values: dict[str, Any], **key: str) -> None:
    if (await conn.execute(update(table).where(own).values(**values))).rowcount == 0:
        await conn.execute(insert(table).values(**key, **values))
