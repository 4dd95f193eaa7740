"""The rules that every bus keeps. Each adapter's test module runs this suite on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from arno.bus import DEAD_LETTERS, BusSettings, Record, make_admin, make_consumer, make_publisher
from arno.errors import BackendUnavailableError, LimitExceededError, OverloadedError
from arno.vocabulary import Lane
from support import tied_process
from support.bus_load import BackgroundLoad, numbered, publish_all
from support.bus_member import lines, start_member
from support.eventually import eventually, eventually_async
from support.polled_consumer import PolledConsumer, finish, keep

MIB = 1024 * 1024


class Server(Protocol):
    """What the suite needs of the real server behind a bus."""

    def start(self) -> None: ...
    def kill(self) -> None: ...


class BusSuite:
    """Needs the fixtures ``server`` and ``settings`` (own topics, not yet created)."""

    @pytest.fixture
    def topics(self, settings: BusSettings) -> BusSettings:
        admin = make_admin(settings)
        admin.ensure_topics()
        admin.close()
        return settings

    def test_missing_topics_are_created_once(self, settings: BusSettings) -> None:
        admin = make_admin(settings)
        names = {f"{settings.topic_prefix}.{channel}" for channel in [*Lane, DEAD_LETTERS]}
        assert admin.describe() == {}
        assert set(admin.ensure_topics()) == names
        assert admin.ensure_topics() == []
        assert set(admin.describe()) == {*Lane, DEAD_LETTERS}
        admin.close()

    async def test_missing_topic_keeps_a_publisher_from_starting(
        self, settings: BusSettings
    ) -> None:
        publisher = make_publisher(settings)
        with pytest.raises(BackendUnavailableError, match=f"{settings.topic_prefix}.batch"):
            await publisher.start()
        await publisher.close()

    def test_missing_topic_keeps_a_consumer_from_starting(self, settings: BusSettings) -> None:
        consumer = make_consumer(settings, [Lane.BATCH])
        with pytest.raises(BackendUnavailableError, match=f"{settings.topic_prefix}.batch"):
            consumer.start()
        consumer.close()

    @pytest.mark.parametrize("size", [0, 1000, 5 * MIB, 8 * MIB], ids="{} bytes".format)
    def test_record_arrives_as_it_was_sent(self, topics: BusSettings, size: int) -> None:
        sent = Record(Lane.STREAM, b"x" * size, {"traceparent": b"00-1", "empty": b""})
        publish_all(topics, [sent])
        with PolledConsumer(topics, [Lane.STREAM]) as one:
            eventually(lambda: one.deliveries)
        assert one.deliveries[0].record == sent
        assert one.deliveries[0].appended_at_ms > 1_700_000_000_000

    @pytest.mark.parametrize("what", ["value", "headers"])
    async def test_too_large_record_is_refused(self, topics: BusSettings, what: str) -> None:
        publisher = make_publisher(topics)
        await publisher.start()
        value = b"x" * (topics.record_bytes_max + 1) if what == "value" else b""
        headers = {"h": b"x" * MIB} if what == "headers" else {}
        with pytest.raises(LimitExceededError, match="bytes"):
            await publisher.publish(Record(Lane.BATCH, value, headers), timeout_s=5)
        await publisher.close()

    async def test_publisher_refuses_more_than_it_may_buffer(self, topics: BusSettings) -> None:
        publisher = make_publisher(topics.model_copy(update={"publish_buffer_bytes_max": 3 * MIB}))
        await publisher.start()
        record = Record(Lane.BATCH, b"x" * 2 * MIB)
        async with asyncio.TaskGroup() as sending:
            first = sending.create_task(publisher.publish(record, timeout_s=10))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await publisher.publish(record, timeout_s=10)
        await first
        await publisher.publish(record, timeout_s=10)
        await publisher.close()

    async def test_publisher_counts_what_is_not_finished_by_lane(self, topics: BusSettings) -> None:
        publisher = make_publisher(topics)
        await publisher.start()

        async def counted(**counts: int) -> bool:
            # A broker that is new has no coordinator of groups for a moment.
            with suppress(BackendUnavailableError):
                return await publisher.unfinished() == dict.fromkeys(Lane, 0) | counts
            return False

        await eventually_async(counted)
        for number in range(3):
            await publisher.publish(Record(Lane.BATCH, bytes([number])), timeout_s=10)
        await publisher.publish(Record(Lane.STREAM, b""), timeout_s=10)
        assert await counted(stream=1, batch=3)
        assert publisher.share_ahead(Lane.BATCH, "") == 1.0
        assert 0.0 <= publisher.share_ahead(Lane.BATCH, "acme") <= 1.0
        with PolledConsumer(topics, [Lane.BATCH], handle=keep) as one:
            await asyncio.to_thread(eventually, lambda: len(one.deliveries) == 3)
            assert await counted(stream=1, batch=3)
            one.finish_all()
            await eventually_async(partial(counted, stream=1))
        await publisher.close()

    async def test_publisher_says_that_the_bus_answers(self, topics: BusSettings) -> None:
        publisher = make_publisher(topics)
        with pytest.raises(BackendUnavailableError):
            await publisher.publish(Record(Lane.BATCH, b""), timeout_s=1)
        await publisher.start()
        await publisher.ping()
        await publisher.close()
        await publisher.close()

    def test_every_record_of_every_lane_is_delivered(self, topics: BusSettings) -> None:
        records = [record for lane in Lane for record in numbered(40, lane)]
        publish_all(topics, records)
        with PolledConsumer(topics, list(Lane)) as one:
            eventually(lambda: len(one.deliveries) >= len(records))
            assert one.drain(20)
        got = {(delivery.record.channel, delivery.record.value) for delivery in one.deliveries}
        assert got == {(record.channel, record.value) for record in records}

    def test_finished_records_are_not_delivered_again(self, topics: BusSettings) -> None:
        publish_all(topics, numbered(30))
        with PolledConsumer(topics, [Lane.BATCH], keep) as one:
            eventually(lambda: len(one.deliveries) == 30)
            for delivery in reversed(one.deliveries):
                one.consumer.done(delivery.receipt)
            assert one.drain(20)
        publish_all(topics, numbered(1, first=30))
        with PolledConsumer(topics, [Lane.BATCH]) as two:
            eventually(lambda: two.deliveries)
        assert two.values == [b"30"]

    def test_restart_brings_back_what_was_unfinished(self, topics: BusSettings) -> None:
        publish_all(topics, numbered(20))
        unfinished = {b"5", b"11"}
        with PolledConsumer(
            topics, [Lane.BATCH], lambda d: d.record.value not in unfinished
        ) as one:
            eventually(lambda: len(one.deliveries) == 20)
        with PolledConsumer(topics, [Lane.BATCH]) as two:
            eventually(lambda: unfinished <= set(two.values))
            assert two.drain(10)
        # A log of offsets repeats what follows the first unfinished record, never what precedes it.
        assert not {b"0", b"1", b"2", b"3", b"4"} & set(two.values)

    def test_full_window_pauses_and_half_a_window_resumes(self, topics: BusSettings) -> None:
        publish_all(topics, numbered(40))
        small = topics.model_copy(update={"window": 8})
        with PolledConsumer(small, [Lane.BATCH], keep) as one:
            eventually(lambda: len(one.deliveries) == 8)
            eventually(lambda: one.consumer.statistics().paused)
            for delivery in one.deliveries[:3]:
                one.consumer.done(delivery.receipt)
            eventually(lambda: one.consumer.statistics().unfinished_count == 5)
            assert one.consumer.statistics().paused
            one.consumer.done(one.deliveries[3].receipt)
            eventually(lambda: len(one.deliveries) == 12)
            eventually(lambda: one.finish_all() or len(one.deliveries) == 40)
            assert one.drain(20) or one.finish_all()
        assert one.most_unfinished <= 8
        assert sorted(set(one.values), key=int) == [b"%d" % number for number in range(40)]

    def test_members_share_the_work(self, topics: BusSettings) -> None:
        with (
            PolledConsumer(topics, [Lane.BATCH]) as one,
            PolledConsumer(topics, [Lane.BATCH]) as two,
            BackgroundLoad(topics) as load,
        ):
            eventually(lambda: len(one.deliveries) > 5 and len(two.deliveries) > 5)
            load.close()
            eventually(lambda: load.acknowledged <= {*one.values, *two.values})

    def test_closed_member_hands_back_at_once(self, topics: BusSettings) -> None:
        patient = topics.model_copy(update={"claim_timeout_s": 60.0})
        publish_all(topics, numbered(5))
        with PolledConsumer(patient, [Lane.BATCH], keep) as one:
            eventually(lambda: len(one.deliveries) == 5)
        with PolledConsumer(patient, [Lane.BATCH]) as two:
            eventually(lambda: set(one.values) == set(two.values), timeout_s=10)

    def test_killed_member_loses_nothing(self, topics: BusSettings, tmp_path: Path) -> None:
        log = tmp_path / "member.log"
        impatient = topics.model_copy(update={"claim_timeout_s": 1.2})
        publish_all(topics, numbered(10))
        member = start_member(impatient, Lane.BATCH, log=log)
        eventually(lambda: len(lines(log, "got")) == 10)
        tied_process.kill(member)
        with PolledConsumer(impatient, [Lane.BATCH]) as two:
            eventually(lambda: len(set(two.values)) == 10)

    def test_slow_work_is_not_taken_from_a_living_member(self, topics: BusSettings) -> None:
        impatient = topics.model_copy(update={"claim_timeout_s": 1.0})
        with (
            PolledConsumer(impatient, [Lane.BATCH], keep) as one,
            PolledConsumer(impatient, [Lane.BATCH], keep) as two,
        ):
            both = (one, two)
            eventually(lambda: all(m.consumer.statistics().partition_count == 1 for m in both))
            publish_all(topics, numbered(6))
            eventually(lambda: len(one.deliveries) + len(two.deliveries) == 6)
            # The rule is about elapsed time, so time has to pass.
            asyncio.run(asyncio.sleep(2.5 * impatient.claim_timeout_s))
            for member in both:
                member.finish_all()
                assert member.consumer.statistics().stale_done_count == 0
        assert len(one.deliveries) + len(two.deliveries) == 6

    def test_stale_receipts_are_ignored(self, topics: BusSettings) -> None:
        publish_all(topics, numbered(2))
        with PolledConsumer(topics, [Lane.BATCH], keep) as one:
            eventually(lambda: len(one.deliveries) == 2)
            receipt = one.deliveries[0].receipt
            one.consumer.done(dataclasses.replace(receipt, epoch=receipt.epoch + 7))
            assert one.consumer.statistics().unfinished_count == 2
            one.consumer.done(receipt)
            one.consumer.done(receipt)
            statistics = one.consumer.statistics()
        assert statistics.unfinished_count == 1
        assert statistics.stale_done_count == 2

    def test_drain_fetches_nothing_more_and_waits_for_work(self, topics: BusSettings) -> None:
        publish_all(topics, numbered(1))
        with PolledConsumer(topics, [Lane.BATCH], keep) as one:
            eventually(lambda: len(one.deliveries) == 1)
            publish_all(topics, numbered(5, Lane.STREAM))
            assert not one.drain(0.3)
        assert len(one.deliveries) == 1
        with PolledConsumer(topics, [Lane.BATCH, Lane.STREAM]) as two:
            eventually(lambda: len(two.deliveries) == 6)
            assert two.drain(10)

    def test_killed_server_loses_nothing_that_it_acknowledged(
        self, topics: BusSettings, server: Server
    ) -> None:
        with PolledConsumer(topics, [Lane.BATCH], finish) as one, BackgroundLoad(topics) as load:
            eventually(lambda: len(one.deliveries) > 20)
            server.kill()
            server.start()
            after_kill = len(load.acknowledged)
            eventually(lambda: len(load.acknowledged) > after_kill + 20, timeout_s=60)
            load.close()
            eventually(lambda: load.acknowledged <= set(one.values), timeout_s=60)
            assert one.drain(20)

    def test_dead_server_is_told_to_publishers_in_time(
        self, topics: BusSettings, server: Server
    ) -> None:
        async def publish_to_the_dead() -> None:
            publisher = make_publisher(topics)
            await publisher.start()
            server.kill()
            with pytest.raises(BackendUnavailableError, match=r"0\.5 s"):
                await publisher.publish(Record(Lane.BATCH, b"lost"), timeout_s=0.5)
            with pytest.raises(BackendUnavailableError):
                await publisher.ping()
            server.start()
            await publisher.publish(Record(Lane.BATCH, b"kept"), timeout_s=20)
            await publisher.close()

        asyncio.run(publish_to_the_dead())
        with PolledConsumer(topics, [Lane.BATCH]) as one:
            eventually(lambda: b"kept" in one.values)
