"""Shard channels of a Valkey or Redis server: what is published is told as it comes, on a connection of its own.

Invariant: a connection on which nothing comes is asked whether it lives, so a peer that is gone is noticed within
`IDLE_MS` + `PONG_WAIT_MS`. Nothing that was published while nobody listened is told. Needs a server of version 7.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from kernel.errors import Unavailable

# A lane that folds nothing publishes nothing; a ping a second costs nothing either.
IDLE_MS: Final = 1_000
# As long as any other answer may take (`valkey_client.ANSWER_WAIT_MS`).
PONG_WAIT_MS: Final = 2_000

_SUBSCRIBED: Final = b"ssubscribe"
_TOLD: Final = b"smessage"
_PONG: Final = b"pong"


async def hear(
    connection: AbstractConnection,
    channels: Sequence[str],
    told: Callable[[bytes, bytes], None],
    listening: Callable[[], None],
) -> None:
    """Subscribe to `channels` and tell channel and message of each, until cancelled.

    `listening` is called once, as soon as all are subscribed.
    Raises Unavailable when the connection is lost or cannot be made, or a channel is not this server's (any more).
    The connection is used up.
    """
    try:
        await connection.send_packed_command([_packed("SSUBSCRIBE", channel) for channel in channels])
        missing = len(channels)
        while True:
            kind, *parts = await _heard(connection)
            if kind == _TOLD:
                told(*parts)
            elif kind == _SUBSCRIBED:
                missing -= 1
                if not missing:
                    listening()
            elif kind != _PONG:  # "sunsubscribe": the channel's slot has moved to another server
                raise Unavailable(f"the server no longer serves {parts[0].decode(errors='replace')}")
    except TimeoutError as error:
        raise Unavailable("the server that publishes is silent") from error
    except (RedisError, OSError) as error:
        raise Unavailable(str(error) or type(error).__name__) from error
    finally:
        with suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)


async def _heard(connection: AbstractConnection) -> list[bytes]:
    """Read what comes next; a ping in between finds out whether the peer lives. Raises TimeoutError if it does not."""
    try:
        return await _read(connection, IDLE_MS)
    except TimeoutError:
        await connection.send_packed_command([_packed("PING")])
        return await _read(connection, PONG_WAIT_MS)


def _packed(*command: str) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type] # its stub says: one element
    return packed


async def _read(connection: AbstractConnection, wait_ms: int) -> list[bytes]:
    async with asyncio.timeout(wait_ms / 1000):
        # A read given up leaves what has come in the connection's buffer, so the next one goes on with it.
        heard: list[bytes] = await connection.read_response(disconnect_on_error=False)
    return heard
