"""The interface to the model that an evaluation asks: in this process, or a running Arno."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from arno.errors import ArnoError
from arno.training.evaluation.questions import Question
from arno.vocabulary import Answer


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """The model that answers.

    Attributes:
        name: Name of the model.
        fingerprint: Digest of weights, configuration and tokenizer.
        dtype: Number format of the weights.
        where: ``local cpu``, ``local NVIDIA H100``, or the address of a gateway.
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
        max_new_tokens: Limit on the tokens of each answer; None uses the model's own.
    """

    num_beams: int = 3
    max_new_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a question: an answer or an error."""

    question_id: str
    outcome: Answer | ArnoError


class Answerer(Protocol):
    """Answers questions, many at a time."""

    @property
    def model(self) -> JudgedModel:
        """The model that answers.

        Raises:
            ArnoError: The model cannot be reached.
        """

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Yield a reply to every question, in the order of completion.

        Questions about one image must be adjacent, so that the image is encoded once.

        Raises:
            ArnoError: The model no longer answers; replies yielded before are valid.
        """
