"""Which lanes are whose, when several aggregators share them. Pure.

Invariant: with the same members in view every lane has exactly one owner, and shares differ by one lane at most. Views
may differ for a moment; the fold's script is what keeps that harmless. Source: ADR 5.
"""

from collections.abc import Sequence


def lanes_of(member: str, members: Sequence[str], lanes: int) -> frozenset[int]:
    """Tell the lanes of `member`: every m-th, counted among those of its role in the order of their names.

    A name is `role:id`, or an id alone. Who is not among the members has no lane.
    """
    role = member.rpartition(":")[0]
    ordered = sorted({one for one in members if one.rpartition(":")[0] == role})
    if member not in ordered:
        return frozenset()
    return frozenset(range(ordered.index(member), lanes, len(ordered)))
