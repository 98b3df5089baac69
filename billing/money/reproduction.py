"""An invoice made again, beside the one that is stored: what must be the same, and where it is not. Pure.

It proves that an invoice follows from what it stores: source, cut, terms, basis. It calls billing's own functions; that
the arithmetic is right proves the audit, with other code. Source: R-INV-6, R-INV-11; ADR 9.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from billing.life.frozen import PeriodTerms
from billing.money.amount_due import Amounts, amounts_of
from billing.money.invoice import Basis, Invoice, InvoiceDraft, Line, LineKind
from kernel.period import DAY_MS

# What an invoice takes from the draft that made it; all else is its number, its status and its amounts.
_MEMBERS: Final = (
    *("organization_id", "customer_id", "subscription_id", "cut", "kind", "currency", "plan_name", "source", "final"),
    *("period_start_ms", "period_end_ms", "issued_ms", "due_ms", "days_remaining", "days_in_cycle", "basis"),
)


class Reproduction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it: `verdict` is `identical`, `different`, or `unjudged` when its source is not made again yet.

    The digests are BLAKE2b-128 of the lines as JSON, `differences` say which member of what is stored and recomputed.
    """

    invoice: str
    number: int
    source: str
    verdict: str
    stored_digest: str
    recomputed_digest: str | None
    lines: int
    differences: list[dict[str, Any]]


def as_it_stood(periods: Sequence[PeriodTerms], invoice: Invoice, lines: Sequence[Line]) -> list[PeriodTerms]:
    """Put back the included seats of the period that begins with the invoice, for those raised since (R-BH-1).

    Of usage the terms themselves tell what a window had (`PeriodTerms.of_window`).
    """
    stood: dict[tuple[int, int, str], str] = {}
    for line in lines:
        if line.feature_id is None or line.included is None or line.window is not None:
            continue  # of the plan as a whole, or of usage
        if line.kind is LineKind.SEAT_TRUE_UP:
            continue
        day = invoice.period_start_ms // DAY_MS
        begun = [one.since_day for one in periods if one.term == line.term and one.since_day <= day]
        if begun:
            stood[line.term, max(begun), line.feature_id] = line.included
    return [_with(period, stood) for period in periods]


def _with(period: PeriodTerms, stood: Mapping[tuple[int, int, str], str]) -> PeriodTerms:
    features = tuple(
        msgspec.structs.replace(
            granted, included=stood.get((period.term, period.since_day, granted.feature), granted.included)
        )
        for granted in period.features
    )
    return msgspec.structs.replace(period, features=features)


def compared(invoice: Invoice, lines: Sequence[Line], draft: InvoiceDraft | None) -> Reproduction:
    """Compare a stored invoice with its draft made again (None: nothing makes it any more).

    Account credit and carried amounts are those that it took: they depend on the invoices before it.
    """
    amounts = None
    if draft is not None:
        credit_minor, carried_minor = invoice.credit_applied_minor, invoice.carried_in_minor
        amounts = amounts_of(draft, credit_minor=credit_minor, carried_minor=carried_minor)
    found = [] if draft is None or amounts is None else list(_differences(invoice, lines, draft, amounts))
    same = draft is not None and not found
    return Reproduction(
        invoice=invoice.id,
        number=invoice.number,
        source=invoice.source,
        verdict="identical" if same else "different",
        stored_digest=_digest(lines),
        recomputed_digest=None if amounts is None else _digest(amounts.lines),
        lines=len(lines),
        differences=found,
    )


def not_made_again(invoice: Invoice, lines: Sequence[Line]) -> Reproduction:
    """Say that nothing here makes an invoice of this source again."""
    return msgspec.structs.replace(compared(invoice, lines, None), verdict="unjudged")


def _differences(
    invoice: Invoice, lines: Sequence[Line], draft: InvoiceDraft, amounts: Amounts
) -> list[dict[str, Any]]:
    stored = {name: getattr(invoice, name) for name in (*_MEMBERS, *_AMOUNTS)}
    again = {name: getattr(draft, name) for name in _MEMBERS} | {name: getattr(amounts, name) for name in _AMOUNTS}
    again["basis"] = draft.basis or Basis(cut=draft.cut)
    found = [_told(name, stored[name], again[name]) for name in stored if _bytes(stored[name]) != _bytes(again[name])]
    for at in range(max(len(lines), len(amounts.lines))):
        mine, other = _at(lines, at), _at(amounts.lines, at)
        found.extend(
            _told(f"lines[{at}].{name}", mine.get(name), other.get(name))
            for name in Line.__struct_fields__
            if _bytes(mine.get(name)) != _bytes(other.get(name))
        )
    return found


_AMOUNTS: Final = tuple(name for name in Amounts.__struct_fields__ if name != "lines")


def _at(lines: Sequence[Line], at: int) -> dict[str, Any]:
    return msgspec.structs.asdict(lines[at]) if at < len(lines) else {}


def _told(name: str, stored: object, recomputed: object) -> dict[str, Any]:
    return {"member": name, "stored": msgspec.to_builtins(stored), "recomputed": msgspec.to_builtins(recomputed)}


def _bytes(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _digest(lines: Sequence[Line]) -> str:
    return blake2b(_bytes(list(lines)), digest_size=16).hexdigest()
