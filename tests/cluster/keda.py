"""Nodes and KEDA for a control plane.

kwok plays the nodes: it says of each scheduled pod that it is ready, and runs no containers. KEDA's
operator and its adapter for metrics are the real ones, and run beside the cluster.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml
from arno.ops.ports import free_port
from cluster.control_plane import HOME, ControlPlane, built

WAYS_TO_GET_IT = "no control plane with KEDA: scripts/kube_lab/install builds one (half an hour)"

_METRICS_SERVICE = "keda-metrics-apiserver"
_METRICS_GROUP = "external.metrics.k8s.io"
# Without these the operator asks the files of a service account where it runs.
_VARIABLES = {
    "POD_NAMESPACE": "keda",
    "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
    "WATCH_NAMESPACE": "",
}
_NODE: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-0", "labels": {"topology.kubernetes.io/zone": "zone-0"}},
}
_CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}


def keda_available() -> bool:
    """Whether everything has been built."""
    return built("kubelab", "kwok", "keda-operator", "keda-adapter")


def start_nodes(plane: ControlPlane) -> None:
    """Bring one node, on which pods are ready at once."""
    port = free_port()
    plane.run(
        "kwok",
        *("--kubeconfig", plane.kubeconfig, "--manage-all-nodes"),
        *("--config", HOME / "stages.yaml", "--node-ip", "127.0.0.1"),
        *("--server-address", f"127.0.0.1:{port}"),
        variables={"HOME": str(plane.folder)},
    )
    status = {"capacity": _CAPACITY, "allocatable": _CAPACITY}
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump({**_NODE, "status": status}))


def start_keda(plane: ControlPlane) -> None:
    """Bring KEDA, and return when it answers for metrics."""
    plane.kubectl("apply", "--server-side", "-f", HOME / "keda.yaml")
    plane.kubectl("create", "namespace", "keda")
    folder = plane.folder / "keda"
    folder.mkdir()
    hosts = [f"{name}.keda.svc" for name in ("keda-operator", _METRICS_SERVICE)]
    pair = plane.authority.pair("keda", hosts=hosts)
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": plane.authority.ca}
    for name, path in files.items():
        (folder / name).write_bytes(path.read_bytes())
    ports = [free_port() for _ in range(5)]
    answers, health, metrics, adapter, adapter_metrics = map(str, ports)
    plane.run(
        "keda-operator",
        *("--kubeconfig", plane.kubeconfig, "--cert-dir", folder, "--ca-dir", folder),
        *("--metrics-bind-address", f"127.0.0.1:{metrics}"),
        *("--health-probe-bind-address", f"127.0.0.1:{health}"),
        *("--metrics-service-bind-address", f"127.0.0.1:{answers}"),
        variables=_VARIABLES,
    )
    plane.run(
        "keda-adapter",
        *("--kubeconfig", plane.kubeconfig, "--lister-kubeconfig", plane.kubeconfig),
        *("--authentication-kubeconfig", plane.kubeconfig),
        *("--authorization-kubeconfig", plane.kubeconfig),
        *("--bind-address", "127.0.0.1", "--secure-port", adapter, "--port", adapter_metrics),
        *("--metrics-service-address", f"localhost:{answers}"),
        *("--client-ca-file", plane.authority.ca, "--cert-dir", folder),
        *("--tls-cert-file", folder / "tls.crt", "--tls-private-key-file", folder / "tls.key"),
        variables=_VARIABLES,
    )
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(_metrics_api(plane, int(adapter))))
    served = f"/apis/{_METRICS_GROUP}/v1beta1"
    plane.await_true("KEDA answers for metrics", lambda: plane.get(served) is not None)


def _metrics_api(plane: ControlPlane, port: int) -> list[Mapping[str, Any]]:
    """Return what leads the API server to the adapter, which no pod of the cluster runs."""
    named = {"name": _METRICS_SERVICE, "namespace": "keda"}
    bundle = base64.b64encode(plane.authority.ca.read_bytes()).decode()
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{_METRICS_GROUP}"},
            "spec": {
                "service": {**named, "port": port},
                "group": _METRICS_GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": bundle,
            },
        },
    ]
