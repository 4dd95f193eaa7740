"""The shipped manifests, built for a cluster on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from check_manifests import ROOT, kustomize
from cluster.control_plane import ControlPlane
from generate_scaling import SOURCE, Thresholds, component, thresholds


@dataclass(frozen=True, slots=True)
class Shortened:
    """Times on the way down, which are minutes in the manifests; the way up is as shipped.

    Attributes:
        cooldown_s: From the last job to no worker.
        stable_s: How long fewer workers must be enough.
        step_s: In which two workers may leave.
    """

    cooldown_s: int = 20
    stable_s: int = 30
    step_s: int = 15


def pace_of(jobs_per_s: float) -> Thresholds:
    """Return what `make scaling` makes of a worker that ends so many jobs in a second."""
    return thresholds(jobs_per_s, yaml.safe_load(SOURCE.read_text())["acceptable_wait_s"])


def apply_scaled(
    plane: ControlPlane,
    folder: Path,
    *,
    bootstrap: str,
    prometheus: str,
    pace: Thresholds,
    workers_max: int,
    shortened: Shortened,
) -> None:
    """Apply base, ``keda-seconds`` and the thresholds of a model.

    Args:
        plane: The cluster.
        folder: Gets a copy of the manifests.
        bootstrap: Where Kafka listens.
        prometheus: Where Prometheus listens.
        pace: What follows from the pace of a worker.
        workers_max: Most workers.
        shortened: Times on the way down.
    """
    copied = folder / "k8s"
    shutil.copytree(ROOT / "k8s", copied)
    _write(copied / "components/pace-lab", component("lab", pace))
    _write(
        copied / "components/lab",
        yaml.safe_dump(_lab(bootstrap, prometheus, workers_max, shortened)),
    )
    names = ("keda-seconds", "pace-lab", "lab", "release")
    overlay = {
        "resources": ["../../base"],
        "components": [f"../../components/{name}" for name in names],
    }
    _write(copied / "overlays/lab", yaml.safe_dump(overlay))
    plane.kubectl("apply", "-f", "-", given=kustomize(copied / "overlays/lab"))


def _write(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)


def _lab(bootstrap: str, prometheus: str, workers_max: int, shortened: Shortened) -> dict[str, Any]:
    down = {
        "stabilizationWindowSeconds": shortened.stable_s,
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": shortened.step_s}],
    }
    replaced: dict[str, Any] = {
        "/spec/minReplicaCount": 0,
        "/spec/maxReplicaCount": workers_max,
        "/spec/cooldownPeriod": shortened.cooldown_s,
        "/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown": down,
        **{f"/spec/triggers/{number}/metadata/serverAddress": prometheus for number in range(3)},
    }
    patch = [{"op": "replace", "path": path, "value": one} for path, one in replaced.items()]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configMapGenerator": [
            {
                "name": "arno",
                "behavior": "merge",
                "literals": [
                    f"ARNO_KAFKA_BOOTSTRAP={bootstrap}",
                    f"ARNO_PARTITIONS={workers_max}",
                    "ARNO_REPLICATION=1",
                ],
            }
        ],
        "patches": [{"target": {"kind": "ScaledObject"}, "patch": yaml.safe_dump(patch)}],
    }
