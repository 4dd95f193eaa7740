"""A worker process for each ready pod, as a kubelet would run it."""

from __future__ import annotations

from typing import Any

from chaos.parts import ProcessPart
from cluster.control_plane import ControlPlane

_PODS = "/api/v1/namespaces/arno/pods?labelSelector=app.kubernetes.io%2Fname%3Dworker"
_WORKER = "/apis/apps/v1/namespaces/arno/deployments/worker"


class Fleet:
    """Starts and ends processes as pods come and go. Main thread only."""

    def __init__(self, plane: ControlPlane, workers: list[ProcessPart]) -> None:
        """Take as many processes as there can be pods; none of them runs."""
        self._plane = plane
        self._free = list(workers)
        self._running: dict[str, ProcessPart] = {}
        self._leaving: list[ProcessPart] = []

    @property
    def pod_count(self) -> int:
        """Pods that run, by what was last seen."""
        return len(self._running)

    @property
    def working_count(self) -> int:
        """Workers that take jobs."""
        return sum(one.running and one.ready for one in self._running.values())

    def wanted_count(self) -> int:
        """Return how many workers the autoscaler asks for."""
        deployment = self._plane.get(_WORKER)
        return int(deployment["spec"]["replicas"])

    def follow(self) -> None:
        """Start what pods need, and ask those to leave whose pods are gone."""
        pods = {pod["metadata"]["name"] for pod in self._plane.get(_PODS)["items"] if _runs(pod)}
        for name in self._running.keys() - pods:
            worker = self._running.pop(name)
            worker.ask_to_leave()
            self._leaving.append(worker)
        ended = [worker for worker in self._leaving if not worker.running]
        self._leaving = [worker for worker in self._leaving if worker.running]
        self._free += ended
        # Where all are taken, the pod waits for one that leaves.
        for name in sorted(pods - self._running.keys())[: len(self._free)]:
            worker = self._free.pop()
            worker.launch()
            self._running[name] = worker

    def faults(self) -> list[str]:
        """Return the logs of workers that ended although their pods run."""
        return [f"{one.log} ended" for one in self._running.values() if not one.running]


def _runs(pod: dict[str, Any]) -> bool:
    ready = [one for one in pod["status"].get("conditions", ()) if one["type"] == "Ready"]
    leaving = "deletionTimestamp" in pod["metadata"]
    return not leaving and any(one["status"] == "True" for one in ready)
