"""`meterline epoch` on servers that lived: killed at every step, across a cut, beside a server, for newer rules."""

import signal
import subprocess
import sys

import httpx

from tests.story.harness import DIES, METERLINE, Api

# Where the command dies, in its order: before and after the seal, after its transaction, and while LIVE is made again.
STEPS = (
    "meterline.epoch:_seal",
    "meterline.epoch:_commit",
    "meterline.epoch:_forget",
    "kernel.engine.live.valkey:ValkeyLive.finish_rebuild",
)
# A Meterline of the rules after ours, which says by which rules it judges.
NEWER = """
import sys
from aggregator import fold
def judge_of(rules):
    def judge(*given, **named):
        print(f"judged by rules {rules}", file=sys.stderr, flush=True)
        return fold.fold_event(*given, **named)
    return judge
fold.RULES = 4
fold.JUDGES = {rules: judge_of(rules) for rules in (3, 4)}
from meterline.cli import main
main()
"""


def run(server, *program):
    """Run a program on the server's data; returns its exit code and all its words."""
    done = subprocess.run(
        [*program, "--data-dir", str(server.folder / "data"), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def wait_end(server):
    """Wait for the end of a server that was started to end."""
    server.process.wait(60)
    return server.process.returncode


async def until_dead(server, api, *request, **how):
    """Send a request that the server does not survive."""
    try:
        await api.call(*request, **how)
    except (httpx.HTTPError, AssertionError) as error:
        print(f"answered: {error!r}")
    assert wait_end(server) == -signal.SIGKILL


def event(key, value=15, **more):
    return {"featureCode": "calls", "customerId": "ann", "eventId": key, "value": value, **more}


async def test_killed_at_every_step_and_across_a_cut(cold_server):
    server = cold_server
    server.program = [sys.executable, "-c", DIES, "billing.worker.cut_wait:CutWait.frozen"]
    server.start()
    async with Api(server) as api:
        calls = await api.feature("calls")
        over = {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.013"}}
        await api.plan("pro", {calls["id"]: over}, price=2_000)
        await api.call("POST", "/test-clock", {"frozenTime": "2026-01-31T00:00:00Z"}, expect=202)
        await api.customer("ann")
        await api.subscribe("ann", "pro")
        await api.call("POST", "/usage/events", event("once"))
        code, words = run(server, METERLINE, "epoch", "--lanes", "7")
        assert code == 3, words
        assert f"{server.process.pid}" in words
        # The cut is taken and folded, and the server dies before it is settled.
        await until_dead(server, api, "POST", "/test-clock", {"frozenTime": "2026-02-28T00:00:00Z"}, expect=202)

    server.program = [METERLINE]
    for step in STEPS:
        code, words = run(server, sys.executable, "-c", DIES, step, "epoch", "--lanes", "7")
        assert code == -signal.SIGKILL, (step, words)
        if step == "meterline.epoch:_commit":  # sealed, and no new epoch
            server.spawn()
            assert wait_end(server) == 3
            assert "run `meterline epoch` again" in " ".join(server.log().split())
    assert server.command("epoch", "--lanes", "7")[1] == {"epoch": 2, "lanes": 7}

    server.start()
    async with Api(server) as api:
        await api.call("POST", "/usage/events", event("once"), expect=409)
        await api.call("POST", "/usage/events", event("twice"))
        await api.call("POST", "/test-clock", {"frozenTime": "2026-03-31T00:00:00Z"}, expect=202)
        assert (await api.access("ann", "calls"))["consumption"]["unitsUsed"] == 0
    report = server.command("audit")[1]
    assert report["differences"] == []
    assert (report["eventsCounted"], report["epoch"], report["lanes"]) == (2, 2, 7)
    assert report["invoices"] == 3


async def test_newer_rules_begin_an_epoch_by_themselves(server):
    """What the old log still held is judged by the old rules; an older Meterline then refuses."""
    async with Api(server) as api:
        calls = await api.feature("calls")
        await api.plan("open", {calls["id"]: {"unlimited": True}})
        await api.customer("ann")
        await api.subscribe("ann", "open")
        await api.call("POST", "/usage/events", event("before"))
    server.stop()
    # The record of `unjudged` is durable, and the server dies before it is folded.
    server.program = [sys.executable, "-c", DIES, "aggregator.fold_slice:SliceFold.usage"]
    server.start()
    async with Api(server) as api:
        await until_dead(server, api, "POST", "/usage/events", event("unjudged"))
    began = len(server.log())

    server.program = [sys.executable, "-c", NEWER]
    server.start()
    async with Api(server) as api:
        words = server.log()[began:]
        assert words.count("a new epoch has begun: this Meterline folds by newer rules") == 1
        assert [line for line in words.splitlines() if "judged by rules" in line] == ["judged by rules 3"]
        for key in ("before", "unjudged"):
            await api.call("POST", "/usage/events", event(key), expect=409)
        await api.call("POST", "/usage/events", event("after"))
        assert "judged by rules 4" in server.log()[began:]
        assert (await api.access("ann", "calls"))["consumption"]["unitsUsed"] == 45
    server.stop()

    server.program = [METERLINE]
    server.spawn()
    assert wait_end(server) == 3
    assert "start the newer one" in " ".join(server.log()[began:].split())
