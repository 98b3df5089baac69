import secrets

import pytest

from meterline.stack.servers import Servers
from tests.story.cluster import Cluster, Seller, stands
from tests.story.harness import Server
from tests.story.shop import api, shop

__all__ = ["api", "shop"]  # fixtures

STANDING = pytest.StashKey[Cluster]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """End the standing cluster after the last test that uses it: five idle processes take half a core."""
    if stands(item) and STANDING in item.session.stash and not (nextitem is not None and stands(nextitem)):
        item.session.stash[STANDING].stop()


@pytest.fixture
def server(tmp_path):
    """A fresh embedded server, ended at the test's end."""
    running = Server(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory, kafka_server, clickhouse_server, postgres):
    """The distributed engine's servers, shared by all deployments of a session."""
    shared = Servers(tmp_path_factory.mktemp("lives"), kafka_server, clickhouse_server, postgres)
    yield shared
    shared.close()


@pytest.fixture
def room(servers):
    """Stores for one deployment, with nothing in them."""
    made = servers.fresh(f"story_{secrets.token_hex(4)}")
    yield made
    made.live.stop()


@pytest.fixture
def unmade_cluster(tmp_path, room):
    """A deployment that nobody has migrated or started."""
    made = Cluster(tmp_path, room.variables)
    yield made
    made.stop()


@pytest.fixture
def cluster(unmade_cluster):
    """Two gateways, two aggregators and a billing process on Kafka, Valkey, ClickHouse over HTTP and PostgreSQL."""
    unmade_cluster.migrate()
    unmade_cluster.start()
    unmade_cluster.introduce()
    return unmade_cluster


@pytest.fixture(scope="session")
def standing_cluster(request, tmp_path_factory, servers):
    """A cluster that stands for all stories that only need a seller of their own; they run one after the other."""
    made = Cluster(tmp_path_factory.mktemp("standing"), servers.fresh(f"standing_{secrets.token_hex(4)}").variables)
    request.session.stash[STANDING] = made
    made.migrate()
    try:
        made.start()
        made.introduce()
        yield made
    finally:
        made.stop()


@pytest.fixture(params=["embedded", "distributed"])
def any_server(request):
    """A seller on each engine: the story is the same."""
    if request.param == "embedded":
        return request.getfixturevalue("server")
    return Seller(request.getfixturevalue("standing_cluster"))


@pytest.fixture
def cold_server(tmp_path):
    """A server that is not started yet, and makes its deployment by itself."""
    running = Server(tmp_path, makes=True)
    yield running
    running.stop()


@pytest.fixture
def trace(shared, tmp_path):
    """The real trace; where the reference folder is absent (never in CI), a file of the same shape that we make."""
    if shared is not None:
        return shared / "data" / "azure-llm-conv-2023.csv"
    made = tmp_path / "trace.csv"
    rows = [
        f"2023-11-16 18:{n // 3600 % 60:02d}:{n % 60:02d}.0000000,{n * 7 % 4000},{n * 3 % 900}" for n in range(5_000)
    ]
    made.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows))
    return made
