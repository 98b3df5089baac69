"""From well-formed candidates and the catalog's values to the events of the log, or refusals. Pure.

Owns what the catalog alone can refuse (unknown customer or feature, a feature that is not metered, a time out of
bounds) and how an event gets its time and its identity. Terms and amounts are the fold's. Invariant: the same request,
catalog and time give the same events, byte for byte. Source: DESIGN 3.1, 3.4.1, 4; R-TRACK-1, 6, 7, 11.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from catalog.definition import Customer, Feature, FeatureKind, ModelPrice, Organization
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
)
from ingest.pricing import priced
from ingest.validation import Candidate, field_errors
from kernel.errors import Refusal
from kernel.limits import AHEAD_MS_MAX, BACKDATE_MS_MAX, REAL_NOW_SLACK_MS

_US: Final = 1_000
_METERED: Final = FeatureKind.METERED  # by name: looking a member up costs more than comparing it
# Hashing is most of what an event costs here; few customers and amounts make up most of what is sent.
_content = lru_cache(maxsize=8_192)(content_digest)
_digester = lru_cache(maxsize=8_192)(KeyDigester)


# What a model costs at an instant (unix milliseconds), by the name that the client sent (R-AI-6, R-AI-8).
PriceAt = Callable[[str, int], ModelPrice | Refusal]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog says about the names in a request: by the reference and by the code that the client sent."""

    organization: Organization
    customers: Mapping[str, Customer | None]
    features: Mapping[str, Feature | None]
    price: PriceAt


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What all events of a request share. `at_ms` is when it was read; `header_key` its `Idempotency-Key`."""

    at_ms: int
    header_key: str | None
    batch: bool
    requests: RequestDigester


def match_events(
    candidates: Sequence[Candidate | Refusal], known: Known, sent: Sent, secret: bytes
) -> list[UsageEvent | Refusal]:
    """Match each candidate with the catalog, index by index; `secret` keys the digests of the deployment."""
    organization, clock_ms, at_ms = known.organization.id, known.organization.clock_ms, sent.at_ms
    accepted_us = (at_ms if clock_ms is None else clock_ms) * _US
    matched: list[UsageEvent | Refusal] = []
    for index, candidate in enumerate(candidates):
        if type(candidate) is Refusal:
            matched.append(candidate)
            continue
        assert type(candidate) is Candidate, "a candidate is well-formed or refused"
        customer, feature = known.customers[candidate.customer], known.features[candidate.feature]
        if customer is None or feature is None or customer.archived or feature.kind is not _METERED:
            matched.append(_refusal(candidate, customer, feature))
            continue
        time_us = accepted_us if candidate.time_us is None else event_time_us(candidate.time_us, clock_ms, at_ms)
        if type(time_us) is Refusal:
            matched.append(time_us)
            continue
        assert type(time_us) is int, "a time is in bounds or refused"
        tokens = None if candidate.tokens is None else _priced(candidate, known, time_us // _US)
        if isinstance(tokens, Refusal):
            matched.append(tokens)
            continue
        key, digest = _identity(candidate.key, index, sent, secret, organization, customer.id)
        matched.append(
            UsageEvent(
                organization=organization,
                customer=customer.id,
                feature=feature.id,
                event_time_us=time_us,
                at_ms=at_ms,
                clock_ms=clock_ms,
                quantity=candidate.quantity,
                key=key,
                digest=digest,
                content=_content(feature.id, candidate.quantity)
                if tokens is None
                else content_digest(feature.id, candidate.quantity, tokens),
                request=NO_REQUEST if sent.header_key is None else sent.requests.digest(index),
                has_timestamp=candidate.time_us is not None,
                properties=candidate.properties,
                tokens=tokens,
            )
        )
    return matched


def _priced(candidate: Candidate, known: Known, at_ms: int) -> TokenUse | Refusal | None:
    """Price the tokens of an AI event at its own time; None for any other event."""
    if candidate.tokens is None or candidate.model is None:
        return None
    price = known.price(candidate.model, at_ms)
    return price if isinstance(price, Refusal) else priced(candidate.tokens, price)


def _identity(
    body_key: str | None, index: int, sent: Sent, secret: bytes, organization: bytes, customer: bytes
) -> tuple[str, bytes]:
    """Tell key and digest: the body's key, else the header's (in a batch with `#` and index), else none.

    Source: DESIGN 3.1.
    """
    if body_key is not None:
        return body_key, _digester(secret, organization, customer, BODY_KEY).digest(body_key)
    if sent.header_key is None:
        return "", NO_DIGEST
    key = f"{sent.header_key}#{index}" if sent.batch else sent.header_key
    return key, _digester(secret, organization, customer, HEADER_KEY).digest(key)


def event_time_us(time_us: int | None, clock_ms: int | None, at_ms: int) -> int | Refusal:
    """Tell when an event happened, in microseconds; `clock_ms` is the organization's test clock.

    No time means accepted_at. On a simulated clock a time near to real now means the simulated now (DESIGN 4).
    Source: R-TRACK-5, R-TRACK-6, R-CLOCK-1.
    """
    accepted_us = (at_ms if clock_ms is None else clock_ms) * _US
    if time_us is None or (clock_ms is not None and abs(time_us - at_ms * _US) <= REAL_NOW_SLACK_MS * _US):
        return accepted_us
    if time_us > accepted_us + AHEAD_MS_MAX * _US:
        return field_errors([("timestamp", "must be at most 5 minutes ahead of now")])
    if time_us < accepted_us - BACKDATE_MS_MAX * _US:
        return field_errors([("timestamp", "must be at most 35 days in the past")])
    return time_us


def _refusal(candidate: Candidate, customer: Customer | None, feature: Feature | None) -> Refusal:
    """Say what the catalog has against a candidate, the first reason in the contract's order. Source: R-TRACK-7."""
    if customer is None:
        return Refusal(code="customer_not_found", message=f"There is no customer {candidate.customer!r}.")
    if feature is None:
        return Refusal(code="feature_not_found", message=f"There is no feature {candidate.feature!r}.", param="feature")
    if customer.archived:
        return Refusal(
            code="no_active_subscription", message=f"Customer {candidate.customer!r} is archived.", param="customerId"
        )
    return field_errors([("feature", f"is a {feature.kind.value} feature: only metered ones take usage")])
