"""Why a thing is what it is, as `GET /explain/{id}` says, and where it stands in every store, for an operator."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import text

from aggregator.account import decode_account
from aggregator.row import EVENT_COLUMNS, EventRow
from aggregator.usage import position_of
from billing.gateway.explain import KINDS, Explainer
from catalog.terms import decode_snapshot
from ingest.verdict import Verdict, decode_outcomes
from kernel import ids
from kernel.errors import Misconfigured
from kernel.lane import lane_of
from kernel.period import date_of, instant_text
from kernel.position import EVENT_PREFIX, Position
from kernel.quantity import canonical, from_units

if TYPE_CHECKING:
    from meterline.app import App

_DREW: Final = frozenset(
    {"pool", "cost", "drawn_plan", "drawn_packs", "drawn_top_ups", "overdraft", "pool_left", "currency"}
)
_CORRECTS: Final = ("corrects", "correction")
_TOKENS: Final = frozenset(EVENT_COLUMNS[EVENT_COLUMNS.index("margin") :]).difference(_CORRECTS)
_SUMS: Final = (
    "SELECT feature, term, toString(`window`), toString(sum(quantity)), count() FROM events FINAL"
    " WHERE organization = {organization:String} AND customer = {customer:String} AND verdict = 'counted'"
    " GROUP BY feature, term, `window` ORDER BY feature, term, `window`"
)


async def explain(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Explain what `what` names: as `GET /explain/{id}` does, or where a customer stands in every store.

    Raises Misconfigured or Rejected when there is no such thing.
    """
    what = str(params["what"])
    if what.startswith(EVENT_PREFIX):
        return await _event(app, what)
    if what.startswith(KINDS):
        return await _explainer(app).explain(what, params.get("organization"))
    return await _customer(app, what, params.get("organization"))


def _explainer(app: "App") -> Explainer:
    return Explainer(app.sql, app.live, app.usage_store, app.catalog)


async def _event(app: "App", event_id: str) -> dict[str, Any]:
    """Explain an event, and tell how far it came: an operator asks about those too that nobody has judged."""
    position = Position.from_event_id(event_id)
    if position is None:
        raise Misconfigured(f"{event_id!r} is not an event's id")
    row = await app.usage_store.event_at(position)
    header = (await app.live.view(position.lane, [])).header
    stands = {
        "position": f"{position.record()}.{position.index}",
        "folded": header is not None and position.offset < header.next,
        "sunk": header is not None and position.offset < header.sunk,
        "inRaw": row is not None,
    }
    if row is not None:
        told = {**await _explainer(app).explain_row(row), "event": _event_facts(row), "stands": stands}
        return {**told, "replayedBy": await _replays(app, row)} if _is_letter(row) else told
    outcome = (await app.live.outcomes(position.lane, [position.offset], epoch=position.epoch))[0]
    if outcome is not None and position.index < len(outcomes := decode_outcomes(outcome)):
        found = outcomes[position.index]
        why = "It is judged, and RAW does not have it yet: ask again in a second."
        return {"id": event_id, "why": why, "verdict": found.verdict.value, "code": found.code, "stands": stands}
    bounds = await app.log.bounds(position.lane)
    if position.offset >= bounds.end or position.epoch != app.log.epoch:
        raise Misconfigured(f"there is no event {event_id}: the log ends before its position")
    return {"id": event_id, "why": "It is durable in the log and not judged yet.", "stands": stands}


def _event_facts(row: EventRow) -> dict[str, Any]:
    """Spell the row as RAW has it; what it drew, its tokens and what it corrects only where there is such a thing."""
    facts: dict[str, Any] = msgspec.to_builtins(row)
    names = set(facts) - (set() if row.pool else _DREW) - (set() if row.model else _TOKENS)
    names -= set() if row.corrects else {*_CORRECTS}
    dates = {name: date_of(facts[name]).isoformat() for name in ("window", "window_end")}
    return {name: value for name, value in {**facts, **dates}.items() if name in names}


def _is_letter(row: EventRow) -> bool:
    return row.verdict == Verdict.DEAD and not row.original


async def _replays(app: "App", letter: EventRow) -> list[dict[str, str]]:
    """Tell the replays of a dead letter, and what became of each."""
    found = await app.usage_store.replays_of(letter)
    return [{"id": position_of(one).event_id(), "verdict": one.verdict, "code": one.code} for one in found]


async def _customer(app: "App", what: str, organization: str | None) -> dict[str, Any]:
    async with app.sql.snapshot() as connection:

        async def rows(statement: str, **values: Any) -> list[dict[str, Any]]:
            return [dict(row) for row in (await connection.execute(text(statement), values)).mappings()]

        named = (
            "SELECT id, organization_id, external_id, archived FROM customers WHERE (id = :what OR external_id = :what)"
        )
        if organization is None:
            found = await rows(named, what=what)
        else:
            found = await rows(f"{named} AND organization_id = :org", what=what, org=organization)
        if len(found) != 1:
            say = "say which --organization is meant" if found else "no event, invoice, refusal or customer has this id"
            raise Misconfigured(f"{what!r}: {say}")
        customer = found[0]
        account = await rows(
            "SELECT rev, shown_rev, cut, open_cut FROM accounts WHERE customer_id = :c", c=customer["id"]
        )
        subscriptions = await rows(
            "SELECT id, plan_name, status, term, start_us, end_us FROM subscriptions WHERE customer_id = :c",
            c=customer["id"],
        )
        closes = await rows(
            "SELECT cut, state, through_day, invoice_id, CAST(live AS TEXT) AS live, CAST(raw AS TEXT) AS raw"
            " FROM closes WHERE customer_id = :c ORDER BY cut",
            c=customer["id"],
        )
    sums = await app.raw.query(_SUMS, {"organization": customer["organization_id"], "customer": customer["id"]})
    return {
        "id": customer["id"],
        "externalId": customer["external_id"],
        "organization": customer["organization_id"],
        "archived": bool(customer["archived"]),
        "sql": account[0] if account else None,
        "subscriptions": subscriptions,
        "closes": closes,
        "live": await _live(app, ids.id_bytes(customer["id"])),
        "raw": [
            dict(zip(("feature", "term", "window", "sum", "events"), map(_plain, row), strict=True)) for row in sums
        ],
    }


async def _live(app: "App", customer: bytes) -> dict[str, Any] | None:
    lane = lane_of(customer, app.log.lanes)
    view = await app.live.view(lane, [customer])
    state = view.accounts[0]
    if state.account is None:
        return None
    account = decode_account(state.account)
    snapshot = None if state.snapshot is None else decode_snapshot(state.snapshot)
    return {
        "lane": lane,
        "next": None if view.header is None else view.header.next,
        "rev": account.rev,
        "clock": instant_text(account.clock_ms),
        "cut": account.cut,
        "status": None if snapshot is None or snapshot.status is None else snapshot.status.value,
        "totals": [
            {
                "feature": ids.id_text(ids.FEATURE, feature),
                "term": term,
                "window": f"{date_of(window)} to {date_of(total.end)}",
                "now": canonical(from_units(total.now)),
                "atCut": canonical(from_units(total.at_cut)),
            }
            for (feature, term, window), total in sorted(account.totals.items())
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | None) else int(value)
