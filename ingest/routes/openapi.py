"""The usage calls as OpenAPI shows them: typed twins of the raw routes, never the ones that answer.

The front serves both paths before Litestar sees them; a spelling that only Litestar takes for them is answered 404.
Source: DESIGN 7; contract 3.18, 3.19, 4.2, decisions 5, 7.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import post
from litestar.exceptions import NotFoundException
from litestar.params import JSONBody

from ingest.consumption import Consumption, TokenCosts
from ingest.usage_event import Property
from kernel.wire import Wire


class TrackBody(Wire, frozen=True):
    """One event. Eras before D name `featureCode` `feature` and `eventId` `idempotencyKey`; both are always taken."""

    feature_code: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]+$", description="Code of a metered feature.")]
    customer_id: Annotated[str, msgspec.Meta(description="Its `cus_` id, or your own id of the customer.")]
    value: Annotated[
        float, msgspec.Meta(ge=0, le=1e12, description="Exact, at most 9 decimal places; 1 when left out.")
    ] = 1
    timestamp: Annotated[str, msgspec.Meta(description="ISO 8601; without a zone it is UTC; default now.")] | None = (
        None
    )
    event_id: Annotated[str, msgspec.Meta(min_length=1, description="Counts once for a customer.")] | None = None
    properties: list[Property] | None = None
    model: (
        Annotated[str, msgspec.Meta(description="An AI model, `name` or `provider/name`; then value is ignored.")]
        | None
    ) = None
    input_tokens: Annotated[int, msgspec.Meta(ge=0, description="All of them, those of the cache included.")] | None = (
        None
    )
    output_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    cache_read_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    cache_write_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class BatchBody(Wire, frozen=True):
    """1 to 100 events, judged one by one, in order."""

    events: Annotated[list[TrackBody], msgspec.Meta(min_length=1, max_length=100)]


class UsageEventShown(Wire, frozen=True):
    """An accepted event. `position` is its record in the log; `pending` says that it is durable and not judged yet.

    `consumption` is what it took of credits or a balance, `costs` what its tokens cost.
    """

    object: Literal["usage_event"]
    livemode: bool
    id: str
    feature_code: str
    value: float
    customer_id: str
    event_id: str | None
    ts: str
    created_at: str
    properties: list[Property]
    position: str
    pending: bool | msgspec.UnsetType = msgspec.UNSET
    consumption: Consumption | msgspec.UnsetType = msgspec.UNSET
    costs: TokenCosts | msgspec.UnsetType = msgspec.UNSET


class FailedShown(Wire, frozen=True):
    """An element that is not accepted, as it came."""

    index: int
    error: str
    code: str
    data: dict[str, Any]


class ResultShown(Wire, frozen=True):
    """What became of the element at `index`."""

    index: int
    status: Literal["accepted", "duplicate", "blocked", "rejected", "failed"]
    id: str | msgspec.UnsetType = msgspec.UNSET
    pending: bool | msgspec.UnsetType = msgspec.UNSET
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class BatchShown(Wire, frozen=True):
    """What became of a batch."""

    object: Literal["usage_event_batch"]
    livemode: bool
    successful: list[UsageEventShown]
    failed: list[FailedShown]
    results: list[ResultShown]


@post("/usage/events", status_code=200, summary="Record a usage event", tags=["usage"])
async def track(data: JSONBody[TrackBody]) -> UsageEventShown:
    """Record one event; with `Prefer: respond-async` the answer is 202 as soon as it is durable."""
    del data
    raise NotFoundException


@post("/usage/events/batch", status_code=200, summary="Record 1 to 100 usage events", tags=["usage"])
async def track_batch(data: JSONBody[BatchBody]) -> BatchShown:
    """Record events of any customers and features; one that is refused does not void the others."""
    del data
    raise NotFoundException


OPENAPI_TWINS: Final = (track, track_batch)
