"""Whether LIVE and RAW agree on a customer at a cut, to the last 1e-9. Pure.

Invariant: no invoice is written from sums on which the two differ. LIVE forgets windows that ended long ago; those are
RAW's alone and cannot differ. Source: DESIGN 3.8 (c).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from aggregator.account import Account
from billing.closing import Window, WindowUsage
from billing.invoice import decimal_units
from kernel import ids

_NOTHING: Final = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of a disagreement: `{"feature/term/first day": units as a decimal string}`, the differing windows."""

    live: dict[str, str]
    raw: dict[str, str]


def difference(account: Account, totals: Mapping[Window, WindowUsage]) -> Difference | None:
    """Compare LIVE's totals at the cut with RAW's sums up to it; None when they are equal."""
    live = {
        Window(ids.id_text(ids.FEATURE, feature), term, start): total.at_cut
        for (feature, term, start), total in account.totals.items()
    }
    raw = {window: usage.units for window, usage in totals.items() if window in live or not account.forgets(usage.end)}
    differing = sorted(
        window for window in live.keys() | raw.keys() if live.get(window, _NOTHING) != raw.get(window, _NOTHING)
    )
    if not differing:
        return None
    return Difference(
        live={_name(window): decimal_units(live.get(window, _NOTHING)) for window in differing},
        raw={_name(window): decimal_units(raw.get(window, _NOTHING)) for window in differing},
    )


def live_usage(account: Account) -> dict[Window, WindowUsage]:
    """Tell what LIVE counts now, by window: the source of the upcoming invoice."""
    return {
        Window(ids.id_text(ids.FEATURE, feature), term, start): WindowUsage(end=total.end, units=total.now)
        for (feature, term, start), total in account.totals.items()
    }


def _name(window: Window) -> str:
    return f"{window.feature}/{window.term}/{window.start}"
