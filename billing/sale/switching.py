"""A change of plan, decided and priced: when it takes effect, and the invoice, terms and row of one that is charged.

Pure. One function, `charged_change`, serves the preview and the close that carries a change out, so that the two cannot
disagree. Invariants: the old period's usage is rated at its own terms, the new period has terms of a new number, an
anchor of its own and no discount of the old one. Source: sections 17 and 18 of the rules; ADR 9.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from billing.life.frozen import Frame, FrozenFeature, PeriodTerms, chain_to
from billing.life.paused import days_of
from billing.life.subscription import Subscription
from billing.life.turning import entered, replaced
from billing.money.closing import Billed, Close, Draws, Window, WindowUsage, running, usage_lines
from billing.money.invoice import Basis, InvoiceDraft, InvoiceType, Line, LineKind, amount_line, kept
from billing.sale.addon import components, components_bought
from billing.sale.change import Change, Component, Direction, Side, change_lines, charges_whole, direction
from billing.sale.discount import Discount, amount_off
from billing.sale.proration import Share, share_of_amount, share_of_change
from billing.sale.seat import SEATS, SeatBook, extra_seats, true_up_lines
from catalog.definition import Organization
from catalog.terms import ConsumptionModel, SubscriptionStatus
from kernel.errors import Refusal
from kernel.money import Money
from kernel.period import DAY_MS, Interval, day_of_us, period_of
from kernel.quantity import EXACT


class Path(StrEnum):
    """How a change takes effect."""

    FREELY = "freely"  # now, and nothing is charged: in a trial, between free plans
    CHECKOUT = "checkout"  # now, as a paid subscription that takes the free one's place
    CHARGED = "charged"  # now, once it is paid: a cut, then the invoice and the new terms
    RENEWAL = "renewal"  # at the end of the billing period


def path_of(subscription: Subscription, old: Side, new: Side) -> Path | Refusal:
    """Tell how a change takes effect, or why there is none (R-CHG-2, R-CHG-3, R-CHG-6, R-CHG-7, R-CHG-14)."""
    if (new.plan_id, new.interval) == (old.plan_id, old.interval):
        return Refusal(code="no_change_requested", message="The subscription is on this plan and interval already.")
    if old.interval is None:
        return Path.FREELY if new.interval is None else Path.CHECKOUT
    if subscription.status is SubscriptionStatus.TRIALING:
        if new.interval is not None:
            return Path.FREELY
        return Refusal(
            code="free_plan_change_not_supported", message="A trial does not change to a free plan: cancel it."
        )
    return Path.CHARGED if direction(old, new) is Direction.UPGRADE else Path.RENEWAL


def frame_of_change(
    current: PeriodTerms, interval: Interval | None, model: ConsumptionModel, term: int, now_us: int
) -> Frame:
    """Frame the terms that a change begins now; a trial keeps its end (R-CHG-3, R-CHG-14, R-INT-8).

    What was bought of a balance is taken along to another balance (AMB-20).
    """
    day = day_of_us(now_us)
    chain = chain_to(current, model, current.currency)
    until_day = current.until_day if current.trial else None
    if interval is not None and not current.trial:
        until_day = period_of(day, day, interval).end
    return Frame(
        term=term,
        since_day=day,
        until_day=until_day,
        start_us=now_us,
        anchor_day=current.anchor_day if current.trial else day,
        currency=current.currency,
        interval=interval,
        trial=current.trial,
        window_days=current.window_days,
        chain_term=None if chain is None else chain.term,
        chain_window=None if chain is None else chain.window,
        ended_us=now_us,
    )


def switched(subscription: Subscription, following: PeriodTerms, now_ms: int) -> Subscription:
    """Make the row under the terms of a change; what was scheduled gives way to it (R-SUB-14)."""
    return entered(
        replaced(
            subscription,
            closed_day=following.since_day,
            scheduled=None,
            end_us=subscription.expires_us,
            cancel_reason=None,
            cancel_requested_ms=None,
            promo_code=None,
            updated_ms=now_ms,
        ),
        following,
    )


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a change finds at its cut.

    All terms of the subscription, usage and draws, what was billed of them, the seats of the ending period by feature
    id, and what was paid for them and for add-ons, in minor units.
    """

    periods: Sequence[PeriodTerms]
    totals: Mapping[Window, WindowUsage]
    billed: Mapping[Window, Billed]
    draws: Draws = msgspec.field(default_factory=dict)
    books: Mapping[str, SeatBook] = msgspec.field(default_factory=dict)
    parts_paid: Mapping[str, int] = msgspec.field(default_factory=dict)


def charged_change(
    close: Close, current: PeriodTerms, following: PeriodTerms, held: Held, organization: Organization
) -> InvoiceDraft:
    """Make the invoice of a change that takes effect now.

    `current` are the terms that end, `following` those that begin, frozen as the plan is sold (R-CHG-3 to R-CHG-5,
    R-CHG-9, R-CHG-12, R-PRO-1, R-PRO-6). The draft has no source yet.
    """
    day, cut = close.bill.through_day, close.cut
    assert current.interval is not None, "a free plan is left by a checkout"
    assert following.interval is not None, "to a free plan it goes at the renewal"
    assert following.until_day is not None, "a paid plan's period ends"
    paused = days_of(held.periods, current)
    share = share_of_change(current.anchor_day, day, current.interval, organization.day_count, paused)
    whole = charges_whole(current.interval, following.interval, organization.upgrade_charge)
    change = Change(share=share, whole=whole, currency=following.currency, term=following.term, cut=cut)
    grown = true_up_lines(current, held.books, currency=current.currency, term=current.term, cut=cut)
    prorated = change_lines(change, _paid(current, held, grown), _bought(following, held))
    off = [] if following.discount is None else [_discount_line(change, following, following.discount)]
    usage = usage_lines(close, [*held.periods, following], held.totals, held.billed, held.draws)
    lines = kept([*prorated, *off, *grown, *usage])
    issued_ms = close.bill.end_us // 1000
    return InvoiceDraft(
        organization_id=close.subscription.organization_id,
        customer_id=close.subscription.customer_id,
        subscription_id=close.subscription.id,
        cut=cut,
        kind=InvoiceType.PLAN_CHANGE,
        currency=following.currency,
        plan_name=following.plan_name,
        period_start_ms=following.since_day * DAY_MS,
        period_end_ms=following.until_day * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=lines,
        basis=_basis(close, current, following, held, organization, whole=whole),
        days_remaining=share.remaining,
        days_in_cycle=share.days,
    )


