"""A correction that says something else of its event than that one counts is found."""

from decimal import Decimal

import pytest

from meterline.audit.corrected import CorrectedEvents
from meterline.audit.decoding import Attempt, Correction
from meterline.audit.pool import Taken

PLACE, WHERE = (1, 0, 4, 0), (2, 20_000, 20_031)
TAKEN = Taken("credits", Decimal(20), Decimal(15), Decimal(5))
SAID = Correction(PLACE, 1, False, *WHERE, Decimal(2), "credits", Decimal(20), Decimal(20))


def attempt(offset: int, quantity: str, corrects: Correction | None = None) -> Attempt:
    sent = (b"o", b"c", b"f", 7, 8, None, True, Decimal(quantity), "", b"", b"", b"", (), "gw")
    return Attempt((1, 0, offset, 0), *sent, corrects=corrects)


def events(*, watched: bool = True) -> CorrectedEvents:
    found = CorrectedEvents()
    found.watched = {PLACE} if watched else set()
    found.note(attempt(4, "2"), WHERE, TAKEN)
    return found


def test_what_its_event_counts_is_no_difference() -> None:
    found = events()
    assert found.misfit(attempt(4, "2")) is None
    assert found.misfit(attempt(5, "-1", SAID)) is None
    found.note(attempt(5, "-1", SAID), WHERE, Taken("credits", Decimal(-10), Decimal(-5), Decimal(-5)))
    half = SAID._replace(number=2, void=True, quantity=Decimal(1), cost=Decimal(10), taken=Decimal(10))
    assert found.misfit(attempt(6, "-1", half)) is None
    assert found.misfit(attempt(6, "-1", SAID)) == half._replace(void=False)
    found.note(attempt(6, "-1", half), WHERE, Taken("credits", Decimal(-10), Decimal(-10)))
    again = half._replace(number=3, quantity=Decimal(0), cost=Decimal(0), taken=Decimal(0))
    assert found.misfit(attempt(7, "1", again)) is not None, "it is void"
    assert found.count == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": 2},
        {"term": 1},
        {"window": 19_999},
        {"window_end": 20_030},
        {"quantity": Decimal("2.000000001")},
        {"pool": "balance"},
        {"cost": Decimal(21)},
        {"taken": Decimal(19)},
    ],
)
def test_anything_else_is(wrong: dict[str, object]) -> None:
    assert events().misfit(attempt(5, "-1", SAID._replace(**wrong))) == SAID  # type: ignore[arg-type] # by name
    assert events(watched=False).misfit(attempt(5, "-1", SAID._replace(**wrong))) is None  # type: ignore[arg-type] # by name
