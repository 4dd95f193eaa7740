"""Answer one frame of a stream, whatever happens: a fault of a frame never ends its stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from arno.api.v1 import vision_pb2
from arno.errors import InvalidFieldError
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.admission import Ask
from arno.gateway.calls import this_caller
from arno.gateway.deadlines import time_budget
from arno.gateway.inference import Inference
from arno.gateway.settings import GatewayLimits
from arno.gateway.status import fault_to_wire
from arno.gateway.stream_settings import StreamSettings
from arno.gateway.submission import Submission
from arno.gateway.validation import FieldNames, check_request_off_loop

_FIELDS: Final = FieldNames(image="frame.image.content", tasks="config.tasks")


class FrameRunner:
    """Runs the stream's tasks on its frames. One for each stream."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        gatekeeper: Gatekeeper,
        inference: Inference,
        limits: GatewayLimits,
        time_remaining_s: Callable[[], float | None],
    ) -> None:
        """Take the stream's settings, and how long its call may still last."""
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._inference = inference
        self._limits = limits
        self._time_remaining_s = time_remaining_s

    async def answer(
        self, frame: vision_pb2.Frame, *, previous: int | None
    ) -> vision_pb2.InferStreamResponse:
        """Return the outcome of a frame.

        Args:
            frame: As the client sent it.
            previous: The number of the frame before it; None for the first.
        """
        response = vision_pb2.InferStreamResponse(
            sequence=frame.sequence, timestamp_ms=frame.timestamp_ms
        )
        try:
            response.response.CopyFrom(await self._run(frame, previous))
        except Exception as fault:  # noqa: BLE001 - whatever it is, the stream goes on and says so
            response.error.CopyFrom(fault_to_wire(fault))
        return response

    def keep(self, size_bytes: int) -> Callable[[], None]:
        """Find room for a frame that waits to be answered; return what gives it back.

        Raises:
            OverloadedError: The gateway holds as many bytes as it may. Retryable.
        """
        return self._inference.keep(Ask(size_bytes, self._settings.lane))

    async def _run(self, frame: vision_pb2.Frame, previous: int | None) -> vision_pb2.InferResponse:
        if previous is not None and frame.sequence <= previous:
            raise InvalidFieldError(
                field="frame.sequence",
                problem="not higher than that of the frame before",
                limit=f"above {previous}",
                sent=str(frame.sequence),
            )
        caller = this_caller()
        self._gatekeeper.admit(caller)
        started_s = time.monotonic()
        remaining_s = self._time_remaining_s()
        timeout_s = self._settings.frame_timeout_s
        budget = time_budget(
            timeout_s if remaining_s is None else min(timeout_s, remaining_s), limits=self._limits
        )
        lane, content = self._settings.lane, frame.image.content
        with self._inference.enter(caller.tenant, Ask(len(content), lane, budget.work_s)):
            checked = await check_request_off_loop(
                content,
                self._settings.tasks,
                limits=self._limits,
                fields=_FIELDS,
            )
            submission = Submission(checked, tenant=caller.tenant, lane=lane, work_s=budget.work_s)
            return await self._inference.run(submission, budget=budget, started_s=started_s)
