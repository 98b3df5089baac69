import pytest

from kernel.errors import (
    Fatal,
    LogMissing,
    MeterlineError,
    Misconfigured,
    NotReachable,
    OffsetGone,
    RecordUnreadable,
    Rejected,
    Retryable,
    Unavailable,
    Unknown,
    invalid,
    rejected,
)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Unavailable, Retryable),
        (Unknown, Retryable),
        (OffsetGone, Fatal),
        (LogMissing, Fatal),
        (RecordUnreadable, Fatal),
        (Misconfigured, Fatal),
        (NotReachable, Fatal),
        (Rejected, MeterlineError),
    ],
)
def test_an_error_is_classed_by_its_remedy(error, remedy):
    assert issubclass(error, remedy)
    assert not (issubclass(error, Retryable) and issubclass(error, Fatal))


def test_a_refusal_travels_as_a_value():
    refusal = rejected("feature_not_found", "There is no such feature.", param="feature").refusal
    assert (refusal.code, refusal.message, refusal.param) == (
        "feature_not_found",
        "There is no such feature.",
        "feature",
    )


def test_an_invalid_field_is_named_in_param_and_details():
    refusal = invalid("value", "must not be negative").refusal
    assert (refusal.code, refusal.param) == ("validation_error", "value")
    assert refusal.details == [{"field": "value", "message": "must not be negative"}]
