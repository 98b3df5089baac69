"""What an audit found: counts, sums, differences with where and what, and one verdict. Pure."""

from collections import Counter
from hashlib import blake2b
from typing import Final

import msgspec

DIFFERENCES_KEPT: Final = 100  # a store that is wrong everywhere is as wrong as one that is wrong in a hundred places


class Difference(msgspec.Struct, frozen=True):
    """One place where two stores, or a store and the audit's own reckoning, disagree."""

    kind: str
    where: str
    what: str


class FeatureSum(msgspec.Struct, frozen=True, rename="camel"):
    """Counted usage of one feature, as text: by the audit's verdicts, in RAW, in LIVE (windows it still keeps)."""

    feature: str
    log: str
    raw: str
    live: str


class OrganizationReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One organization's counts.

    `keys_counted` keys are counted by the audit's verdicts, `rows_counted` rows in RAW; their fingerprints (sum of
    BLAKE2b-128 of each key) are equal when they are the same keys.
    """

    organization: str
    events: int
    events_counted: int
    keys_counted: int
    keys_fingerprint: str
    rows: int
    rows_counted: int
    rows_fingerprint: str
    features: list[FeatureSum]


class Unbilled(msgspec.Struct, frozen=True, rename="camel"):
    """Usage that was counted after the final cut of its subscription (DESIGN 3.12)."""

    customer: str
    feature: str
    window: str
    amount_minor: int


class Report(msgspec.Struct, kw_only=True, rename="camel"):
    """The whole audit. `log_complete` says that the log still holds its first record; `corrections` count.

    `verdict` is `consistent`, `differences`, or `incomplete`: no difference, but invoice lines that it did not reckon,
    counted by kind in `unjudged`.
    """

    verdict: str = "consistent"
    epoch: int = 0
    lanes: int = 0
    log_complete: bool = True
    records: int = 0
    account_records: int = 0
    events: int = 0
    events_counted: int = 0
    keys_counted: int = 0
    rows: int = 0
    rows_counted: int = 0
    verdicts: dict[str, int] = {}
    corrections: int = 0
    accounts: int = 0
    keys_live: int = 0
    invoices: int = 0
    invoice_lines: int = 0
    closes_due: int = 0
    organizations: list[OrganizationReport] = []
    differences: list[Difference] = []
    difference_count: int = 0
    difference_kinds: dict[str, int] = {}
    unbilled: list[Unbilled] = []
    unjudged: dict[str, int] = {}
    notes: list[str] = []
    seconds: float = 0


class Findings:
    """Collects differences, a bounded number of them in full."""

    def __init__(self) -> None:
        self.kept: list[Difference] = []
        self.kinds: Counter[str] = Counter()

    def add(self, kind: str, where: str, what: str) -> None:
        """Note one difference."""
        self.kinds[kind] += 1
        if len(self.kept) < DIFFERENCES_KEPT:
            self.kept.append(Difference(kind, where, what))

    def same(self, kind: str, where: str, name: str, found: object, expected: object) -> None:
        """Note a difference unless what was found is what it has to be."""
        if found != expected:
            self.add(kind, where, f"{name} is {found!s}, the audit reckons {expected!s}")


class KeySet:
    """A count and a fingerprint of many keys, in any order and in constant memory; a key taken twice changes it."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, customer: str, key: str) -> None:
        """Take one key of one customer."""
        self.count += 1
        data = f"{len(customer)}:{customer}{key}".encode("utf-8", "surrogatepass")
        self._sum += int.from_bytes(blake2b(data, digest_size=16).digest(), "big")

    @property
    def fingerprint(self) -> str:
        """Spell the fingerprint."""
        return f"{self._sum % (1 << 128):032x}"
