"""The invoice with which a paid subscription begins, or begins again after a pause: a period in advance. Pure."""

from collections.abc import Mapping

from billing.life.frozen import PeriodTerms
from billing.life.subscription import Subscription
from billing.money.closing import advance_lines, running
from billing.money.invoice import RECURRING, Basis, InvoiceDraft, Source, source_of
from billing.sale.seat_billing import lines_of_start
from kernel.period import DAY_MS


def first_invoice(
    subscription: Subscription, first: PeriodTerms, held: Mapping[str, int], cut: int, *, resumed: bool = False
) -> InvoiceDraft:
    """Make it, with the extra seats `held` by feature id (R-INV-2, R-INV-8, R-SEAT-6).

    `cut` is the number of cuts taken before. `resumed` says that the period begins after a pause: it is named after its
    terms, since a subscription may be paused often.
    """
    assert first.until_day is not None, "a paid plan's period ends"
    issued_ms = first.start_us // 1000
    return InvoiceDraft(
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=cut,
        kind=RECURRING,
        currency=first.currency,
        plan_name=first.plan_name,
        period_start_ms=first.since_day * DAY_MS,
        period_end_ms=first.until_day * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=(*advance_lines(first, cut), *lines_of_start(first, held, cut)),
        source=source_of(Source.START, f"{subscription.id}:{first.term}" if resumed else subscription.id),
        basis=Basis(cut=cut, terms=(first.term,), discount=running(first), seats=held),
    )
