"""Guess how long an answer will be, before there is one.

The cost model of the scheduler starts from these and learns the rest as it runs; they only have to
put the tasks in the right order and size. They say nothing about time: that is the engine's.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from arno.vocabulary.task import Task

EXPECTED_TOKENS: Final[Mapping[Task, int]] = MappingProxyType(
    {
        # From published throughputs of the large-ft checkpoint, 3 beams, batches of at most 36
        # (TritonsProngs/triton-florence2: 26.6 captions/s, 14.5 detailed, 19.6 more detailed,
        # 29.7 groundings, 5.8 detections, 7.3 dense, 6.3 proposals, 29.4 OCR, 21.6 OCR with
        # region): a caption is taken to be 12 tokens, and the others scale as the inverse of
        # their throughput. So the image's encoding is spread over the tokens as well.
        Task.CAPTION: 12,
        Task.DETAILED_CAPTION: 22,
        Task.MORE_DETAILED_CAPTION: 16,
        Task.CAPTION_TO_PHRASE_GROUNDING: 11,
        Task.OD: 55,
        Task.DENSE_REGION_CAPTION: 44,
        Task.REGION_PROPOSAL: 51,
        Task.OCR: 11,
        Task.OCR_WITH_REGION: 15,
        # Without published figures. A mask is one outline of about fifty points; an open vocabulary
        # detection is a label or two with a few boxes; the answers about one region are short text.
        Task.REFERRING_EXPRESSION_SEGMENTATION: 100,
        Task.REGION_TO_SEGMENTATION: 100,
        Task.OPEN_VOCABULARY_DETECTION: 16,
        Task.REGION_TO_CATEGORY: 6,
        Task.REGION_TO_DESCRIPTION: 10,
        Task.REGION_TO_OCR: 8,
        # Visual question answering, the usual prompt of a fine-tune, answers in a word or two.
        Task.PROMPT: 10,
    }
)
"""Expected tokens of an answer, begin and end tokens included, for one beam."""
