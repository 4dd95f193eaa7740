"""Hold what the model said, typed. The names are those of the API's `Answer`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from arno.vocabulary.decoded import FinishReason
from arno.vocabulary.regions import Region


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """Text without location tokens; with it the region asked about, or any regions found in it."""

    text: str
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectionAnswer:
    """Boxes, or outlines where open vocabulary detection gives some, in the model's order."""

    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class GroundedPhrase:
    """A phrase of the caption, or a class, and the boxes of what it names: at least one.

    Attributes:
        phrase: As the model wrote it.
        regions: Its boxes; their label is the phrase.
        matched: Whether it is one of the classes asked for; True if none were.
    """

    phrase: str
    regions: tuple[Region, ...]
    matched: bool = True


@dataclass(frozen=True, slots=True)
class GroundingAnswer:
    """Phrases with boxes, in the model's order, each phrase once."""

    phrases: tuple[GroundedPhrase, ...]


@dataclass(frozen=True, slots=True)
class SegmentationAnswer:
    """Masks: one region each, of one or more polygons."""

    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class OcrAnswer:
    """Quad boxes in reading order; their labels are the text in them."""

    regions: tuple[Region, ...]


AnswerValue: TypeAlias = (
    TextAnswer | DetectionAnswer | GroundingAnswer | SegmentationAnswer | OcrAnswer
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to one task.

    Attributes:
        value: The typed answer. Of a cut sequence, whatever was complete.
        score: Geometric mean of all token probabilities, 0..1, uncalibrated; None without any.
        finish_reason: Why decoding ended.
        raw_text: The text as written, with location tokens and markers.
        token_count: Generated tokens, begin and end included.
        left_out_count: Regions that the least score of the task left out.
        candidates: What the model thinks of the answers that the task gave, in their order; this
            one is the likeliest of them. Empty where the model wrote the answer.
    """

    value: AnswerValue
    score: float | None
    finish_reason: FinishReason
    raw_text: str
    token_count: int
    left_out_count: int = 0
    candidates: tuple["ScoredCandidate", ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region of the answer, in the model's order."""
        if isinstance(self.value, GroundingAnswer):
            return tuple(region for phrase in self.value.phrases for region in phrase.regions)
        return self.value.regions

    def above(self, score: float) -> "Answer":
        """Return the answer without the regions whose score is below; those left out are counted.

        Regions without a score stay. A phrase of which no region is left goes, too.
        """
        answer = self._with_regions(
            lambda regions: tuple(one for one in regions if one.score is None or one.score >= score)
        )
        left_out = len(self.regions) - len(answer.regions)
        return replace(answer, left_out_count=self.left_out_count + left_out)

    def with_each(self, change: Callable[[Region], Region]) -> "Answer":
        """Return the answer with every region changed."""
        return self._with_regions(lambda regions: tuple(map(change, regions)))

    def _with_regions(self, change: Callable[[tuple[Region, ...]], tuple[Region, ...]]) -> "Answer":
        if not isinstance(self.value, GroundingAnswer):
            return replace(self, value=replace(self.value, regions=change(self.value.regions)))
        changed = (replace(one, regions=change(one.regions)) for one in self.value.phrases)
        return replace(self, value=GroundingAnswer(tuple(one for one in changed if one.regions)))


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """What the model thinks of an answer that was given to it.

    Attributes:
        answer: The answer, with the scores that it would have as the model's own.
        log_likelihood: Natural logarithm of the probability of all its tokens together, the end
            included; the forced first token is certain.
        posterior: Its share of the probability of all candidates of the task together, 0..1.
        token_logprobs: Natural logarithm of the probability of each token, given those before it.
    """

    answer: Answer
    log_likelihood: float
    posterior: float
    token_logprobs: tuple[float, ...]
