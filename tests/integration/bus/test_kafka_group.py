"""How the workers' group on Kafka changes while work is in hand."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arno.bus import BusSettings, Consumer, Delivery, make_consumer, topic_name
from arno.bus.kafka.settings import consumer_config
from arno.vocabulary import Lane
from kafka import KafkaAdminClient, TopicPartition
from support import builders, tied_process
from support.bus_load import BackgroundLoad, numbered, publish_all
from support.bus_member import lines, start_member
from support.eventually import eventually
from support.kafka_broker import KafkaBroker
from support.polled_consumer import PolledConsumer, keep

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka_broker: KafkaBroker, unique_prefix: str) -> BusSettings:
    return builders.kafka_bus(kafka_broker, unique_prefix, partitions=4, claim_timeout_s=2.0)


@pytest.fixture
def group(settings: BusSettings) -> Iterator[Group]:
    made = Group(settings)
    yield made
    made.close()


class Group:
    """The group's commits, as the broker knows them."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)

    def committed(self) -> dict[int, int]:
        name = self._settings.group
        offsets = self._admin.list_group_offsets({name: None}).get(name, {})
        return {partition.partition: found.offset for partition, found in offsets.items()}

    def ends(self) -> dict[int, int]:
        topic = topic_name(self._settings.topic_prefix, Lane.BATCH)
        partitions = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
        found = self._admin.list_partition_offsets(dict.fromkeys(partitions, -1))
        return {partition.partition: at.offset for partition, at in found.items()}

    def close(self) -> None:
        self._admin.close()


class SlowWork:
    """Finishes deliveries on other threads, in any order, and keeps what it finished."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._random = random.Random(7)
        self.finished: set[tuple[int, int]] = set()

    def begin(self, consumer: Consumer, delivery: Delivery) -> None:
        delay_s = self._random.uniform(0, self._most_s)
        threading.Timer(delay_s, self._end, [consumer, delivery]).start()

    def _end(self, consumer: Consumer, delivery: Delivery) -> None:
        receipt = delivery.receipt
        self.finished.add((receipt.partition, int(receipt.position)))
        consumer.done(receipt)


class Member(PolledConsumer):
    """A member whose work takes a while."""

    def __init__(self, settings: BusSettings, work: SlowWork) -> None:
        super().__init__(settings, [Lane.BATCH], self._begin)
        self._work = work

    def _begin(self, delivery: Delivery) -> bool:
        self._work.begin(self.consumer, delivery)
        return False


def test_new_partitions_reach_a_member_whose_polls_are_shorter_than_a_join(
    settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(settings: BusSettings) -> dict[str, Any]:
        return {**consumer_config(settings), "metadata_max_age_ms": 200}

    monkeypatch.setattr("arno.bus.kafka.consumer.consumer_config", config)
    consumer = make_consumer(settings, [Lane.BATCH])

    def holds(count: int) -> bool:
        consumer.poll(0.001)
        return consumer.statistics().partition_count == count

    consumer.start()
    try:
        eventually(lambda: holds(4), interval_s=0)
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
        admin.create_partitions({topic_name(settings.topic_prefix, Lane.BATCH): 5})
        admin.close()
        eventually(lambda: holds(5), interval_s=0)
    finally:
        consumer.close()


def test_partition_that_leaves_waits_for_its_unfinished_work(settings: BusSettings) -> None:
    publish_all(settings, numbered(40))
    work = SlowWork(most_s=1.0)
    with Member(settings, work) as one:
        eventually(lambda: len(one.deliveries) == 40)
        with Member(settings, work) as two:
            eventually(lambda: two.consumer.statistics().partition_count == 2)
            eventually(lambda: len(work.finished) == 40)
            assert two.deliveries == []
        assert one.consumer.statistics().stale_done_count == 0


def test_partition_moves_although_its_work_never_finishes(settings: BusSettings) -> None:
    publish_all(settings, numbered(40))
    with PolledConsumer(settings, [Lane.BATCH], keep) as one:
        eventually(lambda: len(one.deliveries) == 40)
        with PolledConsumer(settings, [Lane.BATCH]) as two:
            eventually(lambda: two.consumer.statistics().partition_count == 2)
            eventually(lambda: two.deliveries)
            one.finish_all()
            assert one.consumer.statistics().stale_done_count >= len(set(two.values))


def test_paused_member_stays_paused_through_a_rebalance(settings: BusSettings) -> None:
    publish_all(settings, numbered(60))
    small = settings.model_copy(update={"window": 4})
    with PolledConsumer(small, [Lane.BATCH], keep) as one:
        eventually(lambda: one.consumer.statistics().paused)
        with PolledConsumer(settings, [Lane.BATCH]) as two:
            eventually(lambda: two.deliveries)
        eventually(lambda: one.consumer.statistics().partition_count == 4)
        assert one.most_unfinished <= 4
        eventually(lambda: one.finish_all() or {*one.values, *two.values} >= _values(60))
    assert one.most_unfinished <= 4


def test_commits_never_pass_unfinished_work_while_members_come_and_go(
    settings: BusSettings, group: Group
) -> None:
    work = SlowWork(most_s=0.3)
    checked_count = 0
    with BackgroundLoad(settings) as load, Member(settings, work) as stays:
        for _ in range(3):
            with Member(settings, work) as guest:
                eventually(lambda: guest.deliveries)
                for _ in range(5):
                    checked_count += _check_commits(group.committed(), work)
        load.close()
        eventually(lambda: group.committed() == group.ends(), what="all is committed")
        checked_count += _check_commits(group.committed(), work)
        assert stays.drain(10)
    assert checked_count > 100


def test_killed_members_lose_nothing(settings: BusSettings, tmp_path: Path) -> None:
    logs = [tmp_path / f"member-{number}.log" for number in range(4)]

    def start(number: int) -> subprocess.Popen[bytes]:
        return start_member(settings, Lane.BATCH, log=logs[number], work_s=0.2)

    members = [start(0), start(1)]
    with BackgroundLoad(settings) as load:
        for number in (2, 3):
            _await_work(logs[number - 2])
            tied_process.kill(members[number - 2])
            members.append(start(number))
        load.close()
        eventually(
            lambda: load.acknowledged <= {value for log in logs for value in lines(log, "did")},
            timeout_s=30,
        )
    for member in members:
        tied_process.kill(member)


def _await_work(log: Path) -> None:
    eventually(lambda: len(lines(log, "did")) > 20, timeout_s=30)


def _check_commits(committed: dict[int, int], work: SlowWork) -> int:
    # The commits were read before this set, so every offset below them must be in it.
    below = {(partition, at) for partition, end in committed.items() for at in range(end)}
    assert below <= work.finished
    return len(below)


def _values(count: int) -> set[bytes]:
    return {record.value for record in numbered(count)}
