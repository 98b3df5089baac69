"""The files that are run (`--vectors`), one embedded server for the whole run, and the list of what it does not run."""

import os
from pathlib import Path

import httpx
import pytest

from tests.rules import named_in_tests
from tests.story.harness import SOAK, Server
from tests.vectors.facts import NOT_YET
from tests.vectors.play import Player
from tests.vectors.vector_file import CONFLICT, SCENARIO, NotAVectorFile, VectorFile, read_file

OURS = Path(__file__).with_name("more.json")
# Without METERLINE_SOAK=1 and without a file that is named one of so many of ours is played.
ONE_OF = 9
FILES = pytest.StashKey[tuple[VectorFile, ...]]()
PLAYERS = pytest.StashKey[dict[Path, Player]]()


def pytest_addoption(parser):
    parser.addoption(
        "--vectors", type=Path, help="File of vectors to run; default: that of METERLINE_SHARED, and ours, more.json."
    )


def pytest_configure(config):
    vector_files(config)


def vector_files(config) -> tuple[VectorFile, ...]:
    """Read the files once: the one that is named, or the shared one, where the reference folder is there, and ours."""
    if FILES not in config.stash:
        named = config.getoption("--vectors", default=None)
        shared = Path(os.environ.get("METERLINE_SHARED", "../shared")) / "reference" / "vectors.json"
        paths = [named] if named else [path for path in (shared, OURS) if path.is_file()]
        try:
            config.stash[FILES] = tuple(read_file(path) for path in paths)
        except NotAVectorFile as error:
            raise pytest.UsageError(f"--vectors: {error}") from error
    return config.stash[FILES]


def pytest_generate_tests(metafunc):
    """Give each `file`, or the `vector` and `switch` of each scenario, by default and once more under each switch."""
    files = vector_files(metafunc.config)
    short = not SOAK and metafunc.config.getoption("--vectors", default=None) is None
    if "switch" in metafunc.fixturenames:
        runs = [
            pytest.param(file, vector, switch, id=vector.id if switch is None else f"{vector.id}, {switch}")
            for file in files
            for vector in file.vectors[:: ONE_OF if short and file.path == OURS else 1]
            if vector.kind == SCENARIO or vector.faults
            for switch in (None, *vector.switches)
        ]
        metafunc.parametrize(("file", "vector", "switch"), runs)
    elif "file" in metafunc.fixturenames:
        metafunc.parametrize("file", [pytest.param(file, id=file.path.name) for file in files])


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    """One embedded server, for vectors and facts."""
    running = Server(tmp_path_factory.mktemp("vectors")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def new_organization(embedded):
    """Make a sandbox organization over the operator's socket and tell its key."""
    folder = os.open(embedded.folder / "data", os.O_RDONLY | os.O_DIRECTORY)
    # The path of a socket may have 108 bytes; through the folder's descriptor it is always short.
    transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{folder}/operator.sock")
    with httpx.Client(transport=transport, base_url="http://operator", timeout=60) as http:

        def make(name: str) -> str:
            body = {"name": name, "environment": "sandbox", "currency": "usd"}
            answer = http.post("/operator/org_create", json=body)
            assert answer.is_success, answer.text
            return answer.json()["apiKey"]

        yield make
    os.close(folder)


@pytest.fixture
def player(request, embedded, new_organization, file):
    """Play scenarios of the file, each once in the whole run."""
    players = request.config.stash.setdefault(PLAYERS, {})
    return players.setdefault(file.path, Player(embedded.url, new_organization, file.policy))


def pytest_terminal_summary(terminalreporter, config):
    """Say which vectors a runner cannot run, and which figures no answer of the API shows."""
    by_test = named_in_tests() if PLAYERS in config.stash else {}
    for file in vector_files(config):
        if file.path in config.stash.get(PLAYERS, {}):
            terminalreporter.section(f"vectors of {file.path}")
            _summarize(terminalreporter, file, config.stash[PLAYERS][file.path], by_test)


def _summarize(terminalreporter, file, player, by_test):
    for vector in file.vectors:
        if vector.kind == SCENARIO or vector.faults:
            continue
        if vector.kind == CONFLICT:
            told = "never asserted"
        elif vector.id in by_test:
            told = "asserted by " + ", ".join(by_test[vector.id])
        else:
            told = "not yet: " + NOT_YET.get(vector.id, "no test names it")
        terminalreporter.write_line(f"{vector.id} ({vector.kind}): {told}")
    for name, figures in player.unseen.items():
        told = "asserted by " + ", ".join(by_test[name]) if name in by_test else "no test names it"
        terminalreporter.write_line(f"{name}, by hand: {', '.join(figures)} ({told})")
