"""A rebuild while others go on: what it reads of the log and of RAW is not of one moment."""

from aggregator.worker.rebuild import rebuild_lane
from kernel.clock import ManualClock
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.telemetry import Telemetry
from tests.simulation.raw import MemoryUsageStore, Tables

EPOCH, LANE = 1, 0


class _OthersGoOn(MemoryUsageStore):
    """RAW, whose progress rises with the log while somebody asks for it."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(Tables())
        self._log = log

    async def progress(self, epoch):
        offset = await self._log.append(LANE, b"appended, folded and sunk meanwhile")
        await self.write_progress(epoch, {LANE: (offset + 1, 0)})
        return await super().progress(epoch)


async def test_a_log_that_grows_under_a_rebuild_is_no_other_log() -> None:
    clock = ManualClock(1_767_225_600_000)
    log, live = MemoryLog(epoch=EPOCH, lanes=1, clock=clock), MemoryLive(clock)
    await log.create()
    made = await rebuild_lane(
        LANE,
        log=log,
        live=live,
        store=_OthersGoOn(log),
        clock=clock,
        telemetry=Telemetry(),
        expected_token=None,
    )
    header = (await live.view(LANE, ())).header
    assert made
    assert header is not None
    assert header.next == (await log.bounds(LANE)).end == 1
