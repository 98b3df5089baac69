"""The demo's three consumption models on a server that nobody kills: what `make demo` tells of them holds."""

import io

from rich.console import Console

from kernel.clock import SystemClock
from meterline.demo import model, month
from meterline.demo.stage import Stages
from meterline.importer.api import Api


async def clock(api, instant):
    assert (await api.post("/test-clock", {"frozenTime": instant})).ok


async def test_the_three_models_are_announced_stopped_overdrawn_and_billed(cold_server, tmp_path, monkeypatch):
    """R-ACC-1, R-CREDIT-5, R-BAL-3."""
    monkeypatch.setenv("METERLINE_PRICES_REFRESH_MS", "86400000")
    monkeypatch.setenv("METERLINE_PRICES_URL", "none")
    server = cold_server.start()
    catalog = tmp_path / "demo.toml"
    catalog.write_text(month.CATALOG + model.CATALOG)
    server.command("catalog", "apply", str(catalog))
    told = io.StringIO()
    async with Api(server.url, server.key) as api:
        models = model.Models(Stages(Console(file=told, width=200)), api, SystemClock())
        await clock(api, "2026-01-01T00:00:00Z")
        await models.subscribe()
        await clock(api, "2026-01-31T23:59:59Z")
        await models.metered()
        await models.credits()
        await models.balance()
        before = await models.answers()
        await models.go_on(lambda: 1.0)
        assert await models.answers() != before
        await clock(api, "2026-02-01T00:00:00Z")
        await models.invoices()
    assert "✗" not in told.getvalue()
    assert "7 invoices with 9 lines" in told.getvalue()
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
    assert [one["keysCounted"] for one in verdict["organizations"]] == [models.counted]
