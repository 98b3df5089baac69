"""A Valkey over TCP for demo, bench and tests: the same place and data at every start, ended by its id."""

import asyncio
from pathlib import Path

import pytest

from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.valkey_client import RUN, Connections, Script
from kernel.errors import Unavailable
from meterline.stack.valkey import ValkeyServer


async def test_a_server_keeps_place_and_data_over_a_kill(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "live", fsync="always", memory_bytes=64 * 1024**2) as server:
        print(server.told())
        assert server.told() == f"Valkey {server.version}, pid {server.pid}"
        live = await ValkeyLive.open(server.url, lanes=1)
        killed = server.pid
        assert await live.begin_rebuild(0, token=b"t", expected_token=None)
        server.kill()
        assert server.returncode == -9
        with pytest.raises(Unavailable):
            await live.rebuild_step(0)
        server.start()
        assert server.pid != killed
        assert await live.rebuild_step(0) == (b"t", 0)
        await live.close()
    assert server.returncode == 0, "it was ended in order"


async def test_only_what_a_server_did_not_know_is_sent_again_and_a_run_ends_with_its_process(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "live") as server:
        script = Script("kernel.engine.live", "raise_catalog.lua")
        connections = Connections(server.url, [script], most=1)
        learn = script.call(["c"], RUN, b"", "")
        for count in (1, 2):
            server.ask("SCRIPT FLUSH", "SYNC")
            assert (await connections.ask(("INCR", "x"), learn, ("INCR", "y")))[::2] == [count, count]
        first = await connections.one(learn)
        assert first == server.ask("INFO", "server")["run_id"].encode()
        server.kill()
        server.start()
        await asyncio.sleep(0.05)  # the loop hears that the old connection has ended
        assert await connections.one(learn) == server.ask("INFO", "server")["run_id"].encode() != first
        await connections.close()
