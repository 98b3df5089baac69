"""The HTTP surface of a process that takes requests: every package's routes, wired to the opened application."""

from aggregator.routes import access as access_routes
from aggregator.routes import correction as correction_routes
from aggregator.routes import usage as usage_routes
from aggregator.store.first_answer import firsts
from billing import routes as billing_routes
from billing.gateway.event_invoice import invoice_of
from catalog import routes as catalog_routes
from ingest.gateway.refusal_desk import RefusalDesk
from ingest.refusal import RefusalQuota
from ingest.routes import OPENAPI_TWINS, UsageRoutes
from meterline.app import App
from meterline.front import Front
from meterline.http import litestar_app


def surface(app: App) -> Front:
    """Wire the HTTP surface of an opened application."""
    quota = RefusalQuota()
    known = firsts(app.usage_store, app.live, app.log.epoch)
    usage = UsageRoutes(app.admission, app.catalog, app.clock, app.telemetry, app.refusals.keep, quota, known)
    desk = RefusalDesk(app.catalog, app.refusals.keep, quota, app.telemetry)
    access = access_routes.AccessRoutes(app.access, app.catalog, app.clock, desk)
    cool = litestar_app(
        [
            *catalog_routes.ROUTES,
            *usage_routes.ROUTES,
            *correction_routes.ROUTES,
            *access_routes.ROUTES,
            *billing_routes.ROUTES,
            *OPENAPI_TWINS,
        ],
        {
            "catalog": app.catalog,
            "sql": app.sql,
            "log": app.log,
            "live": app.live,
            "usage_store": app.usage_store,
            "relay": app.relay,
            "closer": app.closer,
            "clock": app.clock,
            "admission": app.admission,
            "access": app.access,
            "invoice_of": invoice_of(app.sql),
            "desk": desk,
        },
        linked=billing_routes.LINKED,
    )
    return Front(
        hot={("POST", "/usage/events"): usage.event, ("POST", "/usage/events/batch"): usage.batch},
        cool=cool,
        telemetry=app.telemetry,
        ready=app.not_ready,
        clock=app.clock,
        hot_match=access.match,
    )
