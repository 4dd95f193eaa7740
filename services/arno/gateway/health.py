"""gRPC's own health service: SERVING while calls can be answered, NOT_SERVING otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grpc_health.v1 import health, health_pb2

from arno.api.v1 import job_pb2, vision_pb2

SERVICE_NAMES: Final[tuple[str, ...]] = (
    vision_pb2.DESCRIPTOR.services_by_name["VisionService"].full_name,
    job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
)
_ALL: Final = ("", *SERVICE_NAMES)


class ServingState:
    """Whether the gateway serves, for gRPC's health service and for readiness probes."""

    def __init__(self) -> None:
        """Start as NOT_SERVING."""
        self.servicer = health.aio.HealthServicer()
        self._reasons: tuple[str, ...] = ("starting",)

    @property
    def reasons(self) -> Sequence[str]:
        """Why not; empty while the gateway serves. Any thread."""
        return self._reasons

    async def set(self, reasons: Sequence[str]) -> None:
        """Serve if there is no reason against it."""
        self._reasons = tuple(reasons)
        states = health_pb2.HealthCheckResponse
        state = states.NOT_SERVING if self._reasons else states.SERVING
        for name in _ALL:
            await self.servicer.set(name, state)

    async def leave(self) -> None:
        """Never serve again."""
        self._reasons = ("draining",)
        await self.servicer.enter_graceful_shutdown()
