"""Workers of any pace get help in time by the thresholds of `deploy/scaling.yml`, and no fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from arno.gateway.settings import GatewaySettings
from generate_scaling import LANES, UTILIZATION, thresholds
from support.autoscaler import Autoscaler, Replay

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = ROOT / "k8s/components"
SOURCE = yaml.safe_load((ROOT / "deploy/scaling.yml").read_text())
WAIT_S = SOURCE["acceptable_wait_s"]
RATES = (0.3, 2.0, 50.0)

Metrics = Callable[[Replay], list[tuple[float, float]]]


def manifest(component: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPONENTS / component / "worker.yaml").read_text())
    return found


def autoscaler(component: str) -> Autoscaler:
    spec = manifest(component)["spec"]
    if component == "hpa":
        return Autoscaler(spec["behavior"], spec["minReplicas"], spec["maxReplicas"])
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return Autoscaler(behavior, spec["minReplicaCount"], spec["maxReplicaCount"])


def by_seconds(jobs_per_s: float) -> Metrics:
    found = thresholds(jobs_per_s, WAIT_S)
    return lambda replay: [
        (replay.ended_per_s(), found.throughput),
        (replay.waiting_s(), WAIT_S["interactive"]),
        (replay.unfinished, 1e6),
    ]


def by_lag(threshold: float) -> Metrics:
    return lambda replay: [(replay.unfinished, threshold)]


def replayed(component: str, metrics: Metrics, jobs_per_s: float) -> Replay:
    replay = Replay(autoscaler(component), metrics, jobs_per_s, arrivals_per_s=2 * jobs_per_s)
    replay.run(2400.0)
    return replay


@pytest.mark.parametrize("jobs_per_s", RATES)
@pytest.mark.parametrize("component", ["keda-seconds", "hpa", "keda-lag"])
def test_refusals_stop_under_twice_the_load_without_a_fleet(
    component: str, jobs_per_s: float
) -> None:
    lag = thresholds(jobs_per_s, WAIT_S).lag["interactive"]
    metrics = by_lag(lag) if component == "keda-lag" else by_seconds(jobs_per_s)
    replay = replayed(component, metrics, jobs_per_s)
    if component == "keda-lag":
        # Lag alone holds no worker: the last one that is too many to it is fetched back later.
        later = [at_s for at_s in replay.refusals if at_s >= 300.0]
        assert len(later) < 0.05 * 2 * jobs_per_s * 2100.0
    else:
        assert replay.refusals == [] or max(replay.refusals) < 300.0
        assert replay.replicas[-1][1] >= 2
    assert replay.reversals_in(600.0) <= 1
    # Two workers carry the load, three with room to spare; the maximum is 24.
    assert max(count for _, count in replay.replicas) <= 6


@pytest.mark.parametrize("jobs_per_s", RATES)
def test_what_is_needed_is_asked_for_within_three_evaluations(jobs_per_s: float) -> None:
    replay = replayed("keda-seconds", by_seconds(jobs_per_s), jobs_per_s)
    started = [at_s for at_s, count in replay.replicas if count >= 2]
    # From the moment at which the wait is longer than is acceptable: 10 s of backlog at 2x load.
    assert started[0] <= 4 * WAIT_S["interactive"] + 3 * 15.0


def test_a_threshold_in_records_that_suits_a_fast_model_never_helps_a_slow_one() -> None:
    replay = replayed("keda-lag", by_lag(128), 1.6)
    assert max(count for _, count in replay.replicas) == 1
    assert max(replay.refusals) > 2390.0


@pytest.mark.parametrize("jobs_per_s", [0.05, 0.27, 0.3, 2.0, 50.0, 500.0])
def test_thresholds_are_passed_before_gateways_refuse(jobs_per_s: float) -> None:
    found, limits = thresholds(jobs_per_s, WAIT_S), GatewaySettings()
    waits = (limits.interactive_wait_s_max, limits.stream_wait_s_max, limits.batch_wait_s_max)
    for lane, wait_s_max in zip(LANES, waits, strict=True):
        # A fleet of one never starts a second where fewer records than this are let in.
        assert found.lag[lane] <= wait_s_max * jobs_per_s + found.window or jobs_per_s < 0.2
    assert found.throughput == pytest.approx(UTILIZATION * jobs_per_s, rel=0.01)


@pytest.mark.parametrize("model", SOURCE["models"])
def test_components_hold_what_follows_from_the_measured_pace(model: str) -> None:
    found = thresholds(SOURCE["models"][model]["jobs_per_s"], WAIT_S)
    component = yaml.safe_load((COMPONENTS / f"pace-{model}" / "kustomization.yaml").read_text())
    window, lag, seconds, hpa = (yaml.safe_load(one["patch"]) for one in component["patches"])
    assert window[0]["value"] == {"name": "ARNO_WINDOW", "value": str(found.window)}
    assert [one["value"] for one in lag] == [str(found.lag[lane]) for lane in LANES]
    assert seconds[0]["value"] == str(found.throughput)
    assert hpa[0]["value"].endswith("m")


def test_seconds_are_compared_with_the_acceptable_wait() -> None:
    triggers = {
        one["name"]: one["metadata"] for one in manifest("keda-seconds")["spec"]["triggers"]
    }
    assert float(triggers["seconds"]["threshold"]) == WAIT_S["interactive"] == WAIT_S["stream"]
    assert float(triggers["batch-seconds"]["threshold"]) == WAIT_S["batch"]
    metrics = [
        one["external"]["target"]["averageValue"] for one in manifest("hpa")["spec"]["metrics"]
    ]
    assert [float(value) for value in metrics[1:]] == [WAIT_S["interactive"], WAIT_S["batch"]]
