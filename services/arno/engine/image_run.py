"""Run the tasks of one image, without threads, clocks or I/O: what may start, what each end means.

Every task ends with exactly one result, or with one for each input that it followed; the failure of
one task hides no other. A task with `input_from` waits for the end of the task that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from arno.batching import AnswerLengths
from arno.engine.interface import SequenceFinished, SequenceRequest
from arno.engine.sequences.task_sequences import parse_end, with_task
from arno.errors import ArnoError, CancelledError, DeadlineExceededError, EngineError
from arno.vocabulary import Answer, FinishReason, Task, TaskSpec, TokenTable
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.cascade import FAN_OUT_LIMIT, with_inputs
from arno.vocabulary.results import TaskResult, Timings


@dataclass(slots=True)
class Part:
    """One result to be: a task with one input.

    Attributes:
        index: Its place among the results, which leaves gaps for those that are still to come.
        spec: The task, with its input and the id of the result.
        token_count: Tokens so far.
        result: Set once its sequence has ended, or could not start.
    """

    index: int
    spec: TaskSpec
    token_count: int = 0
    result: TaskResult | None = None


@dataclass(slots=True)
class _TaskRun:
    """A task at its place, and its parts, which are None until its inputs are known."""

    place: int
    spec: TaskSpec
    parts: list[Part] | None = None

    @property
    def ended(self) -> bool:
        return self.parts is not None and all(part.result is not None for part in self.parts)

    @property
    def results(self) -> list[TaskResult]:
        return [part.result for part in self.parts or () if part.result is not None]

    @property
    def answers(self) -> list[Answer]:
        return [one.outcome for one in self.results if isinstance(one.outcome, Answer)]


class ImageRun:
    """The state of one image's tasks. One thread at a time.

    Attributes:
        image: The prepared image.
        cut_by: What cut at least one task short: a cancel or the deadline.
    """

    def __init__(
        self,
        specs: Mapping[int, TaskSpec],
        *,
        template: SequenceRequest,
        token_table: TokenTable,
        lengths: AnswerLengths[Task],
        calibration: Calibration = UNCALIBRATED,
        queue_s: float = 0.0,
    ) -> None:
        """Take the tasks, each with an id of its own.

        Args:
            specs: The tasks by their places, in the order of these.
            template: What all sequences have in common, the prepared image among it; its sequence
                id is the first part of theirs.
            token_table: How to read the engine's token ids.
            lengths: Expected lengths of answers.
            calibration: That of the model.
            queue_s: Seconds that the tasks waited, for their timings.
        """
        self.image = template.image
        self.cut_by: ArnoError | None = None
        self._tasks = [_TaskRun(place, spec) for place, spec in specs.items()]
        self._template = template
        self._token_table = token_table
        self._lengths = lengths
        self._calibration = calibration
        self._queue_s = queue_s
        self._parts: dict[str, Part] = {}
        self._new: list[Part] = []
        self._stopped_by: ArnoError | None = None

    @property
    def ended(self) -> bool:
        """Whether every task has its results."""
        return all(task.ended for task in self._tasks)

    @property
    def results(self) -> tuple[TaskResult, ...]:
        """The results so far, in the order of the tasks; those of one task stay together."""
        return tuple(result for task in self._tasks for result in task.results)

    @property
    def token_count(self) -> int:
        """Tokens so far, over all tasks."""
        return sum(part.token_count for part in self._parts.values())

    def take_new(self) -> list[Part]:
        """Return the parts that came to a result since the last call."""
        new, self._new = self._new, []
        return new

    def plan(self) -> list[SequenceRequest]:
        """Return the sequences that can start now. Each is returned once."""
        return [
            request for task in self._tasks if task.parts is None for request in self._start(task)
        ]

    def stop(self, error: CancelledError | DeadlineExceededError) -> None:
        """Start no further sequence: tasks that wait for another one's answer end with `error`."""
        self._stopped_by = self._stopped_by or error

    def part(self, result_id: str) -> Part:
        """Return the part of a result."""
        return self._parts[result_id]

    def finish(self, result_id: str, end: SequenceFinished) -> None:
        """Turn an ended sequence into its result: an answer or an error."""
        part = self._parts[result_id]
        part.token_count = len(end.token_ids)
        cut = _cut(end.finish_reason)
        if cut is not None:
            self.cut_by = self.cut_by or cut
            self.stop(cut)
        if end.finish_reason is FinishReason.ERROR:
            error = end.error or EngineError("the engine failed and gave no reason")
            self._end(part, error)
        elif cut is not None and not end.token_ids:
            self._end(part, cut)
        else:
            answer = parse_end(
                part.spec, end, self._token_table, self.image.size, self._calibration
            )
            times = Timings(self._queue_s, self.image.prepare_s, end.encode_s, end.decode_s)
            self._end(part, answer, times)

    def _start(self, task: _TaskRun) -> Iterator[SequenceRequest]:
        source = self._source(task)
        if source is not None and not source.ended:
            return
        try:
            specs = self._with_inputs(task.spec, source)
        except ArnoError as error:
            refused = Part(task.place * FAN_OUT_LIMIT, task.spec)
            task.parts = [refused]
            self._end(refused, error)
            return
        task.parts = [Part(task.place * FAN_OUT_LIMIT + n, spec) for n, spec in enumerate(specs)]
        for part in task.parts:
            self._parts[part.spec.id] = part
            try:
                yield self._request(part.spec)
            except ArnoError as error:
                self._end(part, error)

    def _source(self, task: _TaskRun) -> _TaskRun | None:
        """Return the task that this one follows; only earlier ones, so that none waits for ever."""
        name = task.spec.input_from
        earlier = (run for run in self._tasks if name and run.place < task.place)
        return next((run for run in earlier if run.spec.id == name), None)

    def _with_inputs(self, spec: TaskSpec, source: _TaskRun | None) -> tuple[TaskSpec, ...]:
        if spec.input_from and self._stopped_by is not None:
            self.cut_by = self.cut_by or self._stopped_by
            raise self._stopped_by
        return with_inputs(spec, source.answers if source is not None else (), self.image.size)

    def _request(self, spec: TaskSpec) -> SequenceRequest:
        bare = replace(
            self._template,
            sequence_id=f"{self._template.sequence_id}/{spec.id}",
            expected_token_count=self._lengths.expect(spec.task),
        )
        return with_task(bare, spec)

    def _end(self, part: Part, outcome: Answer | ArnoError, times: Timings | None = None) -> None:
        spec = part.spec
        part.result = TaskResult(
            spec.id, spec.task, spec.text, spec.region, outcome, times or Timings()
        )
        self._new.append(part)


def _cut(reason: FinishReason) -> CancelledError | DeadlineExceededError | None:
    match reason:
        case FinishReason.CANCELLED:
            return CancelledError("the job was cancelled before this task had ended")
        case FinishReason.DEADLINE:
            return DeadlineExceededError("the deadline passed before this task had ended")
        case _:
            return None
