"""The bytes of a lane's header: one hash field a counter, numbers in decimal, as every adapter keeps them."""

from collections.abc import Mapping
from typing import Final

from kernel.engine.live.base import REBUILDING, LaneHeader

FIELDS: Final = (b"epoch", b"token", b"rules", b"next", b"sunk", b"clock", b"seen", b"state")


def header_fields(header: LaneHeader) -> dict[bytes, bytes]:
    """Spell a header."""
    values = (
        b"%d" % header.epoch,
        header.token,
        b"%d" % header.rules,
        b"%d" % header.next,
        b"%d" % header.sunk,
        b"%d" % header.clock_ms,
        b"%d" % header.seen_ms,
        header.state.encode(),
    )
    return dict(zip(FIELDS, values, strict=True))


def read_header(fields: Mapping[bytes, bytes]) -> LaneHeader | None:
    """Read a header; None for a lane that is absent."""
    if not fields:
        return None
    return LaneHeader(
        epoch=int(fields[b"epoch"]),
        token=fields[b"token"],
        rules=int(fields[b"rules"]),
        next=int(fields[b"next"]),
        sunk=int(fields[b"sunk"]),
        clock_ms=int(fields[b"clock"]),
        seen_ms=int(fields[b"seen"]),
        state=fields[b"state"].decode(),
    )


def rebuilding_header(token: bytes) -> LaneHeader:
    """Make the header of a lane whose rebuild begins: nothing is known of it but the token."""
    return LaneHeader(epoch=0, token=token, rules=0, next=0, sunk=0, clock_ms=0, seen_ms=0, state=REBUILDING)
