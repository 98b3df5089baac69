"""What a billing period grants and costs, frozen. Pure.

Owns how a plan's configuration becomes the terms of one period, and how a seller's later change reaches them: what
only helps applies at once, everything else waits for the next period. Invariant: prices of a period never change,
included quantities never fall within it. Source: R-PRICE-1..4, R-BH-1, R-BH-3, R-BH-4; ADR 9.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

import msgspec

from billing.sale.discount import Discount
from catalog.definition import FeatureKind, Plan, PlanFeature, PlanPrice
from catalog.terms import ConsumptionModel, FeatureTerms, PoolChain
from kernel import ids
from kernel.money import Money
from kernel.period import Interval, Period, day_of_us, period_of
from kernel.quantity import canonical, to_units

AI_CURRENCY: Final = "usd"  # of what AI models cost (R-AI-4)


class FrozenFeature(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a period grants of one feature; `included` is a decimal string a usage window, None is unlimited.

    `credits`, `margin` and `addon` are as in `FeatureTerms`. Of an add-on's feature `slug` names the add-on and
    `base_minor` is its price a billing period, in minor units of the terms' currency; `paid_apart` says that this
    period's is on an invoice of its own: it was switched on within the period, or the plan is free. `off` says that the
    add-on was switched off, `planned` that the plan has come to grant the feature too, which then stays.
    """

    feature: str
    code: str
    name: str
    kind: str
    enabled: bool
    included: str | None
    overage: bool
    unit_price: str
    credits: str = "0"
    margin: str | None = None
    addon: str = ""
    slug: str = ""
    base_minor: int = 0
    paid_apart: bool = False
    off: bool = False
    planned: bool = False

    def terms(self) -> FeatureTerms:
        """Spell it as the log carries it."""
        return FeatureTerms(
            feature=ids.id_bytes(self.feature),
            code=self.code,
            kind=self.kind,
            enabled=self.enabled,
            included=None if self.included is None else to_units(self.included),
            overage=self.overage,
            unit_price=self.unit_price,
            credits=self.credits,
            margin=self.margin,
            addon=self.addon,
        )


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """What was less before it was raised: it still holds for usage windows that began before `before_day`.

    `pool` is what such a window had; `included` pairs a feature's id with the quantity that it included.
    """

    before_day: int
    pool: str
    included: tuple[tuple[str, str], ...] = ()


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """When and for whom terms count: what a plan's configuration is put into.

    They have the number `term` and hold from `since_day` up to `until_day` (None on a free plan). Windows are counted
    from `anchor_day`: by months, or by `window_days` days in a trial. Usage counts from `start_us`. `interval` is None
    on a free plan; of a trial it is the price's. `chain_*` say where top-ups add up from (`catalog.terms.PoolChain`).
    `ended_us` is when the terms before these ended: by a pause, a change of plan, or a renewal with other limits.
    `counts_us` is in its place in terms that are older (`catalog.terms.Terms`).
    """

    term: int
    since_day: int
    until_day: int | None
    start_us: int
    anchor_day: int
    currency: str
    interval: Interval | None = None
    trial: bool = False
    window_days: int = 0
    chain_term: int | None = None
    chain_window: int | None = None
    counts_us: int | None = None
    ended_us: int | None = None

    @property
    def first_us(self) -> int:
        """Tell the instant from which an event may count."""
        return self.start_us if self.counts_us is None else self.counts_us

    @property
    def chain(self) -> PoolChain | None:
        """Tell from where top-ups add up."""
        if self.chain_term is None or self.chain_window is None:
            return None
        return PoolChain(term=self.chain_term, window=self.chain_window)

    def window_of(self, day: int) -> Period:
        """Tell the usage window that holds `day` (R-INT-1, R-TRIAL-7)."""
        if not self.window_days:
            return period_of(self.anchor_day, day, Interval.MONTHLY)
        start = self.anchor_day + (day - self.anchor_day) // self.window_days * self.window_days
        return Period(start, start + self.window_days)


class PeriodTerms(Frame, frozen=True, kw_only=True):
    """One period's terms: its plan, base price in minor units, pool a usage window, discount and features.

    `pool` is a decimal string: credits, or money in the major unit. `discount` is the one that runs in this period, as
    it stood when the period was frozen; a trial's is the one that its first paid period will have. `paid_minor` is what
    the base was paid with, where its invoice is void; None: the price net of the discount (R-PRO-6). `earlier` tells,
    oldest first, what windows of the period had that were over before a quantity was raised.
    """

    plan_id: str
    plan_code: str
    plan_name: str
    price_id: str | None
    base_minor: int
    features: tuple[FrozenFeature, ...]
    model: ConsumptionModel = ConsumptionModel.METERED
    pool: str = "0"
    overdraft: bool = False
    discount: Discount | None = None
    paid_minor: int | None = None
    earlier: tuple[Earlier, ...] = ()

    @property
    def free(self) -> bool:
        """Tell whether they are a free plan's, which has no billing period."""
        return self.interval is None

    @property
    def months(self) -> int:
        """Tell the billing period's length in months; 0 when there is none."""
        return 0 if self.interval is None or self.trial else self.interval.months

    def feature(self, feature_id: str) -> FrozenFeature | None:
        """Tell what it grants of a feature; None when it grants nothing."""
        return next((granted for granted in self.features if granted.feature == feature_id), None)

    def of_window(self, first_day: int) -> "PeriodTerms":
        """Tell what they were for the window that begins on `first_day`: what is raised later does not reach back."""
        stood, pool = dict[str, str](), self.pool
        for earlier in reversed(self.earlier):
            if first_day < earlier.before_day:
                stood, pool = {**stood, **dict(earlier.included)}, earlier.pool
        features = tuple(
            msgspec.structs.replace(granted, included=stood.get(granted.feature, granted.included))
            for granted in self.features
        )
        return msgspec.structs.replace(self, features=features, pool=pool) if stood or pool != self.pool else self


