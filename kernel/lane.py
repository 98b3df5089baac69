"""Which lane a customer's events and snapshots go to. Pure; computed by us, never by a driver. Source: DESIGN 3.2."""

from hashlib import blake2b


def lane_of(customer: bytes, lanes: int) -> int:
    """Tell the lane of a customer (16 bytes) among `lanes`: the first 64 bits of its BLAKE2b, modulo."""
    return int.from_bytes(blake2b(customer, digest_size=8).digest(), "big") % lanes
