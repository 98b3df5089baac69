from decimal import Decimal

import pytest

from catalog.gateway.body import decode_body
from catalog.gateway.http import key_of
from kernel.errors import Rejected
from kernel.wire import Wire


class Part(Wire, frozen=True, kw_only=True):
    unit_price: Decimal


class Whole(Wire, frozen=True, kw_only=True):
    parts: tuple[Part, ...] = ()
    name: str = "x"


def refusal_of(body, content_type="application/json", kind=Whole):
    with pytest.raises(Rejected) as refused:
        decode_body(body, content_type, kind)
    return refused.value.refusal


def test_an_empty_body_is_an_empty_object_whatever_its_type():
    assert decode_body(b"", None, Whole) == decode_body(b"", "text/html", Whole) == Whole()


def test_unknown_members_are_ignored_and_decimals_exact():
    body = b'{"more": 1, "parts": [{"unitPrice": 0.10000000000000000000000001}]}'
    assert decode_body(body, "application/json; charset=utf-8", Whole).parts[0].unit_price == Decimal(
        "0.10000000000000000000000001"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"name": 1}', "name"),
        (b'{"parts": [{"unitPrice": 1}, {}]}', "parts[1].unitPrice"),
        (b'{"parts": [{"unitPrice": true}]}', "parts[0].unitPrice"),
        (b"[]", "body"),
        (b"null", "body"),
    ],
)
def test_a_fault_is_named_by_its_field(body, field):
    refusal = refusal_of(body)
    assert (refusal.code, refusal.param) == ("validation_error", field)
    assert refusal.details == [{"field": field, "message": refusal.message}]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"name": "\\ud800"}', b'{"a":' * 100_000, b"{} {}"])
def test_what_is_not_json_is_said_so(body):
    assert refusal_of(body, kind=dict).code == "invalid_json"


def test_another_type_is_refused():
    assert refusal_of(b"{}", "text/plain").code == "invalid_json"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "ck_1", "authorization": "Bearer ck_2"}, "ck_1"),
        ({"authorization": "bearer ck_2"}, "ck_2"),
        ({"authorization": "Basic ck_2"}, None),
        ({"authorization": "Bearer "}, None),
        ({}, None),
    ],
)
def test_the_key_is_in_either_header(headers, key):
    assert key_of(headers) == key
