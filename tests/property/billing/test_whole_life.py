"""Laws of whole lives: mixed models, intervals, anchors, currencies, discounts, seats, purchases and plan changes."""

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.pool_left import left
from billing.money.amount_due import DUE_MIN_MINOR
from billing.money.closing import DrawWindow
from billing.money.drawing import draws_of
from billing.money.invoice import InvoiceType, LineKind
from billing.sale.discount import Discount, DiscountSource, amount_off
from catalog.definition import DiscountType, Feature, FeatureKind, Plan, PlanFeature, PlanPrice
from catalog.terms import ConsumptionModel
from ingest.verdict import Verdict
from kernel.money import Money, minor_places
from kernel.period import DAY_US, Interval, date_of, parse_instant_us
from kernel.quantity import from_units
from tests.conftest import SOAK
from tests.property.billing.whole_life import CALLS, CHAT, MEMBER, SEATS_ID, WholeLife

METERED, CREDITS, BALANCE = ConsumptionModel
# Ends of months of every length, a leap day, and plain days.
STARTS = (
    "2025-12-29",
    "2025-12-30",
    "2025-12-31",
    "2027-11-30",
    "2028-02-29",
    "2028-01-31",
    "2026-03-15",
    "2026-01-01",
)
FEWER = settings(max_examples=200 if SOAK else 25)  # a whole life is some hundred plain examples
USAGE = (LineKind.OVERAGE, LineKind.LATE_USAGE)


def feature(raw: bytes, kind: FeatureKind) -> Feature:
    return Feature(
        id=raw, organization=b"o" * 16, code=chr(raw[0]), event_code=chr(raw[0]), name=chr(raw[0]), kind=kind
    )


@st.composite
def plans(draw, name, model, currency):
    """A plan with a price of each interval, usage of its model, and seats."""
    base = draw(st.integers(0, 20_000)) + (0 if name == "one" else 20_000)
    prices = tuple(
        PlanPrice(
            id=f"{name}_{interval}",
            plan=name,
            interval=interval,
            currency=currency,
            is_default=False,
            amount_minor=base * interval.months - draw(st.integers(0, base)),
        )
        for interval in Interval
    )
    price = draw(st.sampled_from(["0.015", "1", "12.345", "0.0005", "0"]))
    calls = PlanFeature(
        feature=feature(CALLS, FeatureKind.METERED),
        included=draw(st.sampled_from([0, 1, 5, 30]).map(Decimal)),
        overage=model is METERED and draw(st.sampled_from([True, True, False])),
        unit_price="0" if model is CREDITS else price,
        credits=draw(st.sampled_from(["0", "2", "0.5"])) if model is CREDITS else "0",
    )
    chat = PlanFeature(feature=feature(CHAT, FeatureKind.METERED), margin="20")
    member = PlanFeature(
        feature=feature(MEMBER, FeatureKind.SEATS),
        included=draw(st.integers(0, 3).map(Decimal)),
        overage=draw(st.sampled_from([True, True, False])),
        unit_price=draw(st.sampled_from(["25", "9.99", "7"])),
    )
    granted = (calls, chat, member) if model is BALANCE else (calls, member)
    included = None if model is METERED else draw(st.sampled_from([0, 10, 60]).map(Decimal))
    return Plan(
        id=name,
        organization=b"o" * 16,
        code=name,
        name=name,
        model=model,
        prices=prices,
        features=granted,
        included=included,
        overdraft=draw(st.sampled_from([True, True, False])),
    )


@st.composite
def discounts(draw):
    kind = draw(st.sampled_from(DiscountType))
    value = draw(st.decimals(0, 100, places=2))
    cycles = draw(st.none() | st.integers(1, 3))
    return Discount(source=DiscountSource.INTRO, name="Offer", type=kind, value=value, cycles_left=cycles)


