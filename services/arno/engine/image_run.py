"""Run the tasks of one image, without threads: which sequences may start, what each end means.

Every task ends with exactly one result, or with one for each input that it followed; the failure of
one task hides no other. Tasks that follow another one (`input_from`) wait for its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arno.engine.interface import PreparedImage, SequenceFinished, SequenceRequest
from arno.engine.task_sequences import read_answer, task_request
from arno.errors import ArnoError
from arno.vocabulary import Answer, Lane, TaskSpec, TokenTable
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.cascade import with_inputs
from arno.vocabulary.results import TaskResult, Timings


@dataclass(slots=True)
class _Part:
    """A task with one input, and its result once it has ended."""

    spec: TaskSpec
    result: TaskResult | None = None

    def end(self, outcome: Answer | ArnoError, timings: Timings | None = None) -> None:
        spec = self.spec
        self.result = TaskResult(
            spec.id, spec.task, spec.text, spec.region, outcome, timings or Timings()
        )


@dataclass(slots=True)
class _TaskRun:
    """A task and its parts, which are None until its inputs are known."""

    spec: TaskSpec
    parts: list[_Part] | None = None

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
    """The state of one image's tasks. One thread at a time."""

    def __init__(
        self,
        name: str,
        specs: Sequence[TaskSpec],
        image: PreparedImage,
        token_table: TokenTable,
        *,
        lane: Lane,
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        """Take the tasks, which `check_specs` accepted.

        Args:
            name: Prefix of the sequences' ids, unique in the engine.
            specs: The tasks, in the order of their results.
            image: What `Engine.prepare` returned.
            token_table: How to read the engine's token ids.
            lane: Priority class of the sequences.
            calibration: That of the model.
        """
        self.image = image
        self._name = name
        self._tasks = [_TaskRun(spec) for spec in specs]
        self._token_table = token_table
        self._lane = lane
        self._calibration = calibration
        self._running: dict[str, _Part] = {}

    @property
    def ended(self) -> bool:
        """Whether every task has its results."""
        return all(task.ended for task in self._tasks)

    @property
    def results(self) -> tuple[TaskResult, ...]:
        """The results so far, in the order of the tasks; those of one task stay together."""
        return tuple(result for task in self._tasks for result in task.results)

    def plan(self) -> list[SequenceRequest]:
        """Return the sequences that can start now. Each is returned once."""
        return [
            request
            for task in self._tasks
            if task.parts is None and self._ready(task)
            for request in self._start(task)
        ]

    def finish(self, ended: SequenceFinished) -> None:
        """Turn an ended sequence into its result."""
        part = self._running.pop(ended.sequence_id)
        try:
            answer = read_answer(
                part.spec, ended, self._token_table, self.image.size, self._calibration
            )
        except ArnoError as error:
            part.end(error)
        else:
            part.end(answer, Timings(0.0, self.image.prepare_s, ended.encode_s, ended.decode_s))

    def _ready(self, task: _TaskRun) -> bool:
        source = self._source(task.spec)
        return source is None or source.ended

    def _source(self, spec: TaskSpec) -> _TaskRun | None:
        """Return the task that this one follows, if it follows one."""
        if not spec.input_from:
            return None
        return next(run for run in self._tasks if run.spec.id == spec.input_from)

    def _start(self, task: _TaskRun) -> Iterator[SequenceRequest]:
        task.parts = []
        source = self._source(task.spec)
        answers = source.answers if source is not None else ()
        try:
            specs = with_inputs(task.spec, answers, self.image.size)
        except ArnoError as error:
            refused = _Part(task.spec)
            refused.end(error)
            task.parts.append(refused)
            return
        for spec in specs:
            part = _Part(spec)
            task.parts.append(part)
            sequence_id = f"{self._name}/{spec.id}"
            try:
                request = task_request(sequence_id, spec, self.image, lane=self._lane)
            except ArnoError as error:
                part.end(error)
            else:
                self._running[sequence_id] = part
                yield request
