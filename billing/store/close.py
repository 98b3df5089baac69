"""Closes in SQL: cuts that were taken, and how far each came."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.turning import Bill
from billing.money.invoice import InvoiceType
from billing.sale.change import Target

_c = tables.closes.c


# Why a close has no invoice whose customer was archived or deleted before it was settled (R-CUST-9).
UNCOLLECTED: Final = "customer_archived"


class CloseState(StrEnum):
    """How far a close came: cut taken, settled with or without an invoice, stopped until an operator resumes it."""

    CUT = "cut"
    SETTLED = "settled"
    STOPPED = "stopped"


class CloseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A close as its row has it; `live` and `raw` keep both sides of a difference that stopped it, `{window: units}`.

    `change` is the change of plan that waits for it, `asked` names the request that asked for that
    (`catalog.gateway.once.name_of`), and `refusal` is the code with which it was refused, at its cut or by what was
    asked for while it waited; or with which a close's invoice was, so that it stopped; or `UNCOLLECTED`.
    `returns_term` names terms whose top-ups it gives back (`Bill`).
    """

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    cut: int
    kind: InvoiceType
    base_term: int | None
    start_day: int
    through_day: int
    end_us: int
    final: bool
    state: CloseState
    invoice_id: str | None
    live: dict[str, str] | None
    raw: dict[str, str] | None
    created_ms: int
    settled_ms: int | None
    change: Target | None = None
    asked: str | None = None
    refusal: str | None = None
    returns_term: int | None = None

    @property
    def bill(self) -> Bill:
        """Tell what its cut bills."""
        return Bill(**{name: getattr(self, name) for name in Bill.__struct_fields__})


_COLUMNS: Final = [_c[name] for name in CloseRow.__struct_fields__]


def _close(row: Row[Any]) -> CloseRow:
    return msgspec.convert(row, CloseRow, from_attributes=True)


async def add(connection: AsyncConnection, *rows: CloseRow) -> None:
    """Write closes. Raises IntegrityError when a cut is closed already."""
    if rows:
        await connection.execute(insert(tables.closes), [msgspec.to_builtins(close) for close in rows])


async def unsettled(connection: AsyncConnection, organization_id: str | None, after: str, limit: int) -> list[CloseRow]:
    """List closes whose cut is taken and that are not stopped, oldest first, those after the id `after`."""
    query = select(*_COLUMNS).where(_c.state == CloseState.CUT, _c.id > after)
    if organization_id is not None:
        query = query.where(_c.organization_id == organization_id)
    return [_close(row) for row in await connection.execute(query.order_by(_c.id).limit(limit))]


async def unsettled_of(connection: AsyncConnection, customer_id: str) -> CloseRow | None:
    """Read a customer's close that is at its cut; None when there is none."""
    query = select(*_COLUMNS).where(_c.customer_id == customer_id, _c.state == CloseState.CUT)
    row = (await connection.execute(query)).first()
    return None if row is None else _close(row)


async def without_cut(connection: AsyncConnection, customer_ids: Sequence[str]) -> list[str]:
    """Tell which of the customers have no close at its cut."""
    query = select(_c.customer_id).where(_c.customer_id.in_(customer_ids), _c.state == CloseState.CUT)
    cut = {customer_id for (customer_id,) in await connection.execute(query)}
    return [customer_id for customer_id in customer_ids if customer_id not in cut]


async def since(connection: AsyncConnection, organization_id: str, created_ms: int, limit: int) -> list[CloseRow]:
    """List an organization's closes whose cut was taken at `created_ms` (real time) or later, oldest first."""
    query = select(*_COLUMNS).where(_c.organization_id == organization_id, _c.created_ms >= created_ms)
    return [_close(row) for row in await connection.execute(query.order_by(_c.end_us, _c.id).limit(limit))]


async def states_since(connection: AsyncConnection, organization_id: str, created_ms: int) -> set[CloseState]:
    """Tell how far the organization's closes came whose cut was taken at `created_ms` (real time) or later."""
    query = select(_c.state).where(_c.organization_id == organization_id, _c.created_ms >= created_ms).distinct()
    return {CloseState(state) for (state,) in await connection.execute(query)}


