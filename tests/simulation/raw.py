"""RAW in memory: a named simulator of `aggregator.store.UsageStore`, for what the pipeline writes and reads.

Rows are kept by their sorting key, so that the same row again replaces itself (ReplacingMergeTree read with FINAL).
Every insert is noted, so that the last ones can be lost, as a server that did not get to its disk.
`test_raw.py` holds it against the real store.
"""

from collections import defaultdict
from decimal import Decimal

from aggregator.account import Draws
from aggregator.row import EVENT_COLUMNS, EventRow
from aggregator.store.account import AccountSums, KeyRow, SnapshotRow, WindowSum
from aggregator.store.cut import CutDraws, CutTotal
from ingest.verdict import Verdict
from kernel import ids
from kernel.position import Position
from kernel.quantity import canonical, to_units

DEFAULTS = dict(zip(reversed(EVENT_COLUMNS), reversed(EventRow.__struct_defaults__), strict=False))
_KEYED = {"counted", "blocked", "refused"}


class Tables:
    """The tables, shared by all processes."""

    def __init__(self) -> None:
        self.events: dict[tuple, dict] = {}
        self.account_records: dict[tuple, object] = {}
        self.progress: dict[tuple, tuple[int, int]] = {}
        self.refusals: dict[str, object] = {}
        self.lost = 0  # inserts, so far
        self._undo: list[list[tuple[dict, tuple, object]]] = []

    def put(self, table: dict, rows: dict) -> None:
        self._undo.append([(table, key, table.get(key)) for key in rows])
        table.update(rows)

    def lose(self, inserts: int) -> int:
        """Lose the last inserts; returns how many there were to lose."""
        lost = 0
        while self._undo and lost < inserts:
            for table, key, before in reversed(self._undo.pop()):
                if before is None:
                    table.pop(key, None)
                else:
                    table[key] = before
            lost += 1
        self.lost += lost
        return lost


_DRAWN = ("drawn_plan", "drawn_packs", "drawn_top_ups", "overdraft")


def _add(sums: list[int], row) -> None:
    for place, name in enumerate(("quantity", *_DRAWN)):
        sums[place] += to_units(row[name])


def _row(row) -> EventRow:
    return EventRow(**{**row, "quantity": canonical(row["quantity"])})


def _draws(drawn) -> Draws:
    return Draws(**dict(zip(Draws.__struct_fields__, drawn, strict=True)))


