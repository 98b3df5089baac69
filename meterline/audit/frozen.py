"""The frozen terms of all subscriptions, as the audit looks things up in them. Pure.

Terms are found by the number that rows and lines carry, never by a subscription's current number: one subscription has
several in its life (ADR 9; R-PRICE-1).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from kernel.money import minor_places
from meterline.audit.decoding import UNITS, AccountRecord, TermsRule
from meterline.audit.pool import Four, Pool, PoolKey, window_of
from meterline.audit.rows import Books

Row = Mapping[str, Any]
UsageKey = tuple[str, str, int, int]  # customer, feature, term, first day of the window
# customer -> draw window -> what was drawn of each part of the pool, by cut
Drawn = Mapping[str, Mapping[PoolKey, Mapping[int, Four]]]
MONTHS: Final = {"monthly": 1, "quarterly": 3, "yearly": 12}
_ZERO: Final = Decimal(0)


class FrozenTerms:
    """Subscriptions and their terms, by customer and number."""

    def __init__(self, books: Books) -> None:
        self.subscriptions = {row["id"]: row for row in books.subscriptions}
        # Those by which usage may count: with the ones that a change of plan overtook before they came.
        self._rating: dict[str, list[Row]] = defaultdict(list)
        for row in sorted(books.terms, key=lambda row: (row["since_day"], row["term"])):
            self._rating[row["subscription_id"]].append(row)
        self._owners = {(row["customer_id"], row["term"]): row for row in books.subscriptions}
        for subscription_id, periods in self._rating.items():
            owner = self.subscriptions[subscription_id]
            self._owners.update({(owner["customer_id"], period["term"]): owner for period in periods})
        self._voided = {row["id"]: row["voided_ms"] for row in books.invoices if row["voided_ms"] is not None}
        self._top_ups: dict[str, list[Row]] = defaultdict(list)
        for bought in books.top_ups:
            self._top_ups[bought["customer_id"]].append(bought)

    def owner(self, customer: str, term: int) -> Row | None:
        """Tell whose terms a number are; None when SQL has no such subscription."""
        return self._owners.get((customer, term))

    def of(self, subscription_id: str) -> list[Row]:
        """List a subscription's terms that came or come, oldest first: none begins after one with a greater number."""
        rows = self._rating[subscription_id]
        return [
            row
            for row in rows
            if not any(one["term"] > row["term"] and one["since_day"] < row["since_day"] for one in rows)
        ]

    def period(self, subscription_id: str, term: int, since_day: int) -> Row | None:
        """Find the terms of one number that begin on a day."""
        return next((p for p in self.of(subscription_id) if (p["term"], p["since_day"]) == (term, since_day)), None)

    def at(self, customer: str, term: int, day: int) -> list[Row]:
        """Tell the terms of a number in force on a day, then those that came later under it (R-PRICE-1)."""
        owner = self.owner(customer, term)
        rows = [] if owner is None else [row for row in self._rating[owner["id"]] if row["term"] == term]
        begun = [row for row in rows if row["since_day"] <= day]
        return [*begun[-1:], *(row for row in rows if row["since_day"] > day)]

    def granting(self, key: UsageKey) -> tuple[Row, Row] | None:
        """Find the terms by which a window is rated, and what they say of its feature.

        Late usage of a feature that came with later terms is rated by the first of them.
        """
        customer, feature, term, window = key
        for row in self.at(customer, term, window):
            for rule in row["features"]:
                if rule["feature"] == feature:
                    return row, _of_window(row, rule, window)
        return None

    def end(self, customer: str, term: int, end: int) -> int:
        """Tell when a window ends: at its own end, or where terms with a greater number take over."""
        owner = self.owner(customer, term)
        rows = [] if owner is None else self._rating[owner["id"]]
        return min([end, *(int(row["since_day"]) for row in rows if row["term"] > term)])

    def draw_window(self, customer: str, term: int, first: int) -> tuple[Row, int] | None:
        """Tell a draw window's terms, and when it ends."""
        found = self.at(customer, term, first)
        if not found:
            return None
        return found[0], self.end(customer, term, window_of(_rule(found[0]), first)[1])

    def overdraft(self, customer: str, key: tuple[int, int], drawn: Drawn, cut: int | None) -> Decimal:
        """Tell what a draw window has beyond its balance by a cut, in the major unit (R-BAL-3, R-TOPUP-4)."""
        terms = self.at(customer, *key)
        if not terms or not terms[0]["overdraft"]:
            return _ZERO
        later = [one["pool"] for one in terms[0]["earlier"] if key[1] < one["before_day"]]
        stood = {**terms[0], "pool": later[0]} if later else terms[0]
        return self._left(customer, stood, key, drawn, cut)[1]

    def top_ups_left(self, customer: str, terms: Row, day: int, drawn: Drawn, cut: int) -> Decimal:
        """Tell what is left on a day of a balance's top-ups by a cut, in the major unit (AMB-20)."""
        if terms["model"] != "balance":
            return _ZERO
        key = terms["term"], window_of(_rule(terms), day)[0]
        return self._left(customer, terms, key, drawn, cut)[0]

    def top_ups_owed(self, customer: str, terms: Row, day: int, before_ms: int) -> Decimal:
        """Tell what a balance had of top-ups not void before an instant, if nothing was drawn, in the major unit."""
        if terms["model"] != "balance":
            return _ZERO
        key = terms["term"], window_of(_rule(terms), day)[0]
        bought = [row for row in self._top_ups[customer] if self._voided.get(row["invoice_id"], before_ms) >= before_ms]
        return self._pooled(Pool(), bought, terms, key[1])[0]

    def _left(
        self, customer: str, terms: Row, key: tuple[int, int], drawn: Drawn, cut: int | None
    ) -> tuple[Decimal, Decimal]:
        pool = Pool()
        for each, by_cut in drawn.get(customer, {}).items():
            for at, four in by_cut.items():
                if cut is None or at <= cut:
                    pool.take(each, 0, four)
        return self._pooled(pool, self._top_ups[customer], terms, key[1])

    def _pooled(self, pool: Pool, rows: Iterable[Row], terms: Row, window: int) -> tuple[Decimal, Decimal]:
        """Tell what a window has of top-ups, and what it lacks."""
        places = minor_places(terms["currency"])
        bought = tuple((row["term"], row["window_day"], Decimal(row["amount_minor"]).scaleb(-places)) for row in rows)
        record = AccountRecord(b"", b"", 0, None, None, None, None, 0, b"", top_ups=bought)
        _, extra, short = pool.left(record, _rule(terms), window)
        return extra, short

    def parts(self, period: Row) -> list[Row]:
        """List the terms of a billing period, the last being `period`: several when it was paused (T56)."""
        found = [period]
        while found[0]["anchor_day"] == found[0]["until_day"]:
            before = [row for row in self.of(period["subscription_id"]) if row["term"] < found[0]["term"]]
            found.insert(0, max(before, key=lambda row: (row["term"], row["since_day"])))
        return found

    def days(self, period: Row) -> int:
        """Count the days of a billing period without its pauses: those with which it began (R-PRO-3, R-SEAT-9)."""
        first = self.parts(period)[0]
        return int(first["until_day"] - first["since_day"])

    def charged(self, subscription: Row) -> Iterable[Row]:
        """List the billing periods that have begun and are charged in advance.

        A trial and a free plan are not; neither is the rest of a paused period, whose windows count to its end (T56).
        """
        for row in self.of(subscription["id"]):
            paid = row["interval"] is not None and not row["trial"]
            if paid and row["anchor_day"] != row["until_day"] and row["since_day"] <= subscription["period_start_day"]:
                yield row


def _of_window(row: Row, rule: Row, window: int) -> Row:
    """Say what a feature's rule was for a window that was over before a quantity was raised (R-BH-1, R-INT-4)."""
    for earlier in row["earlier"]:
        for feature, included in earlier["included"]:
            if window < earlier["before_day"] and feature == rule["feature"]:
                return {**rule, "included": included}
    return rule


def _rule(row: Row) -> TermsRule:
    """Spell terms as the log does, as far as pools need it."""
    months = 0 if row["trial"] else MONTHS.get(row["interval"] or "", 0)
    chain = None if row["chain_term"] is None else (row["chain_term"], row["chain_window"])
    return TermsRule(
        number=row["term"],
        start_us=row["start_us"],
        anchor=row["anchor_day"],
        since=row["since_day"],
        features={},
        model=row["model"],
        months=months,
        window_days=row["window_days"],
        pool=Decimal(row["pool"]).quantize(UNITS),
        overdraft=row["overdraft"],
        chain=chain,
    )
