"""Whether LIVE and RAW agree on a customer at a cut, to the last 1e-9. Pure.

Invariant: no invoice is written from sums on which the two differ. LIVE forgets windows that ended long ago; those are
RAW's alone and cannot differ. Source: DESIGN 3.8 (c).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from aggregator.account import Account, DrawKey, Draws
from billing.life.frozen import PeriodTerms
from billing.money.closing import Window, WindowUsage
from billing.money.invoice import decimal_units
from kernel import ids
from kernel.period import DAY_MS

_NOTHING: Final = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of a disagreement: `{"feature/term/first day": units as a decimal string}`, what differs."""

    live: dict[str, str]
    raw: dict[str, str]


class RawDraws(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What RAW sums of a draw window up to a cut; `end` is the day the window ends.

    `price_versions` names the editions of AI prices behind it.
    """

    end: int
    drawn: Draws
    price_versions: tuple[str, ...] = ()


RawPool = Mapping[DrawKey, RawDraws]
_NO_POOL: Final[RawPool] = {}


def difference(account: Account, totals: Mapping[Window, WindowUsage], pool: RawPool = _NO_POOL) -> Difference | None:
    """Compare LIVE's totals and draws at the cut with RAW's sums up to it; None when they are equal.

    A draw stands as `pool/term/first day/kind of draw`.
    """
    live = {
        Window(ids.id_text(ids.FEATURE, feature), term, start): total.at_cut
        for (feature, term, start), total in account.totals.items()
    }
    raw = {window: usage.units for window, usage in totals.items() if window in live or not account.forgets(usage.end)}
    shown = {_name(window): units for window, units in live.items()} | _drawn(
        {key: drawn.at_cut for key, drawn in account.draws.items()}
    )
    stored = {_name(window): units for window, units in raw.items()} | _drawn(
        {key: one.drawn for key, one in pool.items() if key in account.draws or not account.forgets(one.end)}
    )
    differing = sorted(
        name for name in shown.keys() | stored.keys() if shown.get(name, _NOTHING) != stored.get(name, _NOTHING)
    )
    if not differing:
        return None
    return Difference(
        live={name: decimal_units(shown.get(name, _NOTHING)) for name in differing},
        raw={name: decimal_units(stored.get(name, _NOTHING)) for name in differing},
    )


def _drawn(windows: Mapping[DrawKey, Draws]) -> dict[str, int]:
    return {
        f"pool/{term}/{start}/{kind}": units
        for (term, start), drawn in windows.items()
        for kind, units in msgspec.structs.asdict(drawn).items()
    }


def live_usage(account: Account) -> dict[Window, WindowUsage]:
    """Tell what LIVE counts now, by window: the source of the upcoming invoice."""
    return {
        Window(ids.id_text(ids.FEATURE, feature), term, start): WindowUsage(end=total.end, units=total.now)
        for (feature, term, start), total in account.totals.items()
    }


def used_now(terms: PeriodTerms, usage: Mapping[Window, WindowUsage], now_ms: int) -> dict[str, int]:
    """Tell the units by feature id, in 1e-9, of the window of `terms` that holds the organization's now."""
    window = terms.window_of(max(now_ms // DAY_MS, terms.since_day)).start
    at = {granted.feature: usage.get(Window(granted.feature, terms.term, window)) for granted in terms.features}
    return {feature: found.units for feature, found in at.items() if found is not None}


def _name(window: Window) -> str:
    return f"{window.feature}/{window.term}/{window.start}"
