"""Whether the gateway serves, its shutdown, and the work that remains for callers that left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from grpc_health.v1 import health, health_pb2

from arno.api.v1 import job_pb2, vision_pb2
from arno.errors import ArnoError, DrainingError
from arno.results.gateway_store import GatewayStore

logger = logging.getLogger(__name__)

SERVICE_NAMES: Final[tuple[str, ...]] = (
    vision_pb2.DESCRIPTOR.services_by_name["VisionService"].full_name,
    job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
)
_HEALTH_NAMES: Final = ("", *SERVICE_NAMES)

_CLOSE_S: Final = 3.0


class ServingState:
    """Whether the gateway serves, for gRPC's health service and for readiness probes."""

    def __init__(self) -> None:
        """Start as NOT_SERVING."""
        self.servicer = health.aio.HealthServicer()
        self._reasons: tuple[str, ...] = ("starting",)

    @property
    def reasons(self) -> Sequence[str]:
        """Why the gateway does not serve; empty while it does. Any thread."""
        return self._reasons

    async def set(self, reasons: Sequence[str]) -> None:
        """Serve if there is no reason against it."""
        self._reasons = tuple(reasons)
        states = health_pb2.HealthCheckResponse
        state = states.NOT_SERVING if self._reasons else states.SERVING
        for name in _HEALTH_NAMES:
            await self.servicer.set(name, state)

    async def leave(self) -> None:
        """Report NOT_SERVING until the process ends."""
        self._reasons = ("draining",)
        await self.servicer.enter_graceful_shutdown()


class Drain:
    """The signal that the gateway is shutting down; set once, never reset.

    Lives in one asyncio loop.
    """

    def __init__(self) -> None:
        """Start unset."""
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the gateway is shutting down."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Set the signal. Idempotent."""
        self._begun.set()

    async def wait(self) -> None:
        """Return once the signal is set."""
        await self._begun.wait()

    def refusal(self) -> DrainingError:
        """Return the error of calls that come after the signal."""
        return DrainingError("this gateway is shutting down; another one takes the request")


class BackgroundTasks:
    """Coroutines that no call waits for, finished before the gateway leaves.

    Lives in one asyncio loop.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._pending: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that handles its own errors; return at once."""
        task = asyncio.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Finish what was started; a store that hangs delays this by `_CLOSE_S` at most."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=_CLOSE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            logger.warning("%d cancellations and releases were not sent in time", len(late))


class Canceller:
    """Cancels the jobs of callers that have left. Lives in one asyncio loop."""

    def __init__(
        self, store: GatewayStore, background: BackgroundTasks, *, on_sent: Callable[[], None]
    ) -> None:
        """Take the started store, what runs the requests, and what counts them."""
        self._store = store
        self._background = background
        self._on_sent = on_sent

    def cancel_in_background(self, job_id: str) -> None:
        """Request the cancellation of a job; return at once."""
        self._on_sent()
        self._background.start(self._cancel(job_id))

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._store.request_cancel(job_id)
        except ArnoError as error:
            # Its deadline ends the job all the same.
            logger.warning("could not cancel a job: %s", error, extra={"job_id": job_id})
