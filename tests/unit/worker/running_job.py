"""Drives a JobRun with made-up tokens: a table of bytes and location tokens."""

from __future__ import annotations

from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine import SequenceFinished
from arno.engine.interface import DecodingOptions, PreparedImage, SequenceRequest
from arno.engine.null_engine import NullEngine
from arno.engine.settings import EngineSettings
from arno.errors import ArnoError
from arno.vocabulary import EXPECTED_TOKENS, FinishReason, ImageSize, Task
from arno.worker.job import split_sequence_id
from arno.worker.job_run import JobRun

TOKEN_TABLE = NullEngine(EngineSettings(model="null")).token_table
SIZE = ImageSize(1000, 1000)
TEMPLATE = SequenceRequest(
    sequence_id="7",
    image=PreparedImage("", None, SIZE, "image/png", prepare_s=0.25),
    prompt="",
    options=DecodingOptions(),
    deadline_s=None,
    lane="interactive",
    tenant="default",
    expected_token_count=0,
)
END_ID = 2


def task(name: str, **fields: object) -> types_pb2.TaskSpec:
    return types_pb2.TaskSpec(task=types_pb2.Task.Value(f"TASK_{name}"), **fields)  # type: ignore[arg-type]  # fields of the message


def start(*tasks: types_pb2.TaskSpec, lengths: AnswerLengths[Task] | None = None) -> JobRun:
    return JobRun(
        tasks,
        template=TEMPLATE,
        token_table=TOKEN_TABLE,
        queue_s=1.5,
        lengths=lengths or AnswerLengths(EXPECTED_TOKENS),
    )


def token_ids(text: str) -> tuple[int, ...]:
    """Return tokens of a text in which ``@n`` stands for the location token n."""
    ids: list[int] = []
    for n, word in enumerate(text.split("@")):
        digits = len(word) - len(word.lstrip("0123456789")) if n else 0
        if digits:
            ids.append(TOKEN_TABLE.first_location_id + int(word[:digits]))
        ids += [3 + byte for byte in word[digits:].encode()]
    return (*ids, END_ID)


def said(
    run: JobRun,
    result_id: str,
    text: str = "",
    *,
    reason: FinishReason = FinishReason.STOP,
    logprobs: tuple[float, ...] = (),
    error: ArnoError | None = None,
) -> None:
    ids = token_ids(text) if text else ()
    run.finished(result_id, SequenceFinished(result_id, ids, logprobs, reason, 0.125, 0.5, error))


def planned(run: JobRun) -> list[str]:
    return [split_sequence_id(sequence.sequence_id)[1] for sequence in run.plan()]


def outcomes(run: JobRun) -> dict[str, str]:
    """Return each result's outcome: ``answer``, or the reason of its error."""
    return {
        result.id: result.error.reason if result.HasField("error") else "answer"
        for result in run.results
    }