def returns_top_ups(current: PeriodTerms, following: PeriodTerms) -> bool:
    """Tell whether what is left of top-ups becomes account credit: no balance takes them over (AMB-20)."""
    taken_over = chain_to(current, following.model, following.currency) is not None
    return current.model is ConsumptionModel.BALANCE and not taken_over


def base_paid_minor(period: PeriodTerms) -> int:
    """Tell what a period's base was paid with, in minor units: its price net of the discount (R-PRO-6, AMB-11).

    So it is for one that a change began, whatever share of the price that charged (R-PRO-8).
    """
    if period.paid_minor is not None:
        return period.paid_minor
    if period.discount is None:
        return period.base_minor
    return period.base_minor - amount_off(Money(period.base_minor, period.currency), period.discount).minor


def _paid(current: PeriodTerms, held: Held, grown: Sequence[Line]) -> list[Component]:
    """List what the old period was paid with: its base, each seat type with what this invoice trues up, each add-on."""
    parts = [Component(name=_plan_text(current), amount=_major(base_paid_minor(current), current.currency))]
    for granted in _seat_types(current):
        trued_up = sum(line.amount_minor for line in grown if line.feature_id == granted.feature)
        minor = held.parts_paid.get(granted.feature, 0) + trued_up
        if minor:
            parts.append(_seats(granted, _major(minor, current.currency)))
    return [*parts, *_addons_paid(current, held)]


def _addons_paid(current: PeriodTerms, held: Held) -> list[Component]:
    """List what add-ons that are on were paid with; one that was on twice counts once (R-CHG-13, R-PRO-1)."""
    paid = {feature: _major(minor, current.currency) for feature, minor in held.parts_paid.items()}
    return [
        msgspec.structs.replace(part, amount=min(part.amount, paid[part.feature_id]))
        for part in components(current)
        if part.feature_id is not None and part.feature_id in paid
    ]


def _bought(following: PeriodTerms, held: Held) -> list[Component]:
    """List what the new period costs: its base, seats held beyond what it includes, add-ons (R-CHG-12, R-CHG-13)."""
    base = _major(following.base_minor, following.currency)
    parts = [Component(name=_plan_text(following), amount=base)]
    for granted in _seat_types(following):
        book = held.books.get(granted.feature)
        extra = 0 if book is None else extra_seats(granted, book.at_end)
        if book is not None and extra and granted.overage:
            priced = _seats(granted, EXACT.multiply(Decimal(extra), Decimal(granted.unit_price)))
            parts.append(
                msgspec.structs.replace(
                    priced,
                    quantity=str(extra),
                    unit_price=granted.unit_price,
                    included=granted.included,
                    used=str(book.at_end),
                )
            )
    return [*parts, *components_bought(following)]


def _seats(granted: FrozenFeature, amount: Decimal) -> Component:
    return Component(
        name=f"{granted.name} (seats:{granted.code})",
        amount=amount,
        feature_id=granted.feature,
        feature_code=granted.code,
    )


def _plan_text(period: PeriodTerms) -> str:
    return f"{period.plan_name} (plan:{period.plan_code})"


def _seat_types(period: PeriodTerms) -> list[FrozenFeature]:
    found = [granted for granted in period.features if granted.kind == SEATS and granted.enabled]
    return sorted(found, key=lambda granted: granted.code)


def _discount_line(change: Change, following: PeriodTerms, discount: Discount) -> Line:
    """Take the new plan's introductory offer off what is charged of its base (R-DISC-7)."""
    off = amount_off(Money(following.base_minor, following.currency), discount)
    share = Share(1, 1) if change.whole else change.share
    amount = share_of_amount(-off.major(), share, change.currency)
    text = f"{discount.name} on {following.plan_name}"
    return amount_line(LineKind.DISCOUNT, text, amount, term=change.term, cut=change.cut)


def _basis(
    close: Close,
    current: PeriodTerms,
    following: PeriodTerms,
    held: Held,
    organization: Organization,
    *,
    whole: bool,
) -> Basis:
    """Keep what the change found beside frozen terms and counted rows: what was paid, and how the seller counts."""
    return Basis(
        cut=close.cut,
        terms=(current.term, following.term),
        discount=running(following),
        seats={feature: book.at_end for feature, book in held.books.items()},
        facts={
            "sinceDay": current.since_day,
            "paidMinor": base_paid_minor(current),
            "partsPaid": dict(held.parts_paid),
            "dayCount": organization.day_count.value,
            "upgradeCharge": organization.upgrade_charge.value,
            "whole": whole,
        },
    )


def _major(minor: int, currency: str) -> Decimal:
    return Money(minor, currency).major()
