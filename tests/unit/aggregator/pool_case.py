"""What the tests of pools share: terms of every model, snapshots, events and a small judge."""

from typing import Any

from msgspec.structs import replace

from aggregator.account import Account
from aggregator.fold import fold_event
from aggregator.standing import Standing
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, SubscriptionStatus, Terms
from ingest.event import NO_DIGEST, NO_REQUEST, TokenUse, UsageEvent
from ingest.verdict import Outcome
from kernel.period import DAY_MS, parse_instant_us
from kernel.quantity import UNITS_PER_ONE

ONE = UNITS_PER_ONE
CUSTOMER, ORGANIZATION = b"c" * 16, b"o" * 16
IMAGES, TEXTS, FREE, CHAT = (letter * 16 for letter in (b"i", b"t", b"f", b"a"))
BEGIN = "2026-01-01"
FEATURES = (
    FeatureTerms(feature=IMAGES, code="images", kind="metered", credits="10", unit_price="0.25"),
    FeatureTerms(feature=TEXTS, code="texts", kind="metered", credits="2", unit_price="0.001"),
    FeatureTerms(feature=FREE, code="free", kind="metered"),
    FeatureTerms(feature=CHAT, code="chat", kind="metered", margin="20"),
)


def day(text: str) -> int:
    return parse_instant_us(text) // (DAY_MS * 1_000)


def ms(text: str) -> int:
    return parse_instant_us(text) // 1_000


def terms(model: ConsumptionModel = ConsumptionModel.CREDITS, pool: int = 1_000, **change: Any) -> Terms:
    """Monthly terms from the first of January 2026 on; `pool` counts whole credits, or whole dollars."""
    base = Terms(
        number=1,
        subscription="sub_1",
        plan="pln_1",
        start_us=parse_instant_us(BEGIN),
        anchor=day(BEGIN),
        since=day(BEGIN),
        free=False,
        features=FEATURES,
        model=model,
        pool=pool * ONE,
    )
    return replace(base, **change)


def balance(pool: int = 20, **change: Any) -> Terms:
    return terms(ConsumptionModel.BALANCE, pool, **change)


def snapshot(of: Terms, **change: Any) -> Snapshot:
    base = Snapshot(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=of,
        next=None,
        cut=0,
    )
    return replace(base, **change)


def tokens(base_cost: str, read: int = 1_000, wrote: int = 500) -> TokenUse:
    return TokenUse(
        model="openai/gpt-4o",
        input=read,
        output=wrote,
        cache_read=0,
        cache_write=0,
        input_cost=base_cost,
        output_cost="0",
        cache_read_cost="0",
        cache_write_cost="0",
        base_cost=base_cost,
        price_version="v1",
        price_since_ms=0,
    )


def event(
    feature: bytes = IMAGES, quantity: str = "1", *, at: str = "2026-01-10", happened: str | None = None, **change: Any
) -> UsageEvent:
    base = UsageEvent(
        organization=ORGANIZATION,
        customer=CUSTOMER,
        feature=feature,
        event_time_us=parse_instant_us(happened or at),
        at_ms=ms(at),
        clock_ms=None,
        quantity=quantity,
        key="",
        digest=NO_DIGEST,
        content=b"content1",
        request=NO_REQUEST,
    )
    return replace(base, **change)


def chat(base_cost: str, at: str = "2026-01-10", **change: Any) -> UsageEvent:
    return event(CHAT, "1500", at=at, tokens=tokens(base_cost), **change)


def judge(account: Account, under: Snapshot, *events: UsageEvent) -> list[Outcome]:
    """Judge events one after the other; the snapshot is in force for all of them."""
    standing = Standing(under)
    return [fold_event(account, standing, one, None, lane_clock_ms=one.at_ms, at_ms=one.at_ms) for one in events]
