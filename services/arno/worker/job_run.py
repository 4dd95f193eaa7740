"""Run one job, without threads, clocks or I/O: which sequences may start, what each end means.

Every task of the job ends with exactly one result, or with one for each input that it followed; the
failure of one hides no other. Tasks that follow another one (``input_from``) wait for its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine.interface import SequenceFinished
from arno.errors import (
    ArnoError,
    CancelledError,
    DeadlineExceededError,
    EngineError,
    InputUnavailableError,
    InvalidFieldError,
)
from arno.vocabulary import FinishReason, ImageSize, JobState, Task, TokenTable
from arno.vocabulary.cascade import FAN_OUT_LIMIT, TaskInput, followed_inputs, given_input
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import spec_from_wire
from arno.worker.task_run import Part, PlannedSequence, TaskRun
from arno.worker.timings import StageTimes

_OWN_ENDS: Final = frozenset({FinishReason.STOP, FinishReason.LENGTH, FinishReason.LOOP})
"""Ends that say how long an answer is, and not how long somebody waited for it."""


class JobRun:
    """The state of one job while it runs. Owned by one thread."""

    def __init__(
        self,
        tasks: Sequence[types_pb2.TaskSpec],
        *,
        size: ImageSize,
        token_table: TokenTable,
        times: StageTimes,
        lengths: AnswerLengths[Task],
    ) -> None:
        """Take the tasks of a request, in its order.

        Args:
            tasks: Validated by the gateway; a task that cannot be run all the same gets an error of
                its own.
            size: The image as a viewer shows it, in pixels.
            token_table: How to read the engine's token ids.
            times: How long the job waited and its image took to prepare.
            lengths: How long answers are expected to be; learns from those that end.
        """
        self._tasks = [TaskRun(index, message) for index, message in enumerate(tasks)]
        self._size = size
        self._token_table = token_table
        self._times = times
        self._lengths = lengths
        self._parts: dict[str, Part] = {}
        self._new: dict[int, types_pb2.TaskResult] = {}
        self._encoded = False
        self._stopped_by: ArnoError | None = None
        self._cut_by: ArnoError | None = None

    @property
    def ended(self) -> bool:
        """Whether every task has its outcome."""
        return all(task.ended for task in self._tasks)

    @property
    def state(self) -> JobState:
        """How the job stands; terminal once it has ended."""
        if not self.ended:
            return JobState.DECODING if self._encoded else JobState.ENCODING
        match self._cut_by:
            case CancelledError():
                return JobState.CANCELLED
            case DeadlineExceededError():
                return JobState.EXPIRED
            case _:
                return JobState.SUCCEEDED

    @property
    def error(self) -> ArnoError | None:
        """What cut at least one task short: a cancel or the deadline."""
        return self._cut_by

    @property
    def decoded_token_count(self) -> int:
        """Tokens so far, over all tasks."""
        return sum(part.token_count for part in self._parts.values())

    @property
    def results(self) -> list[types_pb2.TaskResult]:
        """The results so far, in the order of the request; followed ones stay together."""
        return [result for task in self._tasks for result in task.results]

    @property
    def running(self) -> list[str]:
        """The result ids of the sequences that were planned and have not ended."""
        return [name for name, part in self._parts.items() if part.result is None]

    def take_new_results(self) -> dict[int, bytes]:
        """Return the results that came since the last call, serialized.

        Their keys sort as the request does, and leave room for those still to come.
        """
        new = {index: result.SerializeToString() for index, result in self._new.items()}
        self._new.clear()
        return new

    def plan(self) -> list[PlannedSequence]:
        """Return the sequences that may be submitted now; each is returned once."""
        return [planned for task in self._tasks if not task.planned for planned in self._plan(task)]

    def stop(self, error: CancelledError | DeadlineExceededError) -> None:
        """Let nothing more start: what waits for another task's answer ends with ``error``."""
        self._stopped_by = self._stopped_by or error

    def progressed(self, result_id: str, *, encoded: bool, token_count: int) -> None:
        """Note that a sequence has moved on."""
        self._encoded = self._encoded or encoded
        self._parts[result_id].token_count = token_count

    def finished(self, result_id: str, end: SequenceFinished) -> None:
        """Turn a finished sequence into its result: whatever it said, or why it said nothing."""
        part = self._parts[result_id]
        part.token_count = len(end.token_ids)
        if end.finish_reason in _OWN_ENDS:
            self._lengths.learn(part.spec.task, part.token_count)
        cut = _cut(end.finish_reason)
        if cut is not None:
            self._cut_by = self._cut_by or cut
            self.stop(cut)
        if end.finish_reason is FinishReason.ERROR:
            part.fail(end.error or EngineError("the engine failed and gave no reason"))
        elif cut is not None and not end.token_ids:
            part.fail(cut)
        else:
            part.read(end, self._token_table, self._size, self._times)
        self._note(part)

    def _plan(self, task: TaskRun) -> Iterator[PlannedSequence]:
        source = self._source(task)
        if source is not None and not source.ended:
            return
        try:
            self._check_name(task)
            spec = spec_from_wire(task.message)
            inputs = self._inputs(spec, source)
        except ArnoError as error:
            self._new[task.index * FAN_OUT_LIMIT] = task.refuse(error)
            return
        task.planned = True
        for n, given in enumerate(inputs):
            part = Part(task.index * FAN_OUT_LIMIT + n, spec, given)
            task.parts.append(part)
            self._parts[given.result_id] = part
            try:
                yield part.plan(self._size, self._lengths)
            except ArnoError as error:
                part.fail(error)
                self._note(part)

    def _check_name(self, task: TaskRun) -> None:
        name = task.message.id
        if any(run.message.id == name for run in self._tasks[: task.index]):
            raise InvalidFieldError(field="id", problem="another task has it already", sent=name)

    def _source(self, task: TaskRun) -> TaskRun | None:
        # Only earlier tasks count, so that no ring of followers can wait for itself.
        name = task.message.input_from
        earlier = self._tasks[: task.index] if name else []
        return next((run for run in earlier if run.message.id == name), None)

    def _inputs(self, spec: TaskSpec, source: TaskRun | None) -> tuple[TaskInput, ...]:
        if not spec.input_from:
            return (given_input(spec),)
        if self._stopped_by is not None:
            self._cut_by = self._cut_by or self._stopped_by
            raise self._stopped_by
        if source is None or not source.answers:
            raise InputUnavailableError(
                f"input_from: task {spec.input_from!r} gave no answer", input_from=spec.input_from
            )
        return followed_inputs(spec, source.answers, self._size)

    def _note(self, part: Part) -> None:
        if part.result is not None:
            self._new[part.index] = part.result


def _cut(reason: FinishReason) -> CancelledError | DeadlineExceededError | None:
    match reason:
        case FinishReason.CANCELLED:
            return CancelledError("the job was cancelled before this task had ended")
        case FinishReason.DEADLINE:
            return DeadlineExceededError("the deadline passed before this task had ended")
        case _:
            return None
