"""The test clock over HTTP (contract rows 134 to 136, decision 8)."""

from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.store import UsageStore
from billing.gateway import simulated_time
from billing.gateway.simulated_time import Move
from billing.store import invoice as invoices
from billing.store.clock import FAILED, ClockRun
from billing.store.close import CloseRow, CloseState
from billing.wire import invoice as shape
from billing.worker.closer import Closer
from catalog.definition import Customer
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply
from catalog.gateway.once import REPLAYED, kept_for_key, once
from catalog.gateway.openapi import documented
from catalog.store.customer import find_customers
from kernel.errors import invalid, rejected
from kernel.limits import INVOICE_MINOR_MAX
from kernel.period import instant_text, parse_instant_us
from kernel.wire import Dialect, Wire

_RESOURCE: Final = "test_clock"
_DAYS_MAX: Final = 3_660  # ten years; further is a slip of the finger that cannot be undone
_RAISED: Final = "its code raised, as the server's log says"
_REFUSED: Final = {"amount_too_large": f"an amount is beyond the {INVOICE_MINOR_MAX} minor units of an invoice"}
_ITEM_STATUS: Final = {CloseState.CUT: "processing", CloseState.SETTLED: "completed", CloseState.STOPPED: "failed"}


class MoveInput(Wire, frozen=True, kw_only=True):
    """Where the clock goes: `advanceDays`, or an instant; `bill: false` only moves it (ours)."""

    advance_days: int | None = None
    frozen_time: str | None = None
    simulated_time: str | None = None
    bill: bool = True


@post("/", status_code=202, summary="Move the test clock and bill what is due", operation_class=documented(MoveInput))
async def move(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    usage_store: NamedDependency[UsageStore],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """Forward only, but for the first setting of an organization without events and subscriptions (R-CLOCK-1)."""
    caller.must_write(_RESOURCE)
    simulated_time.must_be_sandbox(caller.organization)
    wish = _wish(await read_body(request, MoveInput))
    first = caller.organization.clock_ms is None
    with_events = first and await simulated_time.has_events(closer, usage_store, caller.organization)
    made: list[ClockRun] = []

    async def work(connection: AsyncConnection) -> object:
        run = await simulated_time.move(
            connection, caller.organization.id, wish, caller.real_ms, with_events=with_events or not first
        )
        made[:] = [run]
        return _run(caller, run, [])

    answer = await once(request, caller, work, status=202)
    if REPLAYED in answer.headers:
        return answer
    if wish.bill:
        await simulated_time.bill(caller.catalog.sql, closer, made[0])
    return await kept_for_key(request, caller, reply(caller.dialect, await _latest(caller, closer), status=202))


def _wish(asked: MoveInput) -> Move:
    instant = asked.frozen_time if asked.frozen_time is not None else asked.simulated_time
    if (asked.advance_days is None) == (instant is None):
        raise invalid("frozenTime", "send exactly one of advanceDays and frozenTime")
    if asked.advance_days is not None and not 1 <= asked.advance_days <= _DAYS_MAX:
        raise invalid("advanceDays", f"must be from 1 to {_DAYS_MAX}")
    try:
        target_ms = None if instant is None else parse_instant_us(instant) // 1000
    except (ValueError, OverflowError) as error:
        raise invalid("frozenTime", "must be an ISO 8601 instant") from error
    return Move(advance_days=asked.advance_days, target_ms=target_ms, bill=asked.bill)


@get("/", summary="Read the test clock and its latest run")
async def read(caller: NamedDependency[Caller], closer: NamedDependency[Closer]) -> Response[bytes]:
    """`simulatedTime` is null while the organization runs on real time."""
    caller.must_read(_RESOURCE)
    simulated_time.must_be_sandbox(caller.organization)
    clock_ms = caller.organization.clock_ms
    members = {
        **caller.object("test_clock"),
        "simulatedTime": None if clock_ms is None else instant_text(clock_ms),
        "isActive": clock_ms is not None,
        "now": instant_text(caller.now_ms),
        "latestRun": await _latest(caller, closer),
    }
    return reply(caller.dialect, members)


@post("/process-billing", status_code=200, summary="Bill what is due (era A)")
async def process_billing(caller: NamedDependency[Caller], closer: NamedDependency[Closer]) -> Response[bytes]:
    """Moving the clock bills by itself since era C, so later eras get 410."""
    if caller.dialect is not Dialect.A:
        raise rejected("endpoint_deprecated", "Moving the clock bills what is due: POST /test-clock.")
    caller.must_write(_RESOURCE)
    simulated_time.must_be_sandbox(caller.organization)
    done = await closer.close_due(caller.organization.id_text)
    members = {
        "customersFound": done.settled + done.stopped + done.waiting,
        "enqueued": done.settled + done.waiting,
        "failed": done.stopped,
        "dunningRetried": 0,
        "dunningFailed": 0,
    }
    return reply(caller.dialect, members)


async def _latest(caller: Caller, closer: Closer) -> dict[str, Any] | None:
    found = await simulated_time.latest(caller.catalog.sql, closer, caller.organization)
    if found is None:
        return None
    run, items = found
    async with caller.catalog.sql.snapshot() as connection:
        written = await invoices.read_all(connection, [item.invoice_id for item in items if item.invoice_id])
        names = await find_customers(connection, caller.organization.id, [item.customer_id for item in items])
    spelled = [
        _item(
            item,
            number=shape.number_text(written[item.invoice_id].number) if item.invoice_id else None,
            customer=names.get(item.customer_id),
        )
        for item in items
    ]
    return _run(caller, run, spelled)


def _run(caller: Caller, run: ClockRun, items: list[dict[str, Any]]) -> dict[str, Any]:
    done = [item["status"] for item in items]
    return {
        **caller.object("test_clock_run"),
        "id": run.id,
        "status": run.status,
        "startedAtTime": instant_text(run.started_ms),
        "targetTime": instant_text(run.target_ms),
        "simulatedTime": instant_text(run.target_ms),
        "isActive": True,
        "now": instant_text(run.target_ms),
        "estimatedDeadlineCount": len(items),
        "completedDeadlineCount": done.count("completed"),
        "failedDeadlineCount": done.count("failed"),
        "error": _error(run, items),
        "items": items,
    }


def _error(run: ClockRun, items: list[dict[str, Any]]) -> str | None:
    told = [item["error"] for item in items if item["error"] is not None]
    if told:
        return f"invoices stopped: {told[0]}"
    return f"steps stopped: {_RAISED}" if run.status == FAILED else None


def _item(close: CloseRow, *, number: str | None, customer: Customer | None) -> dict[str, Any]:
    """Spell a close; of a customer who was deleted since there is no name (R-CUST-9)."""
    stopped = close.state is CloseState.STOPPED
    return {
        "kind": "billing_cycle",
        "status": _ITEM_STATUS[close.state],
        "dueAt": instant_text(close.end_us // 1000),
        "subscriptionId": close.subscription_id,
        "customerName": None if customer is None else customer.full_name,
        "invoiceNumber": number,
        "invoiceId": close.invoice_id,
        "outcome": ("invoiced" if close.invoice_id else "nothing_due") if close.state is CloseState.SETTLED else None,
        "detail": "final" if close.final else None,
        "error": _why(close) if stopped else None,
    }


def _why(close: CloseRow) -> str:
    if close.live is not None:
        return "LIVE and RAW differ"
    return _RAISED if close.refusal is None else _REFUSED.get(close.refusal, close.refusal)


TEST_CLOCK: Final = Router(
    path="/test-clock", route_handlers=[move, read, process_billing], dependencies=DEPENDENCIES, tags=["test clock"]
)
