"""What the catalog alone refuses; how an event gets its time and identity. Source: DESIGN 3.1, 4; R-TRACK-6, 7, 11."""

import pytest
from msgspec.structs import replace

from catalog.definition import SANDBOX, Customer, Feature, FeatureKind, ModelPrice, Organization
from ingest.event import (
    BODY_KEY,
    HEADER_KEY,
    NO_DIGEST,
    NO_REQUEST,
    KeyDigester,
    RequestDigester,
    TokenUse,
    UsageEvent,
    content_digest,
    key_digest,
    request_digest,
)
from ingest.matching import Known, Sent, event_time_us, match_events
from ingest.pricing import TokenCounts
from ingest.validation import Candidate
from kernel.errors import Refusal
from kernel.limits import AHEAD_MS_MAX, BACKDATE_MS_MAX, REAL_NOW_SLACK_MS

NOW = 1_800_000_000_000
SECRET = b"s" * 32
ORG = b"o" * 16
ANNA, BERT, OLD = (
    Customer(id=name * 16, organization=ORG, external_id=None, email="a@b.c", archived=name == b"z")
    for name in (b"a", b"b", b"z")
)
CALLS = Feature(
    id=b"f" * 16, organization=ORG, code="calls", event_code="calls", name="Calls", kind=FeatureKind.METERED
)
SSO = Feature(id=b"s" * 16, organization=ORG, code="sso", event_code="sso", name="SSO", kind=FeatureKind.BOOLEAN)
CUSTOMERS = {"anna": ANNA, "bert": BERT, "old": OLD, "nobody": None}
GPT = ModelPrice(
    model="openai/gpt-4o", since_ms=NOW, input="2.5", output="10", cache_read="1.25", version="genai-prices 1"
)
COUNTS = TokenCounts(input=10_000, output=500, cache_read=7_000, cache_write=1_000)
FEATURES = {"calls": CALLS, "sso": SSO, "nothing": None}


def candidate(**changes):
    given = {"feature": "calls", "customer": "anna", "quantity": "1", "time_us": None, "key": None, "properties": ()}
    return Candidate(**{**given, **changes})


def match(*candidates, clock_ms=None, header_key=None, batch=False, body=b"{}"):
    organization = Organization(id=ORG, name="Acme", environment=SANDBOX, clock_ms=clock_ms)
    sent = Sent(at_ms=NOW, header_key=header_key, batch=batch, requests=RequestDigester(header_key, "D", body))
    known = Known(organization=organization, customers=CUSTOMERS, features=FEATURES, price=price)
    return match_events(candidates, known, sent, SECRET)


def price(model, at_ms):
    if model == "gpt-4o" and at_ms >= GPT.since_ms:
        return GPT
    return Refusal(code="model_not_found", message=f"There is no model {model}.")


def ai(**changes):
    return candidate(**{"model": "gpt-4o", "tokens": COUNTS, "quantity": str(COUNTS.total), **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"customer": "nobody"}, "customer_not_found"),
        ({"customer": "nobody", "feature": "nothing"}, "customer_not_found"),
        ({"feature": "nothing"}, "feature_not_found"),
        ({"customer": "old"}, "no_active_subscription"),
        ({"feature": "sso"}, "validation_error"),
        ({"model": "nope/x", "tokens": COUNTS}, "model_not_found"),
        ({"model": "gpt-4o", "tokens": COUNTS, "time_us": NOW * 1000 - 1}, "model_not_found"),
        ({"time_us": (NOW + AHEAD_MS_MAX) * 1000 + 1}, "validation_error"),
        ({"time_us": (NOW - BACKDATE_MS_MAX) * 1000 - 1}, "validation_error"),
    ],
)
def test_what_the_catalog_alone_refuses(changes, code):
    """R-TRACK-6, R-TRACK-7, R-AI-6."""
    (refused,) = match(candidate(**changes))
    assert isinstance(refused, Refusal)
    assert refused.code == code


def test_an_ai_event_is_priced_at_its_own_time_and_counts_input_and_output():
    """R-AI-8, R-AI-12, R-AI-11."""
    (event,) = match(ai())
    assert event.quantity == "10500"
    assert event.tokens == TokenUse(
        model="openai/gpt-4o",
        input=10_000,
        output=500,
        cache_read=7_000,
        cache_write=1_000,
        input_cost="0.005",
        output_cost="0.005",
        cache_read_cost="0.00875",
        cache_write_cost="0.0025",
        base_cost="0.02125",
        price_version="genai-prices 1",
        price_since_ms=NOW,
    )


def test_the_content_of_an_ai_event_is_its_model_and_its_counts():
    """R-TRACK-13."""
    (plain,) = match(candidate(quantity="10500"))
    (one,), (same,) = match(ai()), match(ai(time_us=(NOW + 5) * 1000))
    assert one.content == same.content != plain.content
    for changed in ({"cache_read": 6_999}, {"cache_write": 999}, {"input": 9_999, "output": 501}):
        (other,) = match(ai(tokens=replace(COUNTS, **changed)))
        assert other.content != one.content


