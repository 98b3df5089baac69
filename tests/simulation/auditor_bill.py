"""What billing wrote, against the log: every invoice, line, payment and change of plan by the auditor's own count."""

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

ONE = 10**9
DAY_MS = 86_400_000
PRICES = {"pro": 1_000, "team": 3_000, "firm": 6_000}  # a month, in minor units
ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def month_of(day: int, anchor: int) -> tuple[int, int]:
    """The monthly window of a day: from the anchor's day of month, clamped to short months; both days since 1970."""
    zero = dt.date(1970, 1, 1)
    first = zero + dt.timedelta(days=anchor)

    def boundary(months: int) -> int:
        year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
        following = dt.date(year + month // 11, (month + 1) % 12 + 1, 1)
        last = (following - dt.timedelta(days=1)).day
        return (dt.date(year, month + 1, min(first.day, last)) - zero).days

    months = (day - anchor) // 31 - 1
    while boundary(months + 1) <= day:
        months += 1
    return boundary(months), boundary(months + 1)


def _rows(sql: sqlite3.Connection, query: str) -> list[dict]:
    cursor = sql.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _raw_id(text: str) -> bytes:
    bits = "".join(f"{ALPHABET.index(letter):05b}" for letter in text.rpartition("_")[2])
    return int(bits[:128], 2).to_bytes(16, "big")


def audit_bills(sql: sqlite3.Connection, recount, asked, found: list[str]) -> None:
    """Compare what SQL has at the end; `asked` are the changes of plan that customers remember."""
    closes = _rows(sql, "SELECT * FROM closes ORDER BY customer_id, cut")
    invoices = {row["id"]: row for row in _rows(sql, "SELECT * FROM invoices ORDER BY number")}
    _accounts(sql, recount, found)
    _closes(closes, invoices, found)
    _numbers(invoices, found)
    _payments(sql, invoices, found)
    _changes(sql, closes, invoices, asked, found)
    _shares(sql, closes, invoices, found)
    _lines(sql, closes, recount, found)


def _accounts(sql, recount, found) -> None:
    for row in _rows(sql, "SELECT customer_id, rev, shown_rev FROM accounts"):
        if row["shown_rev"] < row["rev"]:
            found.append(f"{row['customer_id']} is not known to be shown")
        ledger = recount.ledgers.get(_raw_id(row["customer_id"]))
        if ledger is None or ledger.rev != row["rev"]:
            found.append(f"{row['customer_id']} is at revision {row['rev']} in SQL, {ledger and ledger.rev} in the log")


def _closes(closes, invoices, found) -> None:
    """Every close is settled, with one invoice of its own or none; cuts of a customer have no gaps."""
    cuts: dict[str, list[int]] = defaultdict(list)
    own = {}
    for close in closes:
        cuts[close["customer_id"]].append(close["cut"])
        if close["state"] != "settled":
            found.append(f"the close {close['cut']} of {close['customer_id']} is {close['state']}: {close}")
        invoice = invoices.get(close["invoice_id"])
        if close["invoice_id"] and (invoice is None or invoice["cut"] != close["cut"] or invoice["id"] in own):
            found.append(f"the close {close['id']} names an invoice that is not its own: {invoice}")
        own[close["invoice_id"]] = close["id"]
    for customer, taken in cuts.items():
        if taken != list(range(1, len(taken) + 1)):
            found.append(f"{customer} has the cuts {taken}")
    sources: dict[str, list[int]] = defaultdict(list)
    for invoice in invoices.values():
        sources[invoice["source"]].append(invoice["number"])
        if invoice["source"].partition(":")[0] in ("close", "change") and invoice["id"] not in own:
            found.append(f"no close names the invoice {invoice['number']} of {invoice['source']}")
    found.extend(f"two invoices of {source}: {numbers}" for source, numbers in sources.items() if len(numbers) > 1)


def _numbers(invoices, found) -> None:
    numbers = [row["number"] for row in invoices.values()]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"invoices are numbered {numbers}")


def _payments(sql, invoices, found) -> None:
    """An invoice is paid once, with what is due; a card that declines pays nothing."""
    paid: dict[str, list[int]] = defaultdict(list)
    for row in _rows(sql, "SELECT * FROM payments"):
        if row["invoice_id"] not in invoices:
            found.append(f"a payment of no invoice: {row}")
        elif row["status"] == "succeeded":
            paid[row["invoice_id"]].append(row["amount_minor"])
            if row["last4"] == "9995":
                found.append(f"a card that declines paid: {row}")
    for one, amounts in paid.items():
        invoice = invoices[one]
        if amounts != [invoice["due_minor"]] or invoice["status"] != "paid":
            found.append(
                f"{invoice['number']} of {invoice['due_minor']} is {invoice['status']}, and was paid {amounts}"
            )


def _changes(sql, closes, invoices, asked, found) -> None:
    """A change holds with its invoice and its payment, or it left nothing; what was answered holds."""
    paid = {row["invoice_id"] for row in _rows(sql, "SELECT invoice_id FROM payments WHERE status = 'succeeded'")}
    switched: dict[str, int] = defaultdict(int)
    by_id = {}
    for close in closes:
        if close["change"] is None:
            continue
        by_id[close["id"]] = close
        invoice = invoices.get(close["invoice_id"])
        if (invoice is None) is not (close["refusal"] is not None):
            found.append(f"a change of plan with the invoice {invoice} was refused as {close['refusal']}")
        if invoice is not None:
            switched[close["subscription_id"]] += 1
            if invoice["kind"] != "plan_change" or (invoice["due_minor"] and invoice["id"] not in paid):
                found.append(f"a change of plan holds, and was not paid: {invoice}")
    for subscription, periods in _periods(sql).items():
        begun = [(before, one) for before, one in pairwise(periods) if one["term"] != before["term"]]
        count = sum(one["since_day"] != before["until_day"] for before, one in begun)
        if count != switched[subscription]:
            found.append(f"{subscription} has {count} numbers of terms after {switched[subscription]} changes")
    names = defaultdict(list)
    for close in by_id.values():
        names[close["subscription_id"], close["asked"]].append(close["id"])
    found.extend(f"{one} took the cuts {taken}" for one, taken in names.items() if len(taken) > 1)
    for one in asked:
        close = by_id.get(one.close)
        if one.close and close is None:
            found.append(f"{one.request} was answered with {one.close}, which is no change")
        elif one.settled and (
            close["refusal"] != one.refusal or (one.refusal is None) is (close["invoice_id"] is None)
        ):
            found.append(f"{one.request} was answered {one.refusal}, and is {close}")


