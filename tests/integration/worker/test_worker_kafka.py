"""The same worker on a real Kafka broker."""

from pathlib import Path

import pytest
from arno.api.v1 import job_pb2
from arno.bus import make_admin
from arno.worker.settings import WorkerSettings
from support.eventually import eventually
from support.job_client import JobClient, job_record
from support.kafka_broker import KafkaBroker
from support.polled_consumer import PolledConsumer
from support.workers import RunningWorker

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka_settings(worker_settings: WorkerSettings, kafka_broker: KafkaBroker) -> WorkerSettings:
    changes = {"bus": "kafka", "kafka_bootstrap": kafka_broker.bootstrap, "partitions": 2}
    settings = worker_settings.model_copy(update=changes)
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    return settings


def test_jobs_on_kafka_end_once_and_are_not_delivered_again(
    kafka_settings: WorkerSettings, gate: Path
) -> None:
    with JobClient(kafka_settings) as client:
        with RunningWorker(kafka_settings, gate) as first:
            ids = client.submit_all([job_record() for _ in range(40)])
            client.publish(b"\xff foreign bytes")
            with PolledConsumer(kafka_settings, ["dead"]) as dead:
                outcomes = [client.outcome(job_id) for job_id in ids]
                eventually(lambda: dead.values, timeout_s=30, what="the dead letter")
        assert first.drained
        assert {outcome.state for outcome in outcomes} == {job_pb2.JOB_STATE_SUCCEEDED}
        with RunningWorker(kafka_settings, gate) as second:
            client.outcome(client.submit(job_record()))
        assert second.counts("arno_worker_jobs_total") == {"SUCCEEDED": 1}
        assert second.counts("arno_worker_repeated_deliveries_total") == {}
