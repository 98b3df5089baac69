"""A close on which something raises before its invoice is written: the others of its batch and of the pass go on."""

from collections.abc import Mapping, Sequence

from aggregator.account import Account
from billing import tables
from billing.store.close import CloseRow
from billing.worker.cut_wait import CutWait
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture


class Stumbling(CutWait):
    """Waits for cuts, and raises on one customer's."""

    customer = ""
    waits = 0

    async def frozen(self, batch: Sequence[CloseRow]) -> Mapping[str, Account]:
        self.waits += 1
        if self.customer in [close.customer_id for close in batch]:
            raise ValueError("an account that does not decode")
        return await super().frozen(batch)


async def test_a_close_on_which_looking_raises_is_left_alone_and_no_other(world: World) -> None:
    """R-INV-11: of the same batch, of another organization, and later itself; it is counted and seen."""
    here, there = world.http.headers["x-api-key"], await world.other_organization()
    for key, names in ((here, ("acme", "other")), (there, ("third",))):
        world.http.headers["x-api-key"] = key
        await world.now("2026-01-05T00:00:00Z")
        if key == there:
            await world.plans()
        for name in names:
            made = await world.customer(name)
            await world.subscribe(name)
            if name == "acme":
                acme = made
        await world.now("2026-02-05T00:00:00Z", bill=False)
    world.closer._cut_wait = stumbling = Stumbling(world.live, world.store, world.catalog)
    stumbling.customer = acme

    summary = await world.closer.close_due()
    assert (summary.settled, summary.stopped, summary.waiting) == (2, 1, 0)
    assert [(row.state, row.customer_id == acme) for row in await world.rows(tables.closes)].count(("cut", True)) == 1
    before = stumbling.waits
    assert (await world.closer.close_due()).stopped == 0
    assert stumbling.waits == before, "it is not tried again at once"
    assert "meterline_close_stopped_total 1.0" in world.telemetry.render().decode()
    world.http.headers["x-api-key"] = here
    run = await world.call("POST", "/test-clock", {"advanceDays": 1}, expect=202)
    assert (run["status"], run["error"].split(":")[0]) == ("failed", "steps stopped")

    stumbling.customer = ""
    assert (await world.closer.close_due(resume=True)).settled == 1
    assert [len(await world.lines(name)) for name in ("acme", "other")] == [2, 2]
