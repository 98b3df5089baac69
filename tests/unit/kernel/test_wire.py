import base64
import json
from decimal import Decimal

import pytest

from kernel import wire
from kernel.errors import Refusal, Rejected
from kernel.limits import PAGE_DEFAULT
from kernel.wire import Dialect

# The codes that clients know (contract 2.3) and their statuses, written down a second time on purpose.
KNOWN = {
    "validation_error": 400,
    "invalid_json": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "sandbox_only": 403,
    "included_limit_reached": 402,
    "feature_not_in_plan": 403,
    "not_found": 404,
    "customer_not_found": 404,
    "feature_not_found": 404,
    "plan_not_found": 404,
    "price_not_found": 404,
    "subscription_not_found": 404,
    "invoice_not_found": 404,
    "no_active_subscription": 404,
    "api_key_not_found": 404,
    "endpoint_deprecated": 410,
    "duplicate": 409,
    "already_has_active_subscription": 409,
    "subscription_not_active": 409,
    "feature_already_exists": 409,
    "feature_in_use": 409,
    "price_in_use": 409,
    "idempotency_key_mismatch": 409,
    "payload_too_large": 413,
    "event_unprocessable": 422,
    "rate_limited": 429,
    "internal_error": 500,
    "service_unavailable": 503,
}


@pytest.mark.parametrize(
    ("path", "version", "dialect"),
    [
        ("/api/plans", None, Dialect.A),
        ("/api/v1/plans", None, Dialect.D),
        ("/api/v1/plans", "2026-05-01", Dialect.A),
        ("/api/plans", "2026-05-11", Dialect.A),
        ("/api/plans", "2026-05-12", Dialect.C),
        ("/api/v1/plans", "2026-07-23", Dialect.C),
        ("/api/v1/plans", "2026-07-24", Dialect.D),
        ("/api/plans", "2026-08-27", Dialect.D),
        ("/api/plans", "2031-01-01", Dialect.D),
        ("/api/plans", "newest", Dialect.D),
        ("/api/plans", "", Dialect.D),
    ],
)
def test_the_dialect_follows_path_and_version(path, version, dialect):
    assert wire.dialect_of(path, version) is dialect


@pytest.mark.parametrize("text", ["0.0000025", "123456789012345678901234567890.123456789", "1000000000000", "-0.1"])
def test_decimals_are_numbers_digit_by_digit(text):
    encoded = wire.encode({"value": Decimal(text)})
    assert json.loads(encoded, parse_float=Decimal, parse_int=Decimal) == {"value": Decimal(text)}


def test_members_are_camel_case_and_unset_ones_are_left_out():
    class Shape(wire.Wire, frozen=True, kw_only=True):
        unit_name: str
        not_there: str | None = None

    assert json.loads(wire.encode(Shape(unit_name="call"))) == {"unitName": "call", "notThere": None}


def test_success_is_wrapped_for_old_clients_and_bare_for_new_ones():
    assert (
        wire.success(Dialect.A, {"id": 1}) == wire.success(Dialect.C, {"id": 1}) == {"success": True, "data": {"id": 1}}
    )
    assert wire.success(Dialect.D, {"id": 1}) == {"id": 1}
    assert wire.encode(wire.success(Dialect.D, None)) == b"null"


def test_lists_say_whether_there_is_more():
    assert wire.success_list(Dialect.A, [1]) == {"success": True, "data": [1], "hasMore": False}
    assert wire.success_list(Dialect.D, [1], "next") == {
        "object": "list",
        "data": [1],
        "hasMore": True,
        "nextCursor": "next",
    }


def test_every_known_code_has_its_status_and_type():
    assert {code: wire.status_of(code) for code in KNOWN} == KNOWN
    assert set(wire.TYPE) == set(wire.STATUS)
    types = {"validation_error", "authentication_error", "billing_error", "not_found_error", "conflict_error"}
    assert set(wire.TYPE.values()) == types | {"rate_limit_error", "internal_error"}


def test_only_what_may_pass_has_a_status_that_clients_repeat():
    repeated = {code for code, status in wire.STATUS.items() if status in (408, 429) or status >= 500}
    assert repeated == {
        "rate_limited",
        "internal_error",
        "service_unavailable",
        "idempotency_unavailable",
        "subscription_creation_failed",
    }


