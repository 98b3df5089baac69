"""What an account shows: which of a subscription's frozen terms are in force and which come, as the log carries them.

Pure. Invariant: a snapshot is a function of SQL's rows at one revision. Source: DESIGN 3.2, 3.7; ADR 9.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from billing.life.frozen import PeriodTerms
from billing.life.paused import terms_before
from billing.life.subscription import Subscription
from catalog.definition import FeatureKind
from catalog.terms import EndedTerms, SeatCount, Snapshot, SubscriptionStatus, Terms, TopUp
from kernel import ids
from kernel.limits import ENDED_FEATURES_MAX, ENDED_TERMS_DAYS, ENDED_TERMS_MAX
from kernel.period import DAY_MS, DAY_US
from kernel.quantity import to_units


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's account in SQL: revision, cuts taken, the open one, and the last number of terms."""

    customer_id: str
    organization_id: str
    rev: int
    shown_rev: int
    cut: int
    open_cut: int | None
    terms: int


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought beside the plan, as a snapshot carries it (`catalog.terms.Snapshot`)."""

    packs: int = 0
    top_ups: tuple[TopUp, ...] = ()
    seats: tuple[SeatCount, ...] = ()


NOTHING_BOUGHT: Final = Bought()


def terms_of(subscription: Subscription, period: PeriodTerms) -> Terms:
    """Spell a period's terms as the log carries them."""
    return Terms(
        number=period.term,
        subscription=subscription.id,
        plan=period.plan_id,
        start_us=period.start_us,
        anchor=period.anchor_day,
        since=period.since_day,
        free=period.free,
        features=tuple(granted.terms() for granted in period.features),
        model=period.model,
        months=period.months,
        window_days=period.window_days,
        pool=to_units(period.pool),
        overdraft=period.overdraft,
        chain=period.chain,
        counts_us=period.counts_us,
        currency=period.currency.lower(),
    )


def in_force(subscription: Subscription, periods: Sequence[PeriodTerms]) -> PeriodTerms:
    """Tell the terms of the subscription's current period."""
    return next(
        period
        for period in periods
        if (period.term, period.since_day) == (subscription.term, subscription.period_start_day)
    )


def shown_terms(subscription: Subscription, periods: Sequence[PeriodTerms], now_ms: int) -> PeriodTerms:
    """Tell the terms in force now; of one that is not live, or paused, those of its last period."""
    current = in_force(subscription, periods)
    if not subscription.live or subscription.status is SubscriptionStatus.PAUSED:
        return current
    following = announced(subscription, periods)
    return following if following is not None and following.since_day <= now_ms // DAY_MS else current


def announced(subscription: Subscription, periods: Sequence[PeriodTerms]) -> PeriodTerms | None:
    """Tell the terms that follow the current period's; None when none are announced or the subscription ends before."""
    if subscription.status is SubscriptionStatus.PAUSED or not subscription.started:
        return None
    end_us = subscription.end_us
    later = [
        period
        for period in periods
        if period.since_day > subscription.period_start_day and (end_us is None or period.since_day * DAY_US < end_us)
    ]
    return min(later, key=lambda period: (period.since_day, period.term), default=None)


def snapshot_of(
    account: AccountRow,
    subscription: Subscription | None,
    periods: Sequence[PeriodTerms],
    bought: Bought = NOTHING_BOUGHT,
) -> Snapshot:
    """Make the account's whole snapshot from the subscription that it has and that one's periods.

    One whose terms have not begun shows none (R-TRIAL-4).
    """
    shown = subscription if subscription is not None and subscription.started else None
    following = None if shown is None else announced(shown, periods)
    return Snapshot(
        organization=ids.id_bytes(account.organization_id),
        customer=ids.id_bytes(account.customer_id),
        rev=account.rev,
        status=None if subscription is None else subscription.status,
        end_us=None if subscription is None else _access_end_us(subscription),
        terms=None if shown is None else terms_of(shown, in_force(shown, periods)),
        next=None if shown is None or following is None else terms_of(shown, following),
        cut=account.cut,
        packs=bought.packs,
        top_ups=bought.top_ups,
        seats=bought.seats,
        ended=() if shown is None else ended_terms(shown, periods),
    )


def _access_end_us(subscription: Subscription) -> int | None:
    """Tell when access ends, as far as it is known: for good, or by a pause, which waits for no job (R-SUB-13)."""
    pause, end_us = subscription.pause, subscription.end_us
    if pause is None or not subscription.pausing:
        return end_us
    return pause.effective_us if end_us is None else min(end_us, pause.effective_us)


def ended_terms(subscription: Subscription, periods: Sequence[PeriodTerms]) -> tuple[EndedTerms, ...]:
    """List the terms of before those in force, the latest first, as far back as usage of them may come (R-TRACK-20).

    They are those that a pause, a change of plan or a renewal with other limits ended: at most ENDED_TERMS_MAX of them,
    and ENDED_FEATURES_MAX metered features in all; what is beyond is forgotten.
    """
    oldest_us = (subscription.period_start_day - ENDED_TERMS_DAYS) * DAY_US
    begun = [one for one in periods if one.term <= in_force(subscription, periods).term]
    found, features = list[EndedTerms](), 0
    for following in reversed(begun):
        if following.ended_us is None or following.ended_us <= oldest_us or len(found) == ENDED_TERMS_MAX:
            continue
        ended = terms_of(subscription, terms_before(periods, following))
        if found and found[-1].terms.number == ended.number:
            continue  # what a free plan grants from its next window on has the frame of what it grants now
        metered = tuple(granted for granted in ended.features if granted.kind == FeatureKind.METERED)
        features += len(metered)
        if features > ENDED_FEATURES_MAX:
            break
        found.append(EndedTerms(terms=msgspec.structs.replace(ended, features=metered), until_us=following.ended_us))
    return tuple(found)
