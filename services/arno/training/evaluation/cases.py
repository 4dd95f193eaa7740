"""A question with what the model said to it: what figures are made of."""

from __future__ import annotations

from dataclasses import dataclass

from arno.training.evaluation.questions import Question
from arno.vocabulary import AnswerValue, GroundedPhrase, GroundingAnswer, Region, TextAnswer


@dataclass(frozen=True, slots=True)
class Case:
    """One question, asked.

    Attributes:
        question: With the truth. said: The model's answer; None where it failed, which counts as
            having said nothing.
    """

    question: Question
    said: AnswerValue | None

    @property
    def text(self) -> str:
        """The answer's text."""
        return text_of(self.said)

    @property
    def true_texts(self) -> list[str]:
        """Every text that would be right."""
        return [text_of(truth) for truth in self.question.truths]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The answer's regions."""
        return regions_of(self.said)

    @property
    def true_regions(self) -> tuple[Region, ...]:
        """What is there."""
        return regions_of(self.question.truths[0])

    @property
    def phrases(self) -> tuple[GroundedPhrase, ...]:
        """The answer's phrases."""
        return self.said.phrases if isinstance(self.said, GroundingAnswer) else ()

    @property
    def true_phrases(self) -> tuple[GroundedPhrase, ...]:
        """The phrases that are there."""
        truth = self.question.truths[0]
        return truth.phrases if isinstance(truth, GroundingAnswer) else ()


def text_of(value: AnswerValue | None) -> str:
    """Return an answer's text; of other answers, nothing."""
    return value.text if isinstance(value, TextAnswer) else ""


def regions_of(value: AnswerValue | None) -> tuple[Region, ...]:
    """Return an answer's regions; of no answer, none."""
    if value is None:
        return ()
    if isinstance(value, GroundingAnswer):
        return tuple(region for phrase in value.phrases for region in phrase.regions)
    return value.regions
