"""Generated requests, good and bad: no 5xx, no hang, no stored nonsense, and the errors are the contract's."""

import asyncio
import json
import random
import string

from tests.story.harness import SOAK, Api

REQUESTS = 10_000 if SOAK else 1_000
VALID_SHARE = 0.4
CALLERS = 16
JUNK = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e300,
    "",
    "x" * 600,
    "\x00",
    "né",
    "💥",
    [],
    {},
    [[]],
    {"a": {}},
    "NaN",
    "2024-13-45",
    -0.0,
]
CODES = {400, 401, 402, 403, 404, 405, 409, 413, 422}


class Generator:
    """Draws requests: `(valid, method, path, headers, content)`."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.number = 0

    def event(self):
        self.number += 1
        event = {
            "featureCode": "calls",
            "customerId": "acme",
            "value": self.random.choice([1, 0, 0.5, 1e-9, 12345.678]),
            "eventId": f"k{self.number}",
        }
        if self.random.random() < 0.3:
            event["properties"] = self.random.choice([{"a": "b"}, [{"property": "a", "value": "b"}]])
        if self.random.random() < 0.2:
            del event["value"]
        if self.random.random() < 0.2:
            event["unknownMember"] = self.random.choice(JUNK)
        return event

    def broken(self):
        event = self.event()
        match self.random.randrange(9):
            case 0:
                event[self.random.choice(["featureCode", "customerId"])] = self.random.choice(JUNK)
            case 1:
                event["value"] = self.random.choice([-1, "1", True, [], 1e13, 1e400, 0.1234567891, "NaN"])
            case 2:
                event["timestamp"] = self.random.choice(
                    ["yesterday", 5, [], "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z", ""]
                )
            case 3:
                event["eventId"] = self.random.choice(["", "x" * 256, 7, [], {}, "é" * 200])
            case 4:
                event["properties"] = self.random.choice(
                    [5, "x", [1], [{"property": 1}], {"a": "x" * 501}, {f"p{n}": "v" for n in range(51)}]
                )
            case 5:
                del event[self.random.choice(["featureCode", "customerId"])]
            case 6:
                event["model"] = self.random.choice(["gpt-4o", 5])
            case 7:
                event["featureCode"] = self.random.choice(["nope", "NOPE", "sso", "a b", "../x"])
            case _:
                event["customerId"] = self.random.choice(["nobody", "cus_nobody", "cus_" + "a" * 26])
        return event

    def request(self):
        json_type = {"Content-Type": "application/json"}
        if self.random.random() < VALID_SHARE:
            if self.random.random() < 0.5:
                return True, "POST", "/usage/events", json_type, json.dumps(self.event())
            return (
                True,
                "POST",
                "/usage/events/batch",
                json_type,
                json.dumps({"events": [self.event() for _ in range(self.random.randint(1, 5))]}),
            )
        match self.random.randrange(9):
            case 0 | 1 | 2:
                return False, "POST", "/usage/events", json_type, json.dumps(self.broken())
            case 3:
                body = self.random.choice(
                    ["", "{", "[]", "null", "5", '"x"', "\xff", "{" * 500, "[" * 5000, '{"a":' * 300]
                )
                return False, "POST", self.random.choice(["/usage/events", "/usage/events/batch"]), json_type, body
            case 4:
                body = {"events": self.random.choice([[], [self.event() for _ in range(101)], 5, None, {}])}
                return False, "POST", "/usage/events/batch", json_type, json.dumps(body)
            case 5:
                return (
                    False,
                    "POST",
                    "/usage/events",
                    {"Content-Type": self.random.choice(["text/plain", "application/xml", "x"])},
                    json.dumps(self.event()),
                )
            case 6:
                path = self.random.choice(
                    [
                        "/customers",
                        "/features",
                        "/plans",
                        "/subscriptions",
                        "/test-clock",
                        "/api-keys",
                        "/customers/batch",
                    ]
                )
                return (
                    False,
                    "POST",
                    path,
                    json_type,
                    json.dumps(
                        self.random.choice(
                            [[], {}, "x", 5, {"email": 5}, {"email": "x"}, {"name": [], "code": {}}, {"customerId": 1}]
                        )
                    ),
                )
            case 7:
                name = "".join(self.random.choice(string.printable) for _ in range(8))
                path = self.random.choice(
                    ["/nope", "/usage/nope", "/invoices/", "/customers/", "/features/", "/usage/events/"]
                )
                from urllib.parse import quote

                return False, "GET", path + quote(name, safe=""), json_type, ""
            case _:
                query = self.random.choice(
                    [
                        "limit=0",
                        "limit=x",
                        "limit=1000",
                        "cursor=%00",
                        "cursor=zzz",
                        "customerId=nobody",
                        "from=x",
                        "granularity=year",
                    ]
                )
                path = self.random.choice(
                    [
                        "/usage/events",
                        "/usage/query",
                        "/customers",
                        "/invoices",
                        "/feature-access/calls",
                        "/feature-access",
                    ]
                )
                return False, "GET", f"{path}?{query}", json_type, ""


def the_contracts_error(status, body):
    """Check the superset error body (contract 2.2)."""
    assert body["success"] is False, body
    assert body["code"] == body["error"]["code"], body
    assert body["message"], body
    assert body["error"]["type"], body
    assert status in CODES, (status, body)
    if body["code"] == "validation_error" and "details" in body:
        assert all({"field", "message"} <= detail.keys() for detail in body["details"]), body


async def test_generated_requests(server, proof):
    async with Api(server) as api:
        calls, sso = await api.feature("calls"), await api.feature("sso", "boolean")
        await api.plan("open", {calls["id"]: {"unlimited": True}, sso["id"]: {"enabled": True}}, price=1000)
        await api.customer("acme")
        await api.subscribe("acme", "open")
        generator = Generator(3)
        numbers = iter(range(REQUESTS))
        valid = accepted = refused = 0

        async def caller():
            nonlocal valid, accepted, refused
            for _ in numbers:
                good, method, path, headers, content = generator.request()
                answer = await api.http.request(
                    method,
                    next(api.bases) + path,
                    headers=headers,
                    content=content.encode("utf-8", "surrogateescape"),
                    timeout=20,
                )
                context = (method, path, content[:300], answer.status_code, answer.text[:500])
                assert answer.status_code < 500, context
                assert answer.headers["x-request-id"].startswith("req_"), context
                body = answer.json()
                if good:
                    valid += 1
                    assert answer.status_code == 200, context
                    accepted += (
                        1 if "results" not in body else len([r for r in body["results"] if r["status"] == "accepted"])
                    )
                elif answer.status_code >= 400:
                    refused += 1
                    the_contracts_error(answer.status_code, body)
                else:
                    assert method == "GET" or not path.startswith("/usage"), context

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        huge = await api.http.post(
            next(api.bases) + "/usage/events",
            content=b" " * (10 * 1024 * 1024),
            headers={"Content-Type": "application/json"},
        )
        assert huge.status_code == 413
        the_contracts_error(413, huge.json())
        used = (await api.access("acme", "calls"))["consumption"]["unitsUsed"]
        proof(f"{REQUESTS} requests: {valid} valid ({accepted} events accepted), {refused} refused, used {used}")
        assert valid >= 0.3 * REQUESTS
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
    server.stop()
    [[count]] = server.raw_rows("SELECT count() FROM events FINAL")
    assert int(count) == accepted, "stored nonsense"
