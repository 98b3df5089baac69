"""The file that is run (`--vectors`), one embedded server for the whole run, and the list of what it does not run."""

import os
from pathlib import Path

import httpx
import pytest

from tests.rules import named_in_tests
from tests.story.harness import Server
from tests.vectors.facts import NOT_YET
from tests.vectors.play import Player
from tests.vectors.vector_file import CONFLICT, SCENARIO, NotAVectorFile, VectorFile, read_file

FILE = pytest.StashKey[VectorFile | None]()
PLAYER = pytest.StashKey[Player]()


def pytest_addoption(parser):
    parser.addoption("--vectors", type=Path, help="File of vectors to run; default: the one in METERLINE_SHARED.")


def pytest_configure(config):
    vector_file(config)


def vector_file(config) -> VectorFile | None:
    """Read the file once; None when none is named and the reference folder is absent."""
    if FILE not in config.stash:
        named = config.getoption("--vectors", default=None)
        path = named or Path(os.environ.get("METERLINE_SHARED", "../shared")) / "reference" / "vectors.json"
        try:
            config.stash[FILE] = read_file(path) if named or path.is_file() else None
        except NotAVectorFile as error:
            raise pytest.UsageError(f"--vectors: {error}") from error
    return config.stash[FILE]


def pytest_generate_tests(metafunc):
    """Give `vector` and `switch` of each scenario, by default and once more under each switch."""
    if "switch" in metafunc.fixturenames:
        found = vector_file(metafunc.config)
        runs = [
            pytest.param(vector, switch, id=vector.id if switch is None else f"{vector.id}, {switch}")
            for vector in (found.vectors if found else ())
            if vector.kind == SCENARIO or vector.faults
            for switch in (None, *vector.switches)
        ]
        metafunc.parametrize(("vector", "switch"), runs)


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


@pytest.fixture(scope="session")
def player(request, embedded, new_organization):
    """Play scenarios, each once."""
    file = vector_file(request.config)
    assert file is not None, "a test of a vector needs a file of vectors"
    request.config.stash[PLAYER] = Player(embedded.url, new_organization, file.policy)
    return request.config.stash[PLAYER]


def pytest_terminal_summary(terminalreporter, config):
    """Say which vectors a runner cannot run, and which figures no answer of the API shows."""
    if PLAYER not in config.stash:
        return
    file, by_test = vector_file(config), named_in_tests()
    terminalreporter.section(f"vectors of {file.path}")
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
    for name, figures in config.stash[PLAYER].unseen.items():
        told = "asserted by " + ", ".join(by_test[name]) if name in by_test else "no test names it"
        terminalreporter.write_line(f"{name}, by hand: {', '.join(figures)} ({told})")
