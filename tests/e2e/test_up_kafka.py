"""`arno up` on a real Kafka broker, as a user runs it."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import arno as sdk
import pytest
from PIL import Image
from support.arno_up import ArnoUp, arno
from support.availability import require
from support.eventually import eventually
from support.redis_server import WAYS_TO_GET_IT, redis_executables

pytestmark = [pytest.mark.redis, pytest.mark.kafka]


@pytest.fixture
def up(kafka_broker, unique_prefix, tmp_path):
    require(redis_executables(), WAYS_TO_GET_IT)
    up = ArnoUp(
        tmp_path,
        "--bus",
        "kafka",
        "--kafka-bootstrap",
        kafka_broker.bootstrap,
        ARNO_TOPIC_PREFIX=unique_prefix,
        ARNO_GROUP=unique_prefix,
        ARNO_PARTITIONS="2",
        # A worker that was killed is given up after two seconds instead of fifteen.
        ARNO_CLAIM_TIMEOUT_S="2",
    )
    yield up
    assert up.stop() == 0


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (640, 480), (200, 220, 240)).save(path)
    return path


def test_jobs_travel_over_kafka_and_survive_the_killing_of_their_worker(
    up, image, kafka_broker, unique_prefix
):
    said = arno("infer", image, "--task", "OD", "--json", "--address", up.address)
    assert said.exit_code == 0, said.err
    listed = arno(
        *("topics", "list", "--bus", "kafka", "--kafka-bootstrap", kafka_broker.bootstrap),
        ARNO_TOPIC_PREFIX=unique_prefix,
    )
    assert f"{unique_prefix}.interactive" in listed.out
    killed = up.children()["worker"]
    with sdk.Client(up.address) as client, ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(client.infer, image, "OD", "CAPTION", timeout_s=110) for _ in range(60)
        ]
        eventually(lambda: sum(answer.done() for answer in answers) >= 5, timeout_s=60)
        os.kill(killed, signal.SIGKILL)
        assert all(answer.result().ok for answer in answers)
    eventually(lambda: up.children().get("worker", killed) != killed, timeout_s=30)
