"""The naive auditor: it recounts everything from the log's bytes and the clients' memory, in plain Python.

It shares no code with fold, rating or `meterline.audit`: records, accounts and ids are decoded here by hand. It knows
the rules only as the documents say them: one of a key counts, limits hold, windows are calendar months.
"""

from collections import defaultdict
from decimal import Decimal

import msgspec

from tests.simulation.auditor_bill import audit_bills, month_of
from tests.simulation.auditor_pool import PoolCount

DAY_MS = 86_400_000
DAY_US = DAY_MS * 1_000
ONE = 10**9
MEMORY_MS = 35 * DAY_MS
SLACK_US = 5 * 60 * 1_000_000
DEADLY = "13"  # the quantity on which the simulated fold raises
LIVE = ("active", "trialing", "past_due")
DREW = ("cost", "drawn_plan", "drawn_packs", "drawn_top_ups", "overdraft", "pool_left")
ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def base32(raw: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in raw)
    bits += "0" * (-len(bits) % 5)
    return "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def position(epoch: int, lane: int, offset: int, index: int) -> bytes:
    return epoch.to_bytes(1, "big") + lane.to_bytes(2, "big") + offset.to_bytes(6, "big") + index.to_bytes(2, "big")


def event_id(epoch: int, lane: int, offset: int, index: int) -> str:
    return "evt_" + base32(position(epoch, lane, offset, index))


class Ledger:
    """One customer by the auditor's count."""

    def __init__(self) -> None:
        self.rev = 0
        self.cut = 0
        self.snapshot = None
        self.ended: list = []  # terms that a change of plan ended, each with the instant, the latest first
        self.terms: dict[tuple[int, int], list] = {}  # by number and first day, as they were shown last
        self.clock_ms = 0
        self.totals: dict[tuple, int] = defaultdict(int)
        self.at_cut: dict[tuple, int] = {}
        self.ends: dict[tuple, int] = {}
        self.bought = (0, [])
        self.pool = PoolCount()
        self.spent: dict[tuple, int] = defaultdict(int)  # by feature and window, of the pool


