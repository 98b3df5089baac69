"""A customer's live state: what has been used and drawn in which window, now and at the last cut. Pure.

Owns the bytes of `{l}a`: `rev` (8 bytes, big-endian), then msgpack of the account's clock, its cut, its totals and,
where something was ever drawn, its draws and what each feature took. Invariant: an account is a function of its
snapshot, its clock and its counted rows alone, so that a rebuild is byte-identical (DESIGN 3.9). Amounts are 1e-9
units, 16 bytes signed.
"""

from typing import Final

import msgspec

from kernel.limits import DAY_MS

KEEP_WINDOW_DAYS: Final = 36  # a window stays until no event may name it: 35 days of backdating and one of slack

WindowKey = tuple[bytes, int, int]  # feature id, term number, first day of the window
DrawKey = tuple[int, int]  # term number, first day of the window


class WindowTotal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Usage of one feature in one window, in 1e-9 units: `now`, and as it stood `at_cut`. `end` is the day it ends."""

    end: int
    now: int
    at_cut: int


class Draws(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was drawn in one window, in 1e-9 units of the pool: from the plan's part, packs, top-ups, and beyond all."""

    plan: int = 0
    packs: int = 0
    top_ups: int = 0
    overdraft: int = 0

    @property
    def beyond(self) -> int:
        """Tell what counts against top-ups: what they gave, and the overdraft that they pay first (R-TOPUP-4)."""
        return self.top_ups + self.overdraft

    @property
    def whole(self) -> int:
        """Tell what was drawn in all."""
        return self.plan + self.packs + self.top_ups + self.overdraft

    @property
    def empty(self) -> bool:
        """Tell whether nothing was drawn."""
        return not (self.plan or self.packs or self.top_ups or self.overdraft)

    def __add__(self, other: "Draws") -> "Draws":
        """Add what was drawn at another time."""
        return Draws(
            plan=self.plan + other.plan,
            packs=self.packs + other.packs,
            top_ups=self.top_ups + other.top_ups,
            overdraft=self.overdraft + other.overdraft,
        )


