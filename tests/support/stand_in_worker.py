"""A worker without a model: takes jobs from the real bus, writes outcomes to the real store.

It answers at once, or leaves every job in the test's hands, to end it when and how the test says.
"""

from __future__ import annotations

import time

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.bus import make_consumer
from arno.bus.ports import Delivery
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.gateway.settings import GatewaySettings
from arno.results.jobs import Attempt
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState, Lane
from support.background import Background


def answer(spec: types_pb2.TaskSpec, text: str) -> types_pb2.TaskResult:
    """The result of a task that was answered with a text."""
    return types_pb2.TaskResult(
        id=spec.id,
        task=spec.task,
        answer=types_pb2.Answer(
            text=types_pb2.TextAnswer(text=text), finish_reason=types_pb2.FINISH_REASON_STOP
        ),
    )


def success(record: JobRecord) -> JobOutcome:
    """Every task answered with its own id."""
    results = [answer(spec, spec.id) for spec in record.tasks]
    return JobOutcome(
        state=job_pb2.JOB_STATE_SUCCEEDED,
        response=vision_pb2.InferResponse(job_id=record.id, results=results),
        ended_at_ms=time.time_ns() // 1_000_000,
    )


class StandInWorker(Background):
    """One worker on its own thread. Any thread may look at it and end jobs."""

    def __init__(self, settings: GatewaySettings, *, answers: bool = True) -> None:
        """Take where bus and store are; ``answers=False`` leaves the jobs to the test."""
        super().__init__("stand-in worker")
        self._consumer = make_consumer(settings, [lane.value for lane in Lane])
        self._writer = WorkerStore(settings)
        self._answers = answers
        self.deliveries: list[Delivery] = []
        self.taken: list[JobRecord] = []
        self.attempts: dict[str, Attempt] = {}

    def work(self) -> None:
        """Take jobs until told to stop."""
        self._consumer.start()
        while not self.stopping.is_set():
            for delivery in self._consumer.poll(0.05):
                self._take(delivery)
        self._consumer.close()

    def close(self) -> None:
        """Take no more, and disconnect."""
        try:
            super().close()
        finally:
            self._writer.close()

    def progress(self, record: JobRecord, results: dict[int, types_pb2.TaskResult]) -> bool:
        """Write that some tasks have ended; say whether to go on."""
        return self._writer.progress(
            self.attempts[record.id],
            JobState.DECODING,
            decoded_token_count=len(results),
            task_results={index: one.SerializeToString() for index, one in results.items()},
        )

    def finish(self, record: JobRecord, outcome: JobOutcome | None = None) -> bool:
        """End a job; say whether this was the end that counts."""
        return self._writer.finish(self.attempts[record.id], outcome or success(record))

    def cancelled(self, record: JobRecord) -> bool:
        """Whether somebody asked to stop this job."""
        return record.id in self._writer.cancelled([record.id])

    def image(self, record: JobRecord) -> bytes | None:
        """The job's image, from the record or from the blob store."""
        if record.WhichOneof("image") == "blob":
            return self._writer.get_blob(record.blob.sha256)
        return record.inline_image

    def _take(self, delivery: Delivery) -> None:
        record = JobRecord.FromString(delivery.record.value)
        attempt = self._writer.begin(record)
        self._consumer.done(delivery.receipt)
        self.deliveries.append(delivery)
        if attempt.state.ended:
            return
        self.attempts[record.id] = attempt
        # Before the answer: who has the answer may look here.
        self.taken.append(record)
        if self._answers:
            self.finish(record)