quantities = st.sampled_from(["40", "7.25", "3", "1", "0.5", "0.000000001", "0"])
one_use = st.tuples(st.sampled_from([CALLS, CALLS, CHAT]), quantities, st.sampled_from([0, 0, 0, 1, 12, 34]))
ASKED = {
    "use": st.lists(one_use, min_size=1, max_size=4),
    "seat": st.lists(st.tuples(st.sampled_from([3, 0, 10]), st.integers(0, 9)), min_size=1, max_size=3),
    "buy": st.integers(1, 30),
    "adjust": st.sampled_from([-5_000, -120, 30, 2_000]),
    # With what is used in the window that the change ends.
    "change": st.tuples(st.sampled_from([1, 0]), st.sampled_from(Interval), st.lists(one_use, max_size=3)),
    "cancel": st.none(),
}
# How often each is asked: mostly usage, seldom the end.
asked_kinds = st.sampled_from(["use"] * 12 + ["seat", "seat", "buy", "adjust", "change"] * 2 + ["cancel"])
steps = st.tuples(
    st.sampled_from([5, 0, 1, 14, 27, 31, 62]),
    asked_kinds.flatmap(lambda kind: st.tuples(st.just(kind), ASKED[kind])),
)


@st.composite
def scenarios(draw):
    """Everything that a life is told: how it begins, and what is asked of it when."""
    currency = draw(st.sampled_from(["usd", "usd", "jpy", "brl"]))
    sold = [
        draw(plans(name, draw(st.sampled_from([METERED, *ConsumptionModel])), currency)) for name in ("one", "other")
    ]
    start_us = parse_instant_us(draw(st.sampled_from(STARTS))) + draw(st.sampled_from([0, 10])) * 3_600_000_000
    begin = {
        "plan": sold[0],
        "interval": draw(st.sampled_from(Interval)),
        "start_us": start_us,
        "trial_days": draw(st.sampled_from([0, 0, 0, 14, 45])),
        "discount": draw(st.none() | discounts()),
        "held": draw(st.integers(0, 3)),
    }
    return begin, sold, draw(st.lists(steps, min_size=5, max_size=12))


def used(life, events):
    for raw, quantity, back in events:
        life.use(raw, quantity, back=back, cost=quantity if raw == CHAT else None)


def live(scenario, order=None) -> WholeLife:
    """Play a scenario to its end; `order` permutes the uses of one instant."""
    begin, sold, asked = scenario
    life = WholeLife(**begin)
    for days, (what, how) in asked:
        life.wait(days)
        if what == "use":
            used(life, how if order is None else order(how))
        elif what == "seat":
            for gap, count in how:
                life.wait(gap)
                life.seat(count)
        elif what == "buy":
            life.buy(how)
        elif what == "adjust":
            life.adjust(how)
        elif what == "change":
            used(life, how[2] if order is None else order(how[2]))
            life.change(sold[how[0]], how[1])
        else:
            life.cancel()
    life.wait(100)
    return life


@FEWER
@given(scenarios())
def test_lines_sum_to_the_total_in_every_life(scenario):
    """R-GEN-2, R-INV-12, R-INV-7: and what was due in all is what the invoices asked for."""
    life = live(scenario)
    due = owed = 0
    for written in life.invoices:
        made = written.amounts
        assert sum(line.amount_minor for line in made.lines) == made.total_minor
        assert all(line.amount_minor or line.kind is LineKind.PLAN_BASE for line in made.lines)
        assert made.due_minor == 0 or made.due_minor >= DUE_MIN_MINOR
        if made.total_minor >= 0:
            assert made.total_minor + made.carried_in_minor == made.due_minor + made.carried_out_minor
        due, owed = due + made.due_minor, owed + max(0, made.total_minor)
    assert owed == due + life.carried_minor


@FEWER
@given(scenarios())
def test_credit_is_conserved_in_every_life(scenario):
    """R-CHG-11: granted = applied + left."""
    life = live(scenario)
    assert life.granted_minor == life.applied_minor + sum(life.credits.values())
    assert min(life.credits.values(), default=0) >= 0
    applied = [line for line in life.lines() if line.kind is LineKind.ACCOUNT_CREDIT_APPLIED]
    assert life.applied_minor == -sum(line.amount_minor for line in applied)


