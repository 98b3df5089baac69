import asyncio
from collections.abc import Sequence

import pytest

from catalog.definition import Customer
from catalog.gateway.customer import LOOK_UP_MAX, SharedLookUp
from kernel.errors import Unavailable

ORGANIZATION = b"o" * 16


class Source:
    """Records each look-up; answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def look_up(self, _: bytes, references: Sequence[str]) -> dict[str, Customer | None]:
        self.asked.append(list(references))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return dict.fromkeys(references)


async def test_who_asks_meanwhile_shares_the_next_look_up() -> None:
    source = Source()
    shared = SharedLookUp(source.look_up)
    first = asyncio.create_task(shared.find(ORGANIZATION, ["a"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(shared.find(ORGANIZATION, [name])) for name in ("a", "b", "b")]
    await asyncio.sleep(0)
    source.gate.set()
    assert await first == {"a": None}
    assert await asyncio.gather(*others) == [{"a": None}, {"b": None}, {"b": None}]
    # The one under way may have read before the others asked, so it answers none of them.
    assert source.asked == [["a"], ["a", "b"]]


async def test_one_who_goes_away_takes_nobody_along() -> None:
    source = Source()
    shared = SharedLookUp(source.look_up)
    gone, stays = (asyncio.create_task(shared.find(ORGANIZATION, ["a"])) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    source.gate.set()
    assert await stays == {"a": None}
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_an_error_is_everybodys_and_the_next_look_up_is_a_new_one() -> None:
    source = Source()
    source.gate.set()
    source.error = Unavailable("SQL is away")
    shared = SharedLookUp(source.look_up)
    answers = await asyncio.gather(*(shared.find(ORGANIZATION, ["a"]) for _ in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    source.error = None
    assert await shared.find(ORGANIZATION, ["a"]) == {"a": None}


async def test_many_names_go_in_parts() -> None:
    source = Source()
    source.gate.set()
    names = [str(number) for number in range(2 * LOOK_UP_MAX + 1)]
    assert list(await SharedLookUp(source.look_up).find(ORGANIZATION, names)) == names
    assert [len(asked) for asked in source.asked] == [LOOK_UP_MAX, LOOK_UP_MAX, 1]
