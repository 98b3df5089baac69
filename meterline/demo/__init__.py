"""The demo: the whole story in some minutes, on a real server, with every figure computed in the run.

Invariants: a fact that does not hold ends it with 1; it leaves no process and no data behind (`--serve` leaves the
server until Ctrl-C).
"""

import asyncio
import platform
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from kernel.clock import SystemClock
from kernel.errors import MeterlineError, Misconfigured
from meterline.child import monotonic_seconds
from meterline.cli.call import call
from meterline.cli.output import FOUND, OK
from meterline.demo import model, month, plug
from meterline.demo.engine import ENGINES, Pluggable
from meterline.demo.proof import load_answers, prove, rebuild
from meterline.demo.stage import Stages
from meterline.importer.api import Api

__all__ = ["run_demo"]


def run_demo(*, serve: bool, engine: str) -> int:
    """Run the demo; returns the exit code."""
    if engine not in ENGINES:
        raise Misconfigured(f"--engine is {engine!r}: set it to {' or '.join(ENGINES)}")
    console = Console(highlight=False)
    stages = Stages(console)
    with tempfile.TemporaryDirectory(prefix="meterline-demo-") as folder, ENGINES[engine](Path(folder)) as server:
        try:
            asyncio.run(_demo(stages, server))
        except MeterlineError as error:
            console.print(f"\n[bold red]the demo failed:[/] {error}", soft_wrap=True)
            console.print(f"[dim]{server.last_words()}[/]", markup=False)
            return FOUND
        else:
            if serve:
                _leave(console, server)
            return OK
        finally:
            server.stop()


async def _demo(stages: Stages, server: Pluggable) -> None:
    settings = server.settings
    clock = SystemClock()
    with stages.stage("Install: what is here"):
        stages.say(f"meterline {version('meterline')}, Python {platform.python_version()}, chDB {version('chdb')}")
    with stages.stage("Start: log, live store, columns, SQL, and what runs on them"):
        seconds = server.start()
        for line in server.introduction():
            stages.say(line)
        stages.say(f"ready in {seconds:.1f} s at {server.url}")
    with stages.stage("Catalog: two sellers, each with features and plans in one file"):
        load = (await call(settings, "org_list", {}))["organizations"][0]["id"]
        seller = {"name": "Demo month", "environment": "sandbox", "currency": "usd"}
        made = await call(settings, "org_create", seller)
        for organization, text in ((made["id"], month.CATALOG + model.CATALOG), (load, plug.CATALOG)):
            params = {"organization": organization, "file": text, "format": "toml"}
            first = await call(settings, "catalog_apply", params)
            second = await call(settings, "catalog_apply", params)
            stages.check(f"{len(first['changes'])} changes applied, none the second time", not second["changes"])
    async with Api(server.url, made["apiKey"]) as small, Api(server.url, server.api_key) as big:
        story = month.Month(stages, small, clock, made["id"])
        models = model.Models(stages, small, clock)
        await _usage(stages, story, models)
        puller = plug.Plug(stages, server, big, clock)
        with stages.stage(f"Load with the plug pulled: {plug.EVENTS:,} events, {plug.KILLS} times SIGKILL"):
            await puller.prepare()
            await asyncio.gather(puller.pull(), models.go_on(lambda: puller.acknowledged.count / plug.EVENTS))
        with stages.stage("Clock and invoices: the month ends"):
            await story.invoice(settings)
        with stages.stage("The invoices of the three models"):
            await models.invoices()
        with stages.stage("Proof: everything recomputed from log and rows"):
            await prove(stages, settings, load, puller, (made["id"], story.counted + models.counted))
        with stages.stage("The live store is disposable"):
            await rebuild(stages, settings, lambda: asyncio.gather(load_answers(big, "load-0"), models.answers()))
    _end(stages, puller)


async def _usage(stages: Stages, story: month.Month, models: model.Models) -> None:
    with stages.stage("A month of usage, on a test clock"):
        await story.begin()
        await models.subscribe()
        began = monotonic_seconds()
        await story.use()
        stages.say(f"{month.EVENTS / (monotonic_seconds() - began):,.0f} events a second in batches of 100")
    with stages.stage("A hard limit: canUse before and after"):
        await story.limit()
    with stages.stage("A duplicate and a conflict"):
        await story.repeat()
    with stages.stage("Three models: overage announced, credits that stop, a balance in overdraft"):
        await models.metered()
        await models.credits()
        await models.balance()


def _end(stages: Stages, puller: plug.Plug) -> None:
    rate = f"{puller.per_second:,} events a second while the server was up, one Python client and the stores beside it"
    stages.console.print(f"\n[bold]Rates[/]  {rate}")
    stages.console.print(f"[bold]Done[/]   in {stages.seconds:.0f} s; every figure above is from this run\n")
    stages.console.print("[bold]Next[/]   make run             a server of your own on port 8000")
    stages.console.print("       meterline audit      the same proof on your data")
    stages.console.print("       meterline import     your own CSV, JSONL or Parquet")
    stages.console.print("       make bench           what this machine can do")


def _leave(console: Console, server: Pluggable) -> None:
    console.print(f"\nThe server stays at [bold]{server.url}/api/v1[/] with key [bold]{server.api_key}[/]")
    console.print("end it with Ctrl-C")
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
