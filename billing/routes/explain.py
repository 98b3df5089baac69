"""GET /explain/{id} and GET /explain: one call that says why, of a line, an event, a refused request, or an access.

Routes of ours, in the shapes of era D, wrapped for older eras. A key needs to read what it asks about: invoices,
subscriptions, usage, features. Source: R-GEN-7, R-INV-6, R-ACC-11.
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from aggregator.store import UsageStore
from billing.gateway.explain import Explainer
from billing.store.cut import CLOSE_ID
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, reply
from catalog.gateway.openapi import documented
from kernel import ids
from kernel.engine.live.base import Live
from kernel.errors import invalid
from kernel.position import EVENT_PREFIX

# What a key must be able to read, by the prefix of what it asks about: a refused request shows terms and usage.
_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    ids.INVOICE: ("invoice",),
    ids.INVOICE_LINE: ("invoice",),
    ids.SUBSCRIPTION: ("subscription",),
    CLOSE_ID: ("subscription",),
    EVENT_PREFIX: ("usage",),
    ids.REFUSAL: ("subscription", "usage"),
    ids.REQUEST: ("subscription", "usage"),
}
_QUERY: Final = {
    "customerId": "`cus_…` or the seller's own id",
    "featureCode": "the feature whose access is asked about",
}


@get("/{what:str}", summary="Why an invoice, a line, an event or a refused request is what it is")
async def one(
    caller: NamedDependency[Caller],
    live: NamedDependency[SkipValidation[Live]],
    usage_store: NamedDependency[UsageStore],
    what: FromPath[str],
) -> Response[bytes]:
    """`inv_…`, `line_…`, `sub_…`, `cls_…`, `evt_…`, `rej_…`, or the `requestId` of an error (`req_…`).

    Rule, terms in force, window, events and arithmetic; amounts are minor units, decimals strings.
    """
    for resource in next((names for prefix, names in _RESOURCES.items() if what.startswith(prefix)), ()):
        caller.must_read(resource)
    explainer = Explainer(caller.catalog.sql, live, usage_store, caller.catalog)
    told = await explainer.explain(what, caller.organization.id_text)
    return reply(caller.dialect, {**caller.object("explanation"), **told})


@get("/", summary="Why a customer may use a feature now, or may not", operation_class=documented(query=_QUERY))
async def access_of(
    request: HttpRequest, caller: NamedDependency[Caller], access: NamedDependency[Any]
) -> Response[bytes]:
    """What `canUse` answers, with the rule, the terms, the window and the numbers behind it."""
    query = request.query_params
    customer, code = query.get("customerId"), query.get("featureCode") or query.get("feature")
    if not customer:
        raise invalid("customerId", "is required")
    if not code:
        raise invalid("featureCode", "is required")
    told = await access.why(caller.principal, customer, code)
    return reply(caller.dialect, {**caller.object("explanation"), "kind": "feature_access", **told})


EXPLAIN: Final = Router(
    path="/explain", route_handlers=[access_of, one], dependencies=DEPENDENCIES, tags=["explanations"]
)