class WindowDraws(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The draws of one window: `now`, and as they stood `at_cut`. `end` is the day it ends."""

    end: int
    now: Draws
    at_cut: Draws


NOTHING: Final = Draws()


class Account(msgspec.Struct, kw_only=True):
    """One customer's account. `clock_ms` is the greatest accepted_at folded; `cut` the number of cuts folded.

    `packs` is what packs gave in all time: they never expire (R-CREDIT-3), their windows are forgotten. `spent` is what
    each feature's usage of a window took of its pool, while its total is kept; what drew nothing has none.
    """

    rev: int = 0
    clock_ms: int = 0
    cut: int = 0
    totals: dict[WindowKey, WindowTotal] = msgspec.field(default_factory=dict)
    draws: dict[DrawKey, WindowDraws] = msgspec.field(default_factory=dict)
    packs: int = 0
    spent: dict[WindowKey, int] = msgspec.field(default_factory=dict)

    def copy(self) -> "Account":
        """Copy, so that a refused write leaves the original as it was; totals and draws themselves never change."""
        return msgspec.structs.replace(
            self, totals=self.totals.copy(), draws=self.draws.copy(), spent=self.spent.copy()
        )

    def advance(self, clock_ms: int) -> None:
        """Move the clock to `clock_ms` (it never falls) and forget the windows that are forgotten on a new day.

        So what an account holds depends on its clock alone, not on when it was written.
        """
        if clock_ms <= self.clock_ms:
            return
        rolled = clock_ms // DAY_MS != self.clock_ms // DAY_MS
        self.clock_ms = clock_ms
        if rolled:
            self.forget()

    def forget(self) -> None:
        """Forget the windows that are forgotten by the clock."""
        for key in [key for key, total in self.totals.items() if self.forgets(total.end)]:
            del self.totals[key]
            self.spent.pop(key, None)
        for window in [window for window, drawn in self.draws.items() if self._forgets_draws(drawn)]:
            del self.draws[window]

    def forgets(self, window_end: int) -> bool:
        """Tell whether a window that ended on `window_end` is forgotten: KEEP_WINDOW_DAYS or more before the clock."""
        return window_end <= self.clock_ms // DAY_MS - KEEP_WINDOW_DAYS

    def _forgets_draws(self, drawn: WindowDraws) -> bool:
        """What drew on top-ups stays: later windows begin with what it left of them (ADR 9)."""
        return self.forgets(drawn.end) and not drawn.now.beyond

    def add_usage(self, key: WindowKey, end: int, units: int, units_at_cut: int = 0) -> None:
        """Count units in a window that ends on `end` (of two ends the later rules)."""
        before = self.totals.get(key)
        if before is None:
            self.totals[key] = WindowTotal(end=end, now=units, at_cut=units_at_cut)
        else:
            self.totals[key] = WindowTotal(
                end=max(end, before.end), now=before.now + units, at_cut=before.at_cut + units_at_cut
            )

    def add_draws(
        self, key: WindowKey, end: int, draws: Draws, draws_at_cut: Draws = NOTHING, *, drew: bool = False
    ) -> None:
        """Count what a feature drew in a window that ends on `end` (of two ends the later rules).

        Of sums, `drew` says that they are of draws, even when these came to nothing.
        """
        if draws.empty and not drew:
            return
        _, term, start = key
        window = term, start
        before = self.draws.get(window) or WindowDraws(end=end, now=NOTHING, at_cut=NOTHING)
        self.draws[window] = WindowDraws(
            end=max(end, before.end), now=before.now + draws, at_cut=before.at_cut + draws_at_cut
        )
        self.packs += draws.packs
        self.spent[key] = self.spent.get(key, 0) + draws.whole

    def freeze(self, cut: int) -> None:
        """Take cut number `cut`: what is used and drawn now is what was at the cut. Source: DESIGN 3.8."""
        self.cut = cut
        for key, total in self.totals.items():
            self.totals[key] = WindowTotal(end=total.end, now=total.now, at_cut=total.now)
        for window, drawn in self.draws.items():
            self.draws[window] = WindowDraws(end=drawn.end, now=drawn.now, at_cut=drawn.now)


_Amounts = tuple[bytes, bytes, bytes, bytes]
_TotalRow = tuple[bytes, int, int, int, bytes, bytes]
_SpentRow = tuple[bytes, int, int, bytes]
_DrawRow = tuple[int, int, int, _Amounts, _Amounts]


class _Stored(msgspec.Struct, array_like=True):
    """The account behind its `rev`; one that never drew on a pool ends after its totals."""

    clock_ms: int
    cut: int
    totals: list[_TotalRow]
    draws: list[_DrawRow] = []
    packs: bytes = bytes(16)
    spent: list[_SpentRow] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode_account(account: Account) -> bytes:
    """Encode an account; equal accounts have equal bytes, whatever order their totals and draws arose in."""
    items = account.totals.items()
    totals = [
        (*key, total.end, _amount(total.now), _amount(total.at_cut))
        for key, total in (sorted(items, key=_by_window) if len(items) > 1 else items)
    ]
    if not (account.draws or account.packs or account.spent):
        return account.rev.to_bytes(8, "big") + _encoder.encode((account.clock_ms, account.cut, totals))
    draws = [
        (*key, drawn.end, _amounts(drawn.now), _amounts(drawn.at_cut)) for key, drawn in sorted(account.draws.items())
    ]
    spent = [(*key, _amount(units)) for key, units in sorted(account.spent.items())]
    stored = (account.clock_ms, account.cut, totals, draws, _amount(account.packs), spent)
    return account.rev.to_bytes(8, "big") + _encoder.encode(stored)


def _by_window(item: tuple[WindowKey, WindowTotal]) -> WindowKey:
    return item[0]


_NO_AMOUNT: Final = bytes(16)


def _amount(units: int) -> bytes:
    return units.to_bytes(16, "big", signed=True) if units else _NO_AMOUNT


def _units(amount: bytes) -> int:
    return int.from_bytes(amount, "big", signed=True)


def _amounts(draws: Draws) -> _Amounts:
    return _amount(draws.plan), _amount(draws.packs), _amount(draws.top_ups), _amount(draws.overdraft)


def _draws(amounts: _Amounts) -> Draws:
    plan, packs, top_ups, overdraft = map(_units, amounts)
    return Draws(plan=plan, packs=packs, top_ups=top_ups, overdraft=overdraft)


def decode_account(data: bytes) -> Account:
    """Decode what `encode_account` wrote."""
    stored = _decoder.decode(data[8:])
    return Account(
        rev=int.from_bytes(data[:8], "big"),
        clock_ms=stored.clock_ms,
        cut=stored.cut,
        totals={
            (feature, term, window): WindowTotal(end=end, now=_units(now), at_cut=_units(at_cut))
            for feature, term, window, end, now, at_cut in stored.totals
        },
        draws={
            (term, window): WindowDraws(end=end, now=_draws(now), at_cut=_draws(at_cut))
            for term, window, end, now, at_cut in stored.draws
        },
        packs=_units(stored.packs),
        spent={(feature, term, window): _units(units) for feature, term, window, units in stored.spent},
    )
