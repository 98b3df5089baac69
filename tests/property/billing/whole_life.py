"""A subscription's whole life on the pure functions of billing and the fold: what the closer does, without its stores.

It keeps what SQL and RAW would: rows of counted events, frozen terms, invoices, a ledger of account credit. Nothing is
decided here that the product decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from aggregator.account import Account, DrawKey, Draws
from aggregator.fold import fold_event, fold_snapshot
from aggregator.standing import Standing, usage_window
from billing.life.beginning import activated, after_trial, first_frame, next_frame, on_trial
from billing.life.frozen import PeriodTerms, freeze
from billing.life.lifecycle import Command, Decision, decide, due_of
from billing.life.paused import parts_of
from billing.life.showing import AccountRow, Bought, in_force, snapshot_of
from billing.life.turning import Bill, turn
from billing.money.amount_due import Amounts, Credit, amounts_of, oldest_first
from billing.money.closing import Billed, Close, Window, WindowUsage, plan_close
from billing.money.drawing import DrawSums, draws_of, top_ups_left
from billing.money.first_invoice import first_invoice
from billing.money.invoice import InvoiceDraft, InvoiceType, Line, LineKind
from billing.money.rating import money_of_units
from billing.sale.change import Side, Target
from billing.sale.discount import Discount
from billing.sale.purchase import (
    adjustment_line,
    pack_line,
    refused_pack,
    refused_top_up,
    top_up_line,
    top_up_units,
)
from billing.sale.seat import Operation, SeatEvent, book_of, refusal_of
from billing.sale.seat_billing import lines_of_close
from billing.sale.switching import Held, Path, charged_change, frame_of_change, path_of, returns_top_ups, switched
from catalog.definition import CreditPack, Organization, Plan
from catalog.terms import Snapshot, SubscriptionStatus, TopUp
from ingest.verdict import Outcome, Verdict
from kernel import ids
from kernel.money import minor_places
from kernel.period import DAY_MS, DAY_US, Interval, day_of_us
from kernel.quantity import UNITS_PER_ONE, to_units
from tests.unit.aggregator.pool_case import CUSTOMER, event, tokens
from tests.unit.billing.make import draft as bare_draft
from tests.unit.billing.make import subscription

CALLS, CHAT, MEMBER = b"f" * 16, b"a" * 16, b"m" * 16
SEATS_ID = ids.id_text(ids.FEATURE, MEMBER)
ORGANIZATION = Organization(id=b"o" * 16, name="Test", environment="sandbox")
_PARTS = (LineKind.SEATS, LineKind.ADDON_BASE, LineKind.PRORATION_CHARGE, LineKind.ADDON_PRORATION)


@dataclass(frozen=True)
class Row:
    """A counted event, as RAW has it."""

    feature: bytes
    units: int
    outcome: Outcome


@dataclass(frozen=True)
class Written:
    """An invoice with what made it again: the close, and None for one that no close made."""

    draft: InvoiceDraft
    amounts: Amounts
    close: Close | None = None


@dataclass
class WholeLife:
    """One customer's subscription; time only moves forward, and what is due comes before what is asked."""

    plan: Plan
    interval: Interval
    start_us: int
    trial_days: int = 0
    discount: Discount | None = None
    held: int = 0
    periods: list[PeriodTerms] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    invoices: list[Written] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    seats: list[SeatEvent] = field(default_factory=list)
    top_ups: list[TopUp] = field(default_factory=list)
    packs: int = 0
    granted_minor: int = 0
    applied_minor: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    carried_minor: int = 0

    def __post_init__(self) -> None:
        self.now_us, self.cut, self.rev, self.terms = self.start_us, 0, 0, 1
        self.account = Account()
        self.credits: dict[int, int] = {}
        currency = self.plan.prices[0].currency
        draft = subscription(
            status=SubscriptionStatus.DRAFT,
            started=False,
            billing_interval=self.interval,
            currency=currency,
            plan_id=self.plan.id,
            trial_days=self.trial_days,
            period_end_day=None,
            next_day=None,
        )
        now_ms = self.start_us // 1000
        self.row = on_trial(draft, now_ms, started=True) if self.trial_days else activated(draft, now_ms)
        self.periods.append(freeze(self.plan, first_frame(self.row), discount=self.discount))
        self.announce()
        if self.held:
            self.seat(self.held, term=0)
        if not self.trial_days:
            seated = {SEATS_ID: self.held} if self.held else {}
            self.write(first_invoice(self.row, self.periods[0], seated, 0))
        self.show()

    @property
    def current(self) -> PeriodTerms:
        return in_force(self.row, self.periods)

    def announce(self) -> None:
        """Freeze what follows the current period, as `billing.store.begin` does."""
        current = self.current
        self.periods = [period for period in self.periods if period.since_day <= current.since_day]
        if not self.row.renews:
            return
        if self.row.status is SubscriptionStatus.TRIALING:
            self.terms += 1
            frame, discount = after_trial(self.row, current, self.terms), current.discount
        else:
            frame = next_frame(current, current.interval)
            discount = None if current.discount is None else current.discount.spent()
        self.periods.append(freeze(self.plan, frame, current, discount))

    def snapshot(self) -> Snapshot:
        row = AccountRow(
            customer_id=ids.id_text(ids.CUSTOMER, CUSTOMER),
            organization_id=ids.id_text(ids.ORGANIZATION, b"o" * 16),
            rev=self.rev,
            shown_rev=0,
            cut=self.cut,
            open_cut=None,
            terms=self.terms,
        )
        return snapshot_of(row, self.row, self.periods, Bought(packs=self.packs, top_ups=tuple(self.top_ups)))

    def show(self) -> None:
        """Raise the revision and fold it."""
        self.rev += 1
        assert fold_snapshot(self.account, self.snapshot())

    # Time.

    def wait(self, days: int) -> None:
        """Let time pass; what becomes due is done in order."""
        until = self.now_us + days * DAY_US
        while (due := due_of(self.row)) is not None and due.at_us <= until:
            self.now_us = max(self.now_us, due.at_us)
            self.turn()
        self.now_us = until

    def turn(self) -> None:
        later = [period for period in self.periods if period.since_day > self.current.since_day]
        step = turn(self.row, later[0] if later else None)
        self.row = step.after
        if step.bill is None:
            self.show()
            return
        self.cut += 1
        close = Close(subscription=self.row, cut=self.cut, bill=step.bill)
        self.bills.append(step.bill)
        if step.announce:
            self.announce()
        self.show()
        made = self.made_again(close)
        if made is not None:
            self.write(made, close)

    # What a close finds, as RAW tells it at its cut.

    def totals(self, cut: int) -> dict[Window, WindowUsage]:
        found: dict[Window, WindowUsage] = {}
        for row in self.rows:
            said = row.outcome
            if said.cut <= cut:
                key = Window(ids.id_text(ids.FEATURE, row.feature), said.term, said.window)
                before = found.get(key, WindowUsage(end=said.window_end, units=0))
                end = max(before.end, said.window_end)
                found[key] = WindowUsage(end=end, units=before.units + row.units)
        return found

    def draws(self, cut: int) -> DrawSums:
        found: dict[DrawKey, Draws] = {}
        for row in self.rows:
            said = row.outcome
            if said.drawn is not None and said.cut <= cut:
                own = Draws(
                    plan=said.drawn.plan,
                    packs=said.drawn.packs,
                    top_ups=said.drawn.top_ups,
                    overdraft=said.drawn.overdraft,
                )
                key = (said.term, said.window)
                found[key] = found.get(key, Draws()) + own
        return found

    def billed(self, cut: int) -> dict[Window, Billed]:
        """Sum what was billed of each window before a cut."""
        found: dict[Window, Billed] = {}
        for line in self.lines():
            if line.window is not None and line.cut < cut:
                key = Window(line.feature_id or "", line.term, line.window.start)
                old = found.get(key, Billed(units=0, minor=0, cut=0))
                units = old.units + to_units(line.quantity)
                found[key] = Billed(units=units, minor=old.minor + line.amount_minor, cut=line.cut)
        return found

    def lines(self) -> Iterable[Line]:
        return (line for written in self.invoices for line in written.amounts.lines)

    def made_again(self, close: Close, *, reverse: bool = False) -> InvoiceDraft | None:
        """Make a close's invoice from what is stored; the order in which it is read must not matter."""
        turned: Any = reversed if reverse else iter
        totals, draws, billed = (
            dict(turned(list(one.items())))
            for one in (self.totals(close.cut), self.draws(close.cut), self.billed(close.cut))
        )
        periods = list(turned(self.periods))
        drawn = draws_of(close.subscription, periods, draws, list(turned(self.top_ups)))
        extra = lines_of_close(close, periods, {SEATS_ID: self.seats} if self.seats else {})
        return plan_close(close, periods, totals, billed, drawn, extra)

    def write(self, draft: InvoiceDraft, close: Close | None = None) -> None:
        """Write an invoice: account credit first, then what is carried."""
        left = sum(self.credits.values())
        made = amounts_of(draft, credit_minor=left, carried_minor=self.carried_minor)
        ledger = (Credit(number, "", minor) for number, minor in self.credits.items())
        for part in oldest_first(ledger, made.credit_applied_minor):
            self.credits[part.number] -= part.left_minor
        self.applied_minor += made.credit_applied_minor
        self.grant(made.credited_minor)
        self.carried_minor += made.carried_out_minor - made.carried_in_minor
        self.invoices.append(Written(draft, made, close))

    def grant(self, minor: int) -> None:
        if minor:
            self.credits[len(self.credits)] = minor
            self.granted_minor += minor

    # What is asked.

    def use(self, feature: bytes, quantity: str, *, back: int = 0, cost: str | None = None) -> Outcome:
        """Track one event that happened `back` days ago."""
        now_ms = self.now_us // 1000
        sent = replace(
            event(feature, quantity),
            at_ms=now_ms,
            event_time_us=self.now_us - back * DAY_US,
            tokens=None if cost is None else tokens(cost),
        )
        said = fold_event(self.account, Standing(self.snapshot()), sent, None, lane_clock_ms=now_ms, at_ms=now_ms)
        self.verdicts.append(said.verdict)
        if said.verdict is Verdict.COUNTED:
            self.rows.append(Row(feature, to_units(quantity), said))
        return said

    def seat(self, count: int, *, term: int | None = None) -> None:
        """Set the count of seats, where the terms allow it."""
        before = self.seats[-1].after if self.seats else 0
        granted = self.current.feature(SEATS_ID)
        status, free = self.row.status, self.row.free
        refused = refusal_of(granted, before, count, status=status, free=free, currency=self.current.currency)
        if not self.row.live or refused is not None:
            return
        made = SeatEvent(
            id="ste",
            organization_id="",
            customer_id="",
            subscription_id="",
            feature_id=SEATS_ID,
            feature_code="member",
            number=len(self.seats) + 1,
            operation=Operation.SET,
            quantity=count,
            before=before,
            after=count,
            term=self.row.term if term is None else term,
            ts_ms=self.now_us // 1000,
            created_ms=0,
        )
        self.seats.append(made)

    def buy(self, amount: int) -> None:
        """Buy what the model sells: `amount` credits, or as many major units of balance."""
        shown, day = self.snapshot(), day_of_us(self.now_us)
        currency = self.row.currency
        pack = CreditPack(id="cpk", organization=b"o" * 16, name="Pack", credits=Decimal(amount), price_minor=4000)
        at = {"term": self.row.term, "cut": self.cut}
        if refused_pack(shown, day, pack) is None:
            self.packs += amount * UNITS_PER_ONE
            bought = bare_draft(pack_line("Pack", str(amount), 4000, **at), kind=InvoiceType.CREDIT_PURCHASE)
        else:
            minor = to_minor(amount, currency)
            if refused_top_up(shown, day, minor) is not None:
                return
            terms = shown.terms_on(day)
            assert terms is not None, "who may buy has terms"
            key = terms.number, usage_window(shown, terms, day).start
            self.top_ups.append(TopUp(term=key[0], window=key[1], amount=top_up_units(minor, currency)))
            self.top_ups.sort(key=lambda one: (one.term, one.window))
            bought = bare_draft(top_up_line(minor, currency, **at), kind=InvoiceType.BALANCE_TOPUP, currency=currency)
        self.write(bought)
        self.show()

    def adjust(self, minor: int) -> None:
        """Adjust by hand; below zero it becomes account credit (AMB-19)."""
        made = adjustment_line("by hand", minor, self.row.currency, term=self.row.term, cut=self.cut)
        self.write(bare_draft(made, kind=InvoiceType.ADJUSTMENT, currency=self.row.currency))

    def change(self, plan: Plan, interval: Interval) -> None:
        """Change to another plan or interval, where that takes effect at once and is charged."""
        price, current = plan.price_of(interval), self.current
        assert price is not None, "it has a price of each interval"
        old = Side(plan_id=self.row.plan_id, base_minor=current.base_minor, interval=current.interval)
        new = Side(plan_id=plan.id, base_minor=price.amount_minor, interval=interval)
        decided = decide(self.row, Command.CHANGE, self.now_us)
        if not isinstance(decided, Decision) or path_of(self.row, old, new) is not Path.CHARGED:
            return
        self.cut, self.terms = self.cut + 1, self.terms + 1
        self.show()
        day = day_of_us(self.now_us)
        target = Target(plan_id=plan.id, interval=interval)
        bill = Bill(
            kind=InvoiceType.PLAN_CHANGE,
            start_day=self.row.closed_day,
            through_day=day,
            end_us=self.now_us,
            change=target,
        )
        self.bills.append(bill)
        frame = frame_of_change(current, interval, plan.model, self.terms, self.now_us)
        following, held = freeze(plan, frame), self.found(current)
        close = Close(subscription=self.row, cut=self.cut, bill=bill)
        draft = charged_change(close, current, following, held, ORGANIZATION)
        self.write(draft)
        self.plan, self.interval = plan, interval
        self.periods = [period for period in self.periods if period.since_day <= current.since_day] + [following]
        self.row = switched(self.row, following, self.now_us // 1000)
        self.announce()
        self.show()
        if returns_top_ups(current, following):
            left = top_ups_left(self.row, current, self.draws(self.cut), self.top_ups, day)
            self.grant(money_of_units(left, current.currency).minor)

    def found(self, current: PeriodTerms) -> Held:
        book = book_of(self.seats, parts=parts_of(self.periods, current), until_ms=self.now_us // 1000 + 1)
        drawn = self.draws(self.cut)
        return Held(
            periods=self.periods,
            totals=self.totals(self.cut),
            billed=self.billed(self.cut),
            draws=draws_of(self.row, self.periods, drawn, self.top_ups),
            books={SEATS_ID: book} if self.seats else {},
            parts_paid=self.parts_paid(current),
        )

    def parts_paid(self, current: PeriodTerms) -> Mapping[str, int]:
        paid: dict[str, int] = {}
        for written in self.invoices:
            for line in written.amounts.lines:
                own = line.term == current.term and written.draft.period_start_ms >= current.since_day * DAY_MS
                if own and line.kind in _PARTS and line.feature_id is not None:
                    paid[line.feature_id] = paid.get(line.feature_id, 0) + line.amount_minor
        return paid

    def cancel(self) -> None:
        """Cancel at the period's end."""
        decided = decide(self.row, Command.CANCEL, self.now_us)
        if isinstance(decided, Decision) and decided.status is self.row.status and not self.row.ending:
            self.row = replace(self.row, end_us=decided.end_us, cancel_requested_ms=self.now_us // 1000)
            self.announce()
            self.show()


def to_minor(amount: int, currency: str) -> int:
    return int(amount * 10 ** minor_places(currency))
