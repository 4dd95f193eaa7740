"""`VisionService`: ask about an image, or about the frames of a video, and wait for the answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from arno.api.v1 import vision_pb2, vision_pb2_grpc
from arno.errors import InvalidFieldError
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.admission import Admission, ConcurrencyLimit, Demand
from arno.gateway.calls import this_caller
from arno.gateway.inference import Inference, TimeBudget, time_budget
from arno.gateway.lifecycle import Drain
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.request_reader import read_first
from arno.gateway.status import fault_to_wire
from arno.gateway.stream import FrameStream, StreamSettings, check_stream_config
from arno.gateway.submission import Submission
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import FieldNames, RequestChecker, check_idempotency_key
from arno.vocabulary import Lane
from arno.vocabulary.wire import lane_from_wire

_FRAME_FIELDS: Final = FieldNames(image="frame.image.content", tasks="config.tasks")


class VisionService(vision_pb2_grpc.VisionServiceServicer):
    """Serves `Infer`, `InferStream` and `ListModels`. Lives in the server's loop."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        admission: Admission,
        checker: RequestChecker,
        inference: Inference,
        drain: Drain,
        metrics: GatewayMetrics,
    ) -> None:
        """Take the started parts."""
        self._gatekeeper = gatekeeper
        self._admission = admission
        self._checker = checker
        self._inference = inference
        self._limits = limits = checker.limits
        self._drain = drain
        self._metrics = metrics
        self._stream_limit = ConcurrencyLimit(
            "streams",
            limit_name="streams_max",
            limit=limits.streams_max,
            retry_delay_s=limits.overload_retry_s,
        )

    async def Infer(
        self, request: vision_pb2.InferRequest, context: Any
    ) -> vision_pb2.InferResponse:
        """Run the tasks on the image and answer when all have ended, or when the time is over."""
        started_s = time.monotonic()
        budget = time_budget(context.time_remaining(), limits=self._limits)
        lane = lane_from_wire(request.lane, default=Lane.INTERACTIVE)
        key = check_idempotency_key(request.idempotency_key)
        tenant, content = this_caller().tenant, request.image.content
        with self._admission.admit(tenant, Demand(len(content), lane, budget.work_s)) as job:
            # Tasks first: a request with a hundred of them is not worth reading an image's header.
            tasks = parse_tasks(request.tasks, limits=self._limits)
            checked = await self._checker.check(content, tasks, tenant=tenant)
            submission = Submission(
                checked, tenant=tenant, lane=lane, work_s=budget.work_s, idempotency_key=key
            )
            job.response = await self._inference.run(submission, budget=budget, started_s=started_s)
            return job.response

    async def InferStream(
        self, request_iterator: AsyncIterator[vision_pb2.InferStreamRequest], context: Any
    ) -> AsyncIterator[vision_pb2.InferStreamResponse]:
        """Answer each frame, in the order in which they came unless the settings say otherwise."""
        with (
            self._gatekeeper.hold_open(this_caller(), "streams_open"),
            self._stream_limit.hold(),
        ):
            # In no variable: it would hold the message for as long as the stream lasts.
            settings = check_stream_config(
                _config(
                    await read_first(
                        request_iterator,
                        field="config",
                        timeout_s=self._limits.receive_timeout_s,
                    )
                ),
                limits=self._limits,
            )
            runner = FrameRunner(
                settings,
                gatekeeper=self._gatekeeper,
                admission=self._admission,
                checker=self._checker,
                inference=self._inference,
                budget=lambda: self._frame_budget(settings, context.time_remaining()),
            )
            stream = FrameStream(
                settings,
                answer=runner.answer,
                reserve_bytes=lambda size_bytes: self._admission.reserve_bytes(
                    Demand(size_bytes, settings.lane)
                ),
                limits=self._limits,
                drain=self._drain,
            )
            async for response in stream.responses(request_iterator):
                self._metrics.frames.labels(_outcome(response)).inc()
                yield response

    async def ListModels(
        self, request: vision_pb2.ListModelsRequest, context: Any
    ) -> vision_pb2.ListModelsResponse:
        """Name the models of the workers that are there."""
        return vision_pb2.ListModelsResponse(models=await self._inference.models())

    def _frame_budget(self, settings: StreamSettings, remaining_s: float | None) -> TimeBudget:
        timeout_s = settings.frame_timeout_s
        shorter_s = timeout_s if remaining_s is None else min(timeout_s, remaining_s)
        return time_budget(shorter_s, limits=self._limits)


class FrameRunner:
    """Runs a stream's tasks on its frames. One for each stream."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        gatekeeper: Gatekeeper,
        admission: Admission,
        checker: RequestChecker,
        inference: Inference,
        budget: Callable[[], TimeBudget],
    ) -> None:
        """Take the stream's settings, the parts, and what returns the time of a frame."""
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._admission = admission
        self._checker = checker
        self._inference = inference
        self._budget = budget

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
        except Exception as error:  # noqa: BLE001 - an error of one frame never ends its stream
            response.error.CopyFrom(fault_to_wire(error))
        return response

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
        await self._gatekeeper.turn(caller)
        started_s = time.monotonic()
        budget = self._budget()
        lane, content = self._settings.lane, frame.image.content
        key = check_idempotency_key(frame.idempotency_key, field="frame.idempotency_key")
        demand = Demand(len(content), lane, budget.work_s)
        with self._admission.admit(caller.tenant, demand) as job:
            checked = await self._checker.check(
                content, self._settings.tasks, tenant=caller.tenant, fields=_FRAME_FIELDS
            )
            submission = Submission(
                checked,
                tenant=caller.tenant,
                lane=lane,
                work_s=budget.work_s,
                idempotency_key=key,
            )
            job.response = await self._inference.run(submission, budget=budget, started_s=started_s)
            return job.response


def _config(request: vision_pb2.InferStreamRequest) -> vision_pb2.StreamConfig:
    if request.WhichOneof("payload") == "config":
        return request.config
    problem = "the first message of a stream must hold its settings"
    sent = request.WhichOneof("payload") or "nothing"
    raise InvalidFieldError(field="config", problem=problem, sent=sent)


def _outcome(response: vision_pb2.InferStreamResponse) -> str:
    words = {"response": "answered", "error": "failed", "dropped": "dropped"}
    return words[response.WhichOneof("outcome") or "error"]