def _periods(sql) -> dict[str, list[dict]]:
    """The terms of each subscription, in order; a renewal with other limits has a number of its own too."""
    found: dict[str, list[dict]] = defaultdict(list)
    query = "SELECT subscription_id, term, since_day, until_day FROM subscription_terms ORDER BY term, since_day"
    for row in _rows(sql, query):
        found[row["subscription_id"]].append(row)
    return found


def _shares(sql, closes, invoices, found) -> None:
    """A change credits the price of the cycle that ends for the days left, of 30, and charges the new one for them."""
    codes = dict(sql.execute("SELECT id, code FROM plans"))
    lines: dict[tuple, int] = defaultdict(int)
    for invoice, kind, amount in sql.execute("SELECT invoice_id, kind, amount_minor FROM invoice_lines"):
        lines[invoice, kind] += amount
    void = {invoice["subscription_id"] for invoice in invoices.values() if invoice["status"] == "void"}
    begun = {
        invoice["subscription_id"]: invoice for invoice in invoices.values() if invoice["source"].startswith("start:")
    }
    paid = {subscription: lines[invoice["id"], "plan_base"] for subscription, invoice in begun.items()}
    anchor = {subscription: invoice["period_start_ms"] // DAY_MS for subscription, invoice in begun.items()}
    for close in closes:
        one, invoice = close["subscription_id"], close["invoice_id"]
        if one in void or invoice is None:
            continue
        if close["change"] is None:
            paid[one] = lines[invoice, "plan_base"] or paid[one]
            continue
        first, _ = month_of(close["through_day"], anchor[one])
        left = 30 - min(30, close["through_day"] - first + 1)
        price = PRICES[codes[json.loads(close["change"])["planId"]]]
        told = lines[invoice, "proration_credit"], lines[invoice, "proration_charge"]
        due = -_half_away(paid[one] * left, 30), _half_away(price * left, 30)
        if told != due:
            found.append(f"{one} changed its plan for {told}, owed {due} for {left} days")
        paid[one], anchor[one] = price, close["through_day"]


def _half_away(amount: int, parts: int) -> int:
    return (2 * amount + parts) // (2 * parts)


def _lines(sql, closes, recount, found) -> None:
    """Every counted event of a window that was billed is on one line, at its cut; the rest is still open."""
    billed: dict[tuple, list[tuple]] = defaultdict(list)
    query = (
        "SELECT i.customer_id, l.feature_id, l.term, l.window_day, l.cut_after, l.cut, l.amount_minor, l.quantity "
        "FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id WHERE l.feature_id IS NOT NULL ORDER BY l.cut"
    )
    for customer, feature, term, window, *line in sql.execute(query):
        billed[_raw_id(customer), _raw_id(feature), term, window].append(tuple(line))
    counted: dict[tuple, list[dict]] = defaultdict(list)
    for row in recount.rows.values():
        if row["verdict"] == "counted":
            counted[(row["customer"], *row["window"])].append(row)
    periods = _periods(sql)
    for window in counted.keys() | billed.keys():
        customer, feature, term, first = window
        terms, granted = _granted(recount.ledgers[customer].terms, term, first, feature)
        if granted is None:
            continue
        rows, lines = counted.get(window, []), billed.get(window, [])
        own = [close for close in closes if close["subscription_id"] == terms[1]]
        later = [period["since_day"] for period in periods[terms[1]] if period["term"] > term]
        cuts = _cuts(own, min([rows[0]["end"], *later])) if rows else []
        total = sum(row["units"] for row in rows if cuts and row["cut"] <= max(cuts))
        included, overage, price = granted[4], granted[5], Decimal(granted[6])
        due = 0 if included is None or not overage else max(0, total - included)
        money = int((Decimal(due) / ONE * price * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))
        name = f"{customer.hex()[:8]} {granted[1]} of {term}.{first}"
        if sum(line[2] for line in lines) != money:
            found.append(f"{name}: billed {lines}, owed {money} for {total} of cuts {cuts}")
        reached = 0
        for cut_after, cut, *_ in lines:
            if cut_after < reached or cut not in cuts:
                found.append(f"{name}: a line of cuts {cut_after} to {cut}, after {reached}")
            reached = cut


def _granted(shown, term: int, day: int, feature: bytes):
    """The terms of a window and what they say of a feature: those of its number that began last before it."""
    own = sorted(since for number, since in shown if number == term)
    if not own:
        return None, None
    terms = shown[term, max((since for since in own if since <= day), default=own[0])]
    return terms, next((one for one in terms[7] if one[0] == feature), None)


def _cuts(closes, end: int) -> list[int]:
    """The cuts that billed a window of terms that ended on a day: by itself, or because others took over."""
    return [close["cut"] for close in closes if close["refusal"] is None and close["through_day"] >= end]