def test_an_error_is_flat_and_nested_at_once():
    details = [{"field": "email", "message": "is required"}]
    body = wire.error_body(Refusal(code="validation_error", message="No.", param="email", details=details))
    assert body == {
        "success": False,
        "code": "validation_error",
        "message": "No.",
        "details": details,
        "error": {
            "type": "validation_error",
            "code": "validation_error",
            "message": "No.",
            "param": "email",
            "details": details,
            "doc_url": "/docs/api-reference/2026-08-27/errors/validation_error.md",
        },
    }
    short = wire.error_body(Refusal(code="not_found", message="No."))
    assert "details" not in short
    assert "details" not in short["error"]
    assert "param" not in short["error"]


def test_a_cursor_comes_back_as_it_went():
    assert wire.decode_cursor(wire.encode_cursor(17, "cus_ä"), int, str) == [17, "cus_ä"]


@pytest.mark.parametrize("text", ["", "x", "!!!!", "AAAA", wire.encode_cursor("17", "x"), wire.encode_cursor(1), "ä"])
def test_a_foreign_cursor_is_refused(text):
    with pytest.raises(Rejected) as refused:
        wire.decode_cursor(text, int, str)
    assert refused.value.refusal.param == "cursor"


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 10**400])
def test_a_cursor_beyond_what_a_store_holds_is_refused(number):
    """R-ERR-2: nobody got it from us, and a store's own refusal would be a 500."""
    text = base64.urlsafe_b64encode(f'[{number},"x"]'.encode()).decode()
    with pytest.raises(Rejected) as refused:
        wire.decode_cursor(text, int, str)
    assert refused.value.refusal.param == "cursor"


def test_a_cursor_that_is_nested_too_deep_is_refused():
    """R-ERR-2: the decoder's own limit would be a 500."""
    text = base64.urlsafe_b64encode(b"[" * 3_000).decode()
    with pytest.raises(Rejected) as refused:
        wire.decode_cursor(text, int, str)
    assert refused.value.refusal.param == "cursor"


def test_a_cursor_fits_its_columns():
    assert wire.decode_cursor(wire.encode_cursor(2**63 - 1, "x"), int, str) == [2**63 - 1, "x"]
    assert wire.decode_cursor(wire.encode_cursor(2**31 - 1), int, bits=32) == [2**31 - 1]
    for key, shape in (((2**31,), (int,)), ((-(2**31) - 1,), (int,)), (("a\0b",), (str,))):
        with pytest.raises(Rejected):
            wire.decode_cursor(wire.encode_cursor(*key), *shape, bits=32)


def test_a_limit_is_from_one_to_a_hundred():
    assert wire.page_limit(None) == PAGE_DEFAULT
    assert [wire.page_limit(text) for text in ("1", "100")] == [1, 100]
    assert wire.page_limit("0" * 20 + "7") == 7
    for text in ("0", "101", "-1", "x", "", "1.5", "²", "9" * 5_000, "00000001000", "00000000" + "10" * 3_000):
        with pytest.raises(Rejected):
            wire.page_limit(text)


def test_a_page_is_cut_where_more_is_known():
    assert wire.cut_page([1, 2], 2, lambda row: (row,)) == ([1, 2], None)
    page, cursor = wire.cut_page([1, 2, 3], 2, lambda row: (row,))
    assert page == [1, 2]
    assert cursor is not None
    assert wire.decode_cursor(cursor, int) == [2]


def test_a_flag_is_a_word():
    assert [wire.flag("x", text) for text in (None, "true", "false")] == [None, True, False]
    with pytest.raises(Rejected):
        wire.flag("x", "1")


@pytest.mark.parametrize(("rate", "price"), [(0, "0"), (1, "0.0001"), (10, "0.001"), (10_000, "1"), (25_000, "2.5")])
def test_rates_are_ten_thousandths_of_the_major_unit(rate, price):
    assert wire.unit_price_of_rate(rate) == price
    assert wire.rate_of_unit_price(price) == rate


def test_a_finer_price_is_rounded_on_the_integer_alone():
    assert [wire.rate_of_unit_price(price) for price in ("0.00005", "0.000049", "0.0000025")] == [1, 0, 0]
