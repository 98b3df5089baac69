"""What an invoice owes beside usage, from what made it: base, discount, seats, add-ons, purchases, adjustments. Pure.

Source: R-DISC-11, R-SEAT-5 to R-SEAT-12, R-INV-2, R-INV-5, R-INV-8, R-PRO-3, R-ADDON-4.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from kernel.money import minor_places
from meterline.audit.frozen import FrozenTerms, Row
from meterline.audit.rows import Books

_EXACT: Final = Context(prec=60)
DAY_MS: Final = 86_400_000
_RECURRING: Final = "recurring"
_CHANGE: Final = "plan_change"  # it is asked for at its instant, after what happened there


class Owed(NamedTuple):
    """One line as it has to be: `feature` is an id or empty, the amount in minor units."""

    kind: str
    feature: str
    term: int
    amount_minor: int


class Seller:
    """Everything but usage that makes lines."""

    def __init__(self, books: Books, terms: FrozenTerms) -> None:
        self._terms = terms
        self._seats: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for event in sorted(books.seats, key=lambda row: (row["customer_id"], row["number"])):
            self._seats[event["customer_id"]][event["feature_id"]].append(event)
        self._packs = {row["invoice_id"]: row for row in books.packs}
        self._top_ups = {row["invoice_id"]: row for row in books.top_ups}

    def of_close(self, close: Row, lines: Sequence[Row] = ()) -> Counter[Owed]:
        """Tell what a close owes beside usage; `lines` are its invoice's."""
        owed: Counter[Owed] = Counter()
        if close["base_term"] is not None:
            begun = self._terms.period(close["subscription_id"], close["base_term"], close["through_day"])
            if begun is not None:
                owed += _advance(begun) + self._held(begun, close["customer_id"], close["end_us"] // 1000, lines)
        if close["kind"] == _RECURRING:
            owed += self.grown(close)
        return shown(owed)

    def of_start(self, invoice: Row, lines: Sequence[Row]) -> Counter[Owed]:
        """Tell what the invoice owes with which a subscription begins, or a period of it after a pause."""
        day = invoice["period_start_ms"] // DAY_MS
        begun = self._terms.period(invoice["subscription_id"], invoice["basis"]["terms"][0], day)
        if begun is None:
            return Counter()
        return shown(_advance(begun) + self._held(begun, invoice["customer_id"], invoice["issued_ms"], lines))

    def of_purchase(self, invoice: Row) -> Counter[Owed]:
        """Tell what a purchase owes: what was bought stands in a row of its own."""
        owed: Counter[Owed] = Counter()
        pack, top_up = self._packs.get(invoice["id"]), self._top_ups.get(invoice["id"])
        if pack is not None:
            owed[Owed("credit_pack", "", pack["term"], pack["price_minor"])] += 1
        if top_up is not None:
            owed[Owed("balance_topup", "", top_up["term"], top_up["amount_minor"])] += 1
        return owed

    def of_adjustment(self, invoice: Row, lines: Sequence[Row]) -> Counter[Owed] | None:
        """Tell what an adjustment owes: the amount that was asked for; None where none was."""
        term, asked = lines[0]["term"] if lines else 0, invoice["basis"]["facts"].get("amountMinor")
        return None if asked is None else shown(Counter([Owed("adjustment", "", term, asked)]))

    def _held(self, begun: Row, customer: str, at_ms: int, lines: Sequence[Row]) -> Counter[Owed]:
        """Charge the extra seats held when a period begins (R-SEAT-6).

        The included ones may have been raised since (R-SEAT-11): then the line says what stood.
        """
        owed: Counter[Owed] = Counter()
        stood = {line["feature_id"]: int(line["included"]) for line in lines if line["kind"] == "seats"}
        for rule, events in self._seat_types(customer, begun):
            before = [event for event in events if (event["ts_ms"], event["term"]) < (at_ms, begun["term"])]
            held = before[-1]["after"] if before else 0
            included = held if rule["included"] is None or not rule["overage"] else int(rule["included"])
            extra = max(0, held - min(included, stood.get(rule["feature"], included)))
            amount = rounded(Fraction(extra) * Fraction(rule["unitPrice"]), begun["currency"])
            owed[Owed("seats", rule["feature"], begun["term"], amount)] += 1
        return owed

    def grown(self, close: Row) -> Counter[Owed]:
        """True up what grew in the billing period that a close ends, a line a day (R-SEAT-7 to R-SEAT-9)."""
        owed: Counter[Owed] = Counter()
        end_ms = close["end_us"] // 1000
        last_day = (close["end_us"] - 1) // (DAY_MS * 1000)
        begun = [
            row
            for row in self._terms.of(close["subscription_id"])
            if row["since_day"] <= last_day and row["start_us"] < close["end_us"]
        ]
        if not begun or begun[-1]["trial"] or begun[-1]["until_day"] is None:
            return owed
        period = begun[-1]
        if period["until_day"] <= close["start_day"]:
            return owed
        parts, days = self._terms.parts(period), self._terms.days(period)
        since = max(parts[0]["since_day"] * DAY_MS, parts[0]["start_us"] // 1000), parts[0]["term"]
        ends = {int(part["term"]): int(part["until_day"]) for part in parts}
        for rule, events in self._seat_types(close["customer_id"], period):
            if rule["included"] is None or not rule["overage"]:
                continue
            paid, grown = int(rule["included"]), Counter[tuple[int, int]]()
            for event in events:
                if (event["ts_ms"], event["term"]) < since:
                    held = event["after"]
                    paid = max(int(rule["included"]), held)
                elif event["term"] > period["term"]:
                    break  # at the very instant of a change, under the terms that it began
                elif event["ts_ms"] < end_ms + (close["final"] or close["kind"] == _CHANGE) and event["after"] > paid:
                    # What came before a pause has the days that were left then.
                    end = ends.get(event["term"], ends[period["term"]])
                    grown[event["ts_ms"] // DAY_MS, end] += event["after"] - paid
                    paid = event["after"]
            for (day, end), seats in grown.items():
                share = Fraction(max(0, end - 1 - day), days)
                amount = rounded(seats * Fraction(rule["unitPrice"]) * share, period["currency"])
                owed[Owed("seat_true_up", rule["feature"], period["term"], amount)] += 1
        return owed

    def held_at(self, close: Row, period: Row) -> list[tuple[Row, int]]:
        """Tell the seats that are held when a change of plan comes, by type of the period that it begins."""
        end_ms = close["end_us"] // 1000
        found = []
        for rule, events in self._seat_types(close["customer_id"], period):
            before = [event for event in events if event["ts_ms"] <= end_ms and event["term"] < period["term"]]
            found.append((rule, before[-1]["after"] if before else 0))
        return found

    def _seat_types(self, customer: str, period: Row) -> list[tuple[Row, list[Row]]]:
        held = self._seats[customer]
        return [
            (rule, held[rule["feature"]])
            for rule in period["features"]
            if rule["kind"] == "seats" and rule["feature"] in held
        ]


def _advance(period: Row) -> Counter[Owed]:
    """Charge a period's base, less its discount, and the add-ons that it was frozen with."""
    term, base = period["term"], period["base_minor"]
    owed = Counter([Owed("plan_base", "", term, base)])
    if period["discount"] is not None:
        owed[Owed("discount", "", term, -off(base, period["discount"], period["currency"]))] += 1
    for rule in period["features"]:
        if rule.get("addon") and not rule.get("paidApart"):
            owed[Owed("addon_base", rule["feature"], term, rule.get("baseMinor", 0))] += 1
    return owed


def off(base_minor: int, discount: Row, currency: str) -> int:
    """Tell what a discount takes: a percentage rounded half up, or an amount, at most the base (R-DISC-11)."""
    value = Decimal(discount["value"])
    if discount["type"] == "percent":
        exact = _EXACT.divide(_EXACT.multiply(Decimal(base_minor), value), Decimal(100))
    else:
        exact = _EXACT.scaleb(value, minor_places(currency))
    return min(base_minor, int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)))


def rounded(major: Fraction, currency: str) -> int:
    """Round an exact amount that is not negative to minor units, halves away from zero (R-GEN-2)."""
    minor = major * Fraction(10 ** minor_places(currency))
    return (2 * minor.numerator + minor.denominator) // (2 * minor.denominator)


def shown(owed: Counter[Owed]) -> Counter[Owed]:
    """Leave out what is zero, but for the base (R-INV-7)."""
    return Counter({one: times for one, times in owed.items() if one.amount_minor or one.kind == "plan_base"})
