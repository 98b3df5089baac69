"""What the audit adds up while it goes through the records: counts, sums and keys, by the log and by RAW. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from typing import Final

from kernel import ids
from kernel.limits import KEY_MEMORY_MS
from kernel.quantity import canonical
from meterline.audit.decoding import Attempt, Position, event_id
from meterline.audit.invoices import CountedUsage
from meterline.audit.judge import COUNTED, Ruling
from meterline.audit.pool import NOTHING, Four, PoolKey, plus
from meterline.audit.report import FeatureSum, Findings, KeySet, OrganizationReport
from meterline.audit.rows import Stored

_EXACT: Final = Context(prec=60, traps=[Inexact])
_ZERO: Final = Decimal(0)


@lru_cache(maxsize=65_536)
def id_text(prefix: str, raw: bytes) -> str:
    """Spell an id; most records name the same few."""
    return ids.id_text(prefix, raw)


class _Side:
    """One organization's usage as one of the two sides has it."""

    def __init__(self) -> None:
        self.events = self.counted = 0
        self.keys = KeySet()
        self.sums: dict[bytes, Decimal] = defaultdict(lambda: _ZERO)

    def add(self, attempt: Attempt, customer: str, verdict: str) -> None:
        """Take one event with what this side says of it."""
        self.events += 1
        if verdict == COUNTED:
            self.counted += 1
            self.sums[attempt.feature] = _EXACT.add(self.sums[attempt.feature], attempt.quantity)
            if attempt.key:
                self.keys.add(customer, attempt.key)


class Tally:
    """All organizations' usage, by the audit's own verdicts and by the rows of RAW."""

    def __init__(self) -> None:
        self.log: dict[bytes, _Side] = defaultdict(_Side)
        self.raw: dict[bytes, _Side] = defaultdict(_Side)
        self.live: dict[bytes, dict[bytes, Decimal]] = defaultdict(lambda: defaultdict(lambda: _ZERO))
        self.verdicts: Counter[str] = Counter()
        self.usage: CountedUsage = defaultdict(dict)
        self.ends: dict[tuple[str, str, int, int], int] = {}
        # By customer, draw window and cut: what was drawn of each part of the pool.
        self.drawn: dict[str, dict[PoolKey, dict[int, Four]]] = defaultdict(lambda: defaultdict(dict))
        self._counted: dict[bytes, tuple[int, Position]] = {}

    def rule(self, attempt: Attempt, ruling: Ruling) -> None:
        """Take an event with the audit's verdict."""
        self.verdicts[ruling.verdict] += 1
        self.log[attempt.organization].add(attempt, id_text(ids.CUSTOMER, attempt.customer), ruling.verdict)

    def row(self, row: Stored, findings: Findings) -> None:
        """Take a row of RAW; of one key, two counted rows within the memory of keys are a difference."""
        attempt = row.attempt
        customer = id_text(ids.CUSTOMER, attempt.customer)
        self.raw[attempt.organization].add(attempt, customer, row.verdict)
        if row.verdict != COUNTED:
            return
        window = (customer, id_text(ids.FEATURE, attempt.feature), row.term, row.window)
        cuts = self.usage[window]
        cuts[row.cut] = _EXACT.add(cuts.get(row.cut, _ZERO), attempt.quantity)
        self.ends[window] = row.window_end
        if any(row.taken.four):
            parts = self.drawn[customer][row.term, row.window]
            parts[row.cut] = plus(parts.get(row.cut, NOTHING), row.taken.four)
        if attempt.digest:
            before = self._counted.get(attempt.digest)
            if before is not None and attempt.effective_ms - before[0] <= KEY_MEMORY_MS:
                what = f"its key is counted at {event_id(before[1])} already"
                findings.add("counted twice", event_id(attempt.position), what)
            self._counted[attempt.digest] = (attempt.effective_ms, attempt.position)

    def in_live(self, organization: bytes, feature: bytes, total: Decimal) -> None:
        """Take one window's total of LIVE."""
        sums = self.live[organization]
        sums[feature] = _EXACT.add(sums[feature], total)

    def reports(self, codes: Mapping[str, str], findings: Findings) -> list[OrganizationReport]:
        """Report every organization; other counted keys in RAW than by the log are a difference."""
        return [self._report(one, codes, findings) for one in sorted(self.log.keys() | self.raw.keys())]

    def _report(self, organization: bytes, codes: Mapping[str, str], findings: Findings) -> OrganizationReport:
        log, raw, live = self.log[organization], self.raw[organization], self.live[organization]
        name = ids.id_text(ids.ORGANIZATION, organization)
        if (log.keys.count, log.keys.fingerprint) != (raw.keys.count, raw.keys.fingerprint):
            findings.add("keys", name, f"{log.keys.count} keys by the log, {raw.keys.count} in RAW, or others")
        sums = []
        for feature in sorted(log.sums.keys() | raw.sums.keys() | live.keys()):
            text = ids.id_text(ids.FEATURE, feature)
            sides = (canonical(side.get(feature, _ZERO)) for side in (log.sums, raw.sums, live))
            sums.append(FeatureSum(codes.get(text, text), *sides))
        return OrganizationReport(
            organization=name,
            events=log.events,
            events_counted=log.counted,
            keys_counted=log.keys.count,
            keys_fingerprint=log.keys.fingerprint,
            rows=raw.events,
            rows_counted=raw.counted,
            rows_fingerprint=raw.keys.fingerprint,
            features=sums,
        )
