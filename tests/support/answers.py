"""Answers as a gateway sends them."""

from __future__ import annotations

from arno.api.v1 import types_pb2, vision_pb2


def region(label: str, *sides: float, score: float = 0.9) -> types_pb2.Region:
    x0, y0, x1, y1 = sides
    return types_pb2.Region(label=label, box=types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1), score=score)


def detection(*regions: types_pb2.Region, id: str = "od") -> types_pb2.TaskResult:
    answer = types_pb2.Answer(
        detection=types_pb2.DetectionAnswer(regions=regions),
        score=0.8,
        finish_reason=types_pb2.FINISH_REASON_STOP,
        token_count=7,
    )
    answer.timings.encode.FromMilliseconds(40)
    return types_pb2.TaskResult(id=id, task=types_pb2.TASK_OD, answer=answer)


def caption(text: str, id: str = "caption") -> types_pb2.TaskResult:
    answer = types_pb2.Answer(
        text=types_pb2.TextAnswer(text=text), finish_reason=types_pb2.FINISH_REASON_LENGTH
    )
    return types_pb2.TaskResult(id=id, task=types_pb2.TASK_CAPTION, answer=answer)


def candidates(*scored: tuple[str, float], id: str = "caption") -> types_pb2.TaskResult:
    """What a model thinks of given captions: each with its score."""
    answers = [
        types_pb2.Answer(
            text=types_pb2.TextAnswer(text=text),
            score=score,
            finish_reason=types_pb2.FINISH_REASON_STOP,
        )
        for text, score in scored
    ]
    best = max(answers, key=lambda answer: answer.score)
    whole = types_pb2.Answer()
    whole.CopyFrom(best)
    whole.candidates.extend(types_pb2.ScoredCandidate(answer=answer) for answer in answers)
    return types_pb2.TaskResult(id=id, task=types_pb2.TASK_CAPTION, answer=whole)


def posteriors(*shares: tuple[str, float]) -> types_pb2.TaskResult:
    """What a model thinks of given categories of a region: each with its posterior."""
    scored = [
        types_pb2.ScoredCandidate(
            answer=types_pb2.Answer(
                text=types_pb2.TextAnswer(text=text), finish_reason=types_pb2.FINISH_REASON_STOP
            ),
            posterior=share,
        )
        for text, share in shares
    ]
    whole = types_pb2.Answer()
    whole.CopyFrom(max(scored, key=lambda one: one.posterior).answer)
    whole.candidates.extend(scored)
    task = types_pb2.TASK_REGION_TO_CATEGORY
    return types_pb2.TaskResult(id="region", task=task, answer=whole)


def failure(reason: str, message: str, id: str = "ocr") -> types_pb2.TaskResult:
    error = types_pb2.Error(code=13, reason=reason, message=message)
    return types_pb2.TaskResult(id=id, task=types_pb2.TASK_OCR, error=error)


def response(*results: types_pb2.TaskResult) -> vision_pb2.InferResponse:
    return vision_pb2.InferResponse(
        job_id="job-1",
        results=results,
        image=types_pb2.ImageDescription(width_px=200, height_px=100, mime_type="image/png"),
        model=types_pb2.Model(name="arno-tiny", fingerprint="f", dtype="float32"),
    )
