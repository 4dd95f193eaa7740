"""Results of frames as a gateway would give them, for what comes after."""

from __future__ import annotations

from arno.api.v1 import vision_pb2
from arno.client import FrameResult
from arno.errors import ArnoError
from arno.vocabulary import Answer, DetectionAnswer, FinishReason, Region, Task
from arno.vocabulary.results import InferResult, TaskResult


def answered_frame(
    sequence: int, timestamp_ms: int, *regions: Region, task: Task = Task.OD
) -> FrameResult:
    """Return the result of a frame on which a task has found these regions."""
    answer = Answer(
        value=DetectionAnswer(regions),
        score=0.9,
        finish_reason=FinishReason.STOP,
        raw_text="",
        token_count=1,
    )
    found = TaskResult(id="od", task=task, text="", region=None, outcome=answer)
    result = InferResult("job", (found,), None, None, vision_pb2.InferResponse())
    return FrameResult(sequence, timestamp_ms, result, vision_pb2.InferStreamResponse())


def dropped_frame(sequence: int, timestamp_ms: int) -> FrameResult:
    """Return the result of a frame that was left out."""
    return FrameResult(sequence, timestamp_ms, None, vision_pb2.InferStreamResponse())


def failed_frame(sequence: int, timestamp_ms: int, error: ArnoError) -> FrameResult:
    """Return the result of a frame that failed."""
    return FrameResult(sequence, timestamp_ms, error, vision_pb2.InferStreamResponse())
