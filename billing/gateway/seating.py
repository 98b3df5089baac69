"""Changing seats: the transaction that reads what is held, decides, writes counts and events, and raises the account.

Invariant: however many change at once, a count never passes a hard limit, because each change is one serializable
transaction. Source: section 10 of the rules; contract 3.12 to 3.14.
"""

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.current import standing
from billing.life.frozen import PeriodTerms
from billing.life.showing import shown_terms
from billing.life.subscription import Subscription
from billing.sale.seat import Operation, SeatEvent, count_after, refusal_of, seat_feature
from billing.store import account as accounts
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store import terms
from catalog.definition import Feature, Organization
from catalog.store.customer import load_customer
from catalog.store.feature import list_features
from catalog.terms import LIVE_STATUSES, SubscriptionStatus
from kernel import ids
from kernel.errors import Refusal, Rejected, invalid, rejected

SEAT_EVENT_ID = "ste_"


async def change_seats(
    connection: AsyncConnection,
    organization: Organization,
    features: Iterable[Feature],
    reference: str,
    operation: Operation,
    wanted: Mapping[str, int],
    real_ms: int,
) -> list[SeatEvent]:
    """Change a customer's counts, all of them or none, and return the events in the order asked for (R-SEAT-3).

    `wanted` maps seat types, as the client spells them, to counts; types that it does not name stay. Raises Rejected
    with the contract's codes (R-SEAT-2, R-SEAT-4, R-SEAT-14).
    """
    named = _named(features, wanted)
    customer = await load_customer(connection, organization.id, reference)
    now_ms = organization.now_ms(real_ms)
    subscription = await subscriptions.live_of(connection, customer.id_text)
    subscription = None if subscription is None else standing(subscription, now_ms)
    if subscription is None or subscription.status not in LIVE_STATUSES:
        raise rejected("no_active_subscription", "The customer has no live subscription.")
    current = shown_terms(subscription, await terms.of(connection, subscription.id), now_ms)
    held = await seats.counts(connection, customer.id_text)
    number = await seats.next_number(connection, customer.id_text)
    events: list[SeatEvent] = []
    for feature, count in named:
        before = held.get(feature.id_text, 0)
        after = _allowed(feature, current, subscription, operation, before, count)
        event = SeatEvent(
            id=ids.new_id(SEAT_EVENT_ID, real_ms),
            organization_id=subscription.organization_id,
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            feature_id=feature.id_text,
            feature_code=feature.code,
            number=number + len(events),
            operation=operation,
            quantity=count,
            before=before,
            after=after,
            term=subscription.term,
            ts_ms=now_ms,
            created_ms=real_ms,
        )
        await seats.record(connection, event)
        events.append(event)
    await accounts.raise_rev(connection, [customer.id_text])
    return events


async def named_seats(
    connection: AsyncConnection, organization: Organization, wanted: Mapping[str, int]
) -> list[tuple[Feature, int]]:
    """Find the seat types that `wanted` names: what the client calls `initialSeats` (R-SUB-1).

    Raises Rejected with the contract's codes (R-SEAT-4).
    """
    named = _named(await list_features(connection, organization.id) if wanted else [], wanted)
    if any(count < 0 for _, count in named):
        raise invalid("initialSeats", "must be counts of 0 or more")
    return named


async def ask_seats(
    connection: AsyncConnection, subscription: Subscription, first: PeriodTerms, named: Iterable[tuple[Feature, int]]
) -> None:
    """Note the counts with which a subscription is to begin, in the transaction that makes it.

    `first` are its first terms. A draft with a trial is judged as the trial that it begins with. Raises Rejected with
    the contract's codes (R-SEAT-14).
    """
    if subscription.trial_days:
        subscription = msgspec.structs.replace(subscription, status=SubscriptionStatus.TRIALING)
    for feature, count in named:
        _allowed(feature, first, subscription, Operation.SET, 0, count)
        await seats.ask(connection, subscription.id, feature.id_text, feature.code, count)


async def begin_seats(
    connection: AsyncConnection, subscription: Subscription, now_ms: int, *, keep: bool = False
) -> dict[str, int]:
    """Set the counts with which a subscription begins at the organization's `now_ms`, and return what is then held.

    Called in the transaction that begins it, before its start invoice; the account is the caller's to raise. Types that
    were not asked for begin at 0, or with `keep` stay as they are (a free plan that gives way to a paid one, R-CHG-12).
    """
    customer_id = subscription.customer_id
    wanted = await seats.asked(connection, subscription.id)
    past = (await seats.history(connection, [customer_id]))[customer_id]
    held = {feature_id: events[-1].after for feature_id, events in past.items()}
    if not keep:
        left = {feature_id: (past[feature_id][-1].feature_code, 0) for feature_id, count in held.items() if count}
        wanted = {**left, **wanted}
    number = await seats.next_number(connection, customer_id)
    for at, (feature_id, (code, count)) in enumerate(wanted.items()):
        event = SeatEvent(
            id=ids.new_id(SEAT_EVENT_ID, now_ms),
            organization_id=subscription.organization_id,
            customer_id=customer_id,
            subscription_id=subscription.id,
            feature_id=feature_id,
            feature_code=code,
            number=number + at,
            operation=Operation.SET,
            quantity=count,
            before=held.get(feature_id, 0),
            after=count,
            term=subscription.term - 1,
            ts_ms=now_ms,
            created_ms=now_ms,
        )
        await seats.record(connection, event)
        held[feature_id] = count
    return held


def _allowed(
    feature: Feature, own: PeriodTerms, subscription: Subscription, operation: Operation, before: int, count: int
) -> int:
    """Tell the count after a change. Raises Rejected when arithmetic or the `own` terms refuse it."""
    after = count_after(operation, before, count)
    if isinstance(after, Refusal):
        raise Rejected(after)
    granted = own.feature(feature.id_text)
    refused = refusal_of(
        granted, before, after, status=subscription.status, free=subscription.free, currency=own.currency
    )
    if refused is not None:
        raise Rejected(refused)
    return after


def _named(features: Iterable[Feature], wanted: Mapping[str, int]) -> list[tuple[Feature, int]]:
    known = list(features)
    named = [(seat_feature(known, key), count) for key, count in wanted.items()]
    if len({feature.id for feature, _ in named}) < len(named):
        raise invalid("seats", "names one seat type twice")
    return named
