"""Questions with the model's answers, from which figures are computed."""

from __future__ import annotations

from dataclasses import dataclass

from arno.training.evaluation.questions import Question
from arno.vocabulary import AnswerValue, GroundedPhrase, GroundingAnswer, Region, TextAnswer


@dataclass(frozen=True, slots=True)
class Case:
    """A question and the model's answer.

    Attributes:
        question: The question with its truth.
        said: The model's answer; None where it failed, which counts as an empty answer.
    """

    question: Question
    said: AnswerValue | None

    @property
    def text(self) -> str:
        """The answer's text."""
        return text_of(self.said)

    @property
    def true_texts(self) -> list[str]:
        """All right texts."""
        return [text_of(truth) for truth in self.question.truths]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The answer's regions."""
        return regions_of(self.said)

    @property
    def true_regions(self) -> tuple[Region, ...]:
        """The regions of the truth."""
        return regions_of(self.question.truths[0])

    @property
    def phrases(self) -> tuple[GroundedPhrase, ...]:
        """The answer's phrases."""
        return self.said.phrases if isinstance(self.said, GroundingAnswer) else ()

    @property
    def true_phrases(self) -> tuple[GroundedPhrase, ...]:
        """The phrases of the truth."""
        truth = self.question.truths[0]
        return truth.phrases if isinstance(truth, GroundingAnswer) else ()


def text_of(value: AnswerValue | None) -> str:
    """Return the text of a text answer; else the empty text."""
    return value.text if isinstance(value, TextAnswer) else ""


def regions_of(value: AnswerValue | None) -> tuple[Region, ...]:
    """Return an answer's regions; of None, no regions."""
    if value is None:
        return ()
    if isinstance(value, GroundingAnswer):
        return tuple(region for phrase in value.phrases for region in phrase.regions)
    return value.regions
