"""`VisionService`: ask about an image, or about the frames of a video, and wait for the answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from arno.api.v1 import vision_pb2, vision_pb2_grpc
from arno.errors import InvalidFieldError
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.admission import Ask
from arno.gateway.calls import this_caller
from arno.gateway.deadlines import time_budget
from arno.gateway.drain import Drain
from arno.gateway.frames import FrameRunner
from arno.gateway.inference import Inference
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.places import Places
from arno.gateway.receiving import Receiving
from arno.gateway.settings import GatewayLimits
from arno.gateway.stream import FrameStream
from arno.gateway.stream_settings import check_stream_config
from arno.gateway.submission import Submission
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import check_idempotency_key, check_request_off_loop
from arno.vocabulary import Lane
from arno.vocabulary.wire import lane_from_wire


class VisionService(vision_pb2_grpc.VisionServiceServicer):
    """Serves `Infer` and `InferStream`. Lives in the server's loop."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        receiving: Receiving,
        inference: Inference,
        limits: GatewayLimits,
        drain: Drain,
        metrics: GatewayMetrics,
    ) -> None:
        """Take the started parts."""
        self._gatekeeper = gatekeeper
        self._receiving = receiving
        self._inference = inference
        self._limits = limits
        self._drain = drain
        self._metrics = metrics
        self._stream_places = Places(
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
        with self._inference.enter(tenant, Ask(len(content), lane, budget.work_s)):
            # Tasks first: a request with a hundred of them is not worth reading an image's header.
            tasks = parse_tasks(request.tasks, limits=self._limits)
            checked = await check_request_off_loop(content, tasks, limits=self._limits)
            submission = Submission(
                checked, tenant=tenant, lane=lane, work_s=budget.work_s, idempotency_key=key
            )
            return await self._inference.run(submission, budget=budget, started_s=started_s)

    async def InferStream(
        self, request_iterator: AsyncIterator[vision_pb2.InferStreamRequest], context: Any
    ) -> AsyncIterator[vision_pb2.InferStreamResponse]:
        """Answer each frame, in the order in which they came."""
        with self._stream_places.hold():
            # In no variable: it would hold the message for as long as the stream lasts.
            settings = check_stream_config(
                _config(await self._receiving.first(request_iterator, field="config")),
                limits=self._limits,
            )
            runner = FrameRunner(
                settings,
                gatekeeper=self._gatekeeper,
                inference=self._inference,
                limits=self._limits,
                time_remaining_s=context.time_remaining,
            )
            stream = FrameStream(
                settings,
                answer=runner.answer,
                keep=runner.keep,
                limits=self._limits,
                drain=self._drain,
            )
            async for response in stream.responses(request_iterator):
                self._metrics.frames.labels(_outcome(response)).inc()
                yield response


def _config(request: vision_pb2.InferStreamRequest) -> vision_pb2.StreamConfig:
    if request.WhichOneof("payload") == "config":
        return request.config
    problem = "the first message of a stream must hold its settings"
    sent = request.WhichOneof("payload") or "nothing"
    raise InvalidFieldError(field="config", problem=problem, sent=sent)


def _outcome(response: vision_pb2.InferStreamResponse) -> str:
    words = {"response": "answered", "error": "failed", "dropped": "dropped"}
    return words[response.WhichOneof("outcome") or "error"]
