"""What clients take back: they void and amend events that were accepted, by key or by id, again and at once.

`Wish` is what they remember of each for the auditor; its tag is the correction's reason, so that the log tells whose it
is.
"""

import asyncio
from decimal import Decimal

import msgspec

from aggregator.correction_event import Correction
from aggregator.routes.corrector import Corrector
from aggregator.usage import position_of
from catalog.gateway.http import Caller
from kernel.errors import MeterlineError, Rejected
from kernel.wire import Dialect
from tests.simulation.node import HungUpError, Node
from tests.simulation.town import KEY
from tests.simulation.world import World

PATIENCE_SECONDS = 8
# The whole value that an event has from then on; None voids it. No difference is one on which the fold raises.
VALUES = (None, None, None, "0.25", "0.5", "1", "1.5", "3")
ONCE = bytes(8)  # no request by which asking again is known


class Wish(msgspec.Struct):
    """One correction that was asked for.

    It names its event by `key`, or by the id `event`; `answer` is the correction that was answered.
    """

    tag: str
    customer: str
    feature: str
    key: str | None
    event: str
    value: str | None
    request: bytes
    answer: str = ""


async def corrector_of(app) -> Corrector:
    """Make what corrects events in a gateway, for the simulated seller's key."""
    await app.catalog.current()
    principal = app.catalog.principal(KEY)
    organization = app.catalog.organization(principal.organization)
    caller = Caller(
        catalog=app.catalog,
        principal=principal,
        organization=organization,
        dialect=Dialect.D,
        real_ms=app.clock.now_ms(),
    )
    return Corrector(caller, app.admission, app.usage_store, app.log, app.live, app.clock)


async def correct(world: World, node: Node, wish: Wish) -> None:
    """Ask a gateway for a correction, and note what it answers."""

    async def ask(app):
        corrector = await corrector_of(app)
        if wish.key is None:
            found = await corrector.by_id(wish.event)
        else:
            found = await corrector.by_key(
                await app.catalog.customer(corrector._caller.organization.id, wish.customer), wish.key, wish.request
            )
        value = None if wish.value is None else Decimal(wish.value)
        row = await corrector.correct(found, Correction(value=value, reason=wish.tag), wish.request)
        return position_of(found).event_id(), position_of(row).event_id()

    world.note(f"correct {wish.tag} {wish.customer} {wish.key or wish.event} {wish.value}")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            event, answer = await node.ask(ask)
    except Rejected as error:
        world.note(f"corrected {wish.tag}: {error.refusal.code}")
    except (HungUpError, TimeoutError, MeterlineError) as error:
        world.note(f"corrected {wish.tag}: {error!r}")
    else:
        world.note(f"corrected {wish.tag}: {answer}")
        if wish.answer and (wish.event, wish.answer) != (event, answer):
            world.violate(f"{wish.tag} was answered {wish.answer} of {wish.event}, then {answer} of {event}")
        wish.event, wish.answer = event, answer