def test_the_bounds_of_time_are_inclusive():
    """R-TRACK-6."""
    for time_us in ((NOW + AHEAD_MS_MAX) * 1000, (NOW - BACKDATE_MS_MAX) * 1000):
        (event,) = match(candidate(time_us=time_us))
        assert event.event_time_us == time_us


def test_an_event_without_a_time_happened_when_it_was_accepted():
    """R-TRACK-1, R-GEN-6."""
    (event,) = match(candidate())
    assert (event.event_time_us, event.has_timestamp, event.at_ms, event.clock_ms) == (NOW * 1000, False, NOW, None)
    (event,) = match(candidate(), clock_ms=5_000_000_000)
    assert (event.event_time_us, event.has_timestamp) == (5_000_000_000_000, False)
    assert (event.at_ms, event.clock_ms) == (NOW, 5_000_000_000)


@pytest.mark.parametrize(
    ("time_ms", "clock_ms", "meant_ms"),
    [
        (NOW, NOW + 10**9, NOW + 10**9),  # stamped by a client library: the simulated now
        (NOW - REAL_NOW_SLACK_MS, NOW + 10**9, NOW + 10**9),
        (NOW + REAL_NOW_SLACK_MS, NOW - 10**9, NOW - 10**9),
        (NOW + 10**9 - 5, NOW + 10**9, NOW + 10**9 - 5),  # stamped in simulated time
        (NOW - REAL_NOW_SLACK_MS - 1, NOW, NOW - REAL_NOW_SLACK_MS - 1),
        (NOW, None, NOW),
    ],
)
def test_on_a_simulated_clock_real_now_means_the_simulated_now(time_ms, clock_ms, meant_ms):
    """R-CLOCK-1."""
    assert event_time_us(time_ms * 1000, clock_ms, NOW) == meant_ms * 1000


def test_a_simulated_clock_bounds_the_time_too():
    clock_ms = NOW + 10**11
    assert isinstance(event_time_us((NOW + 10**8) * 1000, clock_ms, NOW), Refusal)


def test_identity_body_key_then_header_key_then_none():
    """R-TRACK-11, R-TRACK-14."""
    first, second = match(candidate(key="k"), candidate(), header_key="h", batch=True)
    assert (first.key, first.digest) == ("k", key_digest(SECRET, ORG, ANNA.id, BODY_KEY, "k"))
    assert (second.key, second.digest) == ("h#1", key_digest(SECRET, ORG, ANNA.id, HEADER_KEY, "h#1"))
    (alone,) = match(candidate(), header_key="h")
    assert (alone.key, alone.digest) == ("h", key_digest(SECRET, ORG, ANNA.id, HEADER_KEY, "h"))
    (keyless,) = match(candidate())
    assert (keyless.key, keyless.digest, keyless.request) == ("", NO_DIGEST, NO_REQUEST)


def test_keys_of_customers_organizations_and_namespaces_never_meet():
    """R-TRACK-11."""
    digests = {
        key_digest(SECRET, organization, customer, namespace, key)
        for organization in (ORG, b"p" * 16)
        for customer in (ANNA.id, BERT.id)
        for namespace in (BODY_KEY, HEADER_KEY)
        for key in ("k", "kk", "")
    }
    assert len(digests) == 24
    assert key_digest(b"t" * 32, ORG, ANNA.id, BODY_KEY, "k") not in digests


def test_the_digesters_say_what_the_functions_say():
    assert KeyDigester(SECRET, ORG, ANNA.id, BODY_KEY).digest("ké") == key_digest(SECRET, ORG, ANNA.id, BODY_KEY, "ké")
    requests = RequestDigester("h", "D", b"body")
    assert [requests.digest(index) for index in (0, 1, 0)] == [request_digest("h", "D", b"body", n) for n in (0, 1, 0)]
    assert request_digest(None, "D", b"body", 0) == NO_REQUEST
    others = [("i", "D", b"body", 0), ("h", "A", b"body", 0), ("h", "D", b"bodz", 0), ("h", "D", b"body", 1)]
    assert len({request_digest(*other) for other in others} | {requests.digest(0), NO_REQUEST}) == 6


def test_content_is_feature_and_amount_alone():
    """R-TRACK-13."""
    one, other = match(candidate(time_us=NOW * 1000), candidate(time_us=NOW * 1000 + 1, properties=(("a", "b"),)))
    assert one.content == other.content == content_digest(CALLS.id, "1")
    (two,) = match(candidate(quantity="2"))
    assert two.content != one.content


def test_refusals_keep_their_index_and_their_neighbours():
    broken = Refusal(code="validation_error", message="no")
    found = match(candidate(), broken, candidate(customer="bert", key="k"), candidate(feature="nothing"))
    assert isinstance(found[0], UsageEvent)
    assert found[1] is broken
    assert found[2].customer == BERT.id
    assert found[3].code == "feature_not_found"