class Recount:
    """The log read from its beginning: what every event is, and what follows."""

    def __init__(self, history: dict[int, list], epoch: int) -> None:
        self.ledgers: dict[bytes, Ledger] = defaultdict(Ledger)
        self.rows: dict[tuple[int, int, int], dict] = {}
        self.records: dict[int, int] = {}
        self.findings: list[str] = []
        self.keys: dict[bytes, list[dict]] = defaultdict(list)
        self.counting: dict[bytes, dict] = {}  # by position: what each event counts with its corrections
        self.known: dict[int, dict[bytes, dict]] = {}  # by lane: what is remembered of each key
        for lane, records in history.items():
            clock_ms = 0
            known = self.known[lane] = {}
            for record in records:
                _, kind, gateway, body = msgspec.msgpack.decode(record.data)
                if kind == "a":
                    self._snapshot(body)
                    continue
                for index, fields in enumerate(body):
                    row = self._row(fields, lane, record, index, gateway)
                    clock_ms = max(clock_ms, row["at"])
                    self._judge(row, known, clock_ms)
                    row["id"] = event_id(epoch, lane, record.offset, index)
                    self.rows[lane, record.offset, index] = row
                    if row["digest"]:
                        self.keys[row["digest"]].append(row)
            self.records[lane] = records[-1].offset + 1 if records else 0
            for digest in [one for one, row in known.items() if row["at"] < clock_ms - MEMORY_MS]:
                del known[digest]

    @staticmethod
    def _row(fields, lane, record, index, gateway) -> dict:
        names = ("organization", "customer", "feature", "time_us", "at", "clock_ms", "quantity", "key", "digest")
        row = dict(
            zip(
                (*names, "content", "request", "stamped", "properties", "replays", "tokens", "corrects"),
                fields,
                strict=False,
            )
        )
        row["at"] = min(row["at"], record.time_ms)
        row["units"] = int(Decimal(row["quantity"]) * ONE)
        row["place"] = (lane, record.offset, index)
        row["tag"] = dict(row.get("properties") or ()).get("op", "")
        row["gateway"] = gateway
        return row

    def _snapshot(self, body) -> None:
        _, customer, rev, status, end_us, terms, following, cut, packs, top_ups, _, ended = body
        ledger = self.ledgers[customer]
        if rev <= ledger.rev:
            return
        ledger.rev = rev
        ledger.snapshot = (status, end_us, terms, following)
        ledger.ended = ended
        for part in (terms, following):
            if part is not None:
                ledger.terms[part[0], part[5]] = part
        ledger.bought = (packs, top_ups)
        if cut > ledger.cut:
            ledger.cut = cut
            ledger.at_cut = dict(ledger.totals)
            ledger.pool.cut()

    def _judge(self, row, known, clock_ms) -> None:
        ledger = self.ledgers[row["customer"]]
        ledger.clock_ms = max(ledger.clock_ms, row["at"] if row["clock_ms"] is None else row["clock_ms"])
        held = known.get(row["digest"]) if row["digest"] else None
        if held is not None and held["at"] < clock_ms - MEMORY_MS:
            held = None
        if held is not None:
            if held["verdict"] == "dead":
                row["verdict"] = "dead"
                return
            if held["verdict"] == "counted":
                same = held["content"] == row["content"]
                repeat = row["request"] != bytes(8) and held["request"] == row["request"]
                row["verdict"] = "repeat" if repeat else "duplicate" if same else "conflict"
                row["original"] = held
                return
            if row["at"] < held["at"]:
                row["verdict"] = "superseded"
                return
        row["verdict"] = self._verdict(row, ledger)
        if row["verdict"] == "counted":
            self._note_counted(row)
            ledger.spent[row["window"]] += sum(row.get("drawn", ("", 0, 0, 0, 0, 0, 0))[2:6])
        if row["digest"]:
            known[row["digest"]] = row

    def _verdict(self, row, ledger) -> str:
        if ledger.snapshot is None:
            return "refused"
        status, end_us, terms, following = ledger.snapshot
        if status not in LIVE or terms is None:
            return "refused"
        if end_us is not None and row["time_us"] >= end_us:
            return "refused"
        ends = [until_us for _, until_us in ledger.ended]
        known = [terms, *(one for one, _ in ledger.ended)]
        # Terms begin where those before them ended, or a little earlier, since clocks differ.
        begun = [one[3] - (0 if one[3] in ends[place : place + 1] else SLACK_US) for place, one in enumerate(known)]
        own = terms
        if row["time_us"] < begun[0]:  # it comes late, of before a change of plan
            found = [place for place, until in enumerate(ends, 1) if begun[place] <= row["time_us"] < until]
            if not found:
                return "refused"
            own = known[found[0]]
        if row.get("corrects") and row["corrects"][3] < min(one[0] for one in known):
            return "refused"  # it counted for a subscription of before, which has its last invoice
        if row.get("corrects") and row["units"] <= 0:
            return self._given_back(row, ledger)
        late, day = own is not terms, max(row["time_us"], own[3]) // (DAY_MS * 1_000)
        in_force = own if late else _on(day, terms, following)
        if in_force[8] != "metered":  # a pool is drawn on where the account's clock stands
            model = in_force[8]
            day = ledger.clock_ms // DAY_MS
            day = day if end_us is None else min(day, (end_us - 1) // (DAY_MS * 1_000))
            day = max(day, terms[3] // (DAY_MS * 1_000))
            in_force = _on(day, terms, following)
            if late and in_force[8] != model:
                return "refused"
        first, end = month_of(day, in_force[4])
        granted = next((one for one in in_force[7] if one[0] == row["feature"]), None)
        if granted is None or granted[2] != "metered" or not granted[3]:
            return "refused"
        if end <= ledger.clock_ms // DAY_MS - 36:
            return "refused"
        if row["quantity"] == DEADLY:
            return "dead"
        if row.get("corrects") and tuple(row["corrects"][3:5]) != (in_force[0], first):
            return "refused"
        return self._by_amount(row, ledger, in_force, granted, (first, end))

    def _given_back(self, row, ledger) -> str:
        """A correction that takes back: it counts where it says that its event does."""
        term, first, end = row["corrects"][3:6]
        if end <= ledger.clock_ms // DAY_MS - 36:
            return "refused"
        if row["corrects"][7]:
            row["drawn"] = self._pool_back(row, ledger, (term, first))
        window = (row["feature"], term, first)
        ledger.totals[window] += row["units"]
        row.update(window=window, end=end, cut=ledger.cut + 1)
        return "counted"

    def _pool_back(self, row, ledger, key) -> tuple:
        held, model = self.counting[row["corrects"][0]], row["corrects"][7]
        if row["corrects"][2]:
            cost, back = -held["cost"], held["taken"]
        else:
            units = held["units"]
            cost = (2 * held["cost"] * (units + row["units"]) + units) // (2 * units) - held["cost"]
            back = -cost
        drew = ledger.pool.give_back(key, back)
        _, end_us, terms, following = ledger.snapshot
        day = ledger.clock_ms // DAY_MS
        day = max(day if end_us is None else min(day, (end_us - 1) // DAY_US), terms[3] // DAY_US)
        in_force, left = _on(day, terms, following), 0
        if in_force[8] == model:
            here = in_force[0], month_of(day, in_force[4])[0]
            plan, extra, short = ledger.pool.left(in_force, ledger.bought, here, month_of)
            left = plan + extra - short
        return (model, cost, *drew, left)

    def _note_counted(self, row) -> None:
        """Sum what an event counts with its corrections, and look whether each says what it counts before."""
        place = position(1, *row["place"])
        _, cost, *drew, _ = row.get("drawn", ("", 0, 0, 0, 0, 0, 0))
        if not row.get("corrects"):
            self.counting[place] = {"units": row["units"], "cost": cost, "taken": sum(drew), "number": 0, "row": row}
            return
        original, number, void, *window, quantity, _, said_cost, said_taken = row["corrects"]
        held = self.counting[original]
        said = (number, *window[:2], int(Decimal(quantity) * ONE), said_cost, said_taken)
        known = (held["number"] + 1, *held["row"]["window"][1:], held["units"], held["cost"], held["taken"])
        if said != known or held.get("void") or (void and held["units"] != -row["units"]):
            self.findings.append(f"{row['place']} corrects {said}, by the log {known}")
        held.update(units=held["units"] + row["units"], cost=held["cost"] + cost, taken=held["taken"] + sum(drew))
        held.update(number=number, void=void, last=dict(row["properties"]).get("reason", ""))
        if held["units"] < 0:
            self.findings.append(f"{row['place']} takes back more than counts")

    def _by_amount(self, row, ledger, terms, granted, days) -> str:
        first, end = days
        window = (row["feature"], terms[0], first)
        used = ledger.totals[window] + row["units"]
        included, overage = granted[4], granted[5]
        if terms[8] != "metered":
            before = self.counting[row["corrects"][0]]["units"] if row.get("corrects") else 0
            drawn = ledger.pool.take(row["units"], terms, granted, ledger.bought, window[1:], end, month_of, before)
            if drawn is None:
                return "blocked"
            row["drawn"] = drawn
        elif included is not None and not overage and used > included and row["units"]:
            return "blocked"
        ledger.totals[window] = used
        ledger.ends[window] = end
        row.update(window=window, end=end, cut=ledger.cut + 1)
        return "counted"


def _on(day, terms, following):
    return following if following is not None and day >= following[5] else terms


def audit(world, memory) -> list[str]:
    """Compare everything; the findings, none when nothing was lost, doubled or misreported."""
    recount = Recount(world.log.history, 1)
    found = list(recount.findings)
    _raw(world, recount, found)
    _live(world, recount, found)
    _remembered(world, recount, found)
    _answers(recount, memory, found)
    _keys(recount, found)
    _wishes(recount, memory, found)
    audit_bills(world.sql.database.raw, recount, memory.asked, found)
    return found


def _raw(world, recount, found) -> None:
    rows = {(row["lane"], row["offset"], row["index"]): row for row in world.tables.events.values()}
    if len(rows) != len(world.tables.events):
        found.append("RAW holds a position twice")
    for place in recount.rows.keys() - rows.keys():
        found.append(f"{place} is not in RAW")
    for place in rows.keys() - recount.rows.keys():
        found.append(f"{place} is in RAW and not in the log")
    for place in sorted(recount.rows.keys() & rows.keys()):
        mine, its = recount.rows[place], rows[place]
        if its["verdict"] != mine["verdict"]:
            found.append(f"{place} is {its['verdict']} in RAW, by the log {mine['verdict']}")
        elif mine["verdict"] == "counted":
            told = (its["term"], its["window"], its["window_end"], its["cut"], int(its["quantity"] * ONE))
            if told != (*mine["window"][1:], mine["end"], mine["cut"], mine["units"]):
                found.append(f"{place} counts as {told} in RAW, by the log in {mine['window']} at cut {mine['cut']}")
            drew = (its["pool"], *(int(Decimal(its[name]) * ONE) for name in DREW))
            if drew != mine.get("drawn", ("", *[0] * len(DREW))):
                found.append(f"{place} drew {drew} by RAW, by the log {mine.get('drawn')}")
    for lane, end in recount.records.items():
        if (progress := world.tables.progress.get((1, lane), (0, 0))[0]) != end:
            found.append(f"lane {lane}: RAW is at {progress}, the log ends at {end}")


def _live(world, recount, found) -> None:
    there = {}
    for lane, held in world.live._lanes.items():
        there.update(held.accounts)
        if held.header.state != "ready" or held.header.next != recount.records[lane]:
            found.append(f"lane {lane} of LIVE is {held.header.state} at {held.header.next} of {recount.records[lane]}")
    for customer, ledger in recount.ledgers.items():
        data = there.get(customer)
        if data is None:
            found.append(f"customer {customer.hex()} is not in LIVE")
            continue
        clock_ms, cut, rows, *pool = msgspec.msgpack.decode(data[8:])
        if int.from_bytes(data[:8], "big") != ledger.rev or cut != ledger.cut or clock_ms != ledger.clock_ms:
            mine = (ledger.rev, ledger.cut, ledger.clock_ms)
            found.append(f"{customer.hex()} is at {data[:8].hex()}, {cut}, {clock_ms} in LIVE, by the log at {mine}")
        live = {
            (feature, term, window): (int.from_bytes(now, "big", signed=True), int.from_bytes(then, "big", signed=True))
            for feature, term, window, _, now, then in rows
        }
        today = ledger.clock_ms // DAY_MS
        mine = {
            window: (total, ledger.at_cut.get(window, 0))
            for window, total in ledger.totals.items()
            if window in ledger.ends and ledger.ends[window] > today - 36
        }
        if live != mine:
            found.append(f"{customer.hex()} has {live} in LIVE, by the log {mine}")
        draw_rows, packs, spent_rows = pool or ([], bytes(16), [])
        drawn = {(term, window): (_four(now), _four(then)) for term, window, _, now, then in draw_rows}
        if (drawn, _amount(packs)) != (ledger.pool.kept(today), ledger.pool.packs):
            found.append(f"{customer.hex()} drew {drawn} in LIVE, by the log {ledger.pool.kept(today)}")
        spent = {(feature, term, window): _amount(took) for feature, term, window, took in spent_rows}
        took = {window: ledger.spent[window] for window in mine if ledger.spent[window]}
        if {window: amount for window, amount in spent.items() if amount} != took:
            found.append(f"{customer.hex()} spent {spent} in LIVE, by the log {took}")


def _amount(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _four(amounts) -> tuple:
    return tuple(map(_amount, amounts))


def _remembered(world, recount, found) -> None:
    """Every key is in LIVE, as an entry of what rules or in a filter."""
    for lane, known in recount.known.items():
        if (held := world.live._lanes.get(lane)) is None:
            continue  # which is found elsewhere
        newest_first = sorted(held.keys.keys() | held.filters.keys(), reverse=True)
        for digest, row in known.items():
            for generation in newest_first:
                entry = held.keys.get(generation, {}).get(digest)
                if entry is not None and position(1, *row["place"]) not in entry:
                    found.append(f"{row['place']}: LIVE remembers another event for key {row['key']}")
                if entry is not None or any(digest.startswith(part) for part in held.filters.get(generation, ())):
                    break
            else:
                found.append(f"{row['place']}: LIVE does not remember key {row['key']}")


def _answers(recount, memory, found) -> None:
    by_id = {row["id"]: row for row in recount.rows.values()}
    by_tag = defaultdict(list)
    for row in recount.rows.values():
        by_tag[row["tag"]].append(row)
    features = {operation.tag: operation.feature for operation in memory.operations}
    for row in by_id.values():
        row["code"] = features.get(row["tag"], "")
    for operation in memory.operations:
        rows = by_tag.get(operation.tag, [])
        counted = [row for row in rows if row["verdict"] == "counted"]
        sent = [row for row in rows if not row.get("replays")]
        if len(sent) > len(operation.attempts):
            found.append(f"{operation.tag} is {len(sent)} times in the log, sent {len(operation.attempts)} times")
        if operation.key is not None and len(counted) > 1:
            found.append(f"{operation.tag} counts {len(counted)} times")
        for attempt in operation.attempts:
            _answer(operation, attempt, rows, by_id, found)


def _answer(operation, attempt, rows, by_id, found) -> None:
    name = f"{operation.tag} ({operation.key}) at {attempt.sent_s:.3f}"
    if attempt.status in (200, 202):
        row = by_id.get(attempt.event)
        if row is None:
            found.append(f"{name}: accepted as {attempt.event}, which is not in the log")
        elif not attempt.pending and row["verdict"] != "counted":
            found.append(f"{name}: accepted as {attempt.event}, which is {row['verdict']}")
        elif not _same(row, operation):
            found.append(f"{name}: accepted as {attempt.event} of {row['quantity']}, sent {operation.quantity}")
        elif attempt.pending and row["tag"] != operation.tag:
            found.append(f"{name}: pending as {attempt.event}, which is another's")
    elif attempt.status == 409:
        row = by_id.get(attempt.original)
        if row is None or row["verdict"] != "counted" or row["key"] != operation.key:
            found.append(f"{name}: a duplicate of {attempt.original}, which is {row and row['verdict']}")
        elif attempt.conflict == _same(row, operation):
            found.append(f"{name}: conflict {attempt.conflict} with {row['quantity']}")
    elif attempt.code == "event_unprocessable":
        row = by_id.get(attempt.original)
        if row is None or row["verdict"] != "dead" or row["key"] != (operation.key or ""):
            found.append(f"{name}: a dead letter as {attempt.original}, which is {row and row['verdict']}")
    elif attempt.status == 402 and attempt.original:
        row = by_id.get(attempt.original)
        if row is None or row["verdict"] != "blocked":
            found.append(f"{name}: blocked as {attempt.original}, which is {row and row['verdict']}")
    if attempt.status in (402, 404) and attempt.answered_s is not None and operation.key is not None:
        _refused(name, operation, attempt, rows, found)


def _same(row, operation) -> bool:
    return Decimal(row["quantity"]) == operation.quantity and row["code"] == operation.feature


def _refused(name, operation, attempt, rows, found) -> None:
    """After a refusal nothing of the key counts but what was sent later; before it, nothing had been accepted."""
    earlier = [one for one in operation.attempts if one.answered_s is not None and one.answered_s < attempt.sent_s]
    if any(one.status in (200, 202) and not one.pending for one in earlier) or any(
        one.status == 409 for one in earlier
    ):
        found.append(f"{name}: refused with {attempt.status}, and was accepted before")
    last = operation.attempts[-1] is attempt
    if last and attempt.code != "customer_not_found" and any(row["verdict"] == "counted" for row in rows):
        told = [one for one in operation.attempts if one.status == 0 or one.status in (200, 202, 503)]
        counted = [row for row in rows if row["verdict"] == "counted"]
        refused = [row for row in rows if row["verdict"] in ("blocked", "refused")]
        if not any(row["at"] > one["at"] for row in counted for one in refused):
            found.append(f"{name}: refused at last, and counts; other attempts {len(told)}")


def _keys(recount, found) -> None:
    for digest, rows in recount.keys.items():
        counted = [row for row in rows if row["verdict"] == "counted"]
        if len(counted) > 1:
            found.append(f"key {rows[0]['key']} ({digest.hex()[:6]}) counts {len(counted)} times")
        for row in counted:
            newer = [one for one in rows if one["place"] < row["place"] and one["verdict"] in ("blocked", "refused")]
            if any(one["at"] > row["at"] for one in newer):
                found.append(f"{row['place']}: an older attempt counts after a newer one was refused")


def _wishes(recount, memory, found) -> None:
    """Each correction counts once, as it was answered, and the last one says what its event counts."""
    rows = defaultdict(list)
    for row in recount.rows.values():
        if row.get("corrects"):
            rows[dict(row["properties"]).get("reason", "")].append(row)
    wished = {wish.tag: wish for wish in memory.wishes}
    for wish in memory.wishes:
        counted = [row["id"] for row in rows[wish.tag] if row["verdict"] == "counted"]
        if len(counted) > 1 or (wish.answer and counted != [wish.answer]):
            found.append(f"{wish.tag} counts as {counted}, was answered {wish.answer}")
    for held in recount.counting.values():
        if held["number"] and held["last"] in wished:
            value = wished[held["last"]].value
            if held["units"] != int(Decimal(value or 0) * ONE) or bool(held["void"]) is not (value is None):
                found.append(f"{held['row']['place']} counts {held['units']}, and was to count {value}")
