"""The proof: it recomputes verdicts, windows, amounts and invoices, and compares log, LIVE, RAW and SQL.

Owns no state and changes none. Invariant: it imports `kernel` alone and shares no code with what it proves, so that
one mistake cannot be on both sides. Source: DESIGN 3.10.
"""

from meterline.audit.auditor import Auditor
from meterline.audit.report import KeySet, Report

__all__ = ["Auditor", "KeySet", "Report"]
