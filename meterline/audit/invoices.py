"""The invoices once more: every line from RAW's rows, the frozen terms and what was bought; every total from its lines.

Pure. Lines of a kind that it does not reckon are told as such (`unjudged`), never as fine.
Source: DESIGN 3.8, 5; ADR 9; R-METER-1, R-METER-2, R-BAL-3, R-TRACK-20, R-INV-7, R-INV-10, R-INV-11.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from kernel.money import minor_places
from meterline.audit.changed import Changer
from meterline.audit.frozen import Drawn, FrozenTerms, Row, UsageKey
from meterline.audit.ledger import (
    check_amounts,
    check_bought,
    check_credits,
    check_holders,
    check_numbers,
    check_returned,
)
from meterline.audit.owed import Owed, Seller
from meterline.audit.report import Findings, Unbilled
from meterline.audit.rows import Books

USAGE_KINDS: Final = frozenset({"overage", "addon_overage", "late_usage"})
OVERDRAFT: Final = "balance_overage"
# What is reckoned for an invoice as a whole, line by line.
OWED_KINDS: Final = frozenset(
    {
        *("plan_base", "discount", "seats", "seat_true_up", "addon_base", "addon_proration"),
        *("proration_credit", "proration_charge", "credit_pack", "balance_topup", "adjustment"),
    }
)
# Their amounts are shares of quantity times unit price.
SHARES: Final = frozenset({"seat_true_up", "proration_credit", "proration_charge"})
CHANGE: Final = "plan_change"
UNCOLLECTED: Final = "customer_archived"  # why a close that was open when its customer was deleted bills nothing
SOURCES: Final = frozenset({"close", "start", "purchase", "adjustment", "change", "addon"})
PERIODIC: Final = SOURCES - {"purchase", "adjustment"}  # what these charge has a currency of its own
CREDIT: Final = "account_credit_applied"  # by the ledger of credit
_POOL: Final = ""
_EPOCH: Final = date(1970, 1, 1).toordinal()
_EXACT: Final = Context(prec=60)
_ZERO: Final = Decimal(0)

# usage by cut, and the window's end
CountedUsage = dict[UsageKey, dict[int, Decimal]]


class InvoiceAudit:
    """One look at all invoices, with usage and draws by cut as the rows have them."""

    def __init__(self, books: Books, usage: CountedUsage, ends: Mapping[UsageKey, int], drawn: Drawn) -> None:
        self._books = books
        self._usage = usage
        self._ends = ends
        self._drawn = drawn
        self._terms = FrozenTerms(books)
        self._seller = Seller(books, self._terms)
        self._changer = Changer(books, self._terms, self._seller)
        self._lines: dict[str, list[Row]] = defaultdict(list)
        for line in books.lines:
            self._lines[line["invoice_id"]].append(line)
        self._closes = {close["id"]: close for close in books.closes}
        self._voided = {row["id"]: row["voided_ms"] for row in books.invoices if row["voided_ms"] is not None}
        self._made_ms = {close["invoice_id"]: close["settled_ms"] for close in books.closes}
        self._settled: dict[str, list[Row]] = defaultdict(list)
        for close in sorted(books.closes, key=lambda close: close["cut"]):
            # A change that was refused left a cut that bills nothing; so does the deletion of the customer.
            billed = close["invoice_id"] is not None or (close["kind"] != CHANGE and not self._uncollected(close))
            if close["state"] == "settled" and billed:
                self._settled[close["subscription_id"]].append(close)
        self.unbilled: list[Unbilled] = []
        self.unjudged: Counter[str] = Counter()

    def check(self, findings: Findings) -> None:
        """Compare totals, what is owed, usage lines, what should have had a line, numbers, credit and closes."""
        billed: dict[UsageKey, list[Row]] = defaultdict(list)
        for invoice in self._books.invoices:
            lines = self._lines[invoice["id"]]
            check_amounts(findings, invoice, lines)
            self._check_currency(findings, invoice, lines)
            self._check_owed(findings, invoice, lines)
            for line in lines:
                if line["kind"] in USAGE_KINDS or line["kind"] == OVERDRAFT:
                    feature = line["feature_id"] or _POOL
                    billed[invoice["customer_id"], feature, line["term"], line["window_day"]].append(line)
                elif line["kind"] not in OWED_KINDS and line["kind"] != CREDIT:
                    self.unjudged[line["kind"]] += 1
        for lines in billed.values():
            lines.sort(key=lambda line: line["cut"])
        self._check_windows(findings, billed)
        self._check_draws(findings, billed)
        self._check_closes(findings)
        self._check_periods(findings)
        check_credits(findings, self._books, self._returned())
        check_holders(findings, self._books)
        check_bought(findings, self._books)
        check_returned(findings, self._books, self._returned_by_closes())
        self._check_returns(findings)
        check_numbers(findings, self._books)

    def _check_currency(self, findings: Findings, invoice: Row, lines: Sequence[Row]) -> None:
        """An invoice is in the currency of the terms that it charges, of a change in that of the new ones (R-REG-4)."""
        term = max((line["term"] for line in lines), default=0)
        found = self._terms.at(invoice["customer_id"], term, invoice["period_start_ms"] // 86_400_000)
        if found and invoice["source"].partition(":")[0] in PERIODIC:
            where = f"invoice {invoice['id']}"
            findings.same("invoice total", where, "currency", invoice["currency"], found[0]["currency"])

    def _check_owed(self, findings: Findings, invoice: Row, lines: Sequence[Row]) -> None:
        """What an invoice charges beside usage is what its source owes, line by line."""
        source, _, made_by = invoice["source"].partition(":")
        where = f"invoice {invoice['id']}"
        own = [line for line in lines if line["kind"] in OWED_KINDS]
        close = self._closes.get(made_by)
        if source in ("close", "change") and (close is None or close["invoice_id"] != invoice["id"]):
            findings.add("close", where, "names a close that does not name it")
            return
        if source not in SOURCES:
            self.unjudged.update(line["kind"] for line in own)
            return
        owed = self._owed(source, invoice, lines, close)
        if owed is None:
            findings.add("invoice line", where, "follows from no frozen terms")
            return
        _same_lines(findings, where, own, owed)
        for line in own:
            if line["kind"] not in SHARES:
                here = f"{where} line {line['position']}"
                findings.same("invoice line", here, "amount", line["amount_minor"], _product(invoice, line))

    def _owed(self, source: str, invoice: Row, lines: Sequence[Row], close: Row | None) -> Counter[Owed] | None:
        """Tell what an invoice owes beside usage; None when it follows from nothing."""
        if close is not None:
            if source == "change":
                return self._changer.of_change(invoice, close, lines)
            return self._seller.of_close(close, lines)
        if source == "start":
            return self._seller.of_start(invoice, lines)
        if source == "purchase":
            return self._seller.of_purchase(invoice)
        if source == "addon":
            return self._changer.of_addon(invoice, lines)
        return self._seller.of_adjustment(invoice, lines)

    def _check_windows(self, findings: Findings, billed: Mapping[UsageKey, list[Row]]) -> None:
        """After each settled close, the lines of every ended window sum to the rate of its usage up to the cut."""
        for key in self._usage.keys() | {key for key in billed if key[1] != _POOL}:
            owner = self._terms.owner(key[0], key[2])
            if owner is None:
                findings.add("invoice window", _name(key), "rows name a subscription that SQL does not have")
                continue
            lines = billed.get(key, [])
            end = self._terms.end(key[0], key[2], self._ends.get(key, 0))
            settled = self._settled[owner["id"]]
            for close in settled:
                ended = end <= close["through_day"] or close["final"]
                rate = Decimal(self._rate(key, close["cut"]) if ended else 0)
                have, owed = self._sums(lines, close["cut"], close["settled_ms"], "amount_minor", rate)
                findings.same("invoice window", f"{_name(key)} at cut {close['cut']}", "what is invoiced", have, owed)
            self._check_usage_lines(findings, key, lines)
            if settled and settled[-1]["final"] and any(cut > settled[-1]["cut"] for cut in self._usage.get(key, {})):
                late = self._rate(key, None) - self._rate(key, settled[-1]["cut"])
                self.unbilled.append(Unbilled(key[0], key[1], _day(key[3]), late))

    def _check_usage_lines(self, findings: Findings, key: UsageKey, lines: Sequence[Row]) -> None:
        """Each line says what it bills: used, included, beyond, its price, and what of it is new."""
        for line in lines:
            where = f"invoice {line['invoice_id']} line {line['position']} ({line['feature_code']})"
            found = self._terms.granting(key)
            if found is None or found[0]["model"] != "metered":
                findings.add("invoice line", where, "no frozen terms charge its usage")
                continue
            used = self._used(key, line["cut"])
            included = self._included(key)
            beyond = _ZERO if included is None else max(_ZERO, _EXACT.subtract(used, included))
            stated = None if line["included"] is None else Decimal(line["included"])
            findings.same("invoice line", where, "used", Decimal(line["used"]), used)
            findings.same("invoice line", where, "included", stated, included)
            findings.same("invoice line", where, "overage", Decimal(line["overage"]), beyond)
            at_ms = self._made_ms.get(line["invoice_id"]) or 0
            have, owed = self._sums(lines, line["cut"], at_ms, "quantity", beyond)
            findings.same("invoice line", where, "quantity", have, owed)
            price = Decimal(found[1]["unitPrice"])
            findings.same("invoice line", where, "unit price", Decimal(line["unit_price"]), price)

    def _sums(self, lines: Sequence[Row], cut: int, at_ms: int, name: str, target: Decimal) -> tuple[Decimal, Decimal]:
        """Tell what a window's lines up to a cut come to, and what they have to: `target`, if that is not less.

        What fell comes back only beyond what was void by then, which nobody pays (ADR 10). Of what was voided at the
        very instant of the cut's invoice, its line says whether it was void before.
        """
        before = [line for line in lines if line["cut"] < cut]
        billed = sum((Decimal(line[name]) for line in before), _ZERO)
        have = sum((Decimal(line[name]) for line in lines if line["cut"] <= cut), _ZERO)
        if target >= billed:
            return have, target
        sums = []
        for until_ms in (at_ms + 1, at_ms):
            void = [line for line in before if self._voided.get(line["invoice_id"], until_ms) < until_ms]
            sums.append(min(billed, target + sum((Decimal(line[name]) for line in void), _ZERO)))
        return have, have if have in sums else sums[0]

    def _check_draws(self, findings: Findings, billed: Mapping[UsageKey, list[Row]]) -> None:
        """After each settled close, the lines of every ended draw window sum to its overdraft (R-BAL-3)."""
        drawn = {(customer, _POOL, *window) for customer, windows in self._drawn.items() for window in windows}
        for key in drawn | {key for key in billed if key[1] == _POOL}:
            customer, _, *place = key
            owner = self._terms.owner(customer, key[2])
            window = self._terms.draw_window(customer, key[2], key[3])
            if owner is None or window is None:
                findings.add("invoice window", _name(key), "rows name a subscription that SQL does not have")
                continue
            for close in self._settled[owner["id"]]:
                lines = billed.get(key, [])
                where = f"{_name(key)} at cut {close['cut']}"
                over = _ZERO
                if window[1] <= close["through_day"]:
                    over = self._terms.overdraft(customer, (place[0], place[1]), self._drawn, close["cut"])
                cut, at_ms = close["cut"], close["settled_ms"]
                minor = Decimal(_minor(over, window[0]["currency"]))
                findings.same(
                    "invoice window", where, "overdraft", *self._sums(lines, cut, at_ms, "amount_minor", minor)
                )
                if any(line["cut"] <= cut for line in lines):
                    findings.same("invoice line", where, "overdraft", *self._sums(lines, cut, at_ms, "quantity", over))

    def _check_closes(self, findings: Findings) -> None:
        """A close that is settled has the invoice that it names, or owed nothing."""
        invoices = {row["id"] for row in self._books.invoices}
        for close in self._books.closes:
            where = f"close of {close['subscription_id']} at cut {close['cut']}"
            if close["state"] == "stopped":
                findings.add("close", where, "is stopped: LIVE and RAW differed")
            elif close["invoice_id"] is not None and close["invoice_id"] not in invoices:
                findings.add("close", where, f"names invoice {close['invoice_id']}, which is not there")
            elif close["state"] == "settled" and close["invoice_id"] is None and not self._uncollected(close):
                _same_lines(findings, where, [], self._seller.of_close(close))

    def _uncollected(self, close: Row) -> bool:
        """Tell whether a close bills nothing because its customer is gone (R-CUST-9); its own word will not do."""
        return close["refusal"] == UNCOLLECTED and close["customer_id"] in self._books.archived

    def _check_periods(self, findings: Findings) -> None:
        """Every billing period that has begun was charged once, by a start, a close or a change of plan."""
        charged: Counter[tuple[str, int, int]] = Counter()
        for close in self._books.closes:
            if close["base_term"] is not None:
                charged[close["subscription_id"], close["base_term"], close["through_day"]] += 1
        for invoice in self._books.invoices:
            subscription, source = invoice["subscription_id"], invoice["source"].partition(":")[0]
            if source in ("start", "change"):
                day = invoice["period_start_ms"] // 86_400_000
                charged[subscription, invoice["basis"]["terms"][-1], day] += 1
        for subscription in self._books.subscriptions:
            for period in self._terms.charged(subscription):
                times = charged[subscription["id"], period["term"], period["since_day"]]
                where = f"subscription {subscription['id']} period from {_day(period['since_day'])}"
                findings.same("base line", where, "times that it was charged", times, 1)

    def _returned(self) -> dict[str, int]:
        """Tell what was given back of the months of add-ons that ended with their free plan, by invoice (R-CHG-13)."""
        found = {}
        granting = {credit["invoice_id"] for credit in self._books.credits}
        for invoice in self._books.invoices:
            if invoice["source"].startswith("addon:") and invoice["id"] in granting:
                charged = sum(line["amount_minor"] for line in self._lines[invoice["id"]] if line["kind"] != CREDIT)
                found[invoice["id"]] = self._changer.month_left(invoice, charged)
        return found

    def _returned_by_closes(self) -> dict[str, int]:
        """Tell what changes of plan gave back of top-ups, in minor units by close (AMB-20).

        Of what was voided at the very instant of it, the credit says whether it was void before.
        """
        found = {}
        granted = {row["close_id"]: row["amount_minor"] for row in self._books.credits}
        for close in self._books.closes:
            number, day, customer = close["returns_term"], close["through_day"], close["customer_id"]
            if number is None:
                continue
            terms = [row for row in self._terms.of(close["subscription_id"]) if row["term"] == number]
            begun = [row for row in terms if row["since_day"] <= day]
            found[close["id"]] = 0
            if close["state"] == "settled" and begun:
                left = self._terms.top_ups_left(customer, begun[-1], day, self._drawn, close["cut"])
                at_ms = close["settled_ms"]
                most = [self._terms.top_ups_owed(customer, begun[-1], day, before) for before in (at_ms + 1, at_ms)]
                before, later = (_minor(min(left, one), begun[-1]["currency"]) for one in most)
                found[close["id"]] = later if later == granted.get(close["id"], 0) else before
        return found

    def _check_returns(self, findings: Findings) -> None:
        """A charged change that left top-ups behind took a cut to give them back (AMB-20)."""
        returning = {(close["subscription_id"], close["returns_term"]) for close in self._books.closes}
        for invoice in self._books.invoices:
            source, _, made_by = invoice["source"].partition(":")
            close = self._closes.get(made_by)
            sides = None if source != "change" or close is None else self._changer.sides(invoice, close)
            if close is None or sides is None or sides[1]["model"] == "balance":
                continue
            ended, day = sides[0], close["through_day"]
            left = self._terms.top_ups_left(invoice["customer_id"], ended, day, self._drawn, close["cut"])
            if left and (invoice["subscription_id"], ended["term"]) not in returning:
                findings.add("account credit", f"invoice {invoice['id']}", "gives no top-ups back")

    def _used(self, key: UsageKey, cut: int | None) -> Decimal:
        total = _ZERO
        for booked, quantity in self._usage.get(key, {}).items():
            if cut is None or booked <= cut:
                total = _EXACT.add(total, quantity)
        return total

    def _included(self, key: UsageKey) -> Decimal | None:
        """Tell what a window includes; None when it is unlimited."""
        found = self._terms.granting(key)
        if found is None or not found[1]["overage"] or found[1]["included"] is None:
            return None
        return Decimal(found[1]["included"])

    def _rate(self, key: UsageKey, cut: int | None) -> int:
        """Rate a window: max(0, used - included) x price, halves away from zero, in minor units (R-METER-2)."""
        found = self._terms.granting(key)
        included = self._included(key)
        if found is None or found[0]["model"] != "metered" or included is None:
            return 0
        beyond = max(_ZERO, _EXACT.subtract(self._used(key, cut), included))
        return _minor(_EXACT.multiply(beyond, Decimal(found[1]["unitPrice"])), found[0]["currency"])


def _same_lines(findings: Findings, where: str, lines: Sequence[Row], owed: Counter[Owed]) -> None:
    found = Counter(Owed(line["kind"], line["feature_id"] or "", line["term"], line["amount_minor"]) for line in lines)
    for one, times in sorted((found - owed).items()):
        findings.add(_kind(one), where, f"has {times} line {_shown(one)} that is not owed")
    for one, times in sorted((owed - found).items()):
        findings.add(_kind(one), where, f"lacks {times} line {_shown(one)}")


def _kind(one: Owed) -> str:
    return "base line" if one.kind == "plan_base" else "invoice line"


def _shown(one: Owed) -> str:
    return f"{one.kind} {one.feature} of term {one.term} for {one.amount_minor}"


def _product(invoice: Row, line: Row) -> int:
    return _minor(_EXACT.multiply(Decimal(line["quantity"]), Decimal(line["unit_price"])), invoice["currency"])


def _minor(major: Decimal, currency: str) -> int:
    scaled = _EXACT.scaleb(major, minor_places(currency))
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _day(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


def _name(key: UsageKey) -> str:
    customer, feature, term, window = key
    return f"{customer} {feature or 'pool'} term {term} window {_day(window)}"
