"""The lanes that this process folds: their workers, started and ended as lanes come and go.

Invariant: a lane has one worker here at most, and one that goes has ended before it is forgotten.
"""

import asyncio
from collections.abc import Callable, Collection

from aggregator.worker.lane import LaneWorker
from aggregator.worker.sink import Sink


class Lanes:
    """Holds lanes. `workers` are those that fold now, by lane."""

    def __init__(self, make: Callable[[int], LaneWorker], sink: Sink) -> None:
        self.workers: dict[int, LaneWorker] = {}
        self._make = make
        self._sink = sink
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def hold(self, wanted: Collection[int]) -> None:
        """Fold exactly `wanted`: end the others, then start what is missing. A stopped lane stays as it is."""
        await self._end([lane for lane in self._tasks if lane not in wanted])
        for lane in wanted:
            if lane not in self._tasks:
                worker = self.workers[lane] = self._make(lane)
                self._tasks[lane] = asyncio.create_task(worker.run(), name=f"lane-{lane}")

    async def stop(self) -> None:
        """End all workers; what they folded stays with the sink."""
        await _canceled(list(self._tasks.values()))
        self._tasks.clear()
        self.workers.clear()

    async def _end(self, lanes: Collection[int]) -> None:
        await _canceled([self._tasks[lane] for lane in lanes])
        for lane in lanes:
            del self._tasks[lane], self.workers[lane]
            self._sink.release(lane)

    def not_ready(self) -> str | None:
        """Say of the first lane that does not fold why; None: all do."""
        for lane, worker in sorted(self.workers.items()):
            if worker.stopped is not None:
                return f"lane {lane} is stopped: {worker.stopped}"
            if not worker.ready:
                return f"lane {lane} is not folded yet"
        return None


async def _canceled(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
