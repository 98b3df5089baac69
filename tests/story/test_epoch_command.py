"""`meterline epoch` on a server that lived: other lanes, the same balances, a cut across, and the audit agrees."""

from tests.story.harness import Api


async def test_more_lanes_by_the_command(server):
    async with Api(server) as api:
        calls = await api.feature("calls")
        over = {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.013"}}
        await api.plan("pro", {calls["id"]: over}, price=2_000)
        await api.call("POST", "/test-clock", {"frozenTime": "2026-01-31T00:00:00Z"}, expect=202)
        await api.customer("ann")
        await api.subscribe("ann", "pro")
        body = {"featureCode": "calls", "customerId": "ann", "eventId": "once", "value": 15}
        await api.call("POST", "/usage/events", body)
    server.stop()
    assert server.command("epoch", "--lanes", "7")[1] == {"epoch": 2, "lanes": 7}
    assert server.command("audit")[1]["differences"] == []
    server.start()
    async with Api(server) as api:
        await api.call("POST", "/usage/events", body, expect=409)
        await api.call("POST", "/usage/events", {**body, "eventId": "twice"})
        await api.call("POST", "/test-clock", {"frozenTime": "2026-02-28T00:00:00Z"}, expect=202)
    report = server.command("audit")[1]
    assert report["differences"] == []
    assert (report["eventsCounted"], report["epoch"], report["lanes"]) == (2, 2, 7)
    assert report["invoices"] == 2
