"""Name the sixteen tasks of Florence-2.

Owns the names and nothing else: prompts, inputs and answers are in `catalogue`. The names are
those of the API enum, so the wire translation needs no table.
"""

from enum import StrEnum


class Task(StrEnum):
    """A Florence-2 task. The value is the name: `Task("OD") is Task.OD`."""

    CAPTION = "CAPTION"
    DETAILED_CAPTION = "DETAILED_CAPTION"
    MORE_DETAILED_CAPTION = "MORE_DETAILED_CAPTION"
    OCR = "OCR"
    OCR_WITH_REGION = "OCR_WITH_REGION"
    OD = "OD"
    DENSE_REGION_CAPTION = "DENSE_REGION_CAPTION"
    REGION_PROPOSAL = "REGION_PROPOSAL"
    CAPTION_TO_PHRASE_GROUNDING = "CAPTION_TO_PHRASE_GROUNDING"
    REFERRING_EXPRESSION_SEGMENTATION = "REFERRING_EXPRESSION_SEGMENTATION"
    REGION_TO_SEGMENTATION = "REGION_TO_SEGMENTATION"
    OPEN_VOCABULARY_DETECTION = "OPEN_VOCABULARY_DETECTION"
    REGION_TO_CATEGORY = "REGION_TO_CATEGORY"
    REGION_TO_DESCRIPTION = "REGION_TO_DESCRIPTION"
    REGION_TO_OCR = "REGION_TO_OCR"
    PROMPT = "PROMPT"
