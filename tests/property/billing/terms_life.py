"""A customer's subscriptions in SQL under any order of commands: billing's own transactions, and what they show.

Nothing is decided here that the product decides: each command is the function that its route or the closer calls. No
usage is counted, so every close finds nothing of it.
"""

from contextlib import suppress
from dataclasses import dataclass, field

from billing.gateway.canceling import CancelWish, cancel, set_end, uncancel
from billing.gateway.changing import (
    ChangeWish,
    begin_change,
    change_at_renewal,
    change_by_checkout,
    change_freely,
    choose,
)
from billing.gateway.pausing import PauseWish, extend_pause, pause, resume, revoke_pause
from billing.gateway.scheduling import schedule
from billing.gateway.subscribing import Wish, activate, send, subscribe
from billing.life.frozen import PeriodTerms
from billing.life.lifecycle import due_of
from billing.life.subscription import PauseMode, Subscription
from billing.sale.switching import Path
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.worker.changing import settle_change
from billing.worker.settled import Counted
from billing.worker.settling import settle
from billing.worker.stepping import step
from catalog.definition import Customer, Organization
from catalog.document import parse_document
from catalog.store.customer import create_customer
from catalog.store.document import apply_document
from catalog.store.organization import create_organization
from catalog.terms import Snapshot
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.errors import Rejected, Unavailable
from kernel.period import DAY_MS, Interval, parse_instant_us

START_MS = parse_instant_us("2026-01-01T10:00:00Z") // 1000
PLANS = ("free", "gift", "calls", "money", "more")
_TRIAL = '{ price = "%s", trial_days = 14 }'
CATALOG = f"""
[[feature]]
code = "calls"
name = "Calls"

[[plan]]
code = "free"
name = "Free"
free = true
features.calls = {{ included = 10 }}

[[plan]]
code = "gift"
name = "Gift"
free = true
model = "balance"
included = 5
features.calls = {{ unit_price = "0.01" }}

[[plan]]
code = "calls"
name = "Calls"
prices.monthly = {_TRIAL % "20.00"}
prices.yearly = {_TRIAL % "200.00"}
features.calls = {{ included = 10, overage = "0.01" }}

[[plan]]
code = "money"
name = "Money"
model = "balance"
prices.monthly = {_TRIAL % "50.00"}
prices.yearly = {_TRIAL % "500.00"}
features.calls = {{ unit_price = "0.01" }}

[[plan]]
code = "more"
name = "More money"
model = "balance"
prices.monthly = {_TRIAL % "90.00"}
prices.yearly = {_TRIAL % "900.00"}
features.calls = {{ unit_price = "0.01" }}

[[plan_group]]
name = "All"
plans = ["free", "gift", "calls", "money", "more"]
"""


async def seller(sql: Sql, payments: str) -> Organization:
    """Make an organization that sells the plans."""
    async with sql.transaction() as connection:
        made = await create_organization(connection, "Seller", "sandbox", START_MS, payments=payments)
        await apply_document(connection, made, parse_document(CATALOG, "toml"), now_ms=START_MS)
    return made