@FEWER
@given(scenarios())
def test_an_invoice_made_again_is_identical(scenario):
    """R-INV-11: whatever came after it, and in whatever order its sources are read."""
    life = live(scenario)
    for written in life.invoices:
        if written.close is None:
            continue
        for reverse in (False, True):
            again = life.made_again(written.close, reverse=reverse)
            assert msgspec.json.encode(again) == msgspec.json.encode(written.draft)
    closed = [written.close.cut for written in life.invoices if written.close is not None]
    assert len(closed) == len(set(closed))


@FEWER
@given(scenarios(), st.randoms())
def test_any_order_of_one_instants_events_gives_the_same_amounts(scenario, chance):
    """R-TRACK-8, R-TOPUP-4: but where a hard limit lets only some of them count."""

    def shuffled(events):
        return chance.sample(events, len(events))

    one = live(scenario)
    if Verdict.BLOCKED in one.verdicts:
        return
    other = live(scenario, shuffled)
    amounts = [
        [[(line.kind, line.amount_minor) for line in written.amounts.lines] for written in life.invoices]
        for life in (one, other)
    ]
    assert amounts[0] == amounts[1]


@FEWER
@given(scenarios())
def test_closes_and_periods_tile_every_life(scenario):
    """R-INT-1, R-INT-2, R-INV-11: one close after the other, and one period after the other, without a gap."""
    life = live(scenario)
    if life.bills and not life.trial_days:
        assert life.bills[0].start_day == life.start_us // DAY_US
    for before, after in pairwise(life.bills):
        assert after.start_day == before.through_day
    for before, after in pairwise(sorted(life.periods, key=lambda one: (one.since_day, one.term))):
        assert before.until_day is not None
        assert before.since_day <= after.since_day <= before.until_day
        assert after.since_day == before.until_day or after.term > before.term
    based = Counter((line.term, line.description) for line in life.lines() if line.kind is LineKind.PLAN_BASE)
    assert set(based.values()) <= {1}, "no period's base is charged twice"


@FEWER
@given(scenarios())
def test_usage_is_billed_at_its_close_at_the_terms_of_its_window(scenario):
    """R-METER-2, R-TRACK-20, R-CHG-9: after each cut, a window that ended was billed its overage, rounded once."""
    life = live(scenario)
    for cut, bill in enumerate(life.bills, 1):
        billed = Counter()
        for line in life.lines():
            if line.kind in USAGE and line.cut <= cut:
                billed[line.term, line.window.start] += line.amount_minor
        # A change of plan ends the windows of the terms before it; what was announced and dropped ends none.
        begun = [one for one in life.periods if one.since_day <= bill.through_day]
        assert positive(billed) == positive(owed_by(life.totals(cut), begun, bill.through_day))


def positive(amounts):
    return {key: minor for key, minor in amounts.items() if minor}


def owed_by(totals, periods, day):
    """Reckon what windows that end by a day cost, naively: units beyond the included times the price, rounded once."""
    found = {}
    for window, used in totals.items():
        own = sorted((one for one in periods if one.term == window.term), key=lambda one: one.since_day)
        period = [own[0], *(one for one in own if one.since_day <= window.start)][-1]
        granted = period.feature(window.feature)
        end = min([used.end, *(one.since_day for one in periods if one.term > window.term)])
        if end > day or period.model is not METERED or granted is None or not granted.overage:
            continue
        over = max(Decimal(0), from_units(used.units) - Decimal(granted.included))
        exact = (over * Decimal(granted.unit_price)).scaleb(minor_places(period.currency))
        found[window.term, window.start] = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    return found


