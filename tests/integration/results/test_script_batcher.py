"""Scripts that share round trips, on a real redis-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from arno.results.script_batcher import ScriptBatcher
from redis.exceptions import ResponseError
from support.redis_server import RedisServer

pytestmark = pytest.mark.redis

ECHO = "return ARGV[1]"
RAISE = "return redis.error_reply('no')"


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def batcher(client: redis.asyncio.Redis) -> AsyncIterator[ScriptBatcher]:
    batcher = ScriptBatcher(client)
    yield batcher
    await batcher.close()


async def test_every_caller_gets_the_answer_to_its_own_script(
    client: redis.asyncio.Redis, batcher: ScriptBatcher
) -> None:
    script = client.register_script(ECHO)
    answers = await asyncio.gather(
        *(batcher.run(script, keys=[], args=[str(n)]) for n in range(300))
    )
    assert answers == [str(n).encode() for n in range(300)]


async def test_calls_made_at_once_share_round_trips(
    client: redis.asyncio.Redis, batcher: ScriptBatcher
) -> None:
    script = client.register_script(ECHO)
    await batcher.run(script, keys=[], args=["loaded"])
    before = (await client.info("stats"))["total_reads_processed"]
    await asyncio.gather(*(batcher.run(script, keys=[], args=["x"]) for _ in range(64)))
    after = (await client.info("stats"))["total_reads_processed"]
    assert after - before <= 4  # this question included


async def test_failing_script_fails_its_own_caller_alone(
    client: redis.asyncio.Redis, batcher: ScriptBatcher
) -> None:
    echo, bad = client.register_script(ECHO), client.register_script(RAISE)
    answers = await asyncio.gather(
        batcher.run(echo, keys=[], args=["a"]),
        batcher.run(bad, keys=[], args=[]),
        batcher.run(echo, keys=[], args=["b"]),
        return_exceptions=True,
    )
    assert answers[0] == b"a"
    assert isinstance(answers[1], ResponseError)
    assert answers[2] == b"b"


async def test_scripts_that_the_server_has_forgotten_are_sent_again(
    client: redis.asyncio.Redis, batcher: ScriptBatcher
) -> None:
    script = client.register_script(ECHO)
    await batcher.run(script, keys=[], args=["loaded"])
    await client.script_flush()
    answers = await asyncio.gather(*(batcher.run(script, keys=[], args=["x"]) for _ in range(5)))
    assert answers == [b"x"] * 5


@pytest.mark.parametrize("round_trips_max", [1, 2])
async def test_no_call_is_left_in_the_queue_when_round_trips_end_together(
    client: redis.asyncio.Redis, round_trips_max: int
) -> None:
    batcher, script = (
        ScriptBatcher(client, round_trips_max=round_trips_max),
        client.register_script(ECHO),
    )

    async def ask_again_and_again() -> None:
        for _ in range(20):
            await batcher.run(script, keys=[], args=["x"])

    async with asyncio.timeout(5):
        await asyncio.gather(*(ask_again_and_again() for _ in range(round_trips_max)))
    await batcher.close()


async def test_cancelled_caller_does_not_affect_the_others(
    client: redis.asyncio.Redis, batcher: ScriptBatcher
) -> None:
    script = client.register_script(ECHO)
    callers = [asyncio.create_task(batcher.run(script, keys=[], args=[str(n)])) for n in range(10)]
    await asyncio.sleep(0)
    callers[3].cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [str(n).encode() for n in range(10) if n != 3]


async def test_server_that_has_gone_fails_every_call(own_redis_server: RedisServer) -> None:
    client = redis.asyncio.Redis.from_url(own_redis_server.url)
    batcher = ScriptBatcher(client)
    script = client.register_script(ECHO)
    await batcher.run(script, keys=[], args=["loaded"])
    own_redis_server.kill()
    answers = await asyncio.gather(
        *(batcher.run(script, keys=[], args=["x"]) for _ in range(5)), return_exceptions=True
    )
    assert all(
        isinstance(answer, ConnectionError | OSError | redis.RedisError) for answer in answers
    )
    await batcher.close()
    await client.aclose()
