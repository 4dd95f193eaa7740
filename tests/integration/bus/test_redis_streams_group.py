"""How the workers' group on Redis Streams mends itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from arno.bus import BusSettings, topic_name
from arno.errors import ConfigurationError
from arno.vocabulary import Lane
from support import builders
from support.bus_load import numbered, publish_all
from support.eventually import eventually
from support.polled_consumer import PolledConsumer, keep
from support.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def settings(redis_server: RedisServer, unique_prefix: str) -> BusSettings:
    return builders.redis_bus(redis_server, unique_prefix, claim_timeout_s=1.0)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url, protocol=2) as made:
        yield made


@pytest.fixture
def stream(settings: BusSettings) -> str:
    return topic_name(settings.topic_prefix, Lane.BATCH)


def test_stream_that_vanished_is_created_and_read_again(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    publish_all(settings, numbered(2))
    with PolledConsumer(settings, [Lane.BATCH]) as one:
        eventually(lambda: len(one.deliveries) == 2)
        client.delete(stream)
        eventually(lambda: client.exists(stream))
        publish_all(settings, numbered(3, first=2))
        eventually(lambda: len(one.deliveries) == 5)


def test_group_that_vanished_repeats_nothing_that_is_in_hand(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    publish_all(settings, numbered(4))
    with PolledConsumer(settings, [Lane.BATCH], keep) as one:
        eventually(lambda: len(one.deliveries) == 4)
        client.xgroup_destroy(stream, settings.group)
        publish_all(settings, numbered(1, first=4))
        eventually(lambda: len(one.deliveries) == 5)
        one.finish_all()
        assert one.drain(5)
    assert client.xlen(stream) == 0


def test_entry_whose_reply_was_lost_is_delivered_after_the_claim_timeout(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    publish_all(settings, numbered(1))
    client.xreadgroup(settings.group, "somebody-who-never-heard", {stream: ">"})
    with PolledConsumer(settings, [Lane.BATCH]) as one:
        eventually(lambda: one.values == [b"0"])
        assert one.consumer.statistics().redelivered_count == 1


def test_member_that_slept_too_long_learns_that_its_work_has_gone(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    publish_all(settings, numbered(1))
    with PolledConsumer(settings, [Lane.BATCH], keep) as one:
        eventually(lambda: one.deliveries)
        position = one.deliveries[0].receipt.position
        client.xclaim(stream, settings.group, "thief", 0, [position])
        eventually(lambda: one.consumer.statistics().unfinished_count == 0)
        one.finish_all()
        assert one.consumer.statistics().stale_done_count == 1
        owners = client.xpending_range(stream, settings.group, "-", "+", 10)
        assert [owner["consumer"] for owner in owners] == [b"thief"]


def test_finished_records_leave_no_memory_and_members_leave_no_name(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    publish_all(settings, numbered(20))
    with PolledConsumer(settings, [Lane.BATCH]) as one:
        eventually(lambda: len(one.deliveries) == 20)
        assert client.xinfo_consumers(stream, settings.group)
        assert one.drain(5)
    assert client.xlen(stream) == 0
    assert client.xpending(stream, settings.group)["pending"] == 0
    assert client.xinfo_consumers(stream, settings.group) == []


def test_name_of_a_dead_member_is_removed_once_its_entries_are_taken(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    quick = settings.model_copy(update={"claim_timeout_s": 0.2})
    publish_all(settings, numbered(2))
    client.xreadgroup(settings.group, "dead", {stream: ">"}, count=1)
    with PolledConsumer(quick, [Lane.BATCH]) as one:
        eventually(lambda: len(one.deliveries) == 2)
        eventually(lambda: len(client.xinfo_consumers(stream, settings.group)) == 1)


def test_backlog_of_one_lane_does_not_hide_another(settings: BusSettings) -> None:
    publish_all(settings, [*numbered(200, Lane.BATCH), *numbered(4, Lane.INTERACTIVE)])
    small = settings.model_copy(update={"window": 6})
    with PolledConsumer(small, [Lane.BATCH, Lane.INTERACTIVE]) as one:
        eventually(lambda: len(one.deliveries) > 20)
    first = [delivery.record.channel for delivery in one.deliveries[:20]]
    assert first.count(Lane.INTERACTIVE) == 4


def test_key_that_stops_being_a_stream_is_waited_out(
    settings: BusSettings, client: redis.Redis, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    with PolledConsumer(settings, ["batch"]) as one:
        publish_all(settings, numbered(1))
        eventually(lambda: one.deliveries)
        client.delete(stream)
        client.set(stream, "not a stream")
        eventually(lambda: "WRONGTYPE" in caplog.text)
        client.delete(stream)
        eventually(lambda: client.exists(stream), what="the stream is made again")
        publish_all(settings, numbered(1, first=1))
        eventually(lambda: b"1" in one.values)
    warnings = [record for record in caplog.records if "WRONGTYPE" in record.getMessage()]
    assert len(warnings) == 1


def test_key_that_is_no_stream_keeps_a_consumer_from_starting(
    settings: BusSettings, client: redis.Redis, stream: str
) -> None:
    client.delete(stream)
    client.set(stream, "not a stream")
    with pytest.raises(ConfigurationError, match="WRONGTYPE"), PolledConsumer(settings, ["batch"]):
        pass
