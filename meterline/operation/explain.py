"""Where an event, an invoice or a customer stands, and why, in words an operator can pass on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from aggregator.account import decode_account
from aggregator.usage import position_of
from billing.gateway.explain import Explainer
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

WHY: Final[Mapping[str, str]] = {
    "counted": "It counts: durable in the log, in the live balance, and in the window and cut named here.",
    "repeat": "It is the identical repetition of an event that counts; it was answered with the first answer.",
    "duplicate": "Its key belongs to an event that counts already; it does not count again.",
    "conflict": "Its key belongs to an event that counts already, which names another feature or amount.",
    "blocked": "It would have passed the included amount, and the terms allow no overage.",
    "refused": "The terms in force did not take it; the code says why.",
    "superseded": "A later attempt of its key was refused before it was judged; it never counts.",
    "dead": "Our own code failed on it; it is kept and does not count, but a replay of it may.",
}
_POOL_WHY: Final = {
    "insufficient_credits": "It would have taken more than the credits of the plan and of packs that were left.",
    "insufficient_balance": "It would have taken more than the balance had left, which may not be overdrawn.",
}
_EVENT: Final = (
    "SELECT organization, customer, feature, toString(event_time), toString(accepted_at), toString(quantity), key,"
    " toString(verdict), toString(code), term, toString(`window`), toString(window_end), cut, original, gateway,"
    " replays, toString(pool), toString(cost), toString(drawn_plan), toString(drawn_packs), toString(drawn_top_ups),"
    " toString(overdraft), toString(pool_left), toString(model), input_tokens, output_tokens, cache_read_tokens,"
    " cache_write_tokens, input_cost, output_cost, cache_read_cost, cache_write_cost, base_cost, toString(margin),"
    " toString(price_version)"
    " FROM events FINAL WHERE epoch = {epoch:UInt8} AND lane = {lane:UInt16} AND `offset` = {offset:UInt64}"
    " AND `index` = {index:UInt16}"
)
_EVENT_NAMES: Final = (
    "organization",
    "customer",
    "feature",
    "eventTime",
    "acceptedAt",
    "quantity",
    "key",
    "verdict",
    "code",
    "term",
    "window",
    "windowEnd",
    "cut",
    "original",
    "gateway",
    "replays",
)
_DREW_NAMES: Final = ("pool", "cost", "plan", "packs", "topUps", "overdraft", "poolLeft")
_TOKEN_NAMES: Final = (
    "model",
    "inputTokens",
    "outputTokens",
    "cacheReadTokens",
    "cacheWriteTokens",
    "inputCost",
    "outputCost",
    "cacheReadCost",
    "cacheWriteCost",
    "baseCost",
    "marginPercent",
    "priceVersion",
)
_SUMS: Final = (
    "SELECT feature, term, toString(`window`), toString(sum(quantity)), count() FROM events FINAL"
    " WHERE organization = {organization:String} AND customer = {customer:String} AND verdict = 'counted'"
    " GROUP BY feature, term, `window` ORDER BY feature, term, `window`"
)


async def explain(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Explain what `what` names. Raises Misconfigured when there is no such thing."""
    what = str(params["what"])
    if what.startswith(EVENT_PREFIX):
        return await _event(app, what)
    if what.startswith(ids.REFUSAL):
        return await _refusal(app, what)
    if what.startswith(ids.INVOICE):
        return await _explainer(app).explain_invoice(what)
    if what.startswith(ids.SUBSCRIPTION):
        return await _explainer(app).explain_close(what)
    return await _customer(app, what, params.get("organization"))


def _explainer(app: "App") -> Explainer:
    return Explainer(app.sql, app.live, app.usage_store, app.catalog)


async def _event(app: "App", event_id: str) -> dict[str, Any]:
    position = Position.from_event_id(event_id)
    if position is None:
        raise Misconfigured(f"{event_id!r} is not an event's id")
    rows = await app.raw.query(_EVENT, dict(position._asdict()))
    header = (await app.live.view(position.lane, [])).header
    stands = {
        "position": f"{position.record()}.{position.index}",
        "folded": header is not None and position.offset < header.next,
        "sunk": header is not None and position.offset < header.sunk,
        "inRaw": bool(rows),
    }
    if rows:
        event = _event_facts(rows[0])
        told = {"id": event_id, "why": _why(event), "event": event, "stands": stands}
        return {**told, "replayedBy": await _replays(app, position)} if _is_letter(event) else told
    outcome = (await app.live.outcomes(position.lane, [position.offset], epoch=position.epoch))[0]
    if outcome is not None and position.index < len(outcomes := decode_outcomes(outcome)):
        found = outcomes[position.index]
        return {"id": event_id, "why": WHY[found.verdict.value], "verdict": found.verdict.value, "stands": stands}
    bounds = await app.log.bounds(position.lane)
    if position.offset >= bounds.end or position.epoch != app.log.epoch:
        raise Misconfigured(f"there is no event {event_id}: the log ends before its position")
    return {"id": event_id, "why": "It is durable in the log and not judged yet.", "stands": stands}


def _event_facts(row: tuple[Any, ...]) -> dict[str, Any]:
    """Name the columns of an event; what it drew and its tokens only where there is such a thing."""
    facts = dict(zip((*_EVENT_NAMES, *_DREW_NAMES, *_TOKEN_NAMES), map(_plain, row), strict=True))
    event = {name: facts[name] for name in _EVENT_NAMES}
    if facts["pool"]:
        event["drew"] = {name: facts[name] for name in _DREW_NAMES}
    if facts["model"]:
        event["tokens"] = {name: facts[name] for name in _TOKEN_NAMES}
    return event


def _is_letter(event: Mapping[str, Any]) -> bool:
    return event["verdict"] == Verdict.DEAD and not event["original"]


def _why(event: Mapping[str, Any]) -> str:
    words = _POOL_WHY.get(event["code"], WHY[event["verdict"]])
    if not event["replays"]:
        return words
    if event["verdict"] == Verdict.SUPERSEDED:
        words = "Nothing of it was remembered any more; it never counts."
    return f"It replays the dead letter {event['replays']}. {words}"


async def _replays(app: "App", position: Position) -> list[dict[str, str]]:
    """Tell the replays of a dead letter, and what became of each."""
    letter = await app.usage_store.event_at(position)
    found = [] if letter is None else await app.usage_store.replays_of(letter)
    return [{"id": position_of(one).event_id(), "verdict": one.verdict, "code": one.code} for one in found]


async def _refusal(app: "App", refusal_id: str) -> dict[str, Any]:
    names = ("organization", "at", "customer", "feature", "key", "code", "message", "body")
    rows = await app.raw.query(
        "SELECT organization, toString(at), customer, feature, key, toString(code), message, body"
        " FROM refusals FINAL WHERE id = {id:String}",
        {"id": refusal_id},
    )
    if not rows:
        raise Misconfigured(f"there is no refusal {refusal_id}, or it was not kept")
    why = "The catalog alone refused it; it never reached the log and never counts."
    return {"id": refusal_id, "why": why, "request": dict(zip(names, rows[0], strict=True))}


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
