"""Start a server in a temporary folder, drive it with locust, audit it, and print a report.

`make loadtest ARGS="--users 20 --seconds 30"`. The report is kept in `.cache/loadtest/`. Ends with 1 when a call
failed or the audit found a difference, and leaves no process behind.
"""

import argparse
import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kernel.settings import Settings
from meterline.child import leave_in_order
from meterline.cli.call import call
from meterline.importer.api import Api
from meterline.stack.embedded import EmbeddedProcess

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "loadtest"
CATALOG = """
[[feature]]
code = "requests"
name = "Requests"
[[plan]]
code = "load"
name = "Load"
price = "20.00"
features.requests = { included = 1000, overage = "0.001" }
"""


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20, help="applications at once")
    parser.add_argument("--calls", type=float, default=10, help="calls a second of each")
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=30)
    return parser.parse_args()


async def prepare(server, count):
    """Make the catalog and the subscribed customers; returns their ids."""
    settings = Settings(data_dir=server.folder)
    await call(settings, "catalog_apply", {"organization": None, "file": CATALOG, "format": "toml"})
    found = []
    async with Api(server.url, server.api_key) as api:
        for number in range(count):
            made = await api.post("/customers", {"id": f"load-{number}", "email": "load@example.com"})
            subscribed = await api.post("/subscriptions", {"customerId": made.body["id"], "planCode": "load"})
            assert subscribed.ok, subscribed
            found.append(made.body["id"])
    return found


def drive(server, customers, asked):
    """Run locust in a process of its own; returns its exit code."""
    plan = {"customers": customers, "key": server.api_key, "calls_per_second": asked.calls}
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--host", server.url, "--headless"),
        *("--users", str(asked.users), "--spawn-rate", str(asked.users), "--run-time", f"{asked.seconds}s"),
        *("--csv", str(CACHE / "run"), "--html", str(CACHE / "run.html"), "--only-summary", "--loglevel", "WARNING"),
        *("--stop-timeout", "10"),
    ]
    environment = {**os.environ, "METERLINE_LOADTEST": json.dumps(plan)}
    return subprocess.run(command, env=environment, check=False).returncode


def report(audit):
    """Print what came back and what the audit says."""
    with (CACHE / "run_stats.csv").open() as file:
        for row in csv.DictReader(file):
            name = row["Name"]
            rate, p50, p99 = float(row["Requests/s"]), row["50%"], row["99%"]
            print(f"{name:14} {rate:8.1f}/s  p50 {p50:>5} ms  p99 {p99:>5} ms  failures {row['Failure Count']}")
    print(
        f"audit: {audit['eventsCounted']:,} events counted, {audit['verdicts']}; {audit['differenceCount']} differences"
    )
    print(f"report: {CACHE / 'run.html'}")


def main():
    leave_in_order()
    asked = options()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="meterline-load-") as folder,
        EmbeddedProcess(Path(folder) / "data") as server,
    ):
        customers = asyncio.run(prepare(server, asked.customers))
        failed = drive(server, customers, asked)
        audit = asyncio.run(call(Settings(data_dir=server.folder), "audit", {}))
        report(audit)
    return 1 if failed or audit["differenceCount"] else 0


if __name__ == "__main__":
    sys.exit(main())
