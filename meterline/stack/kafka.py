"""Apache Kafka on one node: broker and controller in one Java process, from the published jars.

The jars come through Maven once and are compared with `kafka.sha256` before every start. Settings are those of a single
broker: one replica of everything, no topic that a mere look could make. Ports are chosen once and kept in the folder.
"""

import contextlib
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kernel.errors import Fatal
from kernel.settings import environment_of_children
from meterline.stack.process import ServerProcess

VERSION: Final = "4.2.0"
CACHE: Final = Path(".cache/kafka")
_NODE: Final = 1
_HEAP: Final = "-Xmx384m"
_ANSWER_SECONDS: Final = 1.0
# A killed broker is let in again when its session has ended; trimmed segments leave the disk soon. A large cluster
# allows itself more time for both.
_SETTINGS: Final = """\
node.id={node}
process.roles=broker,controller
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
unclean.leader.election.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
log.segment.delete.delay.ms=100
"""


class KafkaServer(ServerProcess):
    """One node over `folder`. `cache` keeps the jars, a folder a version; two that fill it at once do no harm."""

    product = "Apache Kafka"

    def __init__(self, folder: Path, *, cache: Path = CACHE) -> None:
        super().__init__(folder.resolve())
        self._cache = cache.resolve()
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """Tell host and port for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def log_url(self) -> str:
        """Tell the setting METERLINE_LOG_URL."""
        return f"kafka://{self.bootstrap}"

    def spawn(self) -> None:
        """Start without waiting; the first time fetch the jars and format the folder. Raises Fatal."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._settings_file.exists():
            self._configure()
        (line,) = (text for text in self._settings_file.read_text().splitlines() if text.startswith("listeners="))
        self._port = int(line.split(",")[0].rpartition(":")[2])
        super().spawn()

    def command(self) -> Sequence[str]:
        """Tell the program and its arguments."""
        return [*self._java(), "kafka.Kafka", str(self._settings_file)]

    def answers(self) -> bool:
        """Tell whether it takes records: each partition has a leader, and a producer gets its id."""
        self.version = VERSION
        return _takes_records(self._port)

    @property
    def _settings_file(self) -> Path:
        return self.folder / "server.properties"

    def _java(self) -> list[str]:
        program = shutil.which("java")
        if program is None:
            raise Fatal("there is no java: install Java 17 or newer")
        logging = files(__package__) / "kafka.log4j2.yaml"
        options = [_HEAP, "-XX:+UseSerialGC", "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={logging}"]
        return [program, *options, "-cp", f"{fetched(self._cache)}/*"]

    def _configure(self) -> None:
        port, controller = _free_ports()
        data = self.folder / "data"
        draft = self.folder / "server.properties.draft"
        draft.write_text(_SETTINGS.format(node=_NODE, port=port, controller=controller, data=data))
        cluster = f"--cluster-id={secrets.token_urlsafe(16)}"
        shutil.rmtree(data, ignore_errors=True)  # of a start that was cut short
        _run(
            [*self._java(), "kafka.tools.StorageTool", "format", "--standalone", cluster, "--config", str(draft)],
            "Kafka's storage cannot be formatted",
        )
        draft.rename(self._settings_file)


def fetched(cache: Path) -> Path:
    """Return the folder with the jars of VERSION under `cache`; fetch them first if they are not there.

    Raises Fatal when Maven cannot fetch them or a file is not what `kafka.sha256` says.
    """
    folder = cache / VERSION
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{VERSION}-") as work:
            _fetch(Path(work))
            with contextlib.suppress(OSError):  # somebody else was faster: theirs is checked below
                (Path(work) / "jars").rename(folder)
    _check(folder)
    return folder


def _fetch(work: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Fatal("there is no mvn, which fetches Kafka: install Maven")
    # Maven wants a project of its own to work in.
    shutil.copyfile(str(files(__package__) / "kafka.pom.xml"), work / "pom.xml")
    wanted = [f"-Dkafka.version={VERSION}", f"-DoutputDirectory={work / 'jars'}", "-DincludeScope=runtime"]
    _run(
        [maven, "-q", "-B", "-f", str(work / "pom.xml"), "dependency:copy-dependencies", *wanted],
        "Maven cannot fetch Kafka",
    )
    _check(work / "jars")


def _check(folder: Path) -> None:
    lines = (files(__package__) / "kafka.sha256").read_text().split("\n")
    wanted = {name: digest for digest, name in (line.split() for line in lines if line)}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        raise Fatal(f"{folder} is not Kafka {VERSION} as published: remove it ({', '.join(wrong)})")


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment_of_children(), check=False
    )
    if done.returncode:
        raise Fatal(f"{failure}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _takes_records(port: int) -> bool:
    from aiokafka.protocol.metadata import MetadataRequest_v5  # noqa: PLC0415 - the driver is loaded by who uses it
    from aiokafka.protocol.transaction import InitProducerIdRequest_v0  # noqa: PLC0415

    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS) as connection:
            cluster = _asked(connection, MetadataRequest_v5(None, False))
            leaders = [leader for _, _, _, parts in cluster.topics for error, _, leader, *_ in parts]
            if not cluster.brokers or min(leaders, default=0) < 0:
                return False
            return bool(_asked(connection, InitProducerIdRequest_v0(None, 60_000)).error_code == 0)
    except (OSError, EOFError):
        return False


def _asked(connection: socket.socket, request: Any) -> Any:
    header = request.build_request_header(correlation_id=1, client_id="meterline")
    message = header.encode() + request.encode()
    connection.sendall(struct.pack(">i", len(message)) + message)
    with connection.makefile("rb") as answer:
        (size,) = struct.unpack(">i", _exactly(answer, 4))
        body = _exactly(answer, size)
    return request.RESPONSE_TYPE.decode(body[4:])  # behind the correlation id


def _exactly(stream: Any, count: int) -> bytes:
    found: bytes = stream.read(count)
    if len(found) < count:
        raise EOFError
    return found