class MemoryUsageStore:
    """What the workers of the pipeline ask of the usage store."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def create(self) -> None:
        """The tables are there."""

    async def insert_events(self, columns) -> None:
        if not len(columns):
            return
        rows = {}
        for values in zip(*columns.data, strict=True):
            row = {**DEFAULTS, **dict(zip(columns.names, values, strict=True))}
            row["quantity"] = Decimal(row["quantity"])
            place = (row["epoch"], row["lane"], row["offset"], row["index"])
            rows[row["organization"], row["customer"], row["feature"], row["event_time"], *place] = row
        self.tables.put(self.tables.events, rows)

    async def insert_account_records(self, rows) -> None:
        if rows:
            self.tables.put(self.tables.account_records, {(row.epoch, row.lane, row.offset): row for row in rows})

    async def insert_refusals(self, rows) -> None:
        self.tables.put(self.tables.refusals, {row.id: row for row in rows})

    async def write_progress(self, epoch, lanes) -> None:
        there = self.tables.progress
        risen = {(epoch, lane): at for lane, at in lanes.items() if at[0] >= there.get((epoch, lane), (0, 0))[0]}
        if risen:
            self.tables.put(there, risen)

    async def progress(self, epoch):
        return {lane: at for (of, lane), at in self.tables.progress.items() if of == epoch}

    async def event(self, organization, position):
        for row in self.tables.events.values():
            place = (row["epoch"], row["lane"], row["offset"], row["index"])
            if place == tuple(position) and row["organization"] == organization:
                return _row(row)
        return None

    async def keyed_events(self, organization, customer, digests):
        latest = {}
        for row in self.tables.events.values():
            if (row["organization"], row["customer"]) == (organization, customer):
                rank = (row["verdict"] == "counted", row["epoch"], row["offset"], row["index"])
                latest[row["digest"]] = max(latest.get(row["digest"], (rank, row)), (rank, row), key=lambda one: one[0])
        found = [latest[digest.hex()] for digest in digests if digest.hex() in latest]
        return [_row(row) for _, row in sorted(found, key=lambda one: one[0], reverse=True)]

    async def corrections_of(self, original):
        place = Position(original.epoch, original.lane, original.offset, original.index)
        found = [
            row
            for row in self.tables.events.values()
            if row["corrects"] == place.event_id() and row["verdict"] == "counted"
        ]
        return [_row(row) for row in sorted(found, key=lambda row: (row["epoch"], row["offset"], row["index"]))]

    def _lane(self, epoch, lane, before):
        found = [
            row
            for row in self.tables.events.values()
            if row["epoch"] == epoch and row["lane"] == lane and row["offset"] < before
        ]
        return sorted(found, key=lambda row: (row["offset"], row["index"]))

    async def carry(self, epoch, _lane, _lanes):
        assert not any(of < epoch for of, _ in self.tables.progress), "the simulation lives in one epoch"
        return 0

    async def carried_key_rows(self, _epoch, _lane, *, since_ms):
        for _ in ():
            yield since_ms

    async def key_rows(self, epoch, lane, *, before_offset, since_clock_ms, begin_clock_ms):
        clock_ms, page = begin_clock_ms, []
        for row in self._lane(epoch, lane, before_offset):
            clock_ms = max(clock_ms, row["at"])
            left = row["verdict"] == "dead" or (row["digest"] and row["verdict"] in _KEYED)
            if row["replays"]:
                left = row["verdict"] == "counted"
            if clock_ms >= since_clock_ms and left and not row["original"]:
                page.append(
                    KeyRow(
                        position=Position(epoch, lane, row["offset"], row["index"]),
                        verdict=Verdict(row["verdict"]),
                        digest=bytes.fromhex(row["digest"]),
                        content=bytes.fromhex(row["content"]),
                        request=bytes.fromhex(row["request"]),
                        at_ms=row["at"],
                        clock_ms=clock_ms,
                    )
                )
        if page:
            yield page

    async def ruling_rows(self, epoch, lane, asked):
        below = {key.digest: (epoch, key.offset, key.index) for key in asked}
        customers = {ids.id_text(ids.CUSTOMER, key.customer) for key in asked}
        found = {}
        for row in self.tables.events.values():
            digest, place = bytes.fromhex(row["digest"]), (row["epoch"], row["offset"], row["index"])
            if digest not in below or place >= below[digest] or row["customer"] not in customers:
                continue
            if (row["epoch"] == epoch and row["lane"] != lane) or row["original"]:
                continue
            if row["verdict"] not in {*_KEYED, "dead"} or (row["replays"] and row["verdict"] != "counted"):
                continue
            held = found.get(digest)
            if held is None or (held.position.epoch, held.position.offset, held.position.index) < place:
                found[digest] = KeyRow(
                    position=Position(row["epoch"], row["lane"], row["offset"], row["index"]),
                    verdict=Verdict(row["verdict"]),
                    digest=digest,
                    content=bytes.fromhex(row["content"]),
                    request=bytes.fromhex(row["request"]),
                    at_ms=row["at"],
                    clock_ms=row["at"],
                )
        return found

    async def account_rows(self, epoch, lane, *, before_offset):
        clocks: dict[str, int] = {}
        ends: dict[tuple, int] = defaultdict(int)
        sums: dict[str, dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * 5))
        drew = set()
        for row in self._lane(epoch, lane, before_offset):
            clocks[row["customer"]] = max(clocks.get(row["customer"], 0), row["accepted_at"])
            if row["verdict"] == "counted":
                window = (row["feature"], row["term"], row["window"], row["cut"])
                ends[row["customer"], *window] = max(ends[row["customer"], *window], row["window_end"])
                _add(sums[row["customer"]][window], row)
                if any(to_units(row[name]) for name in _DRAWN):
                    drew.add((row["customer"], *window))
        if clocks:
            yield [
                AccountSums(
                    customer=ids.id_bytes(customer),
                    clock_ms=clock_ms,
                    sums=tuple(
                        WindowSum(
                            feature=ids.id_bytes(feature),
                            term=term,
                            window=window,
                            window_end=ends[customer, feature, term, window, cut],
                            cut=cut,
                            units=units,
                            draws=_draws(drawn),
                            drew=(customer, feature, term, window, cut) in drew,
                        )
                        for (feature, term, window, cut), (units, *drawn) in sorted(sums[customer].items())
                    ),
                )
                for customer, clock_ms in sorted(clocks.items())
            ]

    async def snapshots(self, epoch, lane, *, before_offset):
        newest: dict[str, object] = {}
        for (of, where, offset), row in sorted(self.tables.account_records.items()):
            if (of, where) == (epoch, lane) and offset < before_offset:
                held = newest.get(row.customer)
                if held is None or row.rev > held.rev:
                    newest[row.customer] = row
        if newest:
            yield [
                SnapshotRow(
                    customer=ids.id_bytes(customer), rev=row.rev, cut=row.cut, snapshot=bytes.fromhex(row.snapshot)
                )
                for customer, row in sorted(newest.items())
            ]

    async def totals_at_cut(self, organization, cuts):
        ends, sums = self._at_cut(organization, cuts, lambda row: row["feature"])
        return [
            CutTotal(
                customer=customer,
                feature=feature,
                term=term,
                window=window,
                window_end=ends[customer, feature, term, window],
                units=then[0],
                units_before=before[0],
            )
            for (customer, feature, term, window), (then, before) in sorted(sums.items())
        ]

    async def draws_at_cut(self, organization, cuts):
        ends, sums = self._at_cut(organization, cuts, lambda row: row["pool"] != "")
        return [
            CutDraws(
                customer=customer,
                term=term,
                window=window,
                window_end=ends[customer, pool, term, window],
                at_cut=_draws(then[1:]),
                before=_draws(before[1:]),
                price_versions=self._versions(organization, customer, term, window, cuts[customer]),
            )
            for (customer, pool, term, window), (then, before) in sorted(sums.items())
            if pool
        ]

    def _versions(self, organization, customer, term, window, cut):
        place = (organization, customer, "counted", term, window)
        named = ("organization", "customer", "verdict", "term", "window")
        own = (row for row in self.tables.events.values() if tuple(row[name] for name in named) == place)
        return tuple(sorted({row["price_version"] for row in own if row["cut"] <= cut and row["pool"]} - {""}))

    def _at_cut(self, organization, cuts, by):
        """Sum what counts by window and one more column, up to each customer's cut and up to the one before."""
        ends: dict[tuple, int] = {}
        sums: dict[tuple, tuple[list[int], list[int]]] = defaultdict(lambda: ([0] * 5, [0] * 5))
        for row in self.tables.events.values():
            asked = cuts.get(row["customer"], 0)
            if row["organization"] == organization and row["verdict"] == "counted" and row["cut"] <= asked:
                key = (row["customer"], by(row), row["term"], row["window"])
                ends[key] = max(ends.get(key, 0), row["window_end"])
                then, before = sums[key]
                _add(then, row)
                if row["cut"] < asked:
                    _add(before, row)
        return ends, sums

    async def first_cut_positions(self, cuts):
        found: dict[str, tuple[int, int, int]] = {}
        for (epoch, lane, offset), row in sorted(self.tables.account_records.items()):
            if row.customer in cuts and row.cut >= cuts[row.customer] and row.customer not in found:
                found[row.customer] = (epoch, lane, offset)
        return found

    async def first_cut_position(self, customer, cut):
        return (await self.first_cut_positions({customer: cut})).get(customer)
