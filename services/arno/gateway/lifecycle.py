"""Whether the gateway lives and serves, its shutdown, and work for callers that have left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from grpc_health.v1 import health, health_pb2

from arno.api.v1 import job_pb2, vision_pb2
from arno.errors import ArnoError, DrainingError
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.ops.periodic import PeriodicTask
from arno.results.gateway_store import GatewayStore
from arno.vocabulary.job import HEALTH_OF_ROUTING

logger = logging.getLogger(__name__)

SERVICE_NAMES: Final[tuple[str, ...]] = (
    vision_pb2.DESCRIPTOR.services_by_name["VisionService"].full_name,
    job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
)
_HEALTH_NAMES: Final = ("", *SERVICE_NAMES)

_BEAT_SHARE: Final = 0.1
"""Time between two heartbeats, as a part of the silence that is too long."""

CLOSE_S: Final = 3.0

_QUIET_S: Final = 0.02
_QUIET_TURNS: Final = 10
"""No call is thought to be on its way after so many turns of the loop without a new one."""

QUIET_S_MAX: Final = 2.0
"""How long a gateway that leaves waits at most for callers that go on calling it."""


class ServingState:
    """Whether the gateway answers at all (readiness), and serves (gRPC's health service).

    A gateway without its bus or its store is ready: it answers with UNAVAILABLE and a retry delay
    (docs/decisions/0018-readiness-is-to-answer.md).
    """

    def __init__(self) -> None:
        """Start as not ready and NOT_SERVING."""
        self.servicer = health.aio.HealthServicer()
        self._absence: tuple[str, ...] = ("starting",)
        self._problems: tuple[str, ...] = ()
        self._leaving = False

    @property
    def absence(self) -> Sequence[str]:
        """Why calls get no answer of this gateway; empty while they get one. Any thread."""
        return self._absence

    @property
    def problems(self) -> Sequence[str]:
        """Why the answer is UNAVAILABLE; empty while calls are served. Any thread."""
        return self._problems

    async def set(self, problems: Sequence[str]) -> None:
        """Be ready, and serve if there is no problem; nothing after `leave`."""
        if self._leaving:
            return
        self._absence, self._problems = (), tuple(problems)
        states = health_pb2.HealthCheckResponse
        state = states.NOT_SERVING if self._problems else states.SERVING
        for name in _HEALTH_NAMES:
            await self.servicer.set(name, state)
        await self.servicer.set(HEALTH_OF_ROUTING, states.SERVING)

    async def leave(self) -> None:
        """Report not ready and NOT_SERVING until the process ends."""
        self._leaving = True
        self._absence = ("draining",)
        await self.servicer.enter_graceful_shutdown()


class LoopHeartbeat:
    """Whether the event loop turns: a gateway whose loop is blocked answers nothing.

    Started and closed in the loop; read by any thread.
    """

    def __init__(self, *, silence_s_max: float, clock: Clock = SYSTEM_CLOCK) -> None:
        """Take how long the loop may be silent; nothing is wrong before `start`."""
        self._silence_s_max = silence_s_max
        self._clock = clock
        self._beat_s = float("inf")
        self._beats = PeriodicTask(
            "the heartbeat of the event loop",
            self._beat,
            interval_s=silence_s_max * _BEAT_SHARE,
        )

    def start(self) -> None:
        """Begin to beat."""
        self._beat_s = self._clock.monotonic_s()
        self._beats.start()

    async def close(self) -> None:
        """Stop; nothing is wrong from here on. Idempotent."""
        await self._beats.close()
        self._beat_s = float("inf")

    def problems(self) -> list[str]:
        """Return why the loop counts as blocked; empty while it turns."""
        silence_s = self._clock.monotonic_s() - self._beat_s
        if silence_s <= self._silence_s_max:
            return []
        return [f"the event loop has not turned for {silence_s:.0f} s"]

    async def _beat(self) -> None:
        self._beat_s = self._clock.monotonic_s()


class Drain:
    """The signal that the gateway is shutting down; set once, never reset.

    Lives in one asyncio loop.
    """

    def __init__(self) -> None:
        """Start unset."""
        self._begun = asyncio.Event()
        self._refused_count = 0

    @property
    def begun(self) -> bool:
        """Whether the gateway is shutting down."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Set the signal. Idempotent."""
        self._begun.set()

    async def quiet(self) -> None:
        """Return once no new calls come, and after `QUIET_S_MAX` at the latest.

        A call that has arrived and was not handed on when gRPC's server stops, or that arrives
        before its client has learned of the stop, ends as CANCELLED, which only clients with our
        service config send again. Until then it is refused as UNAVAILABLE, and goes to another
        gateway.
        """
        loop = asyncio.get_running_loop()
        end_s, turns = loop.time() + QUIET_S_MAX, 0
        # Turns and not seconds alone: a busy loop hands calls on late.
        while turns < _QUIET_TURNS and loop.time() < end_s:
            before = self._refused_count
            await asyncio.sleep(_QUIET_S)
            turns = turns + 1 if self._refused_count == before else 0

    async def wait(self) -> None:
        """Return once the signal is set."""
        await self._begun.wait()

    def refuse_new(self) -> DrainingError:
        """Note that a call has come after the signal; return its error."""
        self._refused_count += 1
        return self.refusal()

    def refusal(self) -> DrainingError:
        """Return the error of calls that the signal ends."""
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
        """Finish what was started; a store that hangs delays this by `CLOSE_S` at most."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=CLOSE_S)
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
