"""The history of a run: every operation on the installation, with its beginning and its end.

The form is Jepsen's: an operation is invoked, and then ends as ``ok`` (it took effect), ``fail``
(it certainly did not) or ``info`` (nobody knows: a time-out, a cut connection, the end of the run).
The history is the only input of ``chaos.checker``, so a saved one can be judged again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self


class Verb(StrEnum):
    """What a client does."""

    SUBMIT = "submit"
    INFER = "infer"
    GET = "get"
    WATCH = "watch"
    CANCEL = "cancel"
    DELETE = "delete"


class Outcome(StrEnum):
    """How an operation ended."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Reading:
    """One state of a job as a client saw it.

    Attributes:
        at_s: When it arrived, on the history's clock.
        state: The name of the job's state, without its prefix.
        digest: Fingerprint of a terminal state with everything in it; empty before the end.
        wrong: How the answer differs from the true one; empty where it does not.
        reason: The error of a job that failed.
    """

    at_s: float
    state: str
    digest: str = ""
    wrong: str = ""
    reason: str = ""


@dataclass(slots=True)
class Operation:
    """One call of a client.

    Attributes:
        number: Its place among the operations of the run.
        request: The request that it belongs to.
        verb: What was called.
        invoked_s: When, on the history's clock.
        ended_s: When it ended; infinite while it runs.
        outcome: How it ended; ``info`` while it runs.
        code: The canonical code of a call that failed.
        reason: Its reason; the code where gRPC itself answered.
        job_id: The job that was named in the call or in its answer.
        timeout_s: How long the client was ready to wait.
        readings: What it saw of the job, in order.
    """

    number: int
    request: int
    verb: Verb
    invoked_s: float
    ended_s: float = float("inf")
    outcome: Outcome = Outcome.INFO
    code: str = ""
    reason: str = ""
    job_id: str = ""
    timeout_s: float = 0.0
    readings: list[Reading] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Request:
    """One question of the load.

    Attributes:
        key: Its idempotency key.
        durable: Whether it is submitted as a job; otherwise a caller waits for the answer.
        life_s: How long the job may live from its submission.
    """

    key: str
    durable: bool
    life_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run has come: counts of requests, and of calls that failed and were tried again."""

    asked: int
    accepted: int
    answered: int
    failed_calls: int

    def __str__(self) -> str:
        return (
            f"asked {self.asked}, accepted {self.accepted}, answered {self.answered}, "
            f"failed calls {self.failed_calls}"
        )


class History:
    """Collects operations in memory and as JSON lines. Any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin a history.

        Args:
            path: A file for the events; None keeps them in memory alone.
        """
        self._lock = threading.Lock()
        self._file = path.open("w", encoding="utf-8") if path else None
        self._began_s = time.monotonic()
        self.requests: dict[int, Request] = {}
        self.operations: list[Operation] = []
        self.by_request: dict[int, list[Operation]] = {}
        self.store_losses_s: list[float] = []
        self.leaks: list[str] = []

    def now_s(self) -> float:
        """Return seconds since the beginning."""
        return time.monotonic() - self._began_s

    def request(self, number: int, request: Request) -> None:
        """Note a request before its first operation."""
        with self._lock:
            self.requests[number] = request
            self._write("request", number=number, **asdict(request))

    def invoke(
        self, request: int, verb: Verb, job_id: str = "", *, timeout_s: float = 0.0
    ) -> Operation:
        """Note the beginning of an operation."""
        with self._lock:
            operation = Operation(
                len(self.operations),
                request,
                verb,
                self.now_s(),
                job_id=job_id,
                timeout_s=timeout_s,
            )
            self._add(operation)
            self._write(
                "invoke",
                number=operation.number,
                request=request,
                verb=verb,
                job_id=job_id,
                timeout_s=timeout_s,
                at_s=operation.invoked_s,
            )
            return operation

    def read(self, operation: Operation, state: str, **found: str) -> None:
        """Note a state of the job that an operation saw; `found` are other fields of `Reading`."""
        with self._lock:
            reading = Reading(self.now_s(), state, **found)
            operation.readings.append(reading)
            self._write("read", number=operation.number, **asdict(reading))

    def end(
        self,
        operation: Operation,
        outcome: Outcome,
        *,
        code: str = "",
        reason: str = "",
        job_id: str = "",
    ) -> None:
        """Note the end of an operation."""
        with self._lock:
            operation.ended_s = self.now_s()
            operation.outcome, operation.code, operation.reason = outcome, code, reason
            operation.job_id = job_id or operation.job_id
            self._write(
                "end",
                number=operation.number,
                outcome=outcome,
                code=code,
                reason=reason,
                job_id=operation.job_id,
                at_s=operation.ended_s,
            )

    def store_lost(self) -> None:
        """Note that the store has just been emptied: what it held may be missing from now on."""
        with self._lock:
            self.store_losses_s.append(self.now_s())
            self._write("store_lost", at_s=self.store_losses_s[-1])

    def leaked(self, what: str) -> None:
        """Note something that a gateway still counts after every call has ended."""
        with self._lock:
            self.leaks.append(what)
            self._write("leaked", what=what)

    def emptied(self, since_s: float, until_s: float) -> bool:
        """Return whether the store was emptied between two moments."""
        return any(since_s <= loss_s <= until_s for loss_s in self.store_losses_s)

    def era(self, at_s: float) -> int:
        """Return how often the store had been emptied by then."""
        return sum(loss_s <= at_s for loss_s in self.store_losses_s)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved history, whole or cut short."""
        history = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            history._apply(json.loads(line))
        return history

    def snapshot(self) -> Snapshot:
        """Return how far the run has come."""
        with self._lock:
            return Snapshot(
                asked=len(self.requests),
                accepted=len({op.request for op in self.operations if accepts(op)}),
                answered=len({op.request for op in self.operations if any(terminal(op))}),
                failed_calls=sum(bool(op.code) for op in self.operations),
            )

    def _add(self, operation: Operation) -> None:
        self.operations.append(operation)
        self.by_request.setdefault(operation.request, []).append(operation)

    def _apply(self, event: dict[str, object]) -> None:
        match event.pop("event"):
            case "request":
                number = int(str(event.pop("number")))
                self.requests[number] = Request(**event)  # type: ignore[arg-type]
            case "invoke":
                at_s = event.pop("at_s")
                event["verb"] = Verb(str(event["verb"]))
                self._add(Operation(**event, invoked_s=at_s))  # type: ignore[arg-type]
            case "read":
                number = int(str(event.pop("number")))
                self.operations[number].readings.append(Reading(**event))  # type: ignore[arg-type]
            case "end":
                operation = self.operations[int(str(event["number"]))]
                operation.ended_s = float(str(event["at_s"]))
                operation.outcome = Outcome(str(event["outcome"]))
                operation.code, operation.job_id = str(event["code"]), str(event["job_id"])
                operation.reason = str(event.get("reason", ""))
            case "store_lost":
                self.store_losses_s.append(float(str(event["at_s"])))
            case "leaked":
                self.leaks.append(str(event["what"]))

    def _write(self, event: str, **facts: object) -> None:
        if self._file:
            self._file.write(json.dumps({"event": event, **facts}) + "\n")
            self._file.flush()


TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})


def terminal(operation: Operation) -> Iterator[Reading]:
    """Yield the terminal states that an operation saw."""
    return (reading for reading in operation.readings if reading.state in TERMINAL)


def accepts(operation: Operation) -> bool:
    """Return whether the operation is a promise that a job exists."""
    return operation.verb is Verb.SUBMIT and operation.outcome is Outcome.OK
