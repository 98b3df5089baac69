"""Everything that is read from and written to RAW, in one object. Public contract of `aggregator`.

Owns the SQL of RAW. Ids are text here, as RAW has them; the rebuild's rows are spelled as LIVE has them (16 bytes, 1e-9
units). Invariants: every value is bound, every read is FINAL, and every read for a person names one organization
(R-GEN-7). Methods raise `Unavailable` when RAW is away.
"""

from aggregator.store.account import AccountReads
from aggregator.store.book import BookReads
from aggregator.store.correction import CorrectionReads
from aggregator.store.cut import CutReads
from aggregator.store.judged import JudgedReads
from aggregator.store.key import KeyReads
from aggregator.store.letter import LetterReads
from aggregator.store.query import QueryReads
from aggregator.store.write import Writes


class UsageStore(
    Writes, AccountReads, BookReads, CorrectionReads, CutReads, JudgedReads, KeyReads, LetterReads, QueryReads
):
    """The raw facts: written by the sink, read by rebuild, closer, routes and audit."""


__all__ = ["UsageStore"]
