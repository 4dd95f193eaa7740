"""What an evaluation needs of whoever answers: an engine of this process, or a running Arno."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from arno.errors import ArnoError
from arno.training.evaluation.questions import Question
from arno.vocabulary import Answer


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """Which model answers.

    Attributes:
        name: As its operator calls it. fingerprint: Digest of weights, configuration and tokenizer.
        dtype: Number format of the weights. where: ``local cpu``, ``local NVIDIA H100``, or the
            address of a gateway.
    """

    name: str
    fingerprint: str
    dtype: str
    where: str


@dataclass(frozen=True, slots=True)
class DecodingChoice:
    """How answers are decoded.

    Attributes:
        num_beams: Width of the beam search; 1 is greedy.
        max_new_tokens: Limit on each answer; None leaves it to the model.
    """

    num_beams: int = 3
    max_new_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a question: an answer, or the error in its place."""

    question_id: str
    outcome: Answer | ArnoError


class Answerer(Protocol):
    """Answers questions, many at a time."""

    @property
    def model(self) -> JudgedModel:
        """Which model answers.

        Raises:
            ArnoError: Nobody is there to ask.
        """

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield a reply to every question, in any order, as they come.

        Questions about one image stand together, so that it is encoded once.

        Raises:
            ArnoError: No more answers can be had; what was yielded stands.
        """
