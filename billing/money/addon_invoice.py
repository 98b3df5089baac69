"""The invoices of add-ons: of an activation, and of a month on a free plan. Pure.

Invariant: one function makes each, when it is charged and when it is proved, from the activation's row, the terms in
force and the price that its basis keeps. Source: R-ADDON-3, R-ADDON-13; ADR 9.
"""

from collections.abc import Sequence

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from billing.life.paused import days_of
from billing.money.invoice import RECURRING, Basis, InvoiceDraft, InvoiceType, Source, source_of
from billing.sale.addon import SubscriptionAddon, activation_charge, activation_line, base_line, cycle_of
from kernel.period import DAY_MS, Period


def activation_invoice(
    addon: SubscriptionAddon, granted: FrozenFeature, current: PeriodTerms, days: Period | None, cut: int
) -> InvoiceDraft:
    """Make the invoice of an add-on that is switched on under terms in force, at the price that they have of it.

    `days` are the billing period's where a pause cut it in two, `cut` is the number of cuts taken. One that charges
    nothing is settled at once (R-ADDON-3).
    """
    charge = activation_charge(current, granted.base_minor, addon.activated_ms // DAY_MS, days)
    return InvoiceDraft(
        organization_id=addon.organization_id,
        customer_id=addon.customer_id,
        subscription_id=addon.subscription_id,
        cut=cut,
        kind=InvoiceType.ADDON_ACTIVATION,
        currency=current.currency,
        plan_name=current.plan_name,
        period_start_ms=addon.activated_ms,
        period_end_ms=charge.period.end * DAY_MS,
        issued_ms=addon.activated_ms,
        due_ms=addon.activated_ms,
        lines=(activation_line(addon, granted, charge, term=current.term, cut=cut),),
        source=source_of(Source.ADDON, addon.id),
        basis=_basis(addon, granted, current, cut),
        days_remaining=charge.share.remaining,
        days_in_cycle=charge.share.days,
    )


def month_invoice(addon: SubscriptionAddon, granted: FrozenFeature, current: PeriodTerms, cut: int) -> InvoiceDraft:
    """Make the invoice of the month that begins on an add-on's `next_day` on a free plan (R-ADDON-13)."""
    month = cycle_of(addon)
    issued_ms = month.start * DAY_MS
    return InvoiceDraft(
        organization_id=addon.organization_id,
        customer_id=addon.customer_id,
        subscription_id=addon.subscription_id,
        cut=cut,
        kind=RECURRING,
        currency=current.currency,
        plan_name=current.plan_name,
        period_start_ms=issued_ms,
        period_end_ms=month.end * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=(base_line(granted, current, month, cut),),
        source=source_of(Source.ADDON, f"{addon.id}:{month.start}"),
        basis=_basis(addon, granted, current, cut),
    )


def _basis(addon: SubscriptionAddon, granted: FrozenFeature, current: PeriodTerms, cut: int) -> Basis:
    facts = {"addon": addon.addon_id, "sinceDay": current.since_day, "baseMinor": granted.base_minor}
    return Basis(cut=cut, terms=(current.term,), facts=facts)


def made_again(
    addon: SubscriptionAddon, made_by: str, periods: Sequence[PeriodTerms], basis: Basis, plan_name: str
) -> InvoiceDraft | None:
    """Make an add-on's invoice once more; `made_by` is what its source names, `sad_…` or `sad_…:DAY`.

    The terms may have taken another price since, and the plan another name: those are the invoice's. None when the
    terms do not have its feature. `periods` are all terms of its subscription, as they stood.
    """
    place = (basis.terms[0], basis.facts["sinceDay"])
    current = next((one for one in periods if (one.term, one.since_day) == place), None)
    granted = None if current is None else current.feature(addon.feature_id)
    if current is None or granted is None or granted.addon != addon.addon_id:
        return None
    granted = msgspec.structs.replace(granted, base_minor=basis.facts["baseMinor"])
    current = msgspec.structs.replace(current, plan_name=plan_name)
    _, _, month = made_by.partition(":")
    if not month:
        return activation_invoice(addon, granted, current, days_of(periods, current), basis.cut)
    return month_invoice(msgspec.structs.replace(addon, next_day=int(month)), granted, current, basis.cut)
