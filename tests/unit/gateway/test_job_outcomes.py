"""What counts for and against a lane's objectives."""

from __future__ import annotations

import asyncio

import pytest
from arno.api.v1 import types_pb2, vision_pb2
from arno.errors import (
    BackendUnavailableError,
    Code,
    DeadlineExceededError,
    InvalidImageError,
    OverloadedError,
    QuotaExceededError,
)
from arno.gateway.access.key_file import TenantLimits
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.admission import Admission, Demand
from arno.gateway.backends import BackendMonitor
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.settings import GatewayLimits
from arno.gateway.status import JobFailedError
from arno.ops.tenant_labels import OTHER_TENANTS
from arno.vocabulary import Lane
from prometheus_client import CollectorRegistry


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> GatewayMetrics:
    return GatewayMetrics(registry)


def counts(registry: CollectorRegistry, lane: str = "interactive") -> dict[str, float | None]:
    name = "arno_gateway_jobs_total"
    return {
        outcome: registry.get_sample_value(name, {"lane": lane, "outcome": outcome})
        for outcome in ("served", "failed", "excused")
    }


def test_all_outcomes_are_shown_before_the_first_job(metrics, registry):
    for lane in Lane:
        assert counts(registry, lane) == {"served": 0, "failed": 0, "excused": 0}


def test_a_served_job_counts_with_its_time(metrics, registry):
    with metrics.job(Lane.INTERACTIVE):
        pass
    assert counts(registry) == {"served": 1, "failed": 0, "excused": 0}
    lane = {"lane": "interactive"}
    assert registry.get_sample_value("arno_gateway_job_seconds_count", lane) == 1


def test_jobs_count_for_their_tenant_and_those_of_later_ones_together(registry):
    metrics = GatewayMetrics(registry, tenants_max=1)
    for tenant in ("acme", "later", "acme", "latest"):
        with metrics.job(Lane.BATCH, tenant):
            pass
    for tenant in ("acme", OTHER_TENANTS):
        labels = {"tenant": tenant, "outcome": "served"}
        assert registry.get_sample_value("arno_gateway_tenant_jobs_total", labels) == 2


def answer(*codes: int) -> vision_pb2.InferResponse:
    """Return an answer with a task for each code; 0 is a task that was answered."""
    results = [
        types_pb2.TaskResult(error=types_pb2.Error(code=code))
        if code
        else types_pb2.TaskResult(answer=types_pb2.Answer())
        for code in codes
    ]
    return vision_pb2.InferResponse(results=results)


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        ([0], "served"),
        ([Code.INTERNAL], "failed"),
        # The second follows the first.
        ([Code.INTERNAL, Code.FAILED_PRECONDITION], "failed"),
        ([Code.INTERNAL, 0], "served"),
        ([Code.INVALID_ARGUMENT], "served"),
    ],
)
def test_an_answer_counts_as_failed_where_arno_has_answered_no_task(
    metrics, registry, codes, outcome
):
    with metrics.job(Lane.INTERACTIVE) as job:
        job.response = answer(*codes)
    assert counts(registry) == {"served": 0, "failed": 0, "excused": 0, outcome: 1}
    lane = {"lane": "interactive"}
    timed = registry.get_sample_value("arno_gateway_job_seconds_count", lane)
    assert timed == (outcome == "served")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RuntimeError("a bug"), "failed"),
        (BackendUnavailableError("away", backend="redis"), "failed"),
        (OverloadedError("full", retry_delay_s=1), "failed"),
        (DeadlineExceededError("late"), "failed"),
        (JobFailedError(types_pb2.Error(code=Code.INTERNAL)), "failed"),
        (JobFailedError(types_pb2.Error(code=Code.INVALID_ARGUMENT)), "excused"),
        (InvalidImageError(field="image", problem="no image", sent="x"), "excused"),
        (asyncio.CancelledError(), "excused"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_only_what_arno_has_caused_counts_as_failed(metrics, registry, error, outcome):
    with pytest.raises(type(error)), metrics.job(Lane.INTERACTIVE):
        raise error
    expected = {"served": 0, "failed": 0, "excused": 0, outcome: 1}
    assert counts(registry) == expected
    # Quick refusals must not make the latency look good.
    lane = {"lane": "interactive"}
    assert registry.get_sample_value("arno_gateway_job_seconds_count", lane) == 0


def entry(metrics: GatewayMetrics, limits: TenantLimits) -> Admission:
    async def nothing() -> None:
        """Do nothing."""

    return Admission(
        GatewayLimits(jobs_in_flight_max=1),
        quotas=TenantQuotas(lambda tenant: limits),
        backends=BackendMonitor({}, interval_s=1, timeout_s=1, on_change=nothing),
        counted=metrics.job,
    )


def test_a_refusal_of_a_full_gateway_counts_against_its_lane(metrics, registry):
    admission = entry(metrics, TenantLimits())
    with (
        admission.admit("acme", Demand(1)),
        pytest.raises(OverloadedError),
        admission.admit("acme", Demand(1, Lane.BATCH)),
    ):
        pass
    assert counts(registry, "batch") == {"served": 0, "failed": 1, "excused": 0}


def test_a_quota_is_its_tenants_own_doing(metrics, registry):
    admission = entry(metrics, TenantLimits(jobs_in_flight=1))
    with (
        admission.admit("acme", Demand(1)),
        pytest.raises(QuotaExceededError),
        admission.admit("acme", Demand(1)),
    ):
        pass
    assert counts(registry) == {"served": 1, "failed": 0, "excused": 1}
