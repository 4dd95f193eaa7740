"""The Florence-2 tasks: what can be asked, how to ask it, and what the answer means.

Pure: no torch, tokenizer, clock or I/O. The gateway uses it to refuse bad requests, the engine to
build prompts and to read token ids, the client for its types.
"""

from arno.vocabulary.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    TextAnswer,
)
from arno.vocabulary.catalogue import CATALOGUE, AnswerKind, ExtraInput, TaskDefinition
from arno.vocabulary.costs import EXPECTED_TOKENS
from arno.vocabulary.decoded import Decoded, FinishReason
from arno.vocabulary.encode import encode
from arno.vocabulary.inputs import check_inputs
from arno.vocabulary.job import DEFAULT_TENANT, JobState, Lane, StreamPolicy
from arno.vocabulary.locations import BIN_COUNT, dequantise, quantise, render_bins, shape_bins
from arno.vocabulary.parsing.parse import parse
from arno.vocabulary.prompts import CLASS_SEPARATOR, build_prompt
from arno.vocabulary.regions import (
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
from arno.vocabulary.spec import TaskLike, TaskSpec, spec_of
from arno.vocabulary.task import Task
from arno.vocabulary.token_table import TokenTable

__all__ = [
    "BIN_COUNT",
    "CATALOGUE",
    "CLASS_SEPARATOR",
    "DEFAULT_TENANT",
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
    "JobState",
    "Lane",
    "OcrAnswer",
    "Point",
    "Polygon",
    "QuadBox",
    "Region",
    "SegmentationAnswer",
    "Shape",
    "StreamPolicy",
    "Task",
    "TaskDefinition",
    "TaskLike",
    "TaskSpec",
    "TextAnswer",
    "TokenTable",
    "area",
    "bounding_box",
    "build_prompt",
    "check_inputs",
    "dequantise",
    "encode",
    "iou",
    "parse",
    "quantise",
    "render_bins",
    "shape_bins",
    "spec_of",
]
