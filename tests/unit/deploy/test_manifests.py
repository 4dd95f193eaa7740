"""What no schema sees in the manifests: values that must be equal, and what clusters need."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import arno
import pytest
import yaml
from arno.bus.settings import BusSettings
from arno.vocabulary import Lane

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = sorted(path.name for path in (ROOT / "k8s/overlays").iterdir())
KUBECTL = Path(sys.executable).parent / "kubectl"
SCALED = ["cpu", "gpu-prod", "secure"]

pytestmark = pytest.mark.tools


@functools.cache
def built(overlay: str) -> tuple[dict[str, Any], ...]:
    return kustomized(ROOT / "k8s/overlays" / overlay)


def kustomized(folder: Path) -> tuple[dict[str, Any], ...]:
    if not KUBECTL.exists() and not os.environ.get("CI"):
        pytest.skip("kubectl is not installed: make install")
    command = [KUBECTL, "kustomize", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def one(overlay: str, kind: str, name: str = "") -> dict[str, Any]:
    found = [
        o for o in built(overlay) if o["kind"] == kind and o["metadata"]["name"].startswith(name)
    ]
    assert len(found) == 1
    return found[0]


def pod(overlay: str, kind: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = one(overlay, kind, name)["spec"]["template"]["spec"]
    return spec


def environment(overlay: str, kind: str, name: str) -> dict[str, str]:
    """Return the variables of a container, those of its ConfigMap included."""
    container = pod(overlay, kind, name)["containers"][0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= one(overlay, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {entry["name"]: entry["value"] for entry in container.get("env", [])}


def workloads(overlay: str) -> list[dict[str, Any]]:
    return [o for o in built(overlay) if o["kind"] in {"Deployment", "Job", "StatefulSet"}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_service_puts_variables_into_a_pod(overlay: str) -> None:
    # A Service named arno-gateway would: ARNO_GATEWAY_PORT, an unknown setting, stops the process.
    for workload in workloads(overlay):
        assert workload["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_changed_setting_rolls_the_pods(overlay: str) -> None:
    for workload in workloads(overlay):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for source in container.get("envFrom", []):
                assert re.fullmatch(r"arno-[a-z0-9]{10}", source["configMapRef"]["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_the_tag_of_this_version(overlay: str) -> None:
    for workload in workloads(overlay):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            name, _, tag = container["image"].rpartition(":")
            assert tag != "latest"
            if name.startswith("arno/"):
                assert tag == arno.__version__
    assert environment(overlay, "Job", "")["RELEASE"] == arno.__version__


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"newTag: {arno.__version__}", "newTag: 99.0.0"),
        ("ARNO_PARTITIONS=24", "ARNO_PARTITIONS=12"),
    ],
)
def test_what_changes_the_job_makes_it_another_one(tmp_path: Path, before: str, after: str) -> None:
    # A Job cannot be changed: `kubectl apply` would end in an error.
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    files = ("components/release/kustomization.yaml", "base/settings.env")
    for file in (tmp_path / "k8s" / name for name in files):
        file.write_text(file.read_text().replace(before, after))
    (job,) = (o for o in kustomized(tmp_path / "k8s/overlays/cpu") if o["kind"] == "Job")
    old = one("cpu", "Job")
    assert job["spec"] != old["spec"]
    assert job["metadata"]["name"] != old["metadata"]["name"]
    # Also the name of its pods.
    assert re.fullmatch("[a-z0-9-]{1,50}", job["metadata"]["name"])


@pytest.mark.parametrize("overlay", SCALED)
def test_triggers_ask_the_kafka_and_the_topics_that_workers_read(overlay: str) -> None:
    settings, defaults = environment(overlay, "Deployment", "worker"), BusSettings()
    triggers = [
        trigger["metadata"]
        for trigger in one(overlay, "ScaledObject")["spec"]["triggers"]
        if trigger["type"] == "kafka"
    ]
    assert {trigger["topic"] for trigger in triggers} == {
        f"{defaults.topic_prefix}.{lane}" for lane in Lane
    }
    for trigger in triggers:
        assert trigger["bootstrapServers"] == settings["ARNO_KAFKA_BOOTSTRAP"]
        assert trigger["consumerGroup"] == defaults.group


@pytest.mark.parametrize("overlay", SCALED)
def test_triggers_have_a_user_where_kafka_wants_one(overlay: str) -> None:
    protocol = environment(overlay, "Deployment", "worker").get("ARNO_KAFKA_SECURITY_PROTOCOL")
    for trigger in one(overlay, "ScaledObject")["spec"]["triggers"]:
        if trigger["type"] == "kafka":
            assert ("authenticationRef" in trigger) == (protocol is not None)
    if protocol is not None:
        assert one(overlay, "TriggerAuthentication")["metadata"]["name"] == "kafka"


@pytest.mark.parametrize("overlay", SCALED)
def test_no_more_workers_than_partitions(overlay: str) -> None:
    settings = environment(overlay, "Deployment", "worker")
    assert one(overlay, "ScaledObject")["spec"]["maxReplicaCount"] <= int(
        settings["ARNO_PARTITIONS"]
    )


def test_gpu_workers_own_a_device_and_say_so() -> None:
    spec = pod("gpu-prod", "Deployment", "worker")
    container = spec["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec[
        "tolerations"
    ]
    assert environment("gpu-prod", "Deployment", "worker")["ARNO_DEVICE"] == "cuda"
    assert container["image"].startswith("arno/worker-cuda:")
    strategy = one("gpu-prod", "Deployment", "worker")["spec"]["strategy"]["rollingUpdate"]
    # A second device for the roll-out may not be there.
    assert strategy["maxSurge"] == 0
    assert strategy["maxUnavailable"] == 1


def test_the_model_is_read_where_its_volume_is_mounted() -> None:
    container = pod("gpu-prod", "Deployment", "worker")["containers"][0]
    mounts = [
        mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "models"
    ]
    model = Path(environment("gpu-prod", "Deployment", "worker")["ARNO_MODEL"])
    assert str(model.parent) in mounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_mounted_files_hold_what_settings_name(overlay: str) -> None:
    for kind, name in (("Deployment", "gateway"), ("Deployment", "worker"), ("Job", "arno")):
        container = pod(overlay, kind, name)["containers"][0]
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for setting, value in environment(overlay, kind, name).items():
            if value.startswith("/"):
                assert any(value.startswith(f"{mount}/") for mount in mounts), setting


def test_addresses_of_the_trial_are_services_of_the_trial() -> None:
    settings = environment("trial", "Deployment", "gateway")
    services = {
        (o["metadata"]["name"], port["port"])
        for o in built("trial")
        if o["kind"] == "Service"
        for port in o["spec"]["ports"]
    }
    host, _, port = settings["ARNO_KAFKA_BOOTSTRAP"].partition(":")
    assert (host, int(port)) in services
    found = re.fullmatch(r"redis://(\w+):(\d+)/0", settings["ARNO_REDIS_URL"])
    assert found is not None
    assert (found[1], int(found[2])) in services


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nodes_can_be_drained_whatever_is_not_ready(overlay: str) -> None:
    budgets = [o for o in built(overlay) if o["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 2
    for budget in budgets:
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_spread_over_zones(overlay: str) -> None:
    for name in ("gateway", "worker"):
        spread = pod(overlay, "Deployment", name)["topologySpreadConstraints"]
        assert "topology.kubernetes.io/zone" in {rule["topologyKey"] for rule in spread}


@pytest.mark.parametrize("overlay", ["gpu-prod", "secure"])
def test_policies_let_the_addresses_of_backends_through(overlay: str) -> None:
    settings = environment(overlay, "Deployment", "worker")
    allowed: dict[str, set[object]] = {}
    for policy in (o for o in built(overlay) if o["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for to in rule["to"]:
                labels = to.get("namespaceSelector", {}).get("matchLabels", {})
                namespace = labels.get("kubernetes.io/metadata.name", "")
                allowed.setdefault(namespace, set()).update(p["port"] for p in rule["ports"])
    for address in (settings["ARNO_KAFKA_BOOTSTRAP"], settings["ARNO_REDIS_URL"]):
        found = re.search(r"[\w-]+\.([\w-]+)\.svc:(\d+)", address)
        assert found is not None
        assert int(found[2]) in allowed[found[1]]


def test_a_port_of_the_network_policies_is_one_of_the_pods() -> None:
    names = {
        port["name"]
        for name in ("gateway", "worker")
        for port in pod("secure", "Deployment", name)["containers"][0]["ports"]
    }
    for policy in (o for o in built("secure") if o["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            named = {
                port["port"] for port in rule.get("ports", []) if isinstance(port["port"], str)
            }
            assert named <= names


def test_prometheus_tells_gateways_from_workers_as_the_alerts_do() -> None:
    monitor = one("gpu-prod", "PodMonitor")["spec"]
    label = monitor["jobLabel"]
    for name in ("gateway", "worker"):
        template = one("gpu-prod", "Deployment", name)["spec"]["template"]
        # Alerts select up{job="gateway"} and up{job="worker"}.
        assert template["metadata"]["labels"][label] == name
        assert name in monitor["selector"]["matchExpressions"][0]["values"]


def overlay_of_the_page(tmp_path: Path, *listed_before: str) -> tuple[dict[str, Any], ...]:
    page = (ROOT / "docs/deploy.md").read_text()
    overlay, settings = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    folder = tmp_path / "k8s/overlays/mine"
    (folder / "settings").mkdir(parents=True)
    (folder / "settings/kustomization.yaml").write_text(settings)
    kustomization = yaml.safe_load(overlay)
    kustomization["components"][:0] = [f"../../components/{name}" for name in listed_before]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomized(folder)


@pytest.mark.parametrize("listed_before", [[], ["secure"], ["trial-backends"]])
def test_overlay_on_the_page_has_its_settings_images_and_triggers(
    tmp_path: Path, listed_before: list[str]
) -> None:
    objects = overlay_of_the_page(tmp_path, *listed_before)
    (settings,) = (o["data"] for o in objects if o["kind"] == "ConfigMap")
    assert settings["ARNO_KAFKA_BOOTSTRAP"] == "kafka.example:9092"
    assert settings["ARNO_PARTITIONS"] == "12"
    addresses = {
        trigger["metadata"]["bootstrapServers"]
        for one in objects
        if one["kind"] == "ScaledObject"
        for trigger in one["spec"]["triggers"]
    }
    assert addresses == {"kafka.example:9092"}
    images = {
        container["image"]
        for one in objects
        if one["kind"] in {"Deployment", "Job"}
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {
        f"registry.example/arno/{name}:{arno.__version__}" for name in ("gateway", "worker-cpu")
    }


@pytest.mark.parametrize("overlay", ["secure", "gpu-prod"])
def test_page_makes_every_secret_that_pods_and_triggers_read(overlay: str) -> None:
    text = yaml.safe_dump_all(built(overlay))
    read = set(re.findall(r"secretName: (\S+)", text))
    read |= {
        one["name"]
        for trigger in built(overlay)
        if trigger["kind"] == "TriggerAuthentication"
        for one in trigger["spec"]["secretTargetRef"]
    }
    page = (ROOT / "docs/deploy.md").read_text()
    made = set(re.findall(r"create secret (?:generic|tls) (\S+)", page))
    assert len(read) == 6
    assert made == read
