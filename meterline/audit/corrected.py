"""Events that corrections name, as the audit reckons what they count; corrections have to say the same. Pure.

Source: ADR 10.
"""

from decimal import Decimal
from typing import Final

from meterline.audit.decoding import Attempt, Correction, Position
from meterline.audit.pool import Taken

_ZERO: Final = Decimal(0)


class CorrectedEvents:
    """What each of the `watched` events counts, as corrections change it; `count` counts these."""

    def __init__(self) -> None:
        self.watched: set[Position] = set()
        self.count = 0
        self._counts: dict[Position, Correction] = {}

    def misfit(self, attempt: Attempt) -> Correction | None:
        """Tell what a correction should say of its event; None when it says that, or the event was not watched."""
        said = attempt.corrects
        counts = None if said is None else self._counts.get(said.original)
        if said is None or counts is None:
            return None
        expected = counts._replace(number=counts.number + 1, void=said.void)
        return None if not counts.void and said == expected else expected

    def note(self, attempt: Attempt, where: tuple[int, int, int], taken: Taken) -> None:
        """Take an event that counts, or what a correction makes of it; `where` is term, window and its end."""
        said = attempt.corrects
        if said is not None:
            self.count += 1
            self._change(attempt, said, taken)
        elif attempt.position in self.watched:
            term, window, window_end = where
            self._counts[attempt.position] = Correction(
                original=attempt.position,
                number=0,
                void=False,
                term=term,
                window=window,
                window_end=window_end,
                quantity=attempt.quantity,
                pool=taken.pool,
                cost=taken.cost,
                taken=sum(taken.four, _ZERO),
            )

    def _change(self, attempt: Attempt, said: Correction, taken: Taken) -> None:
        before = self._counts.get(said.original)
        if before is not None:
            self._counts[said.original] = before._replace(
                number=said.number,
                void=said.void,
                quantity=before.quantity + attempt.quantity,
                cost=before.cost + taken.cost,
                taken=before.taken + sum(taken.four, _ZERO),
            )