async def open_of(connection: AsyncConnection, subscription_id: str) -> CloseRow | None:
    """Read the subscription's close that is not settled; None when there is none."""
    query = select(*_COLUMNS).where(_c.subscription_id == subscription_id, _c.state != CloseState.SETTLED)
    row = (await connection.execute(query)).first()
    return None if row is None else _close(row)


async def of_subscription(connection: AsyncConnection, subscription_id: str) -> list[CloseRow]:
    """List a subscription's closes by cut."""
    query = select(*_COLUMNS).where(_c.subscription_id == subscription_id).order_by(_c.cut)
    return [_close(row) for row in await connection.execute(query)]


async def read_all(connection: AsyncConnection, ids: Sequence[str]) -> list[CloseRow]:
    """Read closes by id, oldest cut first."""
    query = select(*_COLUMNS).where(_c.id.in_(ids)).order_by(_c.end_us, _c.cut)
    return [_close(row) for row in await connection.execute(query)]


async def asked_by(connection: AsyncConnection, subscription_id: str, scope: str, since_ms: int) -> CloseRow | None:
    """Read the close that a request of this scope took after `since_ms` (real time); None when it took none."""
    query = select(*_COLUMNS).where(
        _c.subscription_id == subscription_id, _c.asked.startswith(scope), _c.created_ms > since_ms
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _close(row)


async def refuse_change(connection: AsyncConnection, subscription_id: str, refusal: str) -> None:
    """Refuse the change of plan that waits for the subscription's cut, if one does: then its close bills nothing."""
    waiting = (_c.subscription_id == subscription_id, _c.state != CloseState.SETTLED, _c.change.is_not(None))
    await connection.execute(update(tables.closes).where(*waiting).values(refusal=refusal))


async def settle(
    connection: AsyncConnection, close: CloseRow, invoice_id: str | None, now_ms: int, refusal: str | None = None
) -> bool:
    """Settle a close with its invoice (None: nothing to bill); False when another did.

    `refusal` says why a change of plan that waited for it did not come.
    """
    settled = await connection.execute(
        update(tables.closes)
        .where(_c.id == close.id, _c.state == CloseState.CUT)
        .values(
            state=CloseState.SETTLED, invoice_id=invoice_id, settled_ms=now_ms, refusal=refusal, live=None, raw=None
        )
    )
    return settled.rowcount == 1


async def settle_all(
    connection: AsyncConnection, invoiced: Mapping[str, str | None], now_ms: int, refused: Mapping[str, str]
) -> None:
    """Settle closes that are at their cut, each with its invoice: `{close: invoice}` (None: nothing to bill).

    `refused` says of those that bill nothing for another reason than that nothing was used, which it is.
    """
    change = update(tables.closes).where(_c.id == bindparam("close"), _c.state == CloseState.CUT)
    change = change.values(
        state=CloseState.SETTLED,
        invoice_id=bindparam("invoice"),
        settled_ms=now_ms,
        refusal=bindparam("reason"),
        live=None,
        raw=None,
    )
    if invoiced:
        rows = [{"close": one, "invoice": invoice, "reason": refused.get(one)} for one, invoice in invoiced.items()]
        await connection.execute(change, rows)


async def stop(
    connection: AsyncConnection,
    close: CloseRow,
    sides: tuple[dict[str, str], dict[str, str]] | None,
    refusal: str | None = None,
) -> bool:
    """Stop a close and keep both sides, LIVE's and RAW's, where they differ; False when it is not at its cut any more.

    None: they agree, but what writes the invoice raised, or refused it with the code `refusal`.
    """
    live, raw = (None, None) if sides is None else sides
    stopped = await connection.execute(
        update(tables.closes)
        .where(_c.id == close.id, _c.state == CloseState.CUT)
        .values(state=CloseState.STOPPED, live=live, raw=raw, refusal=refusal)
    )
    return stopped.rowcount == 1


async def resume(connection: AsyncConnection, organization_id: str | None) -> int:
    """Set stopped closes back to their cut, so that the closer compares again; returns how many."""
    change = update(tables.closes).where(_c.state == CloseState.STOPPED).values(state=CloseState.CUT)
    if organization_id is not None:
        change = change.where(_c.organization_id == organization_id)
    return (await connection.execute(change)).rowcount