def freeze(plan: Plan, frame: Frame, last: PeriodTerms | None = None, discount: Discount | None = None) -> PeriodTerms:
    """Freeze what the plan grants now for a period.

    A plan that lost the subscription's price, or the one in its currency, keeps that of `last` (contract 4.1, row 64):
    the period before, or what the checkout showed.
    """
    price = price_at(plan, frame.interval, frame.currency)
    assert frame.interval is None or price is not None or last is not None, "a paid period has a price"
    base_minor = price.amount_minor if price is not None else 0 if last is None else last.base_minor
    return PeriodTerms(
        **_members(frame),
        plan_id=plan.id,
        plan_code=plan.code,
        plan_name=plan.name,
        price_id=price.id if price is not None else None if last is None else last.price_id,
        base_minor=base_minor,
        features=_features(plan, frame),
        model=plan.model,
        pool=canonical(plan.pool_of(price)) if price is not None or last is None else last.pool,
        overdraft=plan.model is ConsumptionModel.BALANCE and plan.overdraft and not (plan.is_free or frame.trial),
        discount=discount,
    )


def _members(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in Frame.__struct_fields__}


def price_at(plan: Plan, interval: Interval | None, currency: str) -> PlanPrice | None:
    """Tell a plan's price of an interval in a currency; None where it has none there, or is free."""
    price = None if interval is None else plan.price_of(interval)
    here = None if price is None else in_currency(price, currency)
    return here if here is not None and here.currency.lower() == currency.lower() else None


def in_currency(price: PlanPrice, currency: str) -> PlanPrice:
    """Spell a price in another of its currencies; as it is when it has none (R-REG-5, R-DISC-14)."""
    regional = price.in_currency(currency)
    if regional is None:
        return price
    return msgspec.structs.replace(
        price,
        amount_minor=regional.amount_minor,
        currency=regional.currency,
        included=price.included if regional.included is None else regional.included,
        intro=regional.intro,  # an amount in the price's own currency is none here
    )


def _features(plan: Plan, frame: Frame) -> tuple[FrozenFeature, ...]:
    return tuple(frozen_feature(_sold(plan, granted, frame), frame) for granted in plan.features)


def _sold(plan: Plan, granted: PlanFeature, frame: Frame) -> PlanFeature:
    """Tell what a plan grants of a feature where it is paid in the frame's currency (R-REG-5).

    A unit price that came later and has no value there would be charged as if the two currencies were worth the same:
    there is no overage then, and no usage that only a balance pays.
    """
    price = None if frame.interval is None else plan.price_of(frame.interval)
    at_home = price is None or price.currency.lower() == frame.currency.lower() or not Decimal(granted.unit_price)
    if at_home or any(rate.currency == frame.currency for rate in granted.regional):
        return granted
    paid = plan.model is ConsumptionModel.BALANCE
    return msgspec.structs.replace(granted, overage=False, enabled=granted.enabled and not paid)


def frozen_feature(granted: PlanFeature, frame: Frame) -> FrozenFeature:
    """Freeze what a plan or an add-on grants of a feature, in the terms' currency.

    Tokens cost dollars: where the terms are in another currency, a feature that is priced by AI model has no price.
    """
    priced = granted.margin is None or frame.currency.lower() == AI_CURRENCY
    regional = next((rate for rate in granted.regional if rate.currency == frame.currency), None)
    return FrozenFeature(
        feature=granted.feature.id_text,
        code=granted.feature.code,
        name=granted.feature.name,
        kind=granted.feature.kind.value,
        enabled=granted.enabled and priced,
        included=None if granted.unlimited else canonical(granted.included),
        # Overage is blocked while a trial runs, and never part of a free plan (R-MODEL-1).
        overage=granted.overage and not frame.trial and frame.interval is not None,
        unit_price=granted.unit_price if regional is None else regional.unit_price,
        credits=granted.credits,
        margin=granted.margin,
    )


def framed(period: PeriodTerms, frame: Frame) -> PeriodTerms:
    """Put terms into another frame as they are: what a subscriber keeps when the plan itself is gone (R-PLAN-8)."""
    return msgspec.structs.replace(period, **_members(frame), earlier=())


