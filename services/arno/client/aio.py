"""The asyncio client of a gateway.

The blocking client in `arno.client.sync` is generated from this file by `scripts/generate_sync.py`.
Change this file, then run `make sync`.
"""

from __future__ import annotations

import copy
import math
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from arno.client import requests
from arno.client.base import ClientBase
from arno.client.channel import DEFAULT_ADDRESS, Tls, open_aio_channel, with_key
from arno.client.frames import AsyncFrames, FrameSource
from arno.client.many import AsyncImages, ImageResult, ManyOptions, ask_many_async
from arno.client.requests import StreamOptions
from arno.errors import UnavailableError
from arno.images.input import ImageLike, require_several
from arno.vocabulary import TaskLike
from arno.vocabulary.answers import ScoredCandidate
from arno.vocabulary.results import FrameResult, InferResult, Job, Model
from arno.vocabulary.spec import CandidateLike, scoring_spec
from arno.vocabulary.wire_results import frame_result, infer_result, job_result, model_result

_NO_OPTIONS = StreamOptions()


class AsyncClient(ClientBase):
    """An asyncio client of a gateway.

        async with arno.AsyncClient("127.0.0.1:50051") as client:
            result = await client.infer("photo.jpg", "OD", "CAPTION")
            for region in result["OD"].regions:
                print(region.label, region.score, region.shape)

    A client may be shared by the tasks of one event loop: the loop in which it is first used.

    Every method raises subclasses of `arno.errors.ArnoError`. A call that fails with UNAVAILABLE,
    or that reached a gateway as it stopped, is retried up to four times over about six seconds; no
    other error is retried.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 60.0,
        tls: Tls | None = None,
        api_key: str = "",
    ) -> None:
        """Create a client; it connects at the first call.

        Args:
            address: HOST:PORT of a gateway.
            timeout_s: Default time limit of a call, in seconds. For `infer` it also limits the
                work behind the call. Streams and watches have no default limit.
            tls: Certificates for TLS; None connects in plain text.
            api_key: API key sent with every call; empty for a gateway without API keys.

        Raises:
            ConfigurationError: The address or the key is malformed, or a file of `tls` cannot be
                read.
        """
        super().__init__(address, timeout_s, tls)
        self._channel = open_aio_channel(address, tls)
        self._show_key(api_key)

    def with_key(self, api_key: str) -> Self:
        """Return a client on the same connection whose calls show another API key.

        For a process that calls on behalf of several tenants. Closing either client closes the
        connection of both.

        Raises:
            ConfigurationError: The key is malformed.
        """
        other = copy.copy(self)
        other._show_key(api_key)
        return other

    def _show_key(self, api_key: str) -> None:
        with_credentials = with_key(self._channel, api_key)
        self._vision = vision_pb2_grpc.VisionServiceStub(with_credentials)
        self._jobs = job_pb2_grpc.JobServiceStub(with_credentials)

    async def infer(
        self,
        image: ImageLike,
        *tasks: TaskLike,
        lane: str | None = None,
        idempotency_key: str = "",
        timeout_s: float | None = None,
        constrained: bool = False,
    ) -> InferResult:
        """Run one or more tasks on one image and return when all of them have ended.

        The image is encoded once, however many tasks use it.

        Args:
            image: A path, the bytes of an image file, a Pillow image, or an array of RGB pixels.
            tasks: Task names such as `"OD"`, members of `Task`, or `TaskRequest`s for tasks that
                take text, a region, classes or options.
            lane: Priority class: "interactive", "stream" or "batch"; None means interactive.
            idempotency_key: A later call with the same key and the same request returns the answer
                of the first call's job instead of starting a new one.
            timeout_s: Time limit of the call and of its work, in seconds; None uses the client's.
                Tasks that ended in time have answers, the others carry an error.
            constrained: Restrict every answer to the grammar of its task, as
                `TaskRequest.constrained` does for one task.

        Raises:
            ArnoError: The request as a whole failed. If only some tasks failed, nothing is raised:
                their results carry the errors.
        """
        tasks = requests.held_to_form(tasks) if constrained else tasks
        message = requests.infer_message(image, tasks, lane=lane, idempotency_key=idempotency_key)
        with self._translated():
            reply = await self._vision.Infer(message, timeout=self._limit(timeout_s))
        return infer_result(reply, source=image)

    def infer_many(
        self,
        images: AsyncImages,
        *tasks: TaskLike,
        in_flight_max: int = 16,
        ordered: bool = True,
        progress: bool = False,
        lane: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[ImageResult]:
        """Run the same tasks on many images; return an iterator over an `ImageResult` for each.

        Images are read as they are needed, so there may be any number. An image that fails stops no
        other: its outcome is the error. Leaving the loop early gives up what is under way. Results
        keep the paths of their images, and no image that is in memory.

        Args:
            images: Each as for `infer`.
            tasks: As for `infer`.
            in_flight_max: Images that are under way at once.
            ordered: Yield in the order of the images; False yields them as they are answered.
            progress: Show a bar on standard error, or in the notebook.
            lane: As for `infer`.
            timeout_s: Time limit of each image; None uses the client's.

        Raises:
            InvalidFieldError: A task makes no sense, or `images` is one image.
            Exception: The exception that `images` raised.
        """
        requests.check_tasks(tasks)
        require_several("images", images, "`infer` takes one")
        options = ManyOptions(in_flight_max, ordered, progress)
        return ask_many_async(
            images,
            lambda image: self.infer(image, *tasks, lane=lane, timeout_s=timeout_s),
            options,
        )

    async def score(
        self,
        image: ImageLike,
        task: TaskLike,
        candidates: Sequence[CandidateLike],
        *,
        lane: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[ScoredCandidate, ...]:
        """Return what the model thinks of given answers to a task, in their order.

        It reads them in one pass instead of writing an answer of its own.

        Args:
            image: As for `infer`.
            task: The task, with the inputs that it takes.
            candidates: Texts as the model would write them, or regions of which label and shape
                count.
            lane: As for `infer`.
            timeout_s: As for `infer`.

        Raises:
            ArnoError: The call or the task failed.
        """
        spec = scoring_spec(task, candidates)
        result = await self.infer(image, spec, lane=lane, timeout_s=timeout_s)
        return result.tasks[0].answer.candidates

    async def infer_stream(
        self,
        frames: AsyncFrames,
        *tasks: TaskLike,
        options: StreamOptions = _NO_OPTIONS,
        timeout_s: float | None = None,
    ) -> AsyncIterator[FrameResult]:
        """Run the same tasks on every frame of a video; yield one result a frame, in frame order.

        Frames are read only as fast as the gateway accepts them. Closing the iterator, or leaving
        its loop early, cancels the frames that are still open and have no idempotency key.

        Args:
            frames: Images, or `Frame`s that also carry a number and a time.
            tasks: The tasks of every frame, as for `infer`.
            options: Policy for frames that arrive faster than answers, frames in flight, time limit
                of a frame.
            timeout_s: Time limit of the whole stream, in seconds; None sets no limit.

        Raises:
            ArnoError: The stream as a whole failed. If only a frame failed, nothing is raised: its
                result carries the error.
            Exception: The exception that `frames` raised, after the results of the frames before.
        """
        require_several("frames", frames, "`arno stream` reads videos")
        source = FrameSource(requests.config_message(tasks, options), frames)
        call = self._vision.InferStream(source.messages_async(), timeout=timeout_s)
        try:
            with self._translated():
                async for message in call:
                    yield frame_result(message)
        finally:
            call.cancel()
        source.check()

    async def submit(
        self,
        image: ImageLike,
        *tasks: TaskLike,
        lane: str | None = None,
        idempotency_key: str = "",
        time_to_live_s: float | None = None,
        notify: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Job:
        """Submit a durable job and return as soon as the gateway has stored it.

        The job runs to its end even if this client disconnects; fetch it with `get`, `watch` or
        `wait`.

        Args:
            image: As for `infer`.
            tasks: As for `infer`.
            lane: Priority class: "interactive", "stream" or "batch"; None means batch.
            idempotency_key: A later call with the same key and the same request returns the same
                job. If empty, a random key is used, so that a retry of this call never creates a
                second job.
            time_to_live_s: Time within which the job must end, in seconds; None means one day.
            notify: Names of subscriptions of `arno notify` that get an event at the end.
            timeout_s: Time limit of this call, not of the job, in seconds; None uses the client's.

        Raises:
            ArnoError: The job was not accepted.
        """
        message = requests.submit_message(
            image,
            tasks,
            lane=lane,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            time_to_live_s=time_to_live_s,
            notify=notify,
        )
        with self._translated():
            reply = await self._jobs.SubmitJob(message, timeout=self._limit(timeout_s))
        return job_result(reply.job)

    async def get(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the current state of a job, with the results so far.

        Raises:
            UnknownJobError: The job does not exist, or no longer exists.
            ArnoError: The call failed.
        """
        request = job_pb2.GetJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            reply = await self._jobs.GetJob(request, timeout=self._limit(timeout_s))
        return job_result(reply.job)

    async def watch(self, job_id: str, *, timeout_s: float | None = None) -> AsyncIterator[Job]:
        """Yield a job at once, and again after every change until it has ended.

        Args:
            job_id: Id of the job.
            timeout_s: Time limit of the whole watch, in seconds; None sets no limit.

        Raises:
            UnknownJobError: The job does not exist, or no longer exists.
            ArnoError: The call failed.
        """
        request = job_pb2.WatchJobRequest(job_id=requests.checked_id(job_id))
        call = self._jobs.WatchJob(request, timeout=timeout_s)
        try:
            with self._translated():
                async for message in call:
                    yield job_result(message.job)
        finally:
            call.cancel()

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return a job once it has ended: succeeded, failed, cancelled or expired.

        Where the gateway that is asked leaves, or the connection breaks, another one is asked.

        Args:
            job_id: Id of the job.
            timeout_s: Time limit of the wait, in seconds; None sets no limit.

        Raises:
            UnknownJobError: The job does not exist, or no longer exists.
            DeadlineExceededError: The job has not ended within the time limit.
            ArnoError: The call failed.
        """
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            followed = False
            left_s = None if timeout_s is None else max(0.0, until_s - time.monotonic())
            try:
                async for job in self.watch(job_id, timeout_s=left_s):
                    followed = True
                    if job.ended:
                        return job
                return await self.get(job_id)
            except UnavailableError:
                # gRPC itself tries again until the first message has come, and not after it.
                if not followed:
                    raise

    async def cancel(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Request that a job be cancelled, and return its current state. Idempotent.

        Raises:
            UnknownJobError: The job does not exist, or no longer exists.
            ArnoError: The call failed.
        """
        request = job_pb2.CancelJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            reply = await self._jobs.CancelJob(request, timeout=self._limit(timeout_s))
        return job_result(reply.job)

    async def delete(self, job_id: str, *, timeout_s: float | None = None) -> None:
        """Cancel a job if it still runs, and delete it with its results. Idempotent.

        Raises:
            ArnoError: The call failed.
        """
        request = job_pb2.DeleteJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            await self._jobs.DeleteJob(request, timeout=self._limit(timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> tuple[Model, ...]:
        """Return the models that answer: one, except while workers are replaced or none is there.

        Raises:
            ArnoError: The call failed; a gateway of an older version does not know it.
        """
        with self._translated():
            reply = await self._vision.ListModels(
                vision_pb2.ListModelsRequest(), timeout=self._limit(timeout_s)
            )
        return tuple(model_result(model) for model in reply.models)

    async def ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the gateway answers and accepts work; raise nothing."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """End open calls and disconnect. Idempotent."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
