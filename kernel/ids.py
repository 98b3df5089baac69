"""Ids: 16 bytes of UUIDv7, spelled as a prefix and 26 lower-case base32 characters.

Owns the spelling and the making. Text in SQL, RAW and on the wire; the bare 16 bytes in the log and in LIVE.
The alphabet is base32hex (RFC 4648), which sorts as the bytes do. Invariants: `id_bytes(id_text(prefix, raw)) == raw`;
ids made in a later millisecond sort later, as bytes and as text.
"""

import os
from typing import Final

from kernel import base32

ID_BYTES: Final = 16
_TEXT_CHARS: Final = 26

ORGANIZATION = "org_"
API_KEY = "key_"
CUSTOMER = "cus_"
FEATURE = "ftr_"
PLAN = "pln_"
PRICE = "pp_"
SEAT_TYPE = "sty_"
OFFER = "ofr_"
SUBSCRIPTION = "sub_"
ADDON = "adn_"
CREDIT_PACK = "cpk_"
PROMO_CODE = "prc_"
PLAN_GROUP = "plg_"
INVOICE = "inv_"
INVOICE_LINE = "line_"
REFUSAL = "rej_"
REQUEST = "req_"


def new_bytes(now_ms: int) -> bytes:
    """Make a UUIDv7: 48 bits of `now_ms`, version, 74 random bits."""
    value = bytearray(now_ms.to_bytes(6, "big") + os.urandom(10))
    value[6] = 0x70 | (value[6] & 0x0F)
    value[8] = 0x80 | (value[8] & 0x3F)
    return bytes(value)


def new_id(prefix: str, now_ms: int) -> str:
    """Make an id with `prefix`."""
    return id_text(prefix, new_bytes(now_ms))


def id_text(prefix: str, raw: bytes) -> str:
    """Spell 16 bytes with `prefix`."""
    return prefix + base32.encode(raw)


def id_bytes(text: str) -> bytes:
    """Read the 16 bytes of an id that we spelled. Raises ValueError for anything else."""
    return base32.decode(text[text.rfind("_") + 1 :], ID_BYTES)


def is_id(prefix: str, text: str) -> bool:
    """Tell whether `text` is spelled as an id with `prefix`."""
    if not text.startswith(prefix) or len(text) != len(prefix) + _TEXT_CHARS:
        return False
    try:
        base32.decode(text[len(prefix) :], ID_BYTES)
    except ValueError:
        return False
    return True
