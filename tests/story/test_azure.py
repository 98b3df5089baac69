"""Real input end to end: the trace becomes invoices that equal, to the cent, what the file alone gives."""

import csv
import decimal
from decimal import Decimal

from tests.story.harness import Api

CUSTOMERS = 50
INCLUDED = {"input_tokens": 100_000, "output_tokens": 20_000}
PRICE = {"input_tokens": Decimal("0.0000025"), "output_tokens": Decimal("0.00001")}
COLUMN = {"input_tokens": "ContextTokens", "output_tokens": "GeneratedTokens"}
BASE = Decimal(20)

MAPPING = """
[source]
time = "TIMESTAMP"
zone = "UTC"
[customer]
id = "customer-{row % 50}"
create = true
plan = "tokens"
[[event]]
feature = "input_tokens"
value = "ContextTokens"
[[event]]
feature = "output_tokens"
value = "GeneratedTokens"
"""


def expected(trace):
    """Compute each customer's closing invoice from the file alone, in cents."""
    used = {f"customer-{n}": dict.fromkeys(INCLUDED, Decimal(0)) for n in range(CUSTOMERS)}
    with trace.open(newline="") as lines:
        for row, record in enumerate(csv.DictReader(lines)):
            for feature, column in COLUMN.items():
                used[f"customer-{row % CUSTOMERS}"][feature] += int(record[column])
    cents = {}
    for customer, totals in used.items():
        lines = [BASE] + [max(Decimal(0), totals[f] - included) * PRICE[f] for f, included in INCLUDED.items()]
        cents[customer] = [int((line * 100).quantize(Decimal(1), rounding=decimal.ROUND_HALF_UP)) for line in lines]
    return cents, 2 * (row + 1)


async def prepare(api):
    settings = {}
    for code, included in INCLUDED.items():
        feature = await api.feature(code)
        overage = {"enabled": True, "unitPriceDecimal": str(PRICE[code])}
        settings[feature["id"]] = {"includedAmount": included, "overage": overage}
    await api.plan("tokens", settings, price=2000)


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant}, expect=202)


async def invoices(api):
    """Fetch every invoice with its lines, by customer and in the order of their numbers."""
    found, cursor = {}, {}
    while True:
        page = await api.call("GET", "/invoices", limit=100, **cursor)
        for item in page["data"]:
            found.setdefault(item["customerId"], []).append(await api.call("GET", f"/invoices/{item['id']}"))
        if not page["hasMore"]:
            break
        cursor = {"cursor": page["nextCursor"]}
    return {who: sorted(list_, key=lambda i: i["invoiceNumber"]) for who, list_ in found.items()}


async def test_the_trace_becomes_invoices(server, trace, tmp_path, proof):
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING)
    cents, events = expected(trace)
    common = ("import", str(trace), "--mapping", str(mapping), "--url", server.url, "--api-key", server.key)
    async with Api(server) as api:
        await prepare(api)
        await clock(api, "2023-11-16T00:00:00Z")
        server.command(*common, "--prepare-only")
        await clock(api, "2023-11-17T00:00:00Z")
        _, first = server.command(*common)
        assert first["accepted"] == events, first
        _, second = server.command(*common)
        assert (second["accepted"], second["duplicates"]) == (0, events), second
        await clock(api, "2023-12-16T00:00:00Z")
        names = {}
        for number in range(CUSTOMERS):
            customer = await api.call("GET", f"/customers/customer-{number}")
            names[customer["id"]] = f"customer-{number}"
        written = await invoices(api)
        assert {names[who] for who in written} == set(cents)
        for who, (start, closing) in written.items():
            assert [line["amount"] for line in start["lineItems"]] == [2000]
            by_kind = sorted(line["amount"] for line in closing["lineItems"])
            wanted = sorted(amount for amount in cents[names[who]] if amount)
            assert by_kind == wanted, (names[who], closing)
            assert closing["total"] == sum(wanted)
        totals = [sum(list_[1]["total"] for list_ in written.values()), sum(map(sum, cents.values()))]
        assert totals[0] == totals[1]
        proof(f"{events} events, 50 start and 50 closing invoices; closing {totals[0]} cents, script {totals[1]} cents")
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
