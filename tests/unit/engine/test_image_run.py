"""The tasks of one image in a library: what starts when, and what each end becomes."""

from __future__ import annotations

import math

from arno.batching import AnswerLengths
from arno.engine import SequenceFinished
from arno.engine.image_run import ImageRun
from arno.engine.interface import PreparedImage
from arno.engine.null_engine import NullEngine
from arno.engine.sequences.task_sequences import local_template
from arno.engine.settings import EngineSettings
from arno.errors import CancelledError, EngineError, InputUnavailableError
from arno.vocabulary import EXPECTED_TOKENS, FinishReason, ImageSize, Lane, Task, TaskSpec
from arno.vocabulary.checks import check_specs

TOKEN_TABLE = NullEngine(EngineSettings(model="null")).token_table
IMAGE = PreparedImage("", None, ImageSize(1000, 1000), "image/png", prepare_s=0.25)
END_ID = 2


def start(*specs: TaskSpec) -> ImageRun:
    return ImageRun(
        dict(enumerate(check_specs(specs))),
        template=local_template("7", IMAGE, Lane.BATCH),
        token_table=TOKEN_TABLE,
        lengths=AnswerLengths(EXPECTED_TOKENS),
    )


def planned(run: ImageRun) -> list[str]:
    return [request.sequence_id for request in run.plan()]


def letters(text: str) -> tuple[int, ...]:
    return tuple(3 + byte for byte in text.encode())


def place(*sides: int) -> tuple[int, ...]:
    return tuple(TOKEN_TABLE.first_location_id + side for side in sides)


def end(
    run: ImageRun,
    name: str,
    *tokens: int,
    reason: FinishReason = FinishReason.STOP,
    error: EngineError | None = None,
) -> None:
    ids = (*tokens, END_ID) if tokens else ()
    run.finish(name, SequenceFinished(f"7/{name}", ids, (), reason, 0.125, 0.5, error))


def test_tasks_that_follow_none_start_together_and_once():
    run = start(TaskSpec(Task.CAPTION), TaskSpec(Task.OD, id="o", num_beams=1, max_new_tokens=9))
    caption, objects = run.plan()
    assert (caption.sequence_id, objects.sequence_id) == ("7/0", "7/o")
    assert caption.prompt == "What does the image describe?"
    assert (objects.options.num_beams, objects.options.max_new_tokens) == (1, 9)
    assert (objects.lane, objects.image) == (Lane.BATCH, IMAGE)
    assert planned(run) == []
    assert not run.ended


def test_each_region_becomes_a_result_of_its_own_beside_its_task():
    run = start(
        TaskSpec(Task.OD, id="a"),
        TaskSpec(Task.REGION_TO_CATEGORY, id="b", input_from="a"),
        TaskSpec(Task.CAPTION, id="c"),
    )
    assert planned(run) == ["7/a", "7/c"]
    end(run, "a", *letters("x"), *place(1, 1, 9, 9), *letters("y"), *place(2, 2, 8, 8))
    assert planned(run) == ["7/b.0", "7/b.1"]
    for name in ("b.1", "c", "b.0"):
        end(run, name, *letters("said"))
    assert run.ended
    assert [result.id for result in run.results] == ["a", "b.0", "b.1", "c"]
    assert [math.floor(result.region.x0) for result in run.results[1:3]] == [1, 2]


def test_a_caption_is_the_text_of_the_task_that_follows_it():
    follower = TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, id="b", input_from="a")
    run = start(TaskSpec(Task.CAPTION, id="a"), follower)
    assert planned(run) == ["7/a"]
    end(run, "a", *letters("a red cat"))
    [request] = run.plan()
    assert request.prompt == "Locate the phrases in the caption: a red cat"
    end(run, "b", *letters("cat"), *place(1, 2, 3, 4))
    assert run.results[1].text == "a red cat"
    assert run.results[1].timings.decode_s == 0.5


def test_a_failure_ends_its_task_and_the_one_that_follows_and_no_other():
    run = start(
        TaskSpec(Task.OD, id="a"),
        TaskSpec(Task.REGION_TO_CATEGORY, id="b", input_from="a"),
        TaskSpec(Task.CAPTION, id="c"),
    )
    run.plan()
    end(run, "a", reason=FinishReason.ERROR, error=EngineError("broken"))
    assert planned(run) == []
    end(run, "c", reason=FinishReason.CANCELLED)
    kinds = [type(result.outcome) for result in run.results]
    assert kinds == [EngineError, InputUnavailableError, CancelledError]


def test_a_region_outside_the_image_is_refused_alone():
    outside = TaskSpec(Task.REGION_TO_OCR, region=(0, 0, 2000, 9), id="r")
    run = start(outside, TaskSpec(Task.CAPTION, id="c"))
    assert planned(run) == ["7/c"]
    assert run.results[0].id == "r"
    assert run.results[0].error.field == "region"
