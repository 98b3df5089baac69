"""Files become events: bad rows cost nothing else, a second run adds nothing, a killed server costs only time."""

import asyncio
import json
import subprocess
import sys

import httpx
import pytest

from tests.story.harness import METERLINE, Api, Server, free_port

MAPPING = """
[source]
time = "when"
[customer]
id = "{who}"
create = true
plan = "free"
[[event]]
feature = "calls"
value = "count"
properties = { region = "{where}" }
[[event]]
feature = "bytes"
value = "size"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all of them; each has an organization of its own."""
    running = Server(tmp_path_factory.mktemp("import")).start()
    yield running
    running.stop()


class Shop:
    """A seller with a free plan of two features, and a mapping."""

    def __init__(self, server, mapping):
        self.server, self.mapping = server, mapping
        _, made = server.command("org", "create", "Importer")
        self.organization, self.key = made["id"], made["apiKey"]
        self.before = server.command("audit")[1]

    def run(self, path, *more, check=True):
        """Import a file."""
        arguments = ("--mapping", str(self.mapping), "--url", self.server.url, "--api-key", self.key, *more)
        return self.server.command("import", str(path), *arguments, check=check)

    def audited(self, count):
        """Audit: the differences, and how much more there is of `count` than before."""
        _, verdict = self.server.command("audit")
        return verdict["differences"], verdict[count] - self.before[count]


@pytest.fixture
async def shop(server, tmp_path):
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING)
    made = Shop(server, mapping)
    async with Api(server, made.key) as api:
        calls, size = await api.feature("calls"), await api.feature("bytes")
        await api.plan("free", {calls["id"]: {"unlimited": True}, size["id"]: {"unlimited": True}})
    return made


def _now():
    done = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%S"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def _answered(server):
    """How many events the server has answered."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{server.url}/metrics")).text
    found = [line for line in text.splitlines() if line.startswith("meterline_events_answered_total")]
    return sum(float(line.split()[-1]) for line in found)


def _lines(count):
    stamp = _now()
    return [{"when": stamp, "who": f"c{n % 7}", "count": n % 5, "size": 0.125, "where": "eu"} for n in range(count)]


async def test_bad_rows_are_told_and_the_rest_counts(shop, server, tmp_path):
    stamp = _now()
    path = tmp_path / "usage.csv"
    path.write_text(
        "when,who,count,size,where\n"
        f"{stamp},ann,1,2.5,eu\n"
        "yesterday,ann,1,1,eu\n"
        f"{stamp},,1,1,eu\n"
        f"{stamp},bob,-4,1,eu\n"
        f"{stamp},bob,3,,us\n"
        f"{stamp},bob,3\n"
        f"{stamp},bob,7,0.000000001,us\n"
    )
    code, first = shop.run(path, check=False)
    assert (code, first["rows"], first["badRows"], first["emptyValues"]) == (1, 7, 4, 1)
    assert (first["events"], first["accepted"], first["rejected"], first["customers"]) == (5, 5, 0, 2)
    assert [problem["line"] for problem in first["problems"]] == [3, 4, 5, 7]
    code, second = shop.run(path, check=False)
    assert (code, second["accepted"], second["duplicates"], second["subscribed"]) == (1, 0, 5, 0)
    async with Api(server, shop.key) as api:
        assert (await api.access("bob", "bytes"))["consumption"]["unitsUsed"] == 0.000000001
        assert (await api.access("bob", "calls"))["consumption"]["unitsUsed"] == 10
    assert shop.audited("eventsCounted") == ([], 5)


async def test_events_that_the_server_refuses_are_told_by_code(shop, tmp_path):
    path = tmp_path / "usage.jsonl"
    rows = [*_lines(3), {"when": "2020-01-01", "who": "c1", "count": 1, "where": "eu"}]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    code, summary = shop.run(path, check=False)
    assert (code, summary["accepted"], summary["rejected"]) == (1, 6, 1)
    assert summary["reasons"] == {"validation_error": 1}
    assert "timestamp" in summary["problems"][0]["reason"] or summary["problems"][0]["line"] == 4


async def test_a_server_killed_meanwhile_costs_only_time(shop, server, tmp_path):
    path = tmp_path / "usage.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in _lines(6_000)))

    before = await _answered(server)

    async def kill():
        async with asyncio.timeout(60):
            while await _answered(server) == before:
                await asyncio.sleep(0.05)
        server.kill()
        await asyncio.to_thread(server.start)

    (code, summary), _ = await asyncio.gather(asyncio.to_thread(shop.run, path), kill())
    assert (code, summary["events"], summary["accepted"]) == (0, 12_000, 12_000)
    _, again = shop.run(path)
    assert (again["accepted"], again["duplicates"]) == (0, 12_000)
    assert shop.audited("keysCounted") == ([], 12_000)


async def test_what_is_exported_is_what_was_imported(shop, server, tmp_path):
    path = tmp_path / "usage.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in _lines(50)))
    _, summary = shop.run(path)
    assert summary["accepted"] == 100
    for kind in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"out.{kind}"
        _, said = server.command(
            "export", "--organization", shop.organization, "--format", kind, "--output", str(output)
        )
        assert said["rows"] == 100
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 100
    assert {row["verdict"] for row in rows} == {"counted"}
    assert {row["properties"].get("region") for row in rows if row["featureCode"] == "calls"} == {"eu"}
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 101
    code = (
        "import sys, chdb.session\n"
        "session = chdb.session.Session()\n"
        "query = f\"SELECT count(), sum(value) FROM file('{sys.argv[1]}', Parquet)\"\n"
        "print(session.query(query, 'CSV').bytes().decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.parquet")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["100,106.25"]  # 50 times 0.125 and ten times 0+1+2+3+4


def test_wrong_usage_ends_with_2_and_an_absent_server_with_3(tmp_path):
    mapping, path = tmp_path / "mapping.toml", tmp_path / "usage.csv"
    mapping.write_text(MAPPING)
    path.write_text("when,who,count,size,where\n2026-01-01,ann,1,1,eu\n")

    def ended(*arguments):
        done = subprocess.run(
            [METERLINE, *arguments, "--data-dir", str(tmp_path / "data")],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stderr

    given = ("--mapping", str(mapping), "--url", f"http://127.0.0.1:{free_port()}", "--api-key", "ck_x")
    assert ended("import", str(tmp_path / "none.csv"), *given)[0] == 2
    assert ended("import", str(path), "--mapping", str(path), *given[2:])[0] == 2
    code, words = ended("import", str(path), "--mapping", str(mapping))
    assert code == 2
    assert "--url" in words
    code, words = ended("import", str(path), *given)
    assert code == 3
    assert "no definite answer" in words
