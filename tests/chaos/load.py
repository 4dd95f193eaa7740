"""Asks questions at a steady rate through every gateway, as impatient clients would."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from chaos.ledger import Ledger
from chaos.workload import Question, make_question
from google.protobuf.duration_pb2 import Duration

Reply = TypeVar("Reply")

_DURABLE_SHARE: Final = 0.7
_TWICE_SHARE: Final = 0.1
_WATCHED_SHARE: Final = 0.5
_SUBMIT_S: Final = 10.0
_INFER_S: Final = 20.0
_READ_S: Final = 5.0
_READ_ALL_S: Final = 120.0
_READERS: Final = 8
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 1.0
_OPEN_MAX: Final = 500
_TIME_TO_LIVE = Duration(seconds=3600)
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]
_ENDED = frozenset(
    {
        job_pb2.JOB_STATE_SUCCEEDED,
        job_pb2.JOB_STATE_FAILED,
        job_pb2.JOB_STATE_CANCELLED,
        job_pb2.JOB_STATE_EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class _Stubs:
    vision: vision_pb2_grpc.VisionServiceAsyncStub
    jobs: job_pb2_grpc.JobServiceAsyncStub


class Load:
    """Durable jobs and waiting calls, from ``start`` to ``close``, on a thread of its own."""

    def __init__(
        self, addresses: Sequence[str], ledger: Ledger, *, run: str, rate_per_s: float
    ) -> None:
        """Take whom to ask, where to note it, the name of the run, and how often to ask."""
        self._addresses = addresses
        self._ledger = ledger
        self._run_name = run
        self._rate_per_s = rate_per_s
        self._chance = random.Random(run)
        self._asking = True
        self._hurry = False
        self._open: set[asyncio.Task[None]] = set()
        self._gateways: list[_Stubs] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    @property
    def open_count(self) -> int:
        """Questions that are asked and not answered."""
        return len(self._open)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop_asking(self) -> None:
        """Ask nothing new; what is open goes on."""
        self._asking = False

    def close(self) -> None:
        """Give up what is still open, read every accepted job once more, and end."""
        self._asking, self._hurry = False, True
        self._thread.join()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            for address in self._addresses:
                channel = grpc.aio.insecure_channel(address, options=_CHANNEL)
                await stack.enter_async_context(channel)
                self._gateways.append(
                    _Stubs(
                        vision_pb2_grpc.VisionServiceStub(channel),
                        job_pb2_grpc.JobServiceStub(channel),
                    )
                )
            await self._ask_all()
            while self._open and not self._hurry:
                await asyncio.wait(self._open, timeout=_PAUSE_S)
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._read_all()

    async def _ask_all(self) -> None:
        for number in itertools.count():
            if not self._asking:
                return
            if len(self._open) < _OPEN_MAX:
                task = asyncio.create_task(self._ask(make_question(number, self._run_name)))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
            await asyncio.sleep(self._chance.expovariate(self._rate_per_s))

    async def _ask(self, question: Question) -> None:
        durable = self._chance.random() < _DURABLE_SHARE
        self._ledger.asked(question.number, durable=durable)
        if durable:
            await self._submit(question)
        else:
            await self._infer(question)

    async def _infer(self, question: Question) -> None:
        request = vision_pb2.InferRequest(
            image=question.image, tasks=question.tasks, idempotency_key=question.key
        )
        response = await self._insist(
            question.number, lambda stubs: stubs.vision.Infer(request, timeout=_INFER_S)
        )
        self._note_end(question, response, response.SerializeToString(deterministic=True))

    async def _submit(self, question: Question) -> None:
        request = job_pb2.SubmitJobRequest(
            image=question.image,
            tasks=question.tasks,
            idempotency_key=question.key,
            time_to_live=_TIME_TO_LIVE,
        )
        job_id = ""
        for _ in range(2 if self._chance.random() < _TWICE_SHARE else 1):
            reply = await self._insist(
                question.number, lambda stubs: stubs.jobs.SubmitJob(request, timeout=_SUBMIT_S)
            )
            job_id = reply.job.id
            self._ledger.accepted(question.number, job_id)
        follow = self._watch if self._chance.random() < _WATCHED_SHARE else self._poll
        await follow(question, job_id)

    async def _watch(self, question: Question, job_id: str) -> None:
        request = job_pb2.WatchJobRequest(job_id=job_id)
        while True:
            try:
                async for change in self._any().jobs.WatchJob(request, timeout=_INFER_S):
                    if self._note_job(question, change.job):
                        return
            except grpc.aio.AioRpcError as error:
                self._ledger.refused(question.number, error.code().name)
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))

    async def _poll(self, question: Question, job_id: str) -> None:
        ended = False
        while not ended:
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            ended = self._note_job(question, await self._read(question.number, job_id))

    async def _read(self, number: int, job_id: str) -> job_pb2.Job:
        request = job_pb2.GetJobRequest(job_id=job_id)
        reply = await self._insist(
            number, lambda stubs: stubs.jobs.GetJob(request, timeout=_READ_S)
        )
        return reply.job

    async def _read_all(self) -> None:
        # Once more, when all is over: an end that has changed since is a second visible result.
        reading = [
            self._read_again(number, job_id)
            for number, entry in self._ledger.entries.items()
            for job_id in entry.job_ids
        ]
        turns = asyncio.Semaphore(_READERS)

        async def in_turn(one: Awaitable[None]) -> None:
            async with turns:
                await one

        try:
            async with asyncio.timeout(_READ_ALL_S):
                await asyncio.gather(*map(in_turn, reading))
        except TimeoutError:
            self._ledger.refused(0, "the last reading took too long")

    async def _read_again(self, number: int, job_id: str) -> None:
        self._note_job(make_question(number, self._run_name), await self._read(number, job_id))

    def _note_job(self, question: Question, job: job_pb2.Job) -> bool:
        if job.state not in _ENDED:
            return False
        end = job_pb2.Job(state=job.state, response=job.response, end_time=job.end_time)
        if job.state == job_pb2.JOB_STATE_SUCCEEDED:
            self._note_end(question, job.response, end.SerializeToString(deterministic=True))
        else:
            state = job_pb2.JobState.Name(job.state)
            fault = f"question {question.number}: {state} {job.error.reason}: {job.error.message}"
            self._ledger.answered(question.number, end=state, fault=fault)
        return True

    def _note_end(
        self, question: Question, response: vision_pb2.InferResponse, content: bytes
    ) -> None:
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._ledger.answered(question.number, end=digest, fault=question.fault(response))

    async def _insist(self, number: int, call: Callable[[_Stubs], Awaitable[Reply]]) -> Reply:
        pause_s = _PAUSE_S
        while True:
            try:
                return await call(self._any())
            except grpc.aio.AioRpcError as error:
                self._ledger.refused(number, error.code().name)
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    def _any(self) -> _Stubs:
        return self._chance.choice(self._gateways)
