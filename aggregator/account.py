"""A customer's live state: what has been used in which window, now and at the last cut. Pure.

Owns the bytes of `{l}a`: `rev` (8 bytes, big-endian), then msgpack of the account's clock, its cut and its totals.
Invariant: an account is a function of its snapshot, its clock and its counted rows alone, so that a rebuild is
byte-identical (DESIGN 3.9). Amounts are 1e-9 units, 16 bytes signed.
"""

from typing import Final

import msgspec

KEEP_WINDOW_DAYS: Final = 36  # a window stays until no event may name it: 35 days of backdating and one of slack
_DAY_MS: Final = 86_400_000

WindowKey = tuple[bytes, int, int]  # feature id, term number, first day of the window


class WindowTotal(msgspec.Struct, kw_only=True):
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
        """Copy deeply, so that a refused write leaves the original as it was."""
        return Account(
            rev=self.rev,
            clock_ms=self.clock_ms,
            cut=self.cut,
            totals={key: WindowTotal(end=t.end, now=t.now, at_cut=t.at_cut) for key, t in self.totals.items()},
        )

    def prune(self) -> None:
        """Forget windows that ended KEEP_WINDOW_DAYS or more before the account's clock."""
        oldest = self.clock_ms // _DAY_MS - KEEP_WINDOW_DAYS
        for key in [key for key, total in self.totals.items() if total.end <= oldest]:
            del self.totals[key]


_Row = tuple[bytes, int, int, int, bytes, bytes]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, int, list[_Row]])


def encode_account(account: Account) -> bytes:
    """Encode an account; equal accounts have equal bytes, whatever order their totals arose in."""
    rows = [
        (*key, total.end, total.now.to_bytes(16, "big", signed=True), total.at_cut.to_bytes(16, "big", signed=True))
        for key, total in sorted(account.totals.items())
    ]
    return account.rev.to_bytes(8, "big") + _encoder.encode((account.clock_ms, account.cut, rows))


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
