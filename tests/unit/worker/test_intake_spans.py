"""The span of a job ends in every case, also where the job cannot even be begun."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from arno.bus.ports import Delivery, Receipt, Record
from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import StoredJobError
from arno.ops import tracing
from arno.ops.clock import Clock
from arno.worker.intake import Intake
from arno.worker.job import Job
from arno.worker.quarantine import Quarantine
from arno.worker.retrying import AbandonedError, Backend
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.job_client import job_record


class WriterThatFails:
    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def begin(self, *_args: object, **_options: object) -> None:
        raise self._fault


class DeadLetters:
    def __init__(self) -> None:
        self.records: list[JobRecord] = []

    def give_up(
        self, record: JobRecord, channel: str, error: Exception, *, attempt_count: int
    ) -> None:
        self.records.append(record)


class DoneConsumer:
    def __init__(self) -> None:
        self.done_count = 0

    def done(self, receipt: Receipt) -> None:
        self.done_count += 1


@pytest.fixture
def ended_spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    return exporter


def intake(fault: Exception, dead_letters: DeadLetters) -> Intake:
    unused = cast("Any", None)
    return Intake(
        engine=unused,
        writer=cast("Any", WriterThatFails(fault)),
        store=Backend("result store", threading.Event()),
        quarantine=Quarantine(deaths_max=3),
        dead_letters=cast("Any", dead_letters),
        results=unused,
        prepared=unused,
        clock=Clock(),
        metrics=unused,
        preparing=unused,
    )


def delivered(consumer: DoneConsumer) -> Job:
    record = Record("interactive", job_record().SerializeToString())
    delivery = Delivery(record, Receipt("interactive", 0, "1", 1), appended_at_ms=0)
    job = Job(delivery, cast("Any", consumer))
    job.read_record()
    return job


def test_span_of_a_job_that_others_wrote_into_ends_with_its_dead_letter(
    ended_spans: InMemorySpanExporter,
) -> None:
    dead_letters, consumer = DeadLetters(), DoneConsumer()
    intake(StoredJobError("not Arno's"), dead_letters).take(delivered(consumer))
    assert [span.name for span in ended_spans.get_finished_spans()] == ["arno.job"]
    assert len(dead_letters.records) == 1
    assert consumer.done_count == 1


def test_span_of_a_job_that_a_leaving_process_could_not_begin_ends(
    ended_spans: InMemorySpanExporter,
) -> None:
    with pytest.raises(AbandonedError):
        intake(AbandonedError("leaves"), DeadLetters()).take(delivered(DoneConsumer()))
    assert len(ended_spans.get_finished_spans()) == 1
