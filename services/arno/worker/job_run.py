"""Run one job, without threads, clocks or I/O: which sequences may start, what each end means.

Every task of the job ends with exactly one result, or with one for each input that it followed; the
failure of one hides no other. A task with `input_from` waits for the end of the task that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from google.protobuf.duration_pb2 import Duration

from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine.interface import SequenceFinished, SequenceRequest
from arno.engine.task_sequences import parse_end, with_task
from arno.errors import (
    ArnoError,
    CancelledError,
    DeadlineExceededError,
    EngineError,
    InvalidFieldError,
)
from arno.vocabulary import (
    Answer,
    FinishReason,
    JobState,
    Task,
    TaskSpec,
    TokenTable,
)
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.cascade import FAN_OUT_LIMIT, with_inputs
from arno.vocabulary.wire import answer_to_wire, box_to_wire, spec_from_wire, task_to_wire
from arno.vocabulary.wire_results import error_to_wire

_OWN_ENDS: Final = frozenset({FinishReason.STOP, FinishReason.LENGTH, FinishReason.LOOP})
"""Ends that depend on the answer's length alone, and not on deadlines or callers."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """The durations that all tasks of a job share.

    Attributes:
        queue_s: Seconds from the gateway's acceptance to the begin of the attempt.
        prepare_s: Seconds that preparing the image took.
    """

    queue_s: float
    prepare_s: float

    def of_sequence(self, encode_s: float, decode_s: float) -> types_pb2.Timings:
        """Return the message, with the stages of one sequence."""
        return types_pb2.Timings(
            queue=_duration(self.queue_s),
            prepare=_duration(self.prepare_s),
            encode=_duration(encode_s),
            decode=_duration(decode_s),
        )


@dataclass(slots=True)
class Part:
    """One result to be: a task with one input.

    Attributes:
        index: Its place among the job's results.
        spec: The task, with its input and the id of the result.
        token_count: Tokens so far.
        answer: Set when the sequence ended with an answer.
        result: Set when the sequence ended.
    """

    index: int
    spec: TaskSpec
    token_count: int = 0
    answer: Answer | None = None
    result: types_pb2.TaskResult | None = None

    def plan(self, template: SequenceRequest, lengths: AnswerLengths[Task]) -> SequenceRequest:
        """Return the sequence that answers it.

        Args:
            template: What all sequences of the job have in common.
            lengths: Expected lengths of answers.

        Raises:
            InvalidFieldError: The task cannot use its input.
        """
        bare = replace(
            template,
            sequence_id=f"{template.sequence_id}/{self.spec.id}",
            expected_token_count=lengths.expect(self.spec.task),
        )
        return with_task(bare, self.spec)

    def read(self, answer: Answer, timings: types_pb2.Timings) -> None:
        """End with an answer, and with the durations of all stages."""
        self.answer = answer
        message = answer_to_wire(answer)
        message.timings.CopyFrom(timings)
        self._blank_result().answer.CopyFrom(message)

    def fail(self, error: ArnoError) -> None:
        """End without an answer."""
        self._blank_result().error.CopyFrom(error_to_wire(error))

    def _blank_result(self) -> types_pb2.TaskResult:
        region = self.spec.region
        self.result = types_pb2.TaskResult(
            id=self.spec.id,
            task=task_to_wire(self.spec.task),
            text=self.spec.text,
            region=None if region is None else box_to_wire(region),
        )
        return self.result


@dataclass(slots=True)
class TaskRun:
    """One task of a job; its parts are known once its input is.

    Attributes:
        index: Its place in the request.
        message: The task as the gateway wrote it.
        planned: Whether its parts, or its failure, are known.
        parts: One for each sequence.
        failure: Its only result, where it failed before it had parts.
    """

    index: int
    message: types_pb2.TaskSpec
    planned: bool = False
    parts: list[Part] = field(default_factory=list)
    failure: types_pb2.TaskResult | None = None

    @property
    def ended(self) -> bool:
        """Whether it has all its results."""
        return self.planned and all(part.result is not None for part in self.parts)

    @property
    def results(self) -> list[types_pb2.TaskResult]:
        """The results so far."""
        if self.failure is not None:
            return [self.failure]
        return [part.result for part in self.parts if part.result is not None]

    @property
    def answers(self) -> list[Answer]:
        """The answers so far, in the order of the results."""
        return [part.answer for part in self.parts if part.answer is not None]

    def refuse(self, error: ArnoError) -> types_pb2.TaskResult:
        """End it before it has parts, and return its only result."""
        self.planned = True
        self.failure = types_pb2.TaskResult(
            id=self.message.id, task=self.message.task, error=error_to_wire(error)
        )
        return self.failure


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
            template: What all its sequences have in common, the prepared image among it; its
                sequence id is the first part of theirs.
            token_table: How to read the engine's token ids.
            queue_s: Seconds from the gateway's acceptance to the begin of the attempt.
            lengths: Expected lengths of answers; learns from answers that came to their own end.
            calibration: That of the model.
        """
        self._tasks = [TaskRun(index, message) for index, message in enumerate(tasks)]
        self._template = template
        self._size = template.image.size
        self._token_table = token_table
        self._times = StageTimes(queue_s, template.image.prepare_s)
        self._lengths = lengths
        self._calibration = calibration
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
        """The job's state for the store; terminal once it has ended."""
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

    def take_new_results(self) -> dict[int, bytes]:
        """Return the results that came since the last call, serialized.

        Their keys sort as the request does, and leave gaps for the results still to come.
        """
        new = {index: result.SerializeToString() for index, result in self._new.items()}
        self._new.clear()
        return new

    def plan(self) -> list[SequenceRequest]:
        """Return the sequences that may be submitted now; each is returned once."""
        return [planned for task in self._tasks if not task.planned for planned in self._plan(task)]

    def stop(self, error: CancelledError | DeadlineExceededError) -> None:
        """Start no further sequence: tasks that wait for another one's answer end with `error`."""
        self._stopped_by = self._stopped_by or error

    def progressed(self, result_id: str, *, encoded: bool, token_count: int) -> None:
        """Note how far a sequence is."""
        self._encoded = self._encoded or encoded
        self._parts[result_id].token_count = token_count

    def finished(self, result_id: str, end: SequenceFinished) -> None:
        """Turn a finished sequence into the result of its task: an answer or an error."""
        part = self._parts[result_id]
        part.token_count = len(end.token_ids)
        if end.finish_reason in _OWN_ENDS and not part.spec.candidates:
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
            self._read(part, end)
        self._note(part)

    def _read(self, part: Part, end: SequenceFinished) -> None:
        answer = parse_end(part.spec, end, self._token_table, self._size, self._calibration)
        part.read(answer, self._times.of_sequence(end.encode_s, end.decode_s))

    def _plan(self, task: TaskRun) -> Iterator[SequenceRequest]:
        source = self._source(task)
        if source is not None and not source.ended:
            return
        try:
            self._check_name(task)
            specs = self._with_inputs(spec_from_wire(task.message), source)
        except ArnoError as error:
            self._new[task.index * FAN_OUT_LIMIT] = task.refuse(error)
            return
        task.planned = True
        for n, spec in enumerate(specs):
            part = Part(task.index * FAN_OUT_LIMIT + n, spec)
            task.parts.append(part)
            self._parts[spec.id] = part
            try:
                yield part.plan(self._template, self._lengths)
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

    def _with_inputs(self, spec: TaskSpec, source: TaskRun | None) -> tuple[TaskSpec, ...]:
        if spec.input_from and self._stopped_by is not None:
            self._cut_by = self._cut_by or self._stopped_by
            raise self._stopped_by
        return with_inputs(spec, source.answers if source is not None else (), self._size)

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


def _duration(seconds: float) -> Duration:
    # The wall clocks of two machines may differ by a little: no stage took less than no time.
    duration = Duration()
    duration.FromNanoseconds(max(0, round(seconds * 1e9)))
    return duration
