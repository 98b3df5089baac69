"""How large partitions are on a broker's disk: a request of Kafka's protocol that the driver does not have.

Source: Kafka's protocol, DescribeLogDirs, version 1 (every broker since 2.0).
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Int64, Schema, String

from kernel.errors import Unavailable

_TEXT = String("utf-8")


class _Sizes(Response):  # type: ignore[misc] # the driver has no types
    API_KEY = 35
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "dirs",
            Array(
                ("error_code", Int16),
                ("log_dir", _TEXT),
                (
                    "topics",
                    Array(
                        ("name", _TEXT),
                        (
                            "partitions",
                            Array(
                                ("partition", Int32),
                                ("size", Int64),
                                ("offset_lag", Int64),
                                ("is_future", Boolean),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


class _AskSizes(RequestStruct):  # type: ignore[misc]
    API_KEY = 35
    API_VERSION = 1
    RESPONSE_TYPE = _Sizes
    SCHEMA = Schema(("topics", Array(("name", _TEXT), ("partitions", Array(Int32)))))


class _SizesRequest(Request[_AskSizes]):  # type: ignore[misc]
    API_KEY = 35

    def __init__(self, topics: Sequence[tuple[str, Sequence[int]]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_AskSizes]) -> _AskSizes:
        return request_struct_class(self._topics)


def sizes_request(topic: str, partitions: Sequence[int]) -> Request[_AskSizes]:
    """Ask a broker for the sizes of its copies of some partitions of a topic."""
    return _SizesRequest([(topic, list(partitions))])


def log_bytes(reply: Any) -> int:
    """Sum the sizes in a reply; copies that move to another folder are not counted twice.

    A partition that was made just now may be missing, and is empty. Raises Unavailable when the broker tells none.
    """
    if not reply.dirs or any(error for error, *_ in reply.dirs):
        raise Unavailable("the broker does not tell sizes: allow DescribeLogDirs")
    return sum(
        int(size)
        for _, _, topics in reply.dirs
        for _, rows in topics
        for _, size, _, is_future in rows
        if not is_future
    )
