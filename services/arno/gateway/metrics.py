"""Every instrument of the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arno.errors import ArnoError, Code
from arno.gateway.admission import BUDGETS, Admission, AdmittedJob
from arno.gateway.backlog import Backlog
from arno.gateway.status import JobFailedError
from arno.ops.tenant_labels import TenantLabels
from arno.ops.tracing import exemplar
from arno.vocabulary import Lane
from arno.vocabulary.job import DEFAULT_TENANT

# From a null engine on one machine to a long queue: 2 ms to 10 min.
_REQUEST_BUCKETS_S = (
    *(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0),
)
# From a loopback append to the publish timeout: 0.5 ms to 10 s.
_PUBLISH_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# From a thumbnail to the default limit: 4 KiB to 16 MiB.
_IMAGE_BUCKETS_BYTES = tuple(float(4096 * 4**power) for power in range(7))

_SERVED: Final = "served"
_FAILED: Final = "failed"
_EXCUSED: Final = "excused"

_CALLERS_CODES: Final = frozenset(
    {
        *(Code.CANCELLED, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS),
        *(Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.FAILED_PRECONDITION),
        # Only quotas of tenants end with it: a full gateway says UNAVAILABLE.
        Code.RESOURCE_EXHAUSTED,
    }
)
"""Codes of errors that the caller has caused; all others count against the objectives."""


class GatewayMetrics:
    """The gateway's instruments, in the registry passed in."""

    def __init__(self, registry: CollectorRegistry, *, tenants_max: int = 100) -> None:
        """Register all of them.

        Args:
            registry: Where they go.
            tenants_max: Tenants that have labels of their own.
        """
        self._tenants = TenantLabels(count_max=tenants_max)
        self._tenant_jobs = _tenant_jobs(registry)
        self.requests = Counter(
            "arno_gateway_requests_total",
            "Calls that ended, by method and canonical code.",
            ["method", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "arno_gateway_request_seconds",
            "Time from the start of a call to its end; streams last as long as their video.",
            ["method"],
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.open_requests = Gauge(
            "arno_gateway_open_requests", "Calls not ended.", ["method"], registry=registry
        )
        self.faults = Counter(
            "arno_gateway_faults_total",
            "Calls that ended with an error, by its reason (docs/errors.md).",
            ["reason"],
            registry=registry,
        )
        self.frames = Counter(
            "arno_gateway_frames_total",
            "Frames of streams, by how they ended: answered, failed or dropped.",
            ["outcome"],
            registry=registry,
        )
        self._refusals = _refusals(registry)
        self._jobs, self._job_seconds = _outcomes(registry)
        self._image_bytes = Histogram(
            "arno_gateway_image_bytes",
            "Size of the images that were accepted.",
            buckets=_IMAGE_BUCKETS_BYTES,
            registry=registry,
        )
        self._publish_seconds = Histogram(
            "arno_gateway_publish_seconds",
            "Time until the bus had acknowledged a record.",
            buckets=_PUBLISH_BUCKETS_S,
            registry=registry,
        )
        self._jobs_in_flight = Gauge(
            "arno_gateway_jobs_in_flight",
            "Jobs that calls submit or wait for.",
            registry=registry,
        )
        self._bytes_in_flight = Gauge(
            "arno_gateway_image_in_flight_bytes", "Images held by those calls.", registry=registry
        )
        self.cancellations_sent = Counter(
            "arno_gateway_cancellations_sent_total",
            "Jobs that this process asked to stop: their callers had gone.",
            registry=registry,
        )
        self._keys_ok = _keys_ok(registry)
        self._store_memory, self._backend_up = _backends(registry)

    @contextmanager
    def job(self, lane: Lane, tenant: str = DEFAULT_TENANT) -> Iterator[AdmittedJob]:
        """Count the outcome of a job that runs in the block, and how long it took."""
        started_s = time.monotonic()
        outcome, job = _EXCUSED, AdmittedJob()
        try:
            yield job
            outcome = _FAILED if _answers_nothing(job) else _SERVED
            if outcome == _SERVED:
                self._job_seconds.labels(lane).observe(time.monotonic() - started_s, exemplar())
        except Exception as error:
            outcome = _EXCUSED if _code(error) in _CALLERS_CODES else _FAILED
            raise
        finally:
            self._jobs.labels(lane, outcome).inc()
            self._tenant_jobs.labels(self._tenants.label(tenant), outcome).inc()

    def count_refusal(self, lane: Lane, budget: str) -> None:
        """Count a refused job by its lane and the exhausted budget."""
        self._refusals.labels(lane, budget).inc()

    def observe_publication(self, took_s: float, image_bytes: int) -> None:
        """Count a record that the bus has acknowledged, and the size of its image."""
        self._publish_seconds.observe(took_s)
        self._image_bytes.observe(image_bytes)

    def show_store_memory(self, used_bytes: int, limit_bytes: int) -> None:
        """Show how full the result store was at its last answer."""
        self._store_memory.labels("used").set(used_bytes)
        self._store_memory.labels("limit").set(limit_bytes)

    def follow_admission(self, admission: Admission) -> None:
        """Show the jobs and bytes in flight, read when scraped."""
        self._jobs_in_flight.set_function(lambda: admission.jobs_in_flight)
        self._bytes_in_flight.set_function(lambda: admission.bytes_in_flight)

    def follow_keys(self, ok: Callable[[], bool]) -> None:
        """Show whether the keys file can be used, read when scraped."""
        self._keys_ok.set_function(lambda: 1.0 if ok() else 0.0)

    def follow_backend(self, backend: str, problems: Callable[[], Mapping[str, object]]) -> None:
        """Show whether a backend answers, read when scraped."""
        gauge = self._backend_up.labels(backend)
        gauge.set_function(lambda: 0.0 if backend in problems() else 1.0)


def _answers_nothing(job: AdmittedJob) -> bool:
    """Whether a call ends well although all its tasks failed, one at least by Arno's doing."""
    results = [] if job.response is None else job.response.results
    errors = [result.error.code for result in results if result.HasField("error")]
    return len(errors) == len(results) and not _CALLERS_CODES.issuperset(errors)


def _code(error: Exception) -> int:
    match error:
        case JobFailedError():
            return error.error.code
        case ArnoError():
            return error.code
        case _:
            return Code.INTERNAL


def _tenant_jobs(registry: CollectorRegistry) -> Counter:
    return Counter(
        "arno_gateway_tenant_jobs_total",
        "Jobs asked for, by tenant: served, failed, or excused.",
        ["tenant", "outcome"],
        registry=registry,
    )


def _backends(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    memory = Gauge(
        "arno_gateway_store_memory_bytes",
        "Memory of the result store: used, and its limit; absent where it may not be asked.",
        ["of"],
        registry=registry,
    )
    up = Gauge(
        "arno_gateway_backend_up",
        "Whether a backend answered when it was last asked, and was not full.",
        ["backend"],
        registry=registry,
    )
    return memory, up


def _keys_ok(registry: CollectorRegistry) -> Gauge:
    gauge = Gauge(
        "arno_gateway_keys_file_ok",
        "Whether the file of API keys could be used when it was last read; 1 without one.",
        registry=registry,
    )
    gauge.set(1)
    return gauge


def _outcomes(registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    jobs = Counter(
        "arno_gateway_jobs_total",
        "Jobs asked for, by lane: served, failed (also where all tasks failed in an answer), or "
        "excused (their callers' doing).",
        ["lane", "outcome"],
        registry=registry,
    )
    seconds = Histogram(
        "arno_gateway_job_seconds",
        "Time until a job was served: answered, or accepted where no call waits for it.",
        ["lane"],
        buckets=_REQUEST_BUCKETS_S,
        registry=registry,
    )
    for lane in Lane:
        # From 0: the objectives are judged from the first job on.
        seconds.labels(lane)
        for outcome in (_SERVED, _FAILED, _EXCUSED):
            jobs.labels(lane, outcome)
    return jobs, seconds


def _refusals(registry: CollectorRegistry) -> Counter:
    refusals = Counter(
        "arno_gateway_refusals_total",
        "Jobs refused, by the budget that was spent.",
        ["lane", "budget"],
        registry=registry,
    )
    for lane in Lane:
        for budget in BUDGETS:
            # From 0, so that a rate is right from the first refusal on.
            refusals.labels(lane, budget)
    return refusals


class BacklogCollector(Collector):
    """Shows the backlog; leaves out what is not known, so that no autoscaler acts on a guess."""

    def __init__(self, backlog: Backlog) -> None:
        """Take the backlog, which is read when scraped."""
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        """Read the numbers of this moment."""
        records = GaugeMetricFamily(
            "arno_gateway_backlog_records",
            "Records of all gateways that wait or are in a worker's hands.",
            labels=["lane"],
        )
        work = GaugeMetricFamily(
            "arno_gateway_backlog_seconds",
            "Predicted time that one worker would need for them.",
            labels=["lane"],
        )
        for lane in Lane:
            count, work_s = self._backlog.record_count(lane), self._backlog.work_s(lane)
            if count is not None:
                records.add_metric([lane], count)
            if work_s is not None:
                work.add_metric([lane], work_s)
        yield from (records, work)

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not ask for numbers."""
        return iter(())
