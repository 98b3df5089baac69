"""One database, one LIVE, and gateways with the management API before them: what tests of the catalog stand on."""

from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from litestar import Response

from catalog import store
from catalog.gateway import Catalog
from catalog.routes import ROUTES
from kernel.clock import ManualClock
from kernel.engine.live.memory import MemoryLive
from tests.surface import surface

NOW = 1_767_225_600_000  # 2026-01-01
SECRET = "ck_sandbox_test"


class SaidAccess:
    """Feature access stands in here as what it was asked; the aggregator's own tests answer it."""

    async def list(self, principal, dialect, customer_ref, request):
        return Response(b'["list"]', media_type="application/json", headers={"asked": customer_ref})

    async def one(self, principal, dialect, code, customer_ref, request):
        return Response(b'["one"]', media_type="application/json", headers={"asked": f"{code} of {customer_ref}"})


class Shop:
    """One database and one LIVE; as many gateways before them as a test opens."""

    def __init__(self, sql, live, clock, organization):
        self.sql, self.live, self.clock, self.organization = sql, live, clock, organization

    async def catalog(self):
        catalog = Catalog(self.sql, self.live, self.clock)
        await catalog.start()
        return catalog

    @asynccontextmanager
    async def gateway(self, key=SECRET, prefix="/api/v1", version=None):
        catalog = await self.catalog()
        headers = {"x-api-key": key} | ({} if version is None else {"commet-version": version})
        with surface(ROUTES, {"catalog": catalog, "access": SaidAccess()}) as app:
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test" + prefix, headers=headers) as http:
                yield Api(http, catalog)


class Api:
    def __init__(self, http, catalog):
        self.http, self.catalog = http, catalog

    async def call(self, method, path, body=None, *, status=200, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else msgspec.json.encode(body)
        answer = await self.http.request(
            method, path, content=content, headers={"content-type": "application/json", **named}
        )
        assert answer.status_code == status, (answer.status_code, answer.text)
        return msgspec.json.decode(answer.content)

    async def refused(self, method, path, body=None, *, status, code, field=None, **headers):
        answer = await self.call(method, path, body, status=status, **headers)
        assert answer["code"] == answer["error"]["code"] == code, answer
        assert answer["success"] is False
        if field is not None:
            assert [detail["field"] for detail in answer["details"]] == [field], answer
        return answer

    async def invalid(self, method, path, body, field):
        """The body is refused by a `validation_error` of one field."""
        await self.refused(method, path, body, status=400, code="validation_error", field=field)

    async def feature(self, code, kind="metered", **members):
        return await self.call("POST", "/features", {"name": code.title(), "code": code, "type": kind, **members})

    async def plan(self, code, model="metered", **members):
        return await self.call(
            "POST", "/plans", {"name": code.title(), "code": code, "consumptionModel": model, **members}
        )

    async def price(self, plan, price, interval="monthly", **members):
        return await self.call(
            "POST", f"/plans/{plan}/prices", {"billingInterval": interval, "price": price, **members}
        )

    async def grant(self, plan, feature, **members):
        return await self.call("POST", f"/plans/{plan}/features", {"featureId": feature, **members})

    async def pro(self, **overage):
        """A plan `pro` with one metered feature; returns (plan, feature)."""
        feature = await self.call("POST", "/features", {"name": "Calls", "code": "api_calls", "type": "usage"})
        plan = await self.call("POST", "/plans", {"name": "Pro", "code": "pro"})
        await self.call("POST", f"/plans/{plan['id']}/prices", {"billingInterval": "monthly", "price": 9900})
        granted = {"featureId": feature["id"], "includedAmount": 10_000, "overage": overage or {"enabled": False}}
        await self.call("POST", f"/plans/{plan['id']}/features", granted)
        return plan, feature


@pytest.fixture
async def shop(sql_with_tables):
    sql = sql_with_tables
    clock = ManualClock(NOW)
    live = MemoryLive(clock)
    async with sql.transaction() as conn:
        await store.ensure_deployment(conn, 4)
        organization = await store.create_organization(conn, "Test", "sandbox", NOW)
        await store.create_key(conn, organization, name="test", now_ms=NOW, secret=SECRET)
    yield Shop(sql, live, clock, organization)
    await live.close()


@pytest.fixture
async def api(shop):
    async with shop.gateway() as api:
        yield api
