"""The judge: an account, an event and what is known of its key give the account after it and one outcome. Pure.

Owns the verdicts and the one place where usage is added and pools are drawn on. It reads no clock and no catalog: the
account's clock is the greatest accepted_at folded so far, the terms are the snapshot's. Invariants: folding the same
records again gives the same outcomes and the same bytes; of one key at most one attempt counts; a hard limit is never
passed, a hard pool never oversold.
Other rules get another number (`RULES`) and begin with another epoch; what the old epoch's log still holds is judged by
the old ones (`JUDGES`). Source: DESIGN 3.5; ADR 8, ADR 9; R-TRACK-11 to 15, R-TRACK-23, R-METER-4.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from aggregator.account import KEEP_WINDOW_DAYS, Account, Draws, WindowTotal
from aggregator.correction import judge_correction
from aggregator.first_rules import fold_event_first
from aggregator.known_key import known_outcome
from aggregator.pool import draw, draw_down, within_bounds
from aggregator.pool_left import cost_of, left_in
from aggregator.standing import LIMIT_REACHED, NO_SUBSCRIPTION, Place, Standing, counted_outcome
from catalog.terms import ConsumptionModel, Snapshot
from ingest.event import UsageEvent
from ingest.key_entry import KeyEntry
from ingest.verdict import Drawn, Outcome, Verdict
from kernel.limits import DAY_MS
from kernel.quantity import to_units

RULES: Final = 3

NO_CREDITS: Final = "insufficient_credits"
NO_BALANCE: Final = "insufficient_balance"
PRICED_OTHERWISE: Final = "pricing_mode_mismatch"

_BLOCKED: Final = Outcome(verdict=Verdict.BLOCKED, code=LIMIT_REACHED)
_MISMATCH: Final = Outcome(verdict=Verdict.REFUSED, code=PRICED_OTHERWISE)

# Most events say one of few quantities.
_units = lru_cache(maxsize=4_096)(to_units)


def fold_event(
    account: Account,
    standing: Standing | None,
    event: UsageEvent,
    entry: KeyEntry | None,
    *,
    lane_clock_ms: int,
    at_ms: int,
) -> Outcome:
    """Judge one attempt, and change `account` in place: its clock always, totals and draws only when the event counts.

    `standing` is None for a customer without a snapshot; `entry` what is known of the event's key (None: nothing, or
    no key; of a replay: of its dead letter). `at_ms` is when the event took effect, `lane_clock_ms` the lane's clock
    with this event taken in. Whatever it raises, no total has changed. Source: DESIGN 3.5.4.
    """
    clock_ms = at_ms if event.clock_ms is None else event.clock_ms
    if clock_ms > account.clock_ms:
        account.advance(clock_ms)
    if entry is not None or event.replays or event.corrects is not None:
        said = known_outcome(entry, event, lane_clock_ms=lane_clock_ms, at_ms=at_ms)
        if said is None and event.corrects is not None:
            said = judge_correction(account, standing, event, event.corrects)
        if said is not None:
            return said
    place = standing.place(event.feature, event.event_time_us, account.clock_ms) if standing else NO_SUBSCRIPTION
    if isinstance(place, str):
        return Outcome(verdict=Verdict.REFUSED, code=place)
    if place.end <= account.clock_ms // DAY_MS - KEEP_WINDOW_DAYS:  # `Account.forgets`, without its call
        # Its window was billed and forgotten: only an event that overtook a month of the clock comes here.
        return Outcome(verdict=Verdict.REFUSED, code=NO_SUBSCRIPTION)
    units = _units(event.quantity)
    assert units >= 0, "a quantity is not negative"
    if (event.tokens is not None) is not place.by_model:
        return _MISMATCH
    if place.terms is not None and standing is not None:
        return _draw(account, standing.snapshot, place, event, units)
    return _count(account, place, units)


def _count(account: Account, place: Place, units: int) -> Outcome:
    """Judge metered usage: beyond a hard limit it is blocked whole (R-METER-4).

    Most events come here, so that it does what `Account.add_usage` says without calling it, and says again what was
    said of the place before.
    """
    total = account.totals.get(place.key)
    now = units if total is None else total.now + units
    if place.limit is not None and units and now > place.limit:
        return _BLOCKED
    if total is None:
        account.totals[place.key] = WindowTotal(end=place.end, now=now, at_cut=0)
    else:
        end = max(total.end, place.end)
        account.totals[place.key] = WindowTotal(end=end, now=now, at_cut=total.at_cut)
    cut, said = account.cut + 1, place.counted
    if said is not None and said.cut == cut:
        return said
    return counted_outcome(place.key, place.end, cut, limited=place.limit is not None)


def _draw(account: Account, snapshot: Snapshot, place: Place, event: UsageEvent, units: int) -> Outcome:
    """Judge an event that draws on a pool: what costs nothing always counts (R-ACC-9)."""
    terms, granted, tokens = place.terms, place.granted, event.tokens
    assert terms is not None, "the place is one of a pool"
    assert granted is not None, "the terms grant the feature"
    _, _, window = place.key
    credits_plan = terms.model is ConsumptionModel.CREDITS
    overdraft = terms.overdraft and not credits_plan
    if event.corrects is None:
        cost = cost_of(terms, granted, units, None if tokens is None else tokens.base_cost)
    else:  # rounded as the whole, so that it costs what it would have from the start
        before = to_units(event.corrects.quantity)
        cost = cost_of(terms, granted, before + units) - cost_of(terms, granted, before)
    drawn_before = {key: one.now for key, one in account.draws.items()}
    left = left_in(drawn_before, account.packs, snapshot, terms, window)
    drawn = (draw if tokens is None else draw_down)(cost, left, overdraft=overdraft)
    if drawn is None or not within_bounds(cost, left, drawn):
        return Outcome(verdict=Verdict.BLOCKED, code=NO_CREDITS if credits_plan else NO_BALANCE)
    account.add_usage(place.key, place.end, units)
    draws = Draws(
        plan=drawn.plan,
        packs=drawn.extra if credits_plan else 0,
        top_ups=0 if credits_plan else drawn.extra,
        overdraft=drawn.overdraft,
    )
    account.add_draws(place.key, place.end, draws)
    told = Drawn(
        pool=terms.model.value,
        cost=cost,
        plan=draws.plan,
        packs=draws.packs,
        top_ups=draws.top_ups,
        overdraft=draws.overdraft,
        left=left.told(drawn.plan + drawn.beyond),
        margin="" if tokens is None else granted.margin or "0",
        currency="" if credits_plan else terms.currency,
    )
    limited = not overdraft and not _free(place)
    return counted_outcome(place.key, place.end, account.cut + 1, limited=limited, drawn=told)


def _free(place: Place) -> bool:
    assert place.terms is not None, "asked of a pool"
    assert place.granted is not None, "asked of a pool"
    return not place.by_model and cost_of(place.terms, place.granted, 1_000_000_000) == 0


def fold_event_second(
    account: Account,
    standing: Standing | None,
    event: UsageEvent,
    entry: KeyEntry | None,
    *,
    lane_clock_ms: int,
    at_ms: int,
) -> Outcome:
    """Judge one attempt as `fold_event` does, by rules 2: nothing counted under terms that had ended."""
    known = None if standing is None else standing.unended()
    return fold_event(account, known, event, entry, lane_clock_ms=lane_clock_ms, at_ms=at_ms)


# Which function judges by which rules. A program with new rules keeps the judge of those before, so that it can fold to
# its end the log of a Meterline that was killed.
JUDGES: Final[Mapping[int, Callable[..., Outcome]]] = {1: fold_event_first, 2: fold_event_second, RULES: fold_event}


def fold_snapshot(account: Account, snapshot: Snapshot) -> bool:
    """Take a snapshot in, changing `account` in place; False, and nothing changes, unless its `rev` is above its own.

    A cut that is new freezes the totals. Snapshots do not move clocks. Source: DESIGN 3.5, 3.7, 3.8.
    """
    if snapshot.rev <= account.rev:
        return False
    account.rev = snapshot.rev
    if snapshot.cut > account.cut:
        account.freeze(snapshot.cut)
    return True
