"""Hold one task of a running job: its parts, one for each sequence, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field

from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine.interface import DecodingOptions, SequenceFinished
from arno.errors import ArnoError
from arno.vocabulary import (
    Answer,
    Decoded,
    ImageSize,
    Task,
    TokenTable,
    build_prompt,
    check_inputs,
    parse,
)
from arno.vocabulary.cascade import TaskInput
from arno.vocabulary.grammars import Constraint
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import answer_to_wire, box_to_wire, task_to_wire
from arno.vocabulary.wire_results import error_to_wire
from arno.worker.timings import StageTimes


@dataclass(frozen=True, slots=True)
class PlannedSequence:
    """A sequence that may be submitted now.

    Attributes:
        result_id: Which result it will give; unique in the job.
        prompt: The full training prompt.
        options: How to decode.
        expected_token_count: Predicted length of the answer.
        constraint: What the answer is held to, if the client asked for it.
    """

    result_id: str
    prompt: str
    options: DecodingOptions
    expected_token_count: int
    constraint: Constraint | None


@dataclass(slots=True)
class Part:
    """One result to be: a task with one input.

    Attributes:
        index: Its place among the job's results.
        spec: The task.
        given: What it is about.
        token_count: Tokens so far.
        answer: Set when it ended well.
        result: Set when it ended.
    """

    index: int
    spec: TaskSpec
    given: TaskInput
    token_count: int = 0
    answer: Answer | None = None
    result: types_pb2.TaskResult | None = None

    def plan(self, size: ImageSize, lengths: AnswerLengths[Task]) -> PlannedSequence:
        """Return the sequence that answers it.

        Args:
            size: The image as a viewer shows it, in pixels.
            lengths: How long answers are expected to be.

        Raises:
            InvalidFieldError: The task cannot use its input.
        """
        given, task = self.given, self.spec.task
        check_inputs(task, text=given.text, classes=given.classes, region=given.region, size=size)
        prompt = build_prompt(
            task, text=given.text, classes=given.classes, region=given.region, size=size
        )
        return PlannedSequence(
            given.result_id,
            prompt,
            _decoding_options(self.spec),
            lengths.expect(task),
            Constraint(task, given.classes) if self.spec.constrained else None,
        )

    def read(
        self, end: SequenceFinished, token_table: TokenTable, size: ImageSize, times: StageTimes
    ) -> None:
        """End with what the model said."""
        decoded = Decoded(end.token_ids, end.logprobs, end.finish_reason)
        given = self.given
        self.answer = parse(
            self.spec.task, decoded, token_table, size, region=given.region, classes=given.classes
        )
        message = answer_to_wire(self.answer)
        message.timings.CopyFrom(times.of_sequence(end.encode_s, end.decode_s))
        self._blank_result().answer.CopyFrom(message)

    def fail(self, error: ArnoError) -> None:
        """End without an answer."""
        self._blank_result().error.CopyFrom(error_to_wire(error))

    def _blank_result(self) -> types_pb2.TaskResult:
        region = self.given.region
        self.result = types_pb2.TaskResult(
            id=self.given.result_id,
            task=task_to_wire(self.spec.task),
            text=self.given.text,
            region=None if region is None else box_to_wire(region),
        )
        return self.result


@dataclass(slots=True)
class TaskRun:
    """One task of a job; its parts are known once its input is.

    Attributes:
        index: Its place in the request.
        message: As the gateway wrote it.
        planned: Whether its parts, or its failure, are known.
        parts: One for each sequence.
        failure: Its only result, where it never came to have parts.
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
        """End it before it had parts."""
        self.planned = True
        self.failure = types_pb2.TaskResult(
            id=self.message.id, task=self.message.task, error=error_to_wire(error)
        )
        return self.failure


def _decoding_options(spec: TaskSpec) -> DecodingOptions:
    default = DecodingOptions()
    return DecodingOptions(
        num_beams=spec.num_beams or default.num_beams,
        max_new_tokens=spec.max_new_tokens or default.max_new_tokens,
    )
