"""Errors of operation, classed by what the caller should do.

Bad data is not here: it is a value with a reason (`Refusal`), answered and kept. Programmer errors are assertions.
Adapters translate their drivers' errors into these; no driver's type leaves `kernel.engine`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class MeterlineError(Exception):
    """Base of all errors that this project raises on purpose."""


class Retryable(MeterlineError):
    """The same call may succeed later; nothing is known to be wrong with it."""


class Unavailable(Retryable):
    """A store is away or too slow; what was asked did not happen."""


class Unknown(Retryable):
    """An append ended without an answer: its record may be there, may appear later, or never (DESIGN 3.2)."""


class LogSealed(Unknown):
    """The log's epoch has ended: this record is not there and never will be, nor will any other of this epoch."""


class Fatal(MeterlineError):
    """Going on would lose or double something; an operator has to act."""


class OffsetGone(Fatal):
    """The log no longer holds the offset that was asked for."""


class LogMissing(Fatal):
    """The log is not there, or it is another log than the one that the other stores know."""


class RecordUnreadable(Fatal):
    """A record cannot be decoded; its lane stops, because a skipped record would be a loss."""


class Misconfigured(Fatal):
    """A setting or an argument makes a start impossible; the text says what to set."""


class NotReachable(Fatal):
    """A server or data folder that a command needs cannot be reached or is held by another process."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was not accepted: a code of the contract (2.3), words for a person, and the field at fault.

    `rule` names the rule on which it rests where the code stands for several (`kernel.reason`); it is not answered.
    """

    code: str
    message: str
    param: str | None = None
    details: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    rule: str | None = None


class Rejected(MeterlineError):
    """A request that is answered with a refusal; carries the refusal as a value."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}")
        self.refusal = refusal


def rejected(
    code: str, message: str, *, param: str | None = None, details: Any = None, rule: str | None = None
) -> Rejected:
    """Make a `Rejected` from a code of the contract (2.3) and words for a person; `rule` as in `Refusal`."""
    return Rejected(Refusal(code=code, message=message, param=param, details=details, rule=rule))


def invalid(field: str, message: str) -> Rejected:
    """Make the `validation_error` of one field, in the shape of contract 2.2."""
    details = [{"field": field, "message": message}]
    return rejected("validation_error", message, param=field, details=details)