@dataclass
class TermsLife:
    """One customer of a seller; time only moves forward, and what is due comes before what is asked."""

    sql: Sql
    seller: Organization
    customer: Customer
    now_ms: int = START_MS
    shown: list[Snapshot] = field(default_factory=list)

    @classmethod
    async def begun(cls, sql: Sql, seller: Organization) -> "TermsLife":
        """Make a customer without a subscription."""
        customer = Customer(id=ids.new_bytes(START_MS), organization=seller.id, external_id=None, email="a@example.com")
        async with sql.transaction() as connection:
            return cls(sql, seller, await create_customer(connection, customer))

    async def do(self, what: str, *how: object) -> None:
        """Do one command; one that is refused changes nothing."""
        with suppress(Rejected, Unavailable):
            await getattr(self, what)(*how)
        async with self.sql.snapshot() as connection:
            seen = await accounts.snapshot(connection, self.customer.id_text)
        if seen is not None:
            self.shown.append(seen)

    async def periods(self) -> list[list[PeriodTerms]]:
        """Read the terms of each of the customer's subscriptions that began, oldest first."""
        async with self.sql.snapshot() as connection:
            found = await subscriptions.page(
                connection, self.seller.id_text, customer_id=self.customer.id_text, status=None, limit=99, after=None
            )
            begun = [one for one in found if one.started]
            every = await terms.of_all(connection, [one.id for one in begun])
        return [every[one.id] for one in begun]

    # Time.

    async def wait(self, days: int) -> None:
        """Let time pass; what becomes due is done in order."""
        until_ms = self.now_ms + days * DAY_MS
        while (due := await self._due(until_ms)) is not None:
            one, at_ms = due
            self.now_ms = max(self.now_ms, at_ms)
            async with self.sql.transaction() as connection:
                assert await step(connection, one, self.now_ms)
            await self._settle()
        self.now_ms = until_ms

    async def linger(self, days: int) -> None:
        """Let time pass while nothing that becomes due is done: a close is stopped."""
        self.now_ms += days * DAY_MS

    async def _due(self, until_ms: int) -> tuple[Subscription, int] | None:
        async with self.sql.snapshot() as connection:
            live = await subscriptions.live_of(connection, self.customer.id_text)
            waiting = await subscriptions.unfinished_of(connection, self.customer.id_text)
        for one in ([] if live is None else [live]) + waiting:
            due = due_of(one)
            if due is not None and due.at_us <= until_ms * 1000:
                return one, due.at_us // 1000
        return None

    async def _settle(self) -> None:
        async with self.sql.snapshot() as connection:
            close = await closes.unsettled_of(connection, self.customer.id_text)
        if close is None:
            return
        counted = Counted()
        if close.change is not None:
            await settle_change(self.sql, close, counted, self.now_ms)
        else:
            await settle(self.sql, [close], {close.customer_id: counted}, self.now_ms)

    # What is asked.

    async def subscribe(self, plan: str, interval: Interval, skip_trial: bool, draft: bool) -> None:
        """Subscribe, or begin a checkout."""
        wish = Wish(
            customer=self.customer.id_text,
            plan=plan,
            interval=None if plan in ("free", "gift") else interval,
            name=None,
            start_ms=None,
            skip_trial=skip_trial,
            draft=draft,
        )
        async with self.sql.transaction() as connection:
            await subscribe(connection, self.seller, wish, self.now_ms)

    async def complete(self) -> None:
        """Complete the checkout that waits, as if its payment had come."""
        async with self.sql.transaction() as connection:
            for one in await subscriptions.unfinished_of(connection, self.customer.id_text):
                if one.status == "draft":
                    await send(connection, self.seller, one, self.now_ms)
                else:
                    await activate(connection, one, self.now_ms, self.now_ms)

    async def change(self, plan: str, interval: Interval) -> None:
        """Change plan or interval, as it takes effect."""
        wish = ChangeWish(subscription=await self._live(), plan=plan, interval=interval)
        async with self.sql.transaction() as connection:
            chosen = await choose(connection, self.seller, wish, self.now_ms)
            match chosen.path:
                case Path.FREELY:
                    await change_freely(connection, chosen, self.now_ms, self.now_ms)
                case Path.CHECKOUT:
                    await change_by_checkout(connection, self.seller, chosen, None, self.now_ms)
                case Path.RENEWAL:
                    await change_at_renewal(connection, chosen, self.now_ms)
                case Path.CHARGED:
                    await begin_change(connection, self.seller, wish, None, self.now_ms)
        await self._settle()

    async def unschedule(self) -> None:
        """Take a change back that waits for the renewal."""
        async with self.sql.transaction() as connection:
            live = await subscriptions.live_of(connection, self.customer.id_text)
            if live is not None and live.scheduled is not None:
                await schedule(connection, live, None, self.now_ms)

    async def cancel(self, immediate: bool) -> None:
        """Cancel at the period's end, or now."""
        wish = CancelWish(subscription=await self._live(), immediate=immediate, reason=None)
        await self._asked(lambda connection: cancel(connection, self.seller, wish, self.now_ms))
        await self._settle()

    async def uncancel(self) -> None:
        """Take a cancellation back."""
        live = await self._live()
        await self._asked(lambda connection: uncancel(connection, self.seller, live, self.now_ms))

    async def end(self, days: int) -> None:
        """Set an end date, or take it back with 0 days."""
        live, end_ms = await self._live(), (self.now_ms // DAY_MS + days) * DAY_MS if days else None
        await self._asked(lambda connection: set_end(connection, self.seller, live, end_ms, self.now_ms))

    async def pause(self, mode: PauseMode, days: int | None) -> None:
        """Pause now or at the period's end."""
        wish = PauseWish(subscription=await self._live(), mode=mode, days=days)
        await self._asked(lambda connection: pause(connection, self.seller, wish, self.now_ms))

    async def extend(self, days: int) -> None:
        """Set how long a pause lasts, at least until now."""
        live = await self._live()
        await self._asked(lambda connection: extend_pause(connection, self.seller, live, days, self.now_ms))

    async def revoke(self) -> None:
        """Drop a pause that is scheduled."""
        live = await self._live()
        await self._asked(lambda connection: revoke_pause(connection, self.seller, live, self.now_ms))

    async def resume(self) -> None:
        """End a pause."""
        live = await self._live()
        await self._asked(lambda connection: resume(connection, self.seller, live, self.now_ms))

    async def _live(self) -> str:
        async with self.sql.snapshot() as connection:
            live = await subscriptions.live_of(connection, self.customer.id_text)
        return "sub_none" if live is None else live.id

    async def _asked(self, work) -> None:
        async with self.sql.transaction() as connection:
            await work(connection)
