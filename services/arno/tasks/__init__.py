"""The Florence-2 tasks: what can be asked, how to ask it, and what the answer means.

Pure: no torch, tokenizer, clock or I/O. The gateway uses it to refuse bad requests, the engine to
build prompts and to read token ids, the client for its types.
"""

from arno.tasks.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    TextAnswer,
)
from arno.tasks.catalogue import CATALOGUE, AnswerKind, ExtraInput, TaskDefinition
from arno.tasks.costs import EXPECTED_TOKENS, expected_tokens
from arno.tasks.decoded import Decoded
from arno.tasks.encode import encode
from arno.tasks.finish import FinishReason
from arno.tasks.inputs import check_inputs
from arno.tasks.locations import BIN_COUNT, dequantise, quantise, render_bins, shape_bins
from arno.tasks.parse import parse
from arno.tasks.prompts import CLASS_SEPARATOR, build_prompt
from arno.tasks.regions import (
    Box,
    ImageSize,
    Point,
    Polygon,
    QuadBox,
    Region,
    Shape,
    area,
    bounding_box,
    iou,
)
from arno.tasks.spec import TaskSpec
from arno.tasks.task import Task
from arno.tasks.vocabulary import Vocabulary

__all__ = [
    "BIN_COUNT",
    "CATALOGUE",
    "CLASS_SEPARATOR",
    "EXPECTED_TOKENS",
    "Answer",
    "AnswerKind",
    "AnswerValue",
    "Box",
    "Decoded",
    "DetectionAnswer",
    "ExtraInput",
    "FinishReason",
    "GroundedPhrase",
    "GroundingAnswer",
    "ImageSize",
    "OcrAnswer",
    "Point",
    "Polygon",
    "QuadBox",
    "Region",
    "SegmentationAnswer",
    "Shape",
    "Task",
    "TaskDefinition",
    "TaskSpec",
    "TextAnswer",
    "Vocabulary",
    "area",
    "bounding_box",
    "build_prompt",
    "check_inputs",
    "dequantise",
    "encode",
    "expected_tokens",
    "iou",
    "parse",
    "quantise",
    "render_bins",
    "shape_bins",
]
