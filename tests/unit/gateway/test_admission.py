"""The budgets of jobs, bytes and predicted seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from arno.errors import BackendUnavailableError, OverloadedError
from arno.gateway.access.key_file import TenantLimits
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.admission import BUDGETS, RETRY_DELAY_S_MAX, Admission, Demand
from arno.gateway.backends import BackendMonitor
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.settings import GatewayLimits
from arno.vocabulary import Lane
from prometheus_client import CollectorRegistry


def admission(
    predicted_wait_s: Callable[[Lane, str], float | None] = lambda lane, tenant: None,
    on_refused: Callable[[Lane, str], None] = lambda lane, budget: None,
    **limits: Any,
) -> Admission:
    """Return budgets without tenants' quotas, over backends that answer."""
    defaults = {
        "jobs_in_flight_max": 10,
        "bytes_in_flight_max": 100,
        "stream_budget_share": 0.8,
        "batch_budget_share": 0.5,
        **{f"{lane}_wait_s_max": 30.0 for lane in Lane},
    }
    return Admission(
        GatewayLimits(**{**defaults, **limits}),
        quotas=TenantQuotas(lambda tenant: TenantLimits()),
        backends=BackendMonitor({}, interval_s=1, timeout_s=1, on_change=nothing),
        predicted_wait_s=predicted_wait_s,
        on_refused=on_refused,
    )


async def nothing() -> None:
    """Do nothing."""


def refusal(admission: Admission, demand: Demand) -> OverloadedError:
    with pytest.raises(OverloadedError) as refused, admission.admit("acme", demand):
        pass
    return refused.value


def test_job_above_the_budget_is_refused_with_the_delay_and_the_figures():
    entry = admission(jobs_in_flight_max=1, overload_retry_s=0.5)
    with entry.admit("acme", Demand(10)):
        refused = refusal(entry, Demand(10))
    assert refused.retry_delay_s == 0.5
    assert (refused.metadata["limit"], refused.metadata["wanted"]) == ("1", "2")


def test_bytes_above_the_budget_are_refused():
    entry = admission()
    with entry.admit("acme", Demand(60)):
        assert "bytes" in refusal(entry, Demand(41)).message


def test_image_above_the_whole_budget_is_taken_when_nothing_else_is_in_hand():
    entry = admission()
    with entry.admit("acme", Demand(500)):
        assert entry.bytes_in_flight == 500


def test_place_is_given_back_however_the_work_ends():
    entry = admission(jobs_in_flight_max=1)
    with pytest.raises(ValueError, match="boom"), entry.admit("acme", Demand(10)):
        raise ValueError("boom")
    with entry.admit("acme", Demand(10)):
        pass
    assert (entry.jobs_in_flight, entry.bytes_in_flight) == (0, 0)


@pytest.mark.parametrize("size_bytes", [0, 10], ids=["jobs", "bytes"])
def test_lower_lanes_are_refused_first_whoever_fills_the_budget(size_bytes: int):
    refused: list[tuple[Lane, str]] = []
    entry = admission(on_refused=lambda lane, budget: refused.append((lane, budget)))
    admitted = []
    with ExitStack() as held:
        for _ in range(10):
            for lane in (Lane.BATCH, Lane.STREAM):
                try:
                    with entry.admit("acme", Demand(size_bytes, lane)):
                        admitted.append(lane)
                except OverloadedError:
                    continue
            held.enter_context(entry.admit("acme", Demand(size_bytes)))
    assert admitted.count(Lane.BATCH) == 5
    assert admitted.count(Lane.STREAM) == 8
    assert set(refused) <= {
        (lane, budget)
        for lane in (Lane.BATCH, Lane.STREAM)
        for budget in ("jobs in flight", "image bytes in flight")
    }


def test_job_whose_predicted_wait_is_too_long_is_told_when_there_will_be_room():
    entry = admission(predicted_wait_s=lambda lane, tenant: {Lane.INTERACTIVE: 42.0}.get(lane))
    refused = refusal(entry, Demand(10))
    assert refused.retry_delay_s == pytest.approx(12.0)
    assert (refused.metadata["limit"], refused.metadata["wanted"]) == ("30", "42")
    with entry.admit("acme", Demand(10, Lane.STREAM)):
        pass


def test_job_that_would_wait_past_its_deadline_is_refused_before_the_lane_is_full():
    entry = admission(predicted_wait_s=lambda lane, tenant: 5.0)
    with entry.admit("acme", Demand(10, work_s=6.0)):
        refused = refusal(entry, Demand(10, work_s=4.0))
    assert refused.metadata["budget"] == "predicted seconds of waiting"


def test_delay_is_bounded_however_long_the_line():
    entry = admission(predicted_wait_s=lambda lane, tenant: 1e6)
    assert refusal(entry, Demand(10)).retry_delay_s == RETRY_DELAY_S_MAX


def test_bytes_that_wait_to_be_admitted_count_like_those_that_are():
    entry = admission()
    release = entry.reserve_bytes(Demand(60))
    assert entry.bytes_in_flight == 60
    assert "bytes" in refusal(entry, Demand(41)).message
    with pytest.raises(OverloadedError):
        entry.reserve_bytes(Demand(30, Lane.STREAM))  # 90 bytes, of 80 for this lane
    release()
    assert entry.bytes_in_flight == 0
    with entry.admit("acme", Demand(100)):
        pass


def test_refusals_are_shown_from_zero_for_every_lane_and_budget():
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    name = "arno_gateway_refusals_total"
    labels = [{"lane": lane, "budget": budget} for lane in Lane for budget in BUDGETS]
    assert [registry.get_sample_value(name, each) for each in labels] == [0.0] * len(labels)
    refusing = admission(lambda lane, tenant: 1e6, metrics.count_refusal)
    refused = refusal(refusing, Demand(10)).metadata
    shown = {"lane": refused["lane"], "budget": refused["budget"]}
    assert registry.get_sample_value(name, shown) == 1.0


def test_job_is_refused_and_forgotten_while_a_backend_is_not_known_to_answer():
    async def ping() -> None:
        """Answer."""

    entry = Admission(
        GatewayLimits(),
        quotas=TenantQuotas(lambda tenant: TenantLimits()),
        backends=BackendMonitor({"bus": ping}, interval_s=1, timeout_s=1, on_change=nothing),
    )
    with pytest.raises(BackendUnavailableError), entry.admit("acme", Demand(10)):
        pass
    assert (entry.jobs_in_flight, entry.bytes_in_flight) == (0, 0)
