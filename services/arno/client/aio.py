"""The asyncio client: the same methods as the blocking one, awaited."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2_grpc
from arno.client import requests
from arno.client.channel import DEFAULT_ADDRESS, Tls, open_aio_channel, with_key
from arno.client.faults import from_rpc
from arno.client.frames import FrameSource
from arno.client.jobs import Job, job_of
from arno.client.requests import FrameLike, StreamOptions, TaskLike
from arno.client.results import FrameResult, InferResult, frame_result, infer_result
from arno.ops.image_input import ImageLike

_NO_OPTIONS = StreamOptions()


class AsyncClient:
    """Asks a gateway about images from an asyncio program; belongs to the loop it is first used in.

        async with arno.AsyncClient("127.0.0.1:50051") as client:
            result = await client.infer("photo.jpg", "OD")

    Every method raises a class of `arno.errors`; calls that meet a server that is away
    (UNAVAILABLE) are tried up to five times within some six seconds.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 60.0,
        tls: Tls | None = None,
        api_key: str = "",
    ) -> None:
        """Name the gateway; the connection is made at the first call.

        Args:
            address: HOST:PORT of a gateway.
            timeout_s: How long a call may take unless it says otherwise; also the deadline of the
                work behind `infer`.
            tls: How to encrypt; None speaks plain text.
            api_key: Shown with every call; empty where the gateway asks for none.

        Raises:
            ConfigurationError: Address or key has another form, or a file of `tls` cannot be read.
        """
        self.address = address
        self._timeout_s = timeout_s
        self._channel = open_aio_channel(address, tls)
        keyed = with_key(self._channel, api_key)
        self._vision = vision_pb2_grpc.VisionServiceStub(keyed)
        self._jobs = job_pb2_grpc.JobServiceStub(keyed)

    async def infer(
        self,
        image: ImageLike,
        *tasks: TaskLike,
        lane: str | None = None,
        idempotency_key: str = "",
        timeout_s: float | None = None,
        constrained: bool = False,
    ) -> InferResult:
        """Run tasks on one image and wait for all of them.

        Args:
            image: A path, the bytes of an image file, a Pillow image or an array of RGB pixels.
            tasks: `"OD"`, `Task.OD` or a `TaskRequest`; the image is encoded once for all.
            lane: Priority class; None is interactive.
            idempotency_key: Makes a repeat of the call answer from the first one's job.
            timeout_s: Deadline of call and work. Tasks that ended by then are answered, the
                others carry an error.
            constrained: Hold every answer to the form of its task, as `TaskRequest.constrained`
                does for one.

        Raises:
            ArnoError: The request as a whole failed. A task that failed alone says so in its
                result.
        """
        tasks = requests.held_to_form(tasks) if constrained else tasks
        message = requests.infer_message(image, tasks, lane=lane, idempotency_key=idempotency_key)
        with self._translated():
            return infer_result(await self._vision.Infer(message, timeout=self._limit(timeout_s)))

    async def infer_stream(
        self,
        frames: AsyncIterable[FrameLike] | Iterable[FrameLike],
        *tasks: TaskLike,
        options: StreamOptions = _NO_OPTIONS,
        timeout_s: float | None = None,
    ) -> AsyncIterator[FrameResult]:
        """Run the same tasks on every frame; yield one result a frame, in their order.

        Frames are read only as fast as the server takes them. Closing the iterator, or breaking
        out of its loop, cancels what is left.

        Args:
            frames: Images, or `Frame`s with own numbers and times, from either kind of iterable.
            tasks: As for `infer`.
            options: Policy, window and deadline of a frame.
            timeout_s: Limit on the whole stream; None: none.

        Raises:
            ArnoError: The stream as a whole failed. A frame that failed alone says so in its
                result.
            Exception: Whatever `frames` raised, after the results of the frames before it.
        """
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
        timeout_s: float | None = None,
    ) -> Job:
        """Hand in a durable job and return as soon as it is stored safely.

        Args:
            image: As for `infer`.
            tasks: As for `infer`.
            lane: Priority class; None is batch.
            idempotency_key: Empty takes a random one, so that a retry below never doubles the job.
            time_to_live_s: How long the job may take from now; None is a day.
            timeout_s: Limit on this call, not on the job.

        Raises:
            ArnoError: The job was not accepted.
        """
        message = requests.submit_message(
            image,
            tasks,
            lane=lane,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            time_to_live_s=time_to_live_s,
        )
        with self._translated():
            return job_of((await self._jobs.SubmitJob(message, timeout=self._limit(timeout_s))).job)

    async def get(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return how a job stands, with its results so far.

        Raises:
            UnknownJobError: There is no such job (any more).
            ArnoError: The call failed.
        """
        request = job_pb2.GetJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            return job_of((await self._jobs.GetJob(request, timeout=self._limit(timeout_s))).job)

    async def watch(self, job_id: str, *, timeout_s: float | None = None) -> AsyncIterator[Job]:
        """Yield a job now and after every change, until it has ended.

        Args:
            job_id: Names the job.
            timeout_s: Limit on the whole watch; None: none.

        Raises:
            UnknownJobError: There is no such job (any more).
            ArnoError: The call failed.
        """
        call = self._jobs.WatchJob(
            job_pb2.WatchJobRequest(job_id=requests.checked_id(job_id)), timeout=timeout_s
        )
        try:
            with self._translated():
                async for message in call:
                    yield job_of(message.job)
        finally:
            call.cancel()

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return a job once it has ended, however.

        Raises:
            UnknownJobError: There is no such job (any more).
            DeadlineExceededError: It has not ended within the timeout.
            ArnoError: The call failed.
        """
        async for job in self.watch(job_id, timeout_s=timeout_s):
            if job.ended:
                return job
        return await self.get(job_id)

    async def cancel(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Ask that a job be stopped, and return how it stands. Idempotent.

        Raises:
            UnknownJobError: There is no such job (any more).
            ArnoError: The call failed.
        """
        request = job_pb2.CancelJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            return job_of((await self._jobs.CancelJob(request, timeout=self._limit(timeout_s))).job)

    async def delete(self, job_id: str, *, timeout_s: float | None = None) -> None:
        """Cancel a job where it still runs, and forget it and its results. Idempotent.

        Raises:
            ArnoError: The call failed.
        """
        request = job_pb2.DeleteJobRequest(job_id=requests.checked_id(job_id))
        with self._translated():
            await self._jobs.DeleteJob(request, timeout=self._limit(timeout_s))

    async def ready(self, *, timeout_s: float = 5.0) -> bool:
        """Say whether the gateway answers and takes work; never raises."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """End open calls and disconnect. Idempotent."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _limit(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc(error, self.address) from None
