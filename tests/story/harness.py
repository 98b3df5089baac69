"""A real server in a process of its own, and a client that speaks HTTP to it. Shares no code with the server."""

import asyncio
import functools
import http.client
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import httpx

METERLINE = str(Path(sys.executable).parent / "meterline")
SOAK = os.environ.get("METERLINE_SOAK") == "1"
START_SECONDS = 60
# A Meterline that dies by SIGKILL where it would call the function that its first argument names.
DIES = """
import importlib, os, signal, sys
module, name = sys.argv.pop(1).split(":")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
setattr(owner, last, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from meterline.cli import main
main()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def made_data():
    """A data folder of a deployment that was made and never served; whoever copies it saves the making."""
    folder = tempfile.TemporaryDirectory(prefix="meterline-made-")
    data = Path(folder.name) / "data"
    subprocess.run([METERLINE, "migrate", "--data-dir", str(data)], capture_output=True, timeout=120, check=True)
    return folder, data


class Server:
    """One embedded server: `start`, `kill` (SIGKILL), `stop` (SIGTERM); the data folder and the port stay.

    It begins on a copy of a deployment that was made already, unless it is to make its own.
    """

    engine = "embedded"
    organization = None  # the only one there is

    def __init__(self, folder: Path, *, makes=False):
        self.folder = folder
        self.makes = makes
        self.payments = "none"
        self.port = free_port()
        self.key = "ck_test_" + secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.program = [METERLINE]

    @property
    def urls(self):
        return [self.url]

    def spawn(self):
        """Start without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.makes or (self.folder / "data").exists()):
            shutil.copytree(made_data()[1], self.folder / "data", symlinks=True)
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [
                *self.program,
                "serve",
                "--port",
                str(self.port),
                "--data-dir",
                str(self.folder / "data"),
                "--api-key",
                self.key,
                "--payments",
                self.payments,
            ],
            stdout=log,
            stderr=log,
        )
        log.close()

    def start(self):
        self.spawn()
        self.wait_ready()
        print(f"meterline {version('meterline')}, pid {self.process.pid}, port {self.port}")
        for name, pid in self.children().items():
            told = subprocess.run([f"/proc/{pid}/exe", "--version"], capture_output=True, text=True, check=True).stdout
            print(f"  {name}: {told.split('sha=')[0].strip()}, pid {pid}")
        return self

    def wait_ready(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            if self.ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"not ready in {START_SECONDS} s:\n{self.log()[-3000:]}")

    def ready(self):
        """Ask `/readyz` without httpx, each of whose clients reads the machine's certificates: 25 ms a look."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def log(self):
        return (self.folder / "server.log").read_text(errors="replace")

    def children(self):
        """Tell the process id of each server that this one started: `{"log": pid, "live": pid}`."""
        data = self.folder / "data"
        return {name: json.loads((data / f"{name}.pid").read_text())["pid"] for name in ("log", "live")}

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not end within 60 s of SIGTERM") from None

    def command(self, *arguments, check=True):
        """Run a meterline command on the data folder and return (exit code, its JSON)."""
        done = subprocess.run(
            [METERLINE, *arguments, "--data-dir", str(self.folder / "data"), "--json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check:
            assert done.returncode == 0, (
                f"{arguments}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done.returncode, json.loads(done.stdout)

    def told(self, *arguments):
        """Run a meterline command on the data folder and return (exit code, what it says of an error)."""
        done = subprocess.run(
            [METERLINE, *arguments, "--data-dir", str(self.folder / "data")],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "COLUMNS": "500"},
        )
        return done.returncode, done.stderr

    def raw_rows(self, sql):
        """Ask the raw store, without the server's code, which is stopped for it."""
        self.stop()
        code = (
            "import sys, json, chdb.session\n"
            "session = chdb.session.Session(sys.argv[1])\n"
            "print(session.query(sys.argv[2], 'JSONCompactEachRow').bytes().decode())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.folder / "data" / "raw"), sql],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


class Api:
    """Era D of the API, as a client would call it; each call goes to the next gateway."""

    def __init__(self, server: Server, key: str | None = None):
        self.bases = itertools.cycle([url + "/api/v1" for url in server.urls])
        self.http = httpx.AsyncClient(
            headers={"x-api-key": key or server.key},
            timeout=30,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=200),
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.http.aclose()

    async def call(self, method, path, body=None, *, expect=200, headers=None, **query):
        answer = await self.http.request(
            method, next(self.bases) + path, json=body, params=query or None, headers=headers
        )
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json()

    async def feature(self, code, kind="metered"):
        return await self.call("POST", "/features", {"name": code, "code": code, "type": kind})

    async def plan(self, code, features, *, price=None):
        """Make a plan; `features` maps a feature's id to its plan settings. `price` None makes it free."""
        body = {"name": code, "code": code, "consumptionModel": "metered", "isPublic": True, "isFree": price is None}
        plan = await self.call("POST", "/plans", body)
        if price is not None:
            monthly = {"billingInterval": "monthly", "price": price, "isDefault": True}
            await self.call("POST", f"/plans/{plan['id']}/prices", monthly)
        for feature, settings in features.items():
            await self.call("POST", f"/plans/{plan['id']}/features", {"featureId": feature, **settings})
        return plan

    async def customer(self, reference):
        return await self.call("POST", "/customers", {"id": reference, "email": f"{reference}@example.com"})

    async def subscribe(self, reference, plan):
        return await self.call("POST", "/subscriptions", {"customerId": reference, "planCode": plan})

    async def access(self, reference, code):
        return await self.call("GET", f"/feature-access/{code}", customerId=reference)

    async def until_definite(self, path, body, key, *, seconds=120):
        """Send one request, byte for byte the same, until the answer is neither 5xx nor 429 nor none."""
        content = json.dumps(body).encode()
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        until = time.monotonic() + seconds
        while True:
            try:
                answer = await self.http.post(next(self.bases) + path, content=content, headers=headers)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            except httpx.HTTPError:
                pass
            assert time.monotonic() < until, f"no definite answer within {seconds} s"
            await asyncio.sleep(random.uniform(0.05, 0.3))
