"""The worker's Prometheus metrics: counted where things happen, or read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arno.api.v1 import types_pb2
from arno.bus.ports import ConsumerStatistics
from arno.bus.v1.records_pb2 import JobOutcome
from arno.engine.interface import EngineStatistics
from arno.errors import EngineError, PoisonedJobError, StoredJobError
from arno.ops.tenant_labels import TenantLabels
from arno.ops.tracing import exemplar
from arno.vocabulary import JobState, Lane
from arno.worker.job import Job, UnreadableRecordError

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

Exemplar: TypeAlias = "dict[str, str] | None"
"""Leads from an observed time to its trace."""

# From a null engine's answer to a batch job that waited for hours.
_JOB_BUCKETS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
# From a thumbnail's preparation to a long answer on a CPU.
_STAGE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WorkerMetrics:
    """The metrics of one worker process. Any thread."""

    def __init__(self, registry: CollectorRegistry, *, tenants_max: int = 100) -> None:
        """Register the metrics that are counted; `follow` registers those that are read.

        Args:
            registry: Where they go.
            tenants_max: Tenants that have labels of their own.
        """
        self._registry = registry
        self._tenants = TenantLabels(count_max=tenants_max)
        self.cold_start = Gauge(
            "arno_worker_cold_start_seconds",
            "From the start of the process to a warm model.",
            registry=registry,
        )
        self._tasks = Counter(
            "arno_worker_tasks_total",
            "Task results stored, by what they are.",
            ["task", "outcome"],
            registry=registry,
        )
        self._truncations = Counter(
            "arno_worker_truncations_total",
            "Answers that ended otherwise than by the model's own end.",
            ["task", "finish_reason"],
            registry=registry,
        )
        self.jobs = self._counter("jobs", "Jobs ended, by state.", "state")
        self._faults = self._counter(
            "faults", "Tasks and jobs that ended with an error, by its reason.", "reason"
        )
        self.dead_letters = self._counter("dead_letters", "Records given up, by reason.", "reason")
        self._tenant_tokens = self._counter(
            "tenant_tokens", "Tokens of stored answers: a tenant's part of the decoding.", "tenant"
        )
        self._tenant_images = self._counter(
            "tenant_images", "Images of ended jobs: a tenant's part of the encoding.", "tenant"
        )
        self.duplicates = self._counter("duplicates", "Ends dropped: the job had ended before.")
        self.repeated_deliveries = self._counter("repeated_deliveries", "Deliveries of ended jobs.")
        self.store_failures = self._counter("store_failures", "Calls that missed the store.")
        # From the start, so that an alert on their increase sees the first one as well.
        for state in JobState:
            if state.ended:
                self.jobs.labels(state.value)
        for error in (PoisonedJobError, StoredJobError, UnreadableRecordError):
            self.dead_letters.labels(error.reason)
        self._faults.labels(EngineError.reason)
        self._job = self._histogram("job", "From acceptance to the stored end.", _JOB_BUCKETS)
        self._queue = self._histogram("queue", "From acceptance to a worker.", _JOB_BUCKETS)
        for lane in Lane:
            self._job.labels(lane.value)
            self._queue.labels(lane.value)
        self._prepare = self._histogram("prepare", "Preparing one image.", _STAGE_BUCKETS)
        self._encode = self._histogram("encode", "Encoding one image.", _STAGE_BUCKETS)
        self._decode = self._histogram("decode", "Decoding one answer.", _STAGE_BUCKETS)

    def follow(self, readings: Readings) -> None:
        """Expose what is read from a worker's parts from now on."""
        self._registry.register(_ReadingsCollector(readings))

    def count_end(self, job: Job, outcome: JobOutcome, state: JobState, *, first: bool) -> None:
        """Count an end that the store has taken, or dropped because it was not the first."""
        if not first:
            self.duplicates.inc()
            return
        self.jobs.labels(state.value).inc()
        lane, sample = job.lane, exemplar(job.span)
        job_s = (outcome.ended_at_ms - job.record.submitted_at_ms) / 1000
        self._job.labels(lane).observe(job_s, sample)
        self._queue.labels(lane).observe(job.queue_s, sample)
        if outcome.HasField("error"):
            self._faults.labels(outcome.error.reason).inc()
        tenant = self._tenants.label(job.record.tenant)
        results = outcome.response.results
        self._tenant_images.labels(tenant).inc()
        self._tenant_tokens.labels(tenant).inc(sum(one.answer.token_count for one in results))
        for n, result in enumerate(results):
            self._observe_result(lane, result, sample, first=n == 0)

    def _observe_result(
        self, lane: str, result: types_pb2.TaskResult, sample: Exemplar, *, first: bool
    ) -> None:
        task = _task_name(result.task)
        self._tasks.labels(task, result.WhichOneof("outcome")).inc()
        if not result.HasField("answer"):
            self._faults.labels(result.error.reason).inc()
            return
        answer = result.answer
        if answer.finish_reason != types_pb2.FINISH_REASON_STOP:
            reason = types_pb2.FinishReason.Name(answer.finish_reason)
            self._truncations.labels(task, reason.removeprefix("FINISH_REASON_")).inc()
        if first:
            self._prepare.labels(lane).observe(_seconds(answer.timings.prepare), sample)
        encode_s = _seconds(answer.timings.encode)
        if encode_s > 0:
            self._encode.labels(lane).observe(encode_s, sample)
        self._decode.labels(lane).observe(_seconds(answer.timings.decode), sample)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"arno_worker_{name}_total", meaning, labels, registry=self._registry)

    def _histogram(self, stage: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"arno_worker_{stage}_seconds",
            meaning,
            ["lane"],
            buckets=buckets,
            registry=self._registry,
        )


