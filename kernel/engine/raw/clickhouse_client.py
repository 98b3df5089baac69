"""Clients of ClickHouse: how they are opened, with which settings, and what their errors mean.

Invariants: a setting on which durability or the truth of an answer rests is sent with every call, so a server's profile
cannot change it, and a server that forbids it is not opened; no driver's error leaves here. The driver is imported at
the first opening, since chDB costs a second and 200 MB.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from kernel.errors import Fatal, Misconfigured, Unavailable
from kernel.limits import RAW_CONNECT_MS

EMBEDDED_SCHEME: Final = "chdb"
SERVER_SCHEMES: Final = ("http", "https")
# From here on the new analyzer is the default, on which the queries' aliases rely.
SERVER_VERSION_MIN: Final = (24, 3)

_SETTINGS: Final = {
    # An insert is in its table, and on the disk by the table's own fsync settings, before the call returns.
    "async_insert": 0,
    # The process shares its cores with the gateway; two threads a query leave it room.
    "max_threads": 2,
    "max_insert_threads": 1,
    # Copies of a row are always in one partition (the partition follows from the sorting key), so parts of different
    # months need no merging to read with FINAL.
    "do_not_merge_across_partitions_select_final": 1,
    # Test clocks let one insert span any number of months; a limit would stop the sink for ever.
    "max_partitions_per_insert_block": 0,
}
_SERVER_SETTINGS: Final = {
    **_SETTINGS,
    # The answer begins when the statement has ended, so an error is never taken for an answer.
    "wait_end_of_query": 1,
    # A replicated table remembers blocks; one that is inserted again after its rows were lost has to go in.
    "insert_deduplicate": 0,
    # A limit of the server's profile is an error, not a shorter answer.
    "read_overflow_mode": "throw",
    "group_by_overflow_mode": "throw",
    "sort_overflow_mode": "throw",
    "distinct_overflow_mode": "throw",
    "result_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    "limit": 0,
    "offset": 0,
}

# Server errors that pass by themselves: the same call may succeed later. Numbers from ClickHouse's ErrorCodes.cpp:
# DNS 198; timeouts 159, 160, 209; too many queries 202; no free connection 203, 279; network 210, 425; shutting down
# 236; read-only replica 242; memory 241; disk full 243; too many parts 252; replicas 285, 319; cancelled 394; no free
# thread 439; overloaded 745; keeper 999; the same statement, sent once more by the driver, still runs 216.
_PASSING: Final = frozenset(
    {159, 160, 198, 202, 203, 209, 210, 216, 236, 241, 242, 243, 252, 279, 285, 319, 394, 425, 439, 745, 999}
)
# What the driver and chDB import where it is installed, for forms of data in which nothing here asks: half a second of
# each start, and 80 MB.
_DATA_FRAMES: Final = ("numpy", "pandas", "pyarrow")
_UNKNOWN_DATABASE: Final = 81
# Unknown user, wrong or missing password, access denied, authentication failed.
_DENIED: Final = frozenset({192, 193, 194, 497, 516})

T = TypeVar("T")


def connector(url: str, call_ms: int) -> Callable[[], Any]:
    """Make what opens a client of `url`; on a server its calls end within `call_ms`. Raises Misconfigured."""
    parts = urlsplit(url)
    if parts.scheme == EMBEDDED_SCHEME and parts.path not in ("", "/"):
        return lambda: _connect_embedded(Path(parts.path))
    if parts.scheme in SERVER_SCHEMES and parts.hostname:
        return lambda: _connect_server(url, call_ms)
    raise Misconfigured(f"{url!r} is no raw store: set METERLINE_RAW_URL to chdb:///path or http://host:8123/database")


def translated(call: Callable[[Any], T], argument: Any) -> T:
    """Call, and turn what the driver raises into what the caller should do: `Unavailable` passes, `Fatal` does not."""
    from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415 - chDB costs a second
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the driver's

    try:
        return call(argument)
    except ClickHouseError as error:
        raise (Unavailable if _passes(error) else Fatal)(f"RAW: {error}") from None
    except (HTTPError, ConnectionError) as error:  # the connection broke within an answer
        raise Unavailable(f"RAW: {error}") from None


def close_client(client: Any) -> None:
    """Release a client and its connections."""
    client.close_connections()
    client.close()


def _passes(error: Exception) -> bool:
    """Tell whether the same call may succeed later.

    Without a code of ClickHouse it was the connection, or something between it and us that answered.
    """
    from clickhouse_connect.driver.exceptions import (  # noqa: PLC0415 - as above
        DatabaseError,
        OperationalError,
        StreamFailureError,
    )

    code = getattr(error, "code", None)
    if code is None:
        return isinstance(error, (OperationalError, StreamFailureError)) or type(error) is DatabaseError
    return code in _PASSING


def _driver() -> Any:
    """Import the driver, as one that finds no data frames."""
    import clickhouse_connect  # noqa: PLC0415 - as above
    from clickhouse_connect.driver import options  # noqa: PLC0415 - as above

    options.np = options.pd = options.pd_time_test = None  # what it sets when an import fails
    return clickhouse_connect


def _load_without_data_frames(module: str) -> None:
    """Import a module that takes data frames when there are some; later imports of them are as ever."""
    hidden = [name for name in _DATA_FRAMES if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = cast("ModuleType", None)  # Python's word for a module that is not to be found
    try:
        importlib.import_module(module)
    finally:
        for name in hidden:
            del sys.modules[name]


def _connect_embedded(path: Path) -> Any:
    path.mkdir(parents=True, exist_ok=True)
    return translated(_embedded_client, str(path))


def _embedded_client(path: str) -> Any:
    _load_without_data_frames("chdb.state")
    return _driver().get_client(interface=EMBEDDED_SCHEME, path=path, settings=_SETTINGS)


def _connect_server(url: str, call_ms: int) -> Any:
    def open_client(dsn: str) -> Any:
        from clickhouse_connect.driver.exceptions import DatabaseError, ProgrammingError  # noqa: PLC0415
        from clickhouse_connect.driver.httputil import get_pool_manager  # noqa: PLC0415

        pool = get_pool_manager()  # of its own, and without the proxies of the environment
        seconds = max(1, call_ms // 1000)
        try:
            client = _driver().get_client(
                dsn=dsn,
                interface=urlsplit(dsn).scheme,
                settings={**_SERVER_SETTINGS, "max_execution_time": seconds},
                autogenerate_session_id=False,
                query_retries=0,
                connect_timeout=RAW_CONNECT_MS // 1000,
                send_receive_timeout=seconds,
                pool_mgr=pool,
            )
        except ProgrammingError as error:
            pool.clear()
            raise _refused(url, f"does not let a setting be made ({error}): allow it in the user's profile") from None
        except DatabaseError as error:
            pool.clear()
            if error.code == _UNKNOWN_DATABASE:
                raise _refused(url, "has no such database: make it with CREATE DATABASE") from None
            if error.code in _DENIED:
                raise _refused(url, f"does not let this user in ({error})") from None
            raise
        version = tuple(int(part) for part in str(client.server_version).split(".")[:2])
        if version < SERVER_VERSION_MIN:
            close_client(client)
            wanted = ".".join(str(part) for part in SERVER_VERSION_MIN)
            raise _refused(url, f"is ClickHouse {client.server_version}: it needs {wanted} or newer")
        return client

    return translated(open_client, url)


def _refused(url: str, words: str) -> Misconfigured:
    parts = urlsplit(url)
    return Misconfigured(f"METERLINE_RAW_URL: {parts.hostname}, database {parts.path[1:] or 'default'!r}, {words}")