@FEWER
@given(scenarios())
def test_pools_give_what_was_granted_and_no_more(scenario):
    """R-CREDIT-3, R-CREDIT-4, R-BAL-3: packs = drawn + left; no plan part gives more than it has."""
    life = live(scenario)
    drawn = life.draws(life.cut + 1)
    assert life.packs == sum(one.packs for one in drawn.values()) + max(0, life.packs - life.account.packs)
    for (term, _), one in drawn.items():
        period = next(each for each in life.periods if each.term == term)
        assert one.plan <= int(Decimal(period.pool) * 10**9)
        assert one.overdraft == 0 or period.overdraft
    for row in life.rows:
        said = row.outcome.drawn
        if said is not None:
            taken = said.plan + said.packs + said.top_ups + said.overdraft
            assert taken == said.cost or (row.feature == CHAT and taken < said.cost)
    owed = draws_of(life.row, life.periods, drawn, life.top_ups)
    bought = sum(one.amount for one in life.top_ups)
    assert sum(one.top_ups for one in owed.values()) <= bought
    billed = Counter()
    for line in life.lines():
        if line.kind is LineKind.BALANCE_OVERAGE:
            billed[DrawWindow(line.term, line.window.start)] += line.amount_minor
    if not life.top_ups:  # then nothing pays an overdraft but its invoice
        assert {window: one.overdraft for window, one in owed.items()} == {
            DrawWindow(*key): one.overdraft for key, one in drawn.items() if DrawWindow(*key) in owed
        }
    places = minor_places(life.row.currency)
    for window, minor in billed.items():
        exact = from_units(owed[window].overdraft).scaleb(places)
        assert minor == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    if life.row.live and life.current.model is CREDITS:
        assert left(life.account, life.snapshot(), life.now_us // 1000).extra == life.packs - life.account.packs


@FEWER
@given(scenarios())
def test_a_discount_covers_its_cycles_and_nothing_else(scenario):
    """R-DISC-3, R-DISC-5, R-DISC-11: the bases of the first periods."""
    life = live(scenario)
    offer, bases, covered = life.discount, 0, 0
    for written in life.invoices:
        if written.draft.kind is InvoiceType.PLAN_CHANGE:
            break
        base = [line for line in written.amounts.lines if line.kind is LineKind.PLAN_BASE]
        off = [line for line in written.amounts.lines if line.kind is LineKind.DISCOUNT]
        assert len(off) <= len(base) <= 1
        for line in base:
            bases += 1
            runs = offer is not None and (offer.cycles_left is None or bases <= offer.cycles_left)
            own = Money(line.amount_minor, written.draft.currency)
            taken = amount_off(own, offer).minor if runs and offer is not None else 0
            assert 0 <= taken <= own.minor
            assert [one.amount_minor for one in off if one.amount_minor] == ([-taken] if taken else [])
            covered += bool(off)
    assert covered == sum(line.kind is LineKind.DISCOUNT for line in life.lines()), "none after a change of plan"


@FEWER
@given(scenarios())
def test_seats_are_charged_in_advance_and_their_growth_once(scenario):
    """R-SEAT-6, R-SEAT-7, R-SEAT-8: of each period that was lived to its end, counted seat by seat."""
    life = live(scenario)
    for period in life.periods:
        granted = period.feature(SEATS_ID)
        ended = period.until_day is not None and any(bill.through_day == period.until_day for bill in life.bills)
        if granted is None or not granted.overage or period.trial or not ended:
            continue
        since_ms = max(period.since_day * 86_400_000, period.start_us // 1000)
        before = [one for one in life.seats if (one.ts_ms, one.term) < (since_ms, period.term)]
        inside = [one for one in life.seats if one not in before and one.ts_ms < period.until_day * 86_400_000]
        level = max(int(granted.included), before[-1].after if before else 0)
        grown = Counter()
        for one in inside:
            grown[one.ts_ms // 86_400_000] += max(0, one.after - level)
            level = max(level, one.after)
        days = period.until_day - period.since_day
        expected = 0
        for day, count in grown.items():
            share = Decimal(count) * Decimal(granted.unit_price) * max(0, period.until_day - 1 - day) / days
            expected += int(share.scaleb(minor_places(period.currency)).quantize(Decimal(1), ROUND_HALF_UP))
        added = {f"added {date_of(day).isoformat()}:" for day in grown}
        charged = sum(
            line.amount_minor
            for line in life.lines()
            if line.kind is LineKind.SEAT_TRUE_UP and any(text in line.description for text in added)
        )
        assert charged == expected