@dataclass(frozen=True, slots=True)
class Readings:
    """The functions that a scrape calls to read a worker's numbers. Each is for any thread.

    Attributes:
        busy_s: Seconds that the engine spent in steps.
        running_jobs: Jobs with the engine.
        engine: The engine's numbers.
        store_up: Whether the result store answered when it was last used.
        consumers: Each consumer's numbers, by lane.
    """

    busy_s: Callable[[], float]
    running_jobs: Callable[[], int]
    engine: Callable[[], EngineStatistics]
    store_up: Callable[[], bool]
    consumers: Mapping[str, Callable[[], ConsumerStatistics]]


class _ReadingsCollector(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Read each part once a scrape."""
        readings = self._readings
        yield _counter("busy_seconds", "Time that the engine spent in steps.", readings.busy_s())
        yield _gauge("in_hand_jobs", "Jobs with the engine.", readings.running_jobs())
        store_up = float(readings.store_up())
        yield _gauge("store_up", "Whether the result store answered last.", store_up)
        yield from _engine_metrics(readings.engine())
        yield from _consumer_metrics({name: read() for name, read in readings.consumers.items()})

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not ask for numbers."""
        return iter(())


def _engine_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    yield _gauge("waiting_sequences", "Submitted and not started.", engine.waiting_count)
    yield _gauge("running_sequences", "In the present batch.", engine.running_count)
    yield _gauge("batch_sequences", "Sequences of the last batch.", engine.batch_size_last)
    yield _counter("steps", "Decode steps, each of every sequence in the batch.", engine.step_count)
    yield _counter("encoded_images", "Images encoded.", engine.encoded_image_count)
    yield _counter("reused_images", "Encodings used again.", engine.reused_image_count)
    yield _counter("tokens", "Tokens decoded.", engine.token_count)
    yield _counter(
        "failed_batches", "Batches that failed and were split.", engine.failed_batch_count
    )


def _consumer_metrics(now: Mapping[str, ConsumerStatistics]) -> Iterator[Metric]:
    gauges = {
        "unfinished_records": ("Delivered and not done.", "unfinished_count"),
        "paused": ("Whether the window is full.", "paused"),
        "partitions": ("Partitions assigned.", "partition_count"),
    }
    counters = {
        "stale_completions": ("Completed after the partition had moved.", "stale_done_count"),
        "redeliveries": ("Deliveries known to be repeats.", "redelivered_count"),
        "rebalances": ("Assignments.", "rebalance_count"),
    }
    for name, (meaning, attribute) in gauges.items():
        family: Metric = GaugeMetricFamily(f"arno_worker_{name}", meaning, labels=["lane"])
        yield _by_lane(family, now, attribute)
    for name, (meaning, attribute) in counters.items():
        family = CounterMetricFamily(f"arno_worker_{name}", meaning, labels=["lane"])
        yield _by_lane(family, now, attribute)
    lag = GaugeMetricFamily("arno_worker_lag_records", "Not yet committed.", labels=["lane"])
    for statistics in now.values():
        for lane, count in statistics.lag.items():
            lag.add_metric([lane], count)
    yield lag


def _by_lane(family: Metric, now: Mapping[str, ConsumerStatistics], attribute: str) -> Metric:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    for lane, statistics in now.items():
        family.add_sample(name, {"lane": lane}, float(getattr(statistics, attribute)))
    return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"arno_worker_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"arno_worker_{name}", meaning, value=value)


def _task_name(number: types_pb2.Task.ValueType) -> str:
    # A number that is newer than this worker must not make a label of its own.
    known = number in types_pb2.Task.values()
    return types_pb2.Task.Name(number).removeprefix("TASK_") if known else "UNKNOWN"


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9
