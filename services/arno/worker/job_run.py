"""Run the tasks of one job: from the messages of its record to those of its results, and its state.

Which sequences may start, and what their ends mean, is decided by `ImageRun`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine.image_run import ImageRun
from arno.engine.interface import SequenceFinished, SequenceRequest
from arno.errors import (
    ArnoError,
    CancelledError,
    DeadlineExceededError,
    InvalidFieldError,
)
from arno.vocabulary import FinishReason, JobState, Task, TaskSpec, TokenTable
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.cascade import FAN_OUT_LIMIT
from arno.vocabulary.wire import spec_from_wire
from arno.vocabulary.wire_results import error_to_wire, task_result_to_wire

_OWN_ENDS: Final = frozenset({FinishReason.STOP, FinishReason.LENGTH, FinishReason.LOOP})
"""Ends that depend on the answer's length alone, and not on deadlines or callers."""


class JobRun:
    """The tasks of one job while it runs, and their results. Owned by one thread."""

    def __init__(
        self,
        tasks: Sequence[types_pb2.TaskSpec],
        *,
        template: SequenceRequest,
        token_table: TokenTable,
        queue_s: float,
        lengths: AnswerLengths[Task],
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        """Take the tasks of a request, in its order.

        Args:
            tasks: Validated by the gateway; a task that cannot be run all the same gets an error of
                its own.
            template: As for `ImageRun`.
            token_table: How to read the engine's token ids.
            queue_s: Seconds from the gateway's acceptance to the begin of the attempt.
            lengths: Expected lengths of answers; learns from answers that came to their own end.
            calibration: That of the model.
        """
        self._lengths = lengths
        self._results: dict[int, types_pb2.TaskResult] = {}
        self._unsent: list[int] = []
        self._encoded = False
        self._run = ImageRun(
            self._read(tasks),
            template=template,
            token_table=token_table,
            lengths=lengths,
            calibration=calibration,
            queue_s=queue_s,
        )

    @property
    def ended(self) -> bool:
        """Whether every task has its outcome."""
        return self._run.ended

    @property
    def state(self) -> JobState:
        """The job's state for the store; terminal once it has ended."""
        if not self.ended:
            return JobState.DECODING if self._encoded else JobState.ENCODING
        match self.error:
            case CancelledError():
                return JobState.CANCELLED
            case DeadlineExceededError():
                return JobState.EXPIRED
            case _:
                return JobState.SUCCEEDED

    @property
    def error(self) -> ArnoError | None:
        """What cut at least one task short: a cancel or the deadline."""
        return self._run.cut_by

    @property
    def decoded_token_count(self) -> int:
        """Tokens so far, over all tasks."""
        return self._run.token_count

    @property
    def results(self) -> list[types_pb2.TaskResult]:
        """The results so far, in the order of the request; followed ones stay together."""
        self._collect()
        return [self._results[index] for index in sorted(self._results)]

    def take_new_results(self) -> dict[int, bytes]:
        """Return the results that came since the last call, serialized.

        Their keys sort as the request does, and leave gaps for the results still to come.
        """
        self._collect()
        new, self._unsent = self._unsent, []
        return {index: self._results[index].SerializeToString() for index in new}

    def plan(self) -> list[SequenceRequest]:
        """Return the sequences that may be submitted now; each is returned once."""
        return self._run.plan()

    def stop(self, error: CancelledError | DeadlineExceededError) -> None:
        """Start no further sequence: tasks that wait for another one's answer end with `error`."""
        self._run.stop(error)

    def progressed(self, result_id: str, *, encoded: bool, token_count: int) -> None:
        """Note how far a sequence is."""
        self._encoded = self._encoded or encoded
        self._run.part(result_id).token_count = token_count

    def finished(self, result_id: str, end: SequenceFinished) -> None:
        """Turn a finished sequence into the result of its task: an answer or an error."""
        spec = self._run.part(result_id).spec
        if end.finish_reason in _OWN_ENDS and not spec.candidates:
            self._lengths.learn(spec.task, len(end.token_ids))
        self._run.finish(result_id, end)

    def _read(self, tasks: Sequence[types_pb2.TaskSpec]) -> dict[int, TaskSpec]:
        """Return the tasks that can be read, by their places; the others have their result."""
        specs: dict[int, TaskSpec] = {}
        for place, message in enumerate(tasks):
            try:
                if any(message.id == earlier.id for earlier in tasks[:place]):
                    problem = "another task has it already"
                    raise InvalidFieldError(field="id", problem=problem, sent=message.id)
                specs[place] = spec_from_wire(message)
            except ArnoError as error:
                refused = types_pb2.TaskResult(
                    id=message.id, task=message.task, error=error_to_wire(error)
                )
                self._put(place * FAN_OUT_LIMIT, refused)
        return specs

    def _collect(self) -> None:
        for part in self._run.take_new():
            if part.result is not None:
                self._put(part.index, task_result_to_wire(part.result))

    def _put(self, index: int, result: types_pb2.TaskResult) -> None:
        self._results[index] = result
        self._unsent.append(index)
