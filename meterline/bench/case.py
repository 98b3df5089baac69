"""The cases: what is sent to which server, what it cost, and the floor beside it.

Server, stores and load generator are processes of their own on one machine; nothing is measured in this one.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from kernel.errors import Fatal
from meterline.bench.fold import FoldLoad
from meterline.bench.load import MARK, Load, Plan, request
from meterline.child import children, cpu_seconds, free_port
from meterline.importer.api import Answer, Api
from meterline.stack.embedded import EmbeddedProcess

CASES: Final = ("batch", "single", "canUse", "fold")
BATCH_CALLERS: Final = 16
BATCH_EVENTS: Final = 100
CONNECTIONS: Final = 64
CUSTOMERS: Final = 256
FEATURE: Final = "api_calls"
_TEMPLATES: Final = 64
_FOLD_EVENTS: Final = {True: 50_000, False: 300_000}
_GRACE_SECONDS: Final = 30


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One case: rates in events (or questions) a second; `ratio` is the rate over the floor's."""

    case: str
    per_second: int
    per_cpu_second: int
    server_cpu_seconds: float
    store_cpu_seconds: float
    p50_ms: float | None
    p99_ms: float | None
    floor_per_second: int
    ratio: float
    events: int
    seconds: float


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long a case is warmed up and measured."""

    warm_seconds: float
    seconds: float


def run_cases(names: list[str], *, quick: bool, told: Callable[[str], None]) -> list[Result]:
    """Measure the cases in turn. Raises Fatal when a server answers wrongly: a wrong answer has no rate."""
    timing = Timing(warm_seconds=0.5, seconds=2) if quick else Timing(warm_seconds=2, seconds=10)
    results: list[Result] = []
    if http := [name for name in names if name != "fold"]:
        with (
            tempfile.TemporaryDirectory(prefix="meterline-bench-") as folder,
            EmbeddedProcess(Path(folder) / "data") as server,
        ):
            told("making the catalog and the customers")
            customers = asyncio.run(_prepare(server))
            for name in http:
                told(f"measuring {name}")
                results.append(_http_case(name, server, customers, timing))
    if "fold" in names:
        told("measuring fold")
        results.append(_fold_case(_FOLD_EVENTS[quick]))
    return results


async def _prepare(server: EmbeddedProcess) -> list[str]:
    """Make one feature without a limit, a free plan, and subscribed customers; returns their ids."""
    async with Api(server.url, server.api_key) as api:
        feature = _made(await api.post("/features", {"name": FEATURE, "code": FEATURE, "type": "metered"}))
        plan = _made(await api.post("/plans", {"name": "Bench", "code": "bench", "isFree": True}))
        granted = {"featureId": feature["id"], "unlimited": True}
        _made(await api.post(f"/plans/{plan['id']}/features", granted))

        async def customer(number: int) -> str:
            made = _made(await api.post("/customers", {"id": f"bench-{number}", "email": "bench@example.com"}))
            _made(await api.post("/subscriptions", {"customerId": made["id"], "planCode": "bench"}))
            return str(made["id"])

        found: list[str] = []
        for first in range(0, CUSTOMERS, 8):
            found += await asyncio.gather(*(customer(number) for number in range(first, min(first + 8, CUSTOMERS))))
        return found


def _made(answer: Answer) -> dict[str, Any]:
    if not answer.ok:
        raise Fatal(f"the bench could not be prepared: {answer.status} {answer.body}")
    body: dict[str, Any] = answer.body
    return body


def _http_case(name: str, server: EmbeddedProcess, customers: list[str], timing: Timing) -> Result:
    requests, good, weight = _requests(name, server.api_key, customers)
    connections = BATCH_CALLERS if name == "batch" else CONNECTIONS
    plan = Plan(
        port=server.port,
        connections=connections,
        warm_seconds=timing.warm_seconds,
        seconds=timing.seconds,
        requests=requests,
        good=good,
        first=CASES.index(name) * 1_000_000_000,
    )
    load, used, stores = _measured(plan, server.pid)
    if load.good != load.answers or not load.answers:
        raise Fatal(f"{name}: {load.good} of {load.answers} answers are good {load.statuses}: {load.sample}")
    with _floor(needs_valkey=name == "canUse") as (port, pid):
        floor, _, _ = _measured(msgspec.structs.replace(plan, port=port, good=b'"ok":true'), pid)
    per_second = load.answers * weight / load.seconds
    floor_per_second = floor.answers * weight / floor.seconds
    return Result(
        case=name,
        per_second=round(per_second),
        per_cpu_second=round(load.answers * weight / used) if used else 0,
        server_cpu_seconds=round(used, 2),
        store_cpu_seconds=round(stores, 2),
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        floor_per_second=round(floor_per_second),
        ratio=round(per_second / floor_per_second, 3),
        events=load.answers * weight,
        seconds=round(load.seconds, 2),
    )


def _requests(name: str, api_key: str, customers: list[str]) -> tuple[list[bytes], bytes, int]:
    """Encode the templates of a case, what stands in each good answer, and the events a request."""
    mark = MARK.decode()
    if name == "canUse":
        paths = [f"/api/features/{FEATURE}?customerId={customer}&action=canUse" for customer in customers]
        return [request("GET", path, api_key) for path in paths], b'"allowed":true', 1

    def event(number: int, part: int) -> dict[str, Any]:
        customer = customers[number % len(customers)]
        return {"featureCode": FEATURE, "customerId": customer, "eventId": f"b-{mark}-{part}", "value": part % 7 + 1}

    if name == "single":
        bodies = [msgspec.json.encode(event(number, 0)) for number in range(len(customers))]
        return [request("POST", "/api/v1/usage/events", api_key, body) for body in bodies], b'"id":"evt_', 1
    batches = [
        {"events": [event(number * BATCH_EVENTS + part, part) for part in range(BATCH_EVENTS)]}
        for number in range(_TEMPLATES)
    ]
    templates = [request("POST", "/api/v1/usage/events/batch", api_key, msgspec.json.encode(one)) for one in batches]
    return templates, b'"failed":[]', BATCH_EVENTS


def _measured(plan: Plan, pid: int) -> tuple[Load, float, float]:
    """Run the generator; returns its result and the processor seconds of server and stores while it measured."""
    command = _module("load")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        assert process.stdin is not None, "a pipe"
        assert process.stdout is not None, "a pipe"
        process.stdin.write(msgspec.json.encode(plan))
        process.stdin.close()
        process.stdout.readline()
        stores = children(pid)
        before = cpu_seconds(pid), sum(map(cpu_seconds, stores))
        line = process.stdout.readline()
        used, stored = cpu_seconds(pid) - before[0], sum(map(cpu_seconds, stores)) - before[1]
        process.wait(_GRACE_SECONDS)
    if not line:
        raise Fatal("the load generator failed; its words are above")
    return msgspec.json.decode(line, type=Load), used, stored


@contextmanager
def _floor(*, needs_valkey: bool) -> Iterator[tuple[int, int]]:
    """Start a floor and, if it needs one, a Valkey as the engine starts it; yields port and process id."""
    port = free_port()
    command = [*_module("floor"), str(port), *(["valkey"] if needs_valkey else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        try:
            assert process.stdout is not None, "a pipe"
            process.stdout.readline()
            yield port, process.pid
        finally:
            process.terminate()


def _fold_case(events: int) -> Result:
    command = [*_module("fold"), str(events)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own program
    if done.returncode != 0:
        raise Fatal("the fold could not be measured; its words are above")
    load = msgspec.json.decode(done.stdout, type=FoldLoad)
    per_second, floor = load.events / load.seconds, load.events / load.floor_seconds
    return Result(
        case="fold",
        per_second=round(per_second),
        per_cpu_second=round(load.events / load.cpu_seconds),
        server_cpu_seconds=round(load.cpu_seconds, 2),
        store_cpu_seconds=round(load.store_cpu_seconds, 2),
        p50_ms=None,
        p99_ms=None,
        floor_per_second=round(floor),
        ratio=round(per_second / floor, 3),
        events=load.events,
        seconds=round(load.seconds, 2),
    )


def _module(name: str) -> list[str]:
    """Spell how a module of the bench is run as a process; `-m` would load it twice."""
    return [sys.executable, "-c", f"from meterline.bench.{name} import main; main()"]
