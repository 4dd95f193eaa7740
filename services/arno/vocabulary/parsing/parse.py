"""Turn decoded tokens into the typed answer of a task.

Nothing the model writes is an error: what is well-formed is returned, what is not is left out, and
the finish reason says whether the model came to its end. Work is linear in the number of tokens.

How the answers differ from the reference's, and why: docs/parsing-differences.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from arno.vocabulary.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    TextAnswer,
)
from arno.vocabulary.calibration import UNCALIBRATED, Calibration
from arno.vocabulary.decoded import Decoded
from arno.vocabulary.parsing.blocks import Block, split_blocks
from arno.vocabulary.parsing.phrases import read_phrases
from arno.vocabulary.parsing.regions import (
    read_detections,
    read_masks,
    read_open_detections,
    read_proposals,
    read_quads,
)
from arno.vocabulary.parsing.segments import Segment, split
from arno.vocabulary.parsing.text import read_about, read_any_regions, read_text
from arno.vocabulary.regions import Box, ImageSize
from arno.vocabulary.scores import geometric_mean
from arno.vocabulary.task import Task
from arno.vocabulary.token_table import TokenTable


@dataclass(frozen=True, slots=True)
class _Reading:
    """All that a reader may look at."""

    segments: tuple[Segment, ...]
    size: ImageSize
    region: Box | None
    classes: Sequence[str]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return split_blocks(self.segments)


def parse(  # noqa: PLR0913 - what the task was asked with
    task: Task,
    decoded: Decoded,
    token_table: TokenTable,
    size: ImageSize,
    *,
    region: Box | None = None,
    classes: Sequence[str] = (),
    min_score: float | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> Answer:
    """Return what the model said, for any tokens.

    Args:
        task: What was asked.
        decoded: The tokens of the answer.
        token_table: What the tokens mean.
        size: The size of the image as a viewer shows it, for coordinates in its pixels.
        region: The box that was asked about, if one was: a text answer is given with it.
        classes: What was asked for, if classes were: phrases say whether they are among them.
        min_score: Regions whose score is below are left out and counted, but for a
            `region` that a text is given with.
        calibration: Makes the scores of regions calibrated, before any is left out.
    """
    segments = split(decoded, token_table)
    uncalibrated = Answer(
        value=_READERS[task](_Reading(segments, size, region, classes)),
        score=geometric_mean(decoded.logprobs),
        finish_reason=decoded.finish_reason,
        raw_text=token_table.decode(
            token_id for token_id in decoded.token_ids if not token_table.is_special(token_id)
        ),
        token_count=len(decoded.token_ids),
    )
    answer = calibration.apply(task, uncalibrated)
    # The region of such a text was given, not found.
    given = region is not None and isinstance(answer.value, TextAnswer)
    return answer if min_score is None or given else answer.above(min_score)


def _text(reading: _Reading) -> AnswerValue:
    return TextAnswer(read_text(reading.segments))


def _prompt(reading: _Reading) -> AnswerValue:
    return TextAnswer(read_text(reading.segments), read_any_regions(reading.blocks, reading.size))


def _about_region(reading: _Reading) -> AnswerValue:
    if reading.region is None:
        return _text(reading)
    return read_about(reading.segments, reading.region, reading.size)


def _detections(reading: _Reading) -> AnswerValue:
    return DetectionAnswer(read_detections(reading.blocks, reading.size))


def _proposals(reading: _Reading) -> AnswerValue:
    return DetectionAnswer(read_proposals(reading.blocks, reading.size))


def _open_detections(reading: _Reading) -> AnswerValue:
    return DetectionAnswer(read_open_detections(reading.blocks, reading.size))


def _phrases(reading: _Reading) -> AnswerValue:
    return GroundingAnswer(read_phrases(reading.blocks, reading.size, reading.classes))


def _masks(reading: _Reading) -> AnswerValue:
    return SegmentationAnswer(read_masks(reading.blocks, reading.size))


def _quads(reading: _Reading) -> AnswerValue:
    return OcrAnswer(read_quads(reading.blocks, reading.size))


_Reader: TypeAlias = Callable[[_Reading], AnswerValue]

_READERS: Final[Mapping[Task, _Reader]] = MappingProxyType(
    {
        Task.CAPTION: _text,
        Task.DETAILED_CAPTION: _text,
        Task.MORE_DETAILED_CAPTION: _text,
        Task.OCR: _text,
        Task.OCR_WITH_REGION: _quads,
        Task.OD: _detections,
        Task.DENSE_REGION_CAPTION: _detections,
        Task.REGION_PROPOSAL: _proposals,
        Task.CAPTION_TO_PHRASE_GROUNDING: _phrases,
        Task.REFERRING_EXPRESSION_SEGMENTATION: _masks,
        Task.REGION_TO_SEGMENTATION: _masks,
        Task.OPEN_VOCABULARY_DETECTION: _open_detections,
        Task.REGION_TO_CATEGORY: _about_region,
        Task.REGION_TO_DESCRIPTION: _about_region,
        Task.REGION_TO_OCR: _about_region,
        Task.PROMPT: _prompt,
    }
)
