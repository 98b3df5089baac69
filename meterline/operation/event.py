"""Events corrected by an operator: voided or amended, with the refusals that the HTTP routes give.

Where a server runs its own admission carries the correction; else it is appended, and looked for until it is judged.
Source: ADR 10; DESIGN 3.4.
"""

import asyncio
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from aggregator.correction_event import Correction, checked_reason, checked_value
from aggregator.routes.corrector import Corrector
from aggregator.routes.lookup import find_event
from aggregator.row import EventRow, corrected_of
from aggregator.usage import position_of
from catalog.definition import Principal
from catalog.gateway.http import Caller
from ingest.answer import Judged, Pending
from ingest.event import NO_REQUEST, UsageEvent, encode_usage
from ingest.gateway.call import PreparedCall
from ingest.verdict import Outcome, Verdict
from kernel.errors import Misconfigured
from kernel.limits import REPLAY_WAIT_MS
from kernel.position import Position
from kernel.quantity import EXACT, canonical
from kernel.wire import Dialect
from meterline.operation.organization import chosen

if TYPE_CHECKING:
    from meterline.app import App

_LOOK_S: Final = 0.02
_OPERATOR: Final = "operator"


async def void(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Void the event `what`: its id, or the key under which `customer` sent it; `reason` is kept with the correction.

    Returns the correction's `id`, the `event` that it corrects, and what that one counts `before` and `after`. Raises
    Rejected with the codes of `POST /usage/events/void`, Unavailable when nobody said yet what became of it.
    """
    return await _correct(app, params, None)


async def amend(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Let the event `what` count `value`, a decimal string, from now on; the rest is as in `void`."""
    try:
        value = Decimal(str(params["value"]))
    except InvalidOperation as error:
        raise Misconfigured(f"{params['value']!r} is not a number") from error
    return await _correct(app, params, checked_value(value))


async def _correct(app: "App", params: dict[str, Any], value: Decimal | None) -> dict[str, Any]:
    organization = await chosen(app, params)
    await app.catalog.refresh()
    caller = Caller(
        catalog=app.catalog,
        principal=Principal(organization=organization.id, key_id=_OPERATOR),
        organization=organization,
        dialect=Dialect.D,
        real_ms=app.clock.now_ms(),
    )
    admission = app.admission if app.role.serves else _Submission(app)
    corrector = Corrector(caller, admission, app.usage_store, app.log, app.live, app.clock)
    what = str(params["what"])
    is_id = Position.from_event_id(what) is not None
    original = await corrector.find(what if is_id else None, params.get("customer"), None if is_id else what)
    asked = Correction(value=value, reason=checked_reason(params.get("reason")))
    return _told(await corrector.correct(original, asked, NO_REQUEST))


def _told(row: EventRow) -> dict[str, Any]:
    corrects = corrected_of(row)
    assert corrects is not None, "a correction was made"
    before = Decimal(corrects.quantity)
    return {
        "id": position_of(row).event_id(),
        "event": row.corrects,
        "customer": row.customer,
        "number": corrects.number,
        "void": corrects.void,
        "before": canonical(before),
        "after": canonical(EXACT.add(before, Decimal(row.quantity))),
    }


class _Submission:
    """Appends a correction itself, and looks for its verdict where events are looked up."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def stamp(self) -> int:
        """Tell `at`: real time."""
        return self._app.clock.now_ms()

    async def submit(self, call: PreparedCall) -> None:
        """Append the call's event; it is settled when it is judged, or pending when nobody judges it for long."""
        app = self._app
        await call.resolve(app.catalog)
        [event], [lane] = call.events, call.by_lane
        assert isinstance(event, UsageEvent), "it was made by this program"
        offset = await app.log.append(lane, encode_usage(app.process_id, [event]))
        place = Position(app.log.epoch, lane, offset, 0)
        started_ms = app.clock.monotonic_ms()
        while (outcome := await self._outcome(event, place)) is None:
            if app.clock.monotonic_ms() - started_ms > REPLAY_WAIT_MS:
                call.settled[0] = Pending(event, *place)
                return
            await asyncio.sleep(_LOOK_S)
        call.settled[0] = Judged(event, outcome, *place)

    async def _outcome(self, event: UsageEvent, place: Position) -> Outcome | None:
        app = self._app
        organization = app.catalog.organization(event.organization)
        found = await find_event(app.usage_store, app.log, app.live, organization.id, organization.id_text, place)
        if found is None or not found[0].verdict:
            return None
        row = found[0]
        original = Position.from_event_id(row.original)
        return Outcome(
            verdict=Verdict(row.verdict),
            code=row.code,
            original=b"" if original is None else original.to_bytes(),
            original_at_ms=row.original_at,
        )
