"""A deployment of role processes on the real servers of the distributed engine, used as `harness.Server` is."""

import asyncio
import json
import os
import subprocess
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from meterline.stack.deployment import Deployment
from tests.story.harness import METERLINE


async def started(process):
    """Start a server while others go on: from this thread, which it dies with, and wait for it in another one."""
    process.spawn()
    await asyncio.to_thread(process.wait_ready, process.start_seconds)


class Seller:
    """An organization of its own on a cluster that stands for several stories."""

    engine = "distributed"

    def __init__(self, cluster):
        self.urls = cluster.urls
        self.command = cluster.command
        _, made = cluster.command("org", "create", "Story")
        self.organization, self.key = made["id"], made["apiKey"]


class Cluster(Deployment):
    """Two gateways, two aggregators and one billing process, unless said otherwise."""

    engine = "distributed"

    def __init__(self, folder, stores, *, gateways=2, aggregators=2, billings=1):
        super().__init__(folder, stores, gateways=gateways, aggregators=aggregators, billings=billings)
        self.key = self.api_key

    @property
    def urls(self):
        return [gateway.url for gateway in self.gateways]

    def raw_rows(self, sql):
        """Ask the raw store over HTTP, without the processes' code."""
        place = urlsplit(self.stores["METERLINE_RAW_URL"])
        answer = httpx.post(
            f"http://{place.hostname}:{place.port}/",
            params={"database": place.path.strip("/")},
            content=f"{sql} FORMAT JSONCompactEachRow",
            auth=(place.username, place.password),
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines() if line.strip()]

    def introduce(self):
        for line in self.told():
            print(line)

    def wait_ready(self):
        for process in self.processes:
            process.wait_ready(60)

    def command(self, *arguments, check=True):
        """Run a meterline command beside the processes and return (exit code, its JSON)."""
        done = subprocess.run(
            [METERLINE, *arguments, "--json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **self.stores},
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.returncode, json.loads(done.stdout)


@asynccontextmanager
async def left_whole(cluster):
    """Hand over the standing cluster to a story that ends some of its processes; the next one finds all of them."""
    try:
        yield
    except BaseException:
        await asyncio.to_thread(cluster.stop)
        raise
    finally:
        gone = [process for process in cluster.processes if not process.runs]
        for process in gone:
            process.spawn()
        for process in gone:
            await asyncio.to_thread(process.wait_ready, 60)


def stands(item) -> bool:
    """Tell whether a test uses the cluster that stands for many."""
    return "standing_cluster" in item.fixturenames or ("any_server" in item.fixturenames and "distributed" in item.name)
