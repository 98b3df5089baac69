"""Accounts in SQL: revisions, cuts and what LIVE is known to show."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.showing import AccountRow, Bought, snapshot_of
from billing.store import purchase, terms
from billing.store import subscription as subscriptions
from catalog.terms import Snapshot

_a = tables.accounts.c
_COLUMNS: Final = [_a[name] for name in AccountRow.__struct_fields__]


async def read(connection: AsyncConnection, customer_id: str) -> AccountRow | None:
    """Read a customer's account; None when it never subscribed."""
    row = (await connection.execute(select(*_COLUMNS).where(_a.customer_id == customer_id))).first()
    return None if row is None else AccountRow(**row._asdict())


async def read_all(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, AccountRow]:
    """Read the accounts of customers, by customer; one that never subscribed is absent."""
    rows = await connection.execute(select(*_COLUMNS).where(_a.customer_id.in_(customer_ids)))
    return {row.customer_id: AccountRow(**row._asdict()) for row in rows}


async def new_term(connection: AsyncConnection, organization_id: str, customer_id: str) -> AccountRow:
    """Give the customer's next number of terms, and raise its revision; the row is made when it is missing."""
    before = await read(connection, customer_id)
    if before is None:
        values = {"customer_id": customer_id, "organization_id": organization_id, "rev": 1, "shown_rev": 0}
        await connection.execute(insert(tables.accounts).values(**values, cut=0, terms=1, relay_until_ms=0))
    else:
        change = update(tables.accounts).where(_a.customer_id == customer_id)
        await connection.execute(change.values(rev=_a.rev + 1, terms=_a.terms + 1))
    after = await read(connection, customer_id)
    assert after is not None, "the row was just written"
    return after


async def raise_rev(connection: AsyncConnection, customer_ids: Sequence[str]) -> None:
    """Raise the revision of accounts whose snapshot changed in this transaction."""
    if customer_ids:
        await connection.execute(update(tables.accounts).where(_a.customer_id.in_(customer_ids)).values(rev=_a.rev + 1))


async def take_cut(connection: AsyncConnection, account: AccountRow) -> int | None:
    """Take the account's next cut and raise its revision; None when one is open or another took it first."""
    taken = await connection.execute(
        update(tables.accounts)
        .where(_a.customer_id == account.customer_id, _a.open_cut.is_(None), _a.cut == account.cut)
        .values(cut=account.cut + 1, open_cut=account.cut + 1, rev=_a.rev + 1)
    )
    return account.cut + 1 if taken.rowcount == 1 else None


async def take_cuts(connection: AsyncConnection, cuts: Mapping[str, int]) -> None:
    """Take cuts of accounts that this transaction read, none of them with an open one: `{customer: cut}`."""
    taken = [{"customer": customer_id, "taken": cut} for customer_id, cut in cuts.items()]
    change = update(tables.accounts).where(_a.customer_id == bindparam("customer"), _a.open_cut.is_(None))
    if taken:
        await connection.execute(
            change.values(cut=bindparam("taken"), open_cut=bindparam("taken"), rev=_a.rev + 1), taken
        )


async def settle_cut(connection: AsyncConnection, customer_id: str, cut: int) -> bool:
    """Say that the open cut is settled; False when another did."""
    settled = await connection.execute(
        update(tables.accounts).where(_a.customer_id == customer_id, _a.open_cut == cut).values(open_cut=None)
    )
    return settled.rowcount == 1


async def settle_cuts(connection: AsyncConnection, cuts: Mapping[str, int]) -> None:
    """Say that open cuts are settled: `{customer: cut}`; those that another settled stay as they are."""
    change = update(tables.accounts).where(_a.customer_id == bindparam("customer"), _a.open_cut == bindparam("taken"))
    if cuts:
        rows = [{"customer": customer_id, "taken": cut} for customer_id, cut in cuts.items()]
        await connection.execute(change.values(open_cut=None), rows)


async def hidden(connection: AsyncConnection, now_ms: int, limit: int) -> list[str]:
    """List customers whose revision LIVE is not known to show, and that no relay holds at `now_ms`."""
    rows = await connection.execute(
        select(_a.customer_id).where(_a.shown_rev < _a.rev, _a.relay_until_ms <= now_ms).limit(limit)
    )
    return [customer_id for (customer_id,) in rows]


async def claim(connection: AsyncConnection, customer_id: str, now_ms: int, until_ms: int) -> bool:
    """Hold an account for one relay until `until_ms`; False when another holds it."""
    claimed = await connection.execute(
        update(tables.accounts)
        .where(_a.customer_id == customer_id, _a.relay_until_ms <= now_ms)
        .values(relay_until_ms=until_ms)
    )
    return claimed.rowcount == 1


async def release(connection: AsyncConnection, customer_ids: Sequence[str]) -> None:
    """Let go of accounts that a relay held and could not show."""
    if customer_ids:
        await connection.execute(
            update(tables.accounts).where(_a.customer_id.in_(customer_ids)).values(relay_until_ms=0)
        )


async def shown(connection: AsyncConnection, revs: Mapping[str, int]) -> None:
    """Say which revision LIVE shows of customers; what it is known to show never falls by this."""
    known = [{"customer": customer_id, "seen": rev} for customer_id, rev in revs.items()]
    await connection.execute(
        update(tables.accounts)
        .where(_a.customer_id == bindparam("customer"), _a.shown_rev < bindparam("seen"))
        .values(shown_rev=bindparam("seen"), relay_until_ms=0),
        known,
    )


async def lost(connection: AsyncConnection, customer_id: str, rev: int) -> None:
    """Say that LIVE shows no more than `rev`, so that the relay sends the account again."""
    await connection.execute(
        update(tables.accounts).where(_a.customer_id == customer_id, _a.shown_rev > rev).values(shown_rev=rev)
    )


async def page(connection: AsyncConnection, after: str, limit: int) -> list[tuple[str, int]]:
    """List `(customer, rev)` by customer, those after `after`."""
    rows = await connection.execute(
        select(_a.customer_id, _a.rev).where(_a.customer_id > after).order_by(_a.customer_id).limit(limit)
    )
    return [(customer_id, rev) for customer_id, rev in rows]


async def snapshots(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, Snapshot]:
    """Make the snapshots of many accounts as SQL has them now; a customer that never subscribed is absent."""
    found = await read_all(connection, customer_ids)
    shown = await subscriptions.current_of_all(connection, list(found))
    periods = await terms.of_all(connection, [one.id for one in shown.values()])
    packs = await purchase.packs_of(connection, list(found))
    top_ups = await purchase.top_ups_of(connection, list(found))
    seats = await purchase.seats_of(connection, list(found))
    made: dict[str, Snapshot] = {}
    for one, account in found.items():
        bought = Bought(packs=packs[one], top_ups=top_ups[one], seats=seats[one])
        subscription = shown.get(one)
        own = () if subscription is None else periods.get(subscription.id, ())
        made[one] = snapshot_of(account, subscription, own, bought)
    return made


async def snapshot(connection: AsyncConnection, customer_id: str) -> Snapshot | None:
    """Make an account's snapshot as SQL has it now; None when the customer never subscribed."""
    return (await snapshots(connection, [customer_id])).get(customer_id)