def refrozen(period: PeriodTerms, plan: Plan) -> PeriodTerms:
    """Freeze the plan as it is now for a period that has not begun; its discount stays (R-PRICE-3, R-DISC-15)."""
    return freeze(plan, period, period, period.discount)


def widened(current: PeriodTerms, plan: Plan) -> PeriodTerms:
    """Apply what helps the customer at once: raised quantities and pools, features switched on or added (R-BH-1).

    Prices, the overage switch, lowered quantities and removed features stay as they were frozen; what one use costs in
    credits only falls (R-CREDIT-7). On a free plan the pool follows both ways (R-FREE-7).
    """
    offered = {one.feature: one for one in _features(plan, current)}
    kept = tuple(wider(granted, offered.pop(granted.feature, None)) for granted in current.features)
    return msgspec.structs.replace(current, features=(*kept, *offered.values()), pool=_wider_pool(current, plan))


def _wider_pool(current: PeriodTerms, plan: Plan) -> str:
    if plan.model is not current.model:
        return current.pool
    price = price_at(plan, current.interval, current.currency)
    if price is None and not current.free:
        return current.pool
    if price is not None:
        price = _at_base(price, current.base_minor)
    offered = canonical(plan.pool_of(price))
    return offered if current.free else max(current.pool, offered, key=Decimal)


def _at_base(price: PlanPrice, base_minor: int) -> PlanPrice:
    """Put the price that is frozen in today's place: a balance that is the base price follows it (R-PRICE-1)."""
    regional = price.in_currency(price.currency)
    is_base = regional is not None and regional.pool_is_price
    included = Money(base_minor, price.currency).major() if is_base else price.included
    return msgspec.structs.replace(price, amount_minor=base_minor, included=included)


def raised(before: PeriodTerms, after: PeriodTerms, day: int) -> PeriodTerms:
    """Keep what windows had that are over on `day`, when `before` is widened to `after`: closed months stay (R-INT-4).

    A billing period of one window has none; neither has a free plan, which bills nothing.
    """
    first_day = before.window_of(day).start
    stood = dict[str, str]()
    for old in before.features:
        new = after.feature(old.feature)
        metered = old.kind == FeatureKind.METERED.value
        if metered and old.included is not None and new is not None and new.included != old.included:
            stood[old.feature] = old.included
    if before.free or first_day <= before.since_day or not (stood or after.pool != before.pool):
        return after
    kept = [one for one in before.earlier if one.before_day != first_day]
    known = next((one for one in before.earlier if one.before_day == first_day), None)
    if known is not None:  # of two raises in one window the first tells what the windows before had
        stood = {**stood, **dict(known.included)}
    added = Earlier(
        before_day=first_day,
        pool=before.pool if known is None else known.pool,
        included=tuple(sorted(stood.items())),
    )
    return msgspec.structs.replace(after, earlier=(*kept, added))


def wider(old: FrozenFeature, new: FrozenFeature | None) -> FrozenFeature:
    """Apply what helps of `new` to a feature as it was frozen: quantities, the switch, a lower cost in credits.

    What a plan offers does not switch an add-on on again: the feature is there as the plan's (R-ADDON-5).
    """
    if new is None:
        return old
    unlimited = old.included is None or new.included is None
    included = None if unlimited else max(old.included or "0", new.included or "0", key=Decimal)
    return msgspec.structs.replace(
        old,
        enabled=old.enabled or new.enabled,
        included=included,
        credits=min(old.credits, new.credits, key=Decimal),
        off=old.off and not new.addon,
        planned=old.planned or new.planned or bool(old.addon and not new.addon and new.enabled),
    )


def standing(periods: Sequence[PeriodTerms]) -> list[PeriodTerms]:
    """Tell the terms, oldest first, without those that were overtaken: what has a greater number began before them.

    They were announced and never came; but until the change was shown usage counted by them, and is billed by them.
    """
    rising = sorted(periods, key=lambda one: (one.since_day, one.term))
    highest = accumulate((one.term for one in rising), max)
    return [one for one, number in zip(rising, highest, strict=True) if one.term == number]


def chain_of(current: PeriodTerms) -> PoolChain:
    """Tell from where top-ups add up, for terms that take over what is left in the middle of a period (ADR 9).

    That is the window in which the billing period began, or further back while no renewal came under this number. A
    free plan has no period: its terms are written anew as the plan changes, and none of that is a renewal (R-FREE-8).
    """
    begun = day_of_us(current.start_us) if current.free else current.since_day
    return current.chain or PoolChain(term=current.term, window=current.window_of(begun).start)


def chain_to(current: PeriodTerms | None, model: ConsumptionModel, currency: str) -> PoolChain | None:
    """Tell from where top-ups add up under other terms: only a balance takes over what was bought of one (AMB-20).

    It has to be in the same currency, since a balance is a number of the currency's major unit.
    """
    if current is None or not (model is current.model is ConsumptionModel.BALANCE):
        return None
    return chain_of(current) if currency.lower() == current.currency.lower() else None
