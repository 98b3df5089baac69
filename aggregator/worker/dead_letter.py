"""When dead letters stop a lane: then it is not one sender's data that is wrong, but us. Source: DESIGN 8."""

from collections import deque
from collections.abc import Sequence

from kernel.errors import Fatal
from kernel.limits import (
    DEAD_LETTER_CUSTOMERS_MIN,
    DEAD_LETTER_PER_CENT,
    DEAD_LETTER_WINDOW_EVENTS,
    DEAD_LETTERS_MIN,
)


class DeadLetterLimit:
    """Counts a lane's dead letters among its last events, slice by slice."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, tuple[bytes, ...]]] = deque()
        self._events = 0
        self._dead = 0

    def check(self, events: int, dead: Sequence[bytes]) -> None:
        """Count a slice of `events` with the customers of its new dead letters. Raises Fatal past the limit."""
        self._slices.append((events, tuple(dead)))
        self._events += events
        self._dead += len(dead)
        while self._slices and self._events - self._slices[0][0] >= DEAD_LETTER_WINDOW_EVENTS:
            gone, letters = self._slices.popleft()
            self._events -= gone
            self._dead -= len(letters)
        if dead and self._dead >= max(DEAD_LETTERS_MIN, DEAD_LETTER_WINDOW_EVENTS * DEAD_LETTER_PER_CENT // 100):
            customers = {customer for _, letters in self._slices for customer in letters}
            if len(customers) >= DEAD_LETTER_CUSTOMERS_MIN:
                raise Fatal(
                    f"{self._dead} of the last {self._events} events of {len(customers)} customers are dead letters: "
                    "the fold's own code is at fault"
                )
