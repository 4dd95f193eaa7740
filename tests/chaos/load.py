"""Clients at a steady rate through all gateways: they submit, wait, read, watch, cancel, delete."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from arno.client.faults import from_rpc
from chaos.history import TERMINAL, History, Operation, Outcome, Request, Verb, accepts
from chaos.workload import Question, make_question
from google.protobuf.duration_pb2 import Duration

Reply = TypeVar("Reply")

_DURABLE_SHARE: Final = 0.7
_TWICE_SHARE: Final = 0.1
_WATCHED_SHARE: Final = 0.5
_CANCELLED_SHARE: Final = 0.05
_DELETED_SHARE: Final = 0.05
_LIVES_S: Final = (60.0, 3600.0, 7200.0)
_INFER_S: Final = 20.0
_READ_S: Final = 5.0
_TIMEOUTS_S: Final = defaultdict(
    lambda: _READ_S, {Verb.SUBMIT: 10.0, Verb.INFER: _INFER_S, Verb.WATCH: 20.0}
)
_READ_ALL_S: Final = 240.0
_READERS: Final = 8
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 1.0
_OPEN_MAX: Final = 500
_FORGOTTEN_S: Final = 30.0
"""After a loss of the store its older jobs may be unknown for ever; readers give them up."""

_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True, slots=True)
class _Stubs:
    vision: vision_pb2_grpc.VisionServiceAsyncStub
    jobs: job_pb2_grpc.JobServiceAsyncStub


class _GoneError(Exception):
    """The job is unknown, and rightly so: it was deleted, or the store has lost it."""


class Load:
    """Durable jobs and waiting calls, from ``start`` to ``close``, on a thread of its own."""

    def __init__(
        self, addresses: Sequence[str], history: History, *, run: str, rate_per_s: float
    ) -> None:
        """Take the gateways, where to note operations, the run's name, and requests a second."""
        self._addresses = addresses
        self._history = history
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
        """Requests that have begun and not ended."""
        return len(self._open)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop_asking(self) -> None:
        """Begin no new request; open ones go on."""
        self._asking = False

    def close(self) -> None:
        """Give up open requests, read every accepted job once more, and end."""
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
        life_s = self._chance.choice(_LIVES_S) if durable else _INFER_S
        self._history.request(question.number, Request(question.key, durable, life_s))
        if durable:
            await self._submit(question, life_s)
        else:
            await self._infer(question)

    async def _infer(self, question: Question) -> None:
        request = vision_pb2.InferRequest(
            image=question.image, tasks=question.tasks, idempotency_key=question.key
        )

        async def infer(stubs: _Stubs, operation: Operation) -> None:
            response = await stubs.vision.Infer(request, timeout=operation.timeout_s)
            self._note_answer(question, operation, response)

        await self._insist(question.number, Verb.INFER, infer)

    async def _submit(self, question: Question, life_s: float) -> None:
        request = job_pb2.SubmitJobRequest(
            image=question.image,
            tasks=question.tasks,
            idempotency_key=question.key,
            time_to_live=Duration(seconds=int(life_s)),
        )

        async def submit(stubs: _Stubs, operation: Operation) -> None:
            operation.job_id = (
                await stubs.jobs.SubmitJob(request, timeout=operation.timeout_s)
            ).job.id

        job_id = ""
        for _ in range(2 if self._chance.random() < _TWICE_SHARE else 1):
            job_id = (await self._insist(question.number, Verb.SUBMIT, submit)).job_id
        follow = self._watch if self._chance.random() < _WATCHED_SHARE else self._poll
        try:
            if self._chance.random() < _CANCELLED_SHARE:
                await self._cancel(question, job_id)
            await follow(question, job_id)
            if self._chance.random() < _DELETED_SHARE:
                await self._delete(question, job_id)
        except _GoneError:
            return

    async def _cancel(self, question: Question, job_id: str) -> None:
        request = job_pb2.CancelJobRequest(job_id=job_id)

        async def cancel(stubs: _Stubs, operation: Operation) -> None:
            reply = await stubs.jobs.CancelJob(request, timeout=operation.timeout_s)
            self._note(question, operation, reply.job)

        await self._insist(question.number, Verb.CANCEL, cancel, job_id)

    async def _delete(self, question: Question, job_id: str) -> None:
        request = job_pb2.DeleteJobRequest(job_id=job_id)

        async def delete(stubs: _Stubs, operation: Operation) -> None:
            await stubs.jobs.DeleteJob(request, timeout=operation.timeout_s)

        await self._insist(question.number, Verb.DELETE, delete, job_id)

    async def _watch(self, question: Question, job_id: str) -> None:
        request = job_pb2.WatchJobRequest(job_id=job_id)
        ended = False
        while not ended:
            async with self._operation(question.number, Verb.WATCH, job_id) as operation:
                async for change in self._any().jobs.WatchJob(request, timeout=operation.timeout_s):
                    ended = self._note(question, operation, change.job) or ended
            self._give_up_if_gone(question.number, operation)
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))

    async def _poll(self, question: Question, job_id: str) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            operation = await self._get(question, job_id)
            if any(reading.state in TERMINAL for reading in operation.readings):
                return

    async def _get(self, question: Question, job_id: str) -> Operation:
        request = job_pb2.GetJobRequest(job_id=job_id)

        async def get(stubs: _Stubs, operation: Operation) -> None:
            reply = await stubs.jobs.GetJob(request, timeout=operation.timeout_s)
            self._note(question, operation, reply.job)

        return await self._insist(question.number, Verb.GET, get, job_id)

    async def _read_all(self) -> None:
        # Once more, when all is over: an end that has changed since is a second visible result.
        accepted = {(op.request, op.job_id) for op in self._history.operations if accepts(op)}
        turns = asyncio.Semaphore(_READERS)

        async def read_again(number: int, job_id: str) -> None:
            async with turns:
                try:
                    await self._get(make_question(number, self._run_name), job_id)
                except _GoneError:
                    return

        try:
            async with asyncio.timeout(_READ_ALL_S):
                await asyncio.gather(*(read_again(*one) for one in sorted(accepted)))
        except TimeoutError:
            self._history.leaked(f"the last reading of all jobs took more than {_READ_ALL_S:g} s")

    def _note_answer(
        self, question: Question, operation: Operation, response: vision_pb2.InferResponse
    ) -> None:
        """Note the answer of a call; one of which a part came too late is the end of its time."""
        late = [one for one in response.results if one.error.reason == "DEADLINE_EXCEEDED"]
        wrong = question.fault(response, unanswered={one.id for one in late})
        digest = _digest(response.SerializeToString(deterministic=True))
        state = "EXPIRED" if late else "SUCCEEDED"
        self._history.read(operation, state, digest=digest, wrong=wrong)

    def _note(self, question: Question, operation: Operation, job: job_pb2.Job) -> bool:
        """Note a state of a job; return whether it has ended."""
        state = job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")
        if state not in TERMINAL:
            self._history.read(operation, state)
            return False
        end = job_pb2.Job(
            state=job.state, response=job.response, end_time=job.end_time, error=job.error
        )
        wrong = ""
        if state == "SUCCEEDED":
            wrong = question.fault(job.response)
        elif state == "FAILED":
            wrong = f"question {question.number}: {job.error.reason}: {job.error.message}"
        content = end.SerializeToString(deterministic=True)
        digest = _digest(content)
        self._history.read(operation, state, digest=digest, wrong=wrong, reason=job.error.reason)
        return True

    async def _insist(
        self,
        number: int,
        verb: Verb,
        call: Callable[[_Stubs, Operation], Awaitable[None]],
        job_id: str = "",
    ) -> Operation:
        """Call until it succeeds; return the operation that did."""
        pause_s = _PAUSE_S
        while True:
            async with self._operation(number, verb, job_id) as operation:
                await call(self._any(), operation)
            if operation.outcome is Outcome.OK:
                return operation
            self._give_up_if_gone(number, operation)
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    @asynccontextmanager
    async def _operation(
        self, number: int, verb: Verb, job_id: str = ""
    ) -> AsyncIterator[Operation]:
        """Note a call from its beginning to its end; an error of the call stays inside."""
        operation = self._history.invoke(number, verb, job_id, timeout_s=_TIMEOUTS_S[verb])
        try:
            yield operation
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            # Only a refusal by name is known to have had no effect.
            outcome = Outcome.FAIL if code == "NOT_FOUND" else Outcome.INFO
            self._history.end(operation, outcome, code=code, reason=from_rpc(error, "").reason)
        else:
            self._history.end(operation, Outcome.OK, job_id=operation.job_id)

    def _give_up_if_gone(self, number: int, operation: Operation) -> None:
        if operation.code == "NOT_FOUND":
            raise _GoneError
        losses_s = self._history.store_losses_s
        accepted_s = [op.ended_s for op in self._history.by_request[number] if accepts(op)]
        if not accepted_s or not losses_s or accepted_s[0] > losses_s[-1] + _READ_S:
            return
        if self._history.now_s() - losses_s[-1] > _FORGOTTEN_S:
            raise _GoneError

    def _any(self) -> _Stubs:
        return self._chance.choice(self._gateways)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
