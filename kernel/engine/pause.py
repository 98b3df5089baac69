"""Growing pauses of a worker whose store is away."""

import asyncio

from kernel.limits import RETRY_MS_MAX, RETRY_MS_MIN


class Pause:
    """Waits from RETRY_MS_MIN on, twice as long each time, at most RETRY_MS_MAX; `reset` after a success."""

    def __init__(self) -> None:
        self._ms = RETRY_MS_MIN

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._ms = RETRY_MS_MIN

    async def wait(self) -> None:
        """Wait, and wait longer the next time."""
        await asyncio.sleep(self._ms / 1_000)
        self._ms = min(self._ms * 2, RETRY_MS_MAX)
