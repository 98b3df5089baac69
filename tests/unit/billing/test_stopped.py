"""Work of which one item raises, and what is left alone because it raised."""

import pytest

from billing.worker.apart import Fault, apart
from billing.worker.stopped import AGAIN_MS, Stopped
from kernel.clock import ManualClock
from kernel.errors import Unavailable, rejected
from kernel.telemetry import Telemetry
from tests.unit.billing.make import subscription


async def halved(items):
    """Work as one transaction does: on all, or on none."""
    assert items, "nobody asks for nothing"
    return [100 // item for item in items]


@pytest.mark.parametrize(
    ("items", "done", "faulty"),
    [
        ([], [], []),
        ([1, 2], [[100, 50]], []),
        ([0], [], [0]),
        ([1, 0, 2, 0], [[100], [50]], [0, 0]),
    ],
)
async def test_what_raises_keeps_nobody_else_back(items, done, faulty):
    found, faults = await apart(items, halved)
    assert (found, [fault.item for fault in faults]) == (done, faulty)
    assert {fault.reason for fault in faults} <= {"ZeroDivisionError: integer division or modulo by zero"}


async def test_a_store_that_is_away_is_nobodys_fault_and_a_refusal_is():
    async def away(_):
        raise Unavailable("SQL")

    async def refused(_):
        raise rejected("invalid_subscription_status", "no")

    with pytest.raises(Unavailable):
        await apart([1, 2], away)
    assert len((await apart([1, 2], refused))[1]) == 2


def test_what_stopped_is_left_alone_for_a_while_or_until_it_is_resumed():
    clock = ManualClock(1_000)
    stopped = Stopped(clock, Telemetry())
    one, other = subscription(id="sub_1", organization_id="org_1"), subscription(id="sub_2", organization_id="org_2")
    assert stopped.add([Fault(one, ValueError("no")), Fault(other, ValueError("no"))]) == 2
    assert (stopped.names(), stopped.any_of("org_1"), stopped.any_of("org_3")) == ({"sub_1", "sub_2"}, True, False)
    stopped.resume("org_1")
    assert (stopped.names(), stopped.any_of("org_1")) == ({"sub_2"}, False)
    clock.advance(AGAIN_MS - 1)
    assert stopped.any_of("org_2")
    clock.advance(1)
    assert (stopped.any_of("org_2"), stopped.names()) == (False, frozenset())
    stopped.add([Fault(one, ValueError("no"))])
    stopped.resume(None)
    assert stopped.names() == frozenset()
