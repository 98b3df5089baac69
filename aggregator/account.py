"""A customer's live state: what has been used in which window, now and at the last cut. Pure.

Owns the bytes of `{l}a`: `rev` (8 bytes, big-endian), then msgpack of the account's clock, its cut and its totals.
Invariant: an account is a function of its snapshot, its clock and its counted rows alone, so that a rebuild is
byte-identical (DESIGN 3.9). Amounts are 1e-9 units, 16 bytes signed.
"""

from typing import Final

import msgspec

from kernel.limits import DAY_MS

KEEP_WINDOW_DAYS: Final = 36  # a window stays until no event may name it: 35 days of backdating and one of slack

WindowKey = tuple[bytes, int, int]  # feature id, term number, first day of the window


class WindowTotal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Usage of one feature in one window, in 1e-9 units: `now`, and as it stood `at_cut`. `end` is the day it ends."""

    end: int
    now: int
    at_cut: int


class Account(msgspec.Struct, kw_only=True):
    """One customer's account. `clock_ms` is the greatest accepted_at folded; `cut` the number of cuts folded."""

    rev: int = 0
    clock_ms: int = 0
    cut: int = 0
    totals: dict[WindowKey, WindowTotal] = msgspec.field(default_factory=dict)

    def copy(self) -> "Account":
        """Copy, so that a refused write leaves the original as it was; the totals themselves never change."""
        return Account(rev=self.rev, clock_ms=self.clock_ms, cut=self.cut, totals=self.totals.copy())

    def advance(self, clock_ms: int) -> None:
        """Move the clock to `clock_ms` (it never falls) and forget the windows that are forgotten on a new day.

        So what an account holds depends on its clock alone, not on when it was written.
        """
        if clock_ms <= self.clock_ms:
            return
        rolled = clock_ms // DAY_MS != self.clock_ms // DAY_MS
        self.clock_ms = clock_ms
        if rolled:
            for key in [key for key, total in self.totals.items() if self.forgets(total.end)]:
                del self.totals[key]

    def forgets(self, window_end: int) -> bool:
        """Tell whether a window that ended on `window_end` is forgotten: KEEP_WINDOW_DAYS or more before the clock."""
        return window_end <= self.clock_ms // DAY_MS - KEEP_WINDOW_DAYS

    def freeze(self, cut: int) -> None:
        """Take cut number `cut`: what is used now is what was used at the cut. Source: DESIGN 3.8."""
        self.cut = cut
        for key, total in self.totals.items():
            self.totals[key] = WindowTotal(end=total.end, now=total.now, at_cut=total.now)


_Row = tuple[bytes, int, int, int, bytes, bytes]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, int, list[_Row]])


def encode_account(account: Account) -> bytes:
    """Encode an account; equal accounts have equal bytes, whatever order their totals arose in."""
    rows = [
        (*key, total.end, total.now.to_bytes(16, "big", signed=True), total.at_cut.to_bytes(16, "big", signed=True))
        for key, total in sorted(account.totals.items(), key=_by_window)
    ]
    return account.rev.to_bytes(8, "big") + _encoder.encode((account.clock_ms, account.cut, rows))


def _by_window(item: tuple[WindowKey, WindowTotal]) -> WindowKey:
    return item[0]


def decode_account(data: bytes) -> Account:
    """Decode what `encode_account` wrote."""
    clock_ms, cut, rows = _decoder.decode(data[8:])
    return Account(
        rev=int.from_bytes(data[:8], "big"),
        clock_ms=clock_ms,
        cut=cut,
        totals={
            (feature, term, window): WindowTotal(
                end=end, now=int.from_bytes(now, "big", signed=True), at_cut=int.from_bytes(at_cut, "big", signed=True)
            )
            for feature, term, window, end, now, at_cut in rows
        },
    )
