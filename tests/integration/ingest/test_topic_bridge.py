"""`arno ingest` between two topics of a real broker, in front of a real gateway and worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from arno.api.v1 import events_pb2, types_pb2
from google.protobuf import json_format
from support import images, tied_process
from support.arno_up import ArnoUp, start_arno
from support.availability import require
from support.eventually import eventually
from support.kafka_broker import KafkaBroker
from support.kafka_topics import Found, Topics, by_key
from support.redis_server import WAYS_TO_GET_IT, redis_executables

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

KEYS = [b"door", b"yard", b"gate", b"roof"]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArnoUp]:
    require(redis_executables(), WAYS_TO_GET_IT)
    up = ArnoUp(tmp_path_factory.mktemp("up"))
    yield up
    assert up.stop() == 0


@pytest.fixture
def topics(kafka_broker: KafkaBroker) -> Iterator[Topics]:
    topics = Topics(kafka_broker.bootstrap)
    yield topics
    topics.close()


class Bridge:
    """One route from NAME.in to NAME.out and NAME.dead, and the process that runs it."""

    def __init__(
        self, topics: Topics, folder: Path, name: str, address: str, **route: object
    ) -> None:
        self.topics = topics
        self.source, self.results, self.dead = (f"{name}.{one}" for one in ("in", "out", "dead"))
        self.group = f"{name}-group"
        self.log = folder / "ingest.log"
        self._config = folder / "streams.yaml"
        # JSON is YAML.
        self._config.write_text(
            json.dumps(
                {
                    "address": address,
                    "kafka_bootstrap": topics.bootstrap,
                    "claim_timeout_s": 1.5,
                    "topics": [
                        {
                            "topic": self.source,
                            "results": self.results,
                            "dead_letters": self.dead,
                            "group": self.group,
                            "tasks": ["OD"],
                            "partitions_check_s": 0.5,
                            **route,
                        }
                    ],
                }
            )
        )
        self.start()

    def start(self) -> None:
        self.process = start_arno("ingest", "--config", self._config, log=self.log)

    def kill(self) -> None:
        tied_process.kill(self.process)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def finished(self) -> bool:
        """Whether every record of the source is committed."""
        assert self.process.poll() is None, self.log.read_text()
        return self.topics.lag(self.group, self.source) == 0

    def await_finished(self) -> None:
        eventually(self.finished, timeout_s=60, interval_s=0.1, what="the lag is 0")


@pytest.fixture
def bridge(up, topics, tmp_path, unique_prefix):
    made: list[Bridge] = []

    def make(*, partitions: int = 2, address: str = up.address, largest: str = "1048588", **route):
        topics.create(
            f"{unique_prefix}.in", partitions=partitions, **{"max.message.bytes": largest}
        )
        topics.create(f"{unique_prefix}.out", partitions=partitions)
        topics.create(f"{unique_prefix}.dead")
        made.append(Bridge(topics, tmp_path, unique_prefix, address, **route))
        return made[0]

    yield make
    for one in made:
        one.stop()


def ids(records: list[Found]) -> list[str]:
    return [record.header("arno-id") for record in records]


def test_result_keeps_key_headers_and_timestamp_of_its_image(bridge, topics):
    running = bridge()
    headers = [("camera", b"7"), ("camera", b"8"), ("trace", b"abc")]
    sent = {
        "value": images.png(),
        "key": b"door",
        "headers": headers,
        "timestamp_ms": 1_700_000_000_123,
    }
    topics.write(running.source, [sent])
    running.await_finished()
    (found,) = topics.read(running.results)
    assert (found.key, found.timestamp_ms) == (b"door", 1_700_000_000_123)
    assert found.headers[:3] == headers
    event = json_format.Parse(found.value, events_pb2.ResultEvent())
    assert event.id == found.header("arno-id") == f"{running.source}/{event.topic.partition}/0"
    assert event.topic.time.ToMilliseconds() == 1_700_000_000_123
    (result,) = event.response.results
    assert result.task == types_pb2.TASK_OD
    assert result.answer.detection.regions[0].label == "null"
    assert running.stop() == 0


def test_protobuf_results_parse_as_the_published_message(bridge, topics):
    running = bridge(output="protobuf")
    topics.write(running.source, [{"value": images.png()}])
    running.await_finished()
    (found,) = topics.read(running.results)
    assert found.key is None
    assert found.header("arno-content-type").endswith("messageType=arno.api.v1.ResultEvent")
    assert events_pb2.ResultEvent.FromString(found.value).response.results


def test_foreign_records_are_answered_or_become_dead_letters_with_their_reason(bridge, topics):
    running = bridge(partitions=1, largest="25000000")
    for codec in ("gzip", "lz4", "snappy", "zstd"):
        topics.write(running.source, [{"value": images.png()}] * 2, compression_type=codec)
    bad = [
        {"value": b"no image", "key": b"k", "headers": [("from", b"there")]},
        {"value": None, "key": b"k"},
        {"value": b""},
        {"value": images.png()[:12]},
        {"value": b"\xff\xd8\xff" + bytes(20_000_000)},
    ]
    topics.write(running.source, bad)
    topics.write(running.source, [{"value": images.png()}])
    running.await_finished()
    assert len(set(ids(topics.read(running.results)))) == 9
    dead = {record.header("arno-offset"): record for record in topics.read(running.dead)}
    reasons = {int(offset): record.header("arno-reason") for offset, record in dead.items()}
    assert reasons == {
        8: "INVALID_IMAGE",
        9: "INVALID_IMAGE",
        10: "INVALID_IMAGE",
        11: "INVALID_IMAGE",
        12: "LIMIT_EXCEEDED",
    }
    garbage, too_large = dead["8"], dead["12"]
    assert (garbage.key, garbage.value, garbage.header("from")) == (b"k", b"no image", "there")
    assert "the record holds no image" in dead["9"].header("arno-message")
    assert too_large.header("arno-value-left-out") == "20000003"
    assert "16777216 bytes" in too_large.header("arno-message")


def test_bridge_that_is_killed_under_load_answers_every_image_and_keeps_the_order_of_keys(
    bridge, topics
):
    running = bridge(partitions=4, window=32)
    for kills in range(3):
        records = [
            {"value": images.png(), "key": KEYS[number % len(KEYS)]} for number in range(200)
        ]
        topics.write(running.source, records)
        wanted = 200 * kills + 60
        eventually(lambda at=wanted: topics.size(running.results) >= at, timeout_s=60)
        running.kill()
        running.start()
    running.await_finished()
    sources, results = topics.read(running.source), topics.read(running.results)
    wanted_ids = {f"{running.source}/{one.partition}/{one.offset}" for one in sources}
    assert set(ids(results)) == wanted_ids
    assert len(results) >= len(wanted_ids) == 600
    in_order: dict[bytes, list[str]] = {key: [] for key in KEYS}
    for one in sources:
        in_order[one.key].append(f"{running.source}/{one.partition}/{one.offset}")
    assert by_key(results, "arno-id") == in_order
    assert topics.size(running.dead) == 0


def test_partition_that_is_added_is_read_and_sigterm_leaves_nothing_behind(bridge, topics):
    running = bridge(partitions=1)
    topics.write(running.source, [{"value": images.png(), "partition": 0}])
    running.await_finished()
    topics.add_partitions(running.source, 2)
    topics.write(running.source, [{"value": images.png(), "partition": 1}] * 200)
    eventually(lambda: topics.size(running.results) >= 20, timeout_s=30)
    assert running.stop() == 0
    answered = topics.size(running.results)
    assert topics.lag(running.group, running.source) == 201 - answered
    running.start()
    running.await_finished()
    found = ids(topics.read(running.results))
    assert len(found) == len(set(found)) == 201
