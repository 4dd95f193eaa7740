"""Calls to Redis that are cancelled, at any moment: connections stay usable, and loops end."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from arno.bus import BusSettings, Record, make_admin
from arno.bus.redis_streams import RedisStreamsPublisher
from arno.bus.redis_streams.connection import connect_async
from arno.results.connection import command_client
from arno.results.settings import ResultSettings
from arno.vocabulary import Lane
from redis.asyncio.connection import Connection
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.redis

TURNS_MAX = 40
"""More turns of the loop than a call takes from its begin to its answer."""

CALLERS = 4


@pytest.mark.parametrize("kind", ["publisher", "store"])
async def test_call_cancelled_in_any_turn_leaves_no_answer_for_the_next_caller(
    redis_server: RedisServer, unique_prefix: str, kind: str
) -> None:
    if kind == "publisher":
        client = connect_async(BusSettings(bus="redis", redis_url=redis_server.url))
    else:
        client = command_client(ResultSettings(redis_url=redis_server.url))
    names = [f"{unique_prefix}:{number}" for number in range(CALLERS)]
    await client.mset({name: name for name in names})
    for turns in range(TURNS_MAX):
        for victim in range(CALLERS):
            calls = [asyncio.create_task(_both(client, name)) for name in names]
            for _ in range(turns):
                await asyncio.sleep(0)
            calls[victim].cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for name, answer in zip(names, answers, strict=True):
                own = [name.encode()] * 2
                assert answer == own or isinstance(answer, asyncio.CancelledError)
    assert not client.connection_pool._in_use_connections
    await client.aclose()


async def _both(client: redis.asyncio.Redis, name: str) -> list[bytes]:
    """Ask in a pipeline, and alone."""
    async with client.pipeline(transaction=False) as trip:
        trip.get(name)
        (piped,) = await trip.execute()
    return [piped, await client.get(name)]


async def test_publisher_whose_cancellation_the_client_swallowed_ends_though_redis_is_away(
    redis_server: RedisServer, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, send = asyncio.Event(), Connection._send_packed_command
    async with TcpProxy(redis_server.port) as proxy:
        settings = BusSettings(
            bus="redis",
            redis_url=f"redis://127.0.0.1:{proxy.port}/0",
            topic_prefix=unique_prefix,
        )
        admin = make_admin(settings)
        await asyncio.to_thread(admin.ensure_topics)
        admin.close()
        publisher = RedisStreamsPublisher(settings)
        await publisher.start()
        await publisher.publish(Record(Lane.BATCH, b"first"), timeout_s=10)
        proxy.hold(replies=True)

        async def cancelled_once_sent(self: Connection, command: object) -> None:
            await send(self, command)
            # Runs before the one who waits for this is told that it has ended.
            asyncio.get_running_loop().call_soon(publishing.cancel)
            sent.set()

        monkeypatch.setattr(Connection, "_send_packed_command", cancelled_once_sent)
        publishing = asyncio.create_task(
            publisher.publish(Record(Lane.BATCH, b"second"), timeout_s=60)
        )
        await sent.wait()
        monkeypatch.undo()
        await asyncio.sleep(0)
        proxy.refusing = True
        proxy.cut()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await publishing
        await publisher.close()
