"""Events on which the fold's own code raises: they become dead letters, and nothing else does."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from aggregator import fold

DEADLY = "13"


class SpoiltError(RuntimeError):
    """What a bug in pure code might raise."""


@contextmanager
def spoilt() -> Iterator[None]:
    """Let the fold raise on every event of this quantity that comes so far as to be counted."""
    units = fold._units

    def raising(quantity: str) -> int:
        if quantity == DEADLY:
            raise SpoiltError(quantity)
        return units(quantity)

    with patch.object(fold, "_units", raising):
        yield
