"""The tasks of one job: which sequences start when, and what each end becomes."""

import math

import pytest
from arno.api.v1 import types_pb2
from arno.batching import AnswerLengths
from arno.engine import SequenceFinished
from arno.errors import CancelledError, EngineError
from arno.vocabulary import EXPECTED_TOKENS, FinishReason, JobState, Task
from arno.vocabulary.task_grammars import Constraint
from arno.worker.job_run import JobRun
from hypothesis import given
from hypothesis import strategies as st
from running_job import END_ID, outcomes, planned, said, start, task, token_ids


def test_independent_tasks_are_planned_together_and_only_once() -> None:
    run = start(task("CAPTION", id="a"), task("OD", id="b"))
    assert planned(run) == ["a", "b"]
    assert planned(run) == []
    assert not run.ended


def test_plan_carries_prompt_options_and_expected_length() -> None:
    options = types_pb2.GenerationOptions(num_beams=1, max_new_tokens=7)
    [sequence] = start(task("CAPTION", id="a", options=options)).plan()
    assert sequence.prompt == "What does the image describe?"
    assert (sequence.options.num_beams, sequence.options.max_new_tokens) == (1, 7)
    assert sequence.expected_token_count == 12


def test_only_answers_that_came_to_their_end_teach_how_long_answers_are() -> None:
    lengths = AnswerLengths(EXPECTED_TOKENS)
    for reason, seen in ((FinishReason.CANCELLED, 12), (FinishReason.STOP, 40)):
        for _ in range(200):
            run = start(task("CAPTION", id="a"), lengths=lengths)
            assert planned(run) == ["a"]
            said(run, "a", "x" * 39, reason=reason)
        [sequence] = start(task("CAPTION", id="a"), lengths=lengths).plan()
        assert sequence.expected_token_count == pytest.approx(seen, abs=1)
    [other] = start(task("OD", id="a"), lengths=lengths).plan()
    assert other.expected_token_count == EXPECTED_TOKENS[Task.OD]


def test_a_task_is_held_to_its_form_and_classes_only_if_asked() -> None:
    options = types_pb2.GenerationOptions(constrained=True)
    free = task("OPEN_VOCABULARY_DETECTION", id="a", classes=["car"])
    held = task("OPEN_VOCABULARY_DETECTION", id="b", classes=["car"], options=options)
    first, second = start(free, held).plan()
    assert first.constraint is None
    assert second.constraint == Constraint(Task.OPEN_VOCABULARY_DETECTION, ("car",))


def test_text_answer_becomes_the_followers_text() -> None:
    run = start(
        task("CAPTION", id="a"), task("CAPTION_TO_PHRASE_GROUNDING", id="b", input_from="a")
    )
    assert planned(run) == ["a"]
    said(run, "a", "a red cat")
    [follower] = run.plan()
    assert follower.prompt == "Locate the phrases in the caption: a red cat"
    said(run, "b", "cat@1@2@3@4")
    assert run.state is JobState.SUCCEEDED
    assert run.results[1].text == "a red cat"


def test_each_region_is_followed_best_score_first_up_to_the_limit() -> None:
    follower = task("REGION_TO_CATEGORY", id="b", input_from="a", fan_out_max=2)
    run = start(task("OD", id="a"), follower, task("CAPTION", id="c"))
    assert planned(run) == ["a", "c"]
    text = "x@1@1@9@9y@2@2@8@8z@3@3@7@7"
    ids = token_ids(text)
    # x is the least likely, z the most.
    logprobs = (-3.0,) * 5 + (-2.0,) * 5 + (-1.0,) * 5 + (0.0,)
    said(run, "a", text, logprobs=logprobs)
    assert len(ids) == len(logprobs)
    assert planned(run) == ["b.0", "b.1"]
    said(run, "b.1", "second")
    said(run, "b.0", "first")
    said(run, "c", "cap")
    assert [result.id for result in run.results] == ["a", "b.0", "b.1", "c"]
    assert [math.floor(r.region.x0) for r in run.results[1:3]] == [3, 2]


@pytest.mark.parametrize(
    ("source", "answer", "follower"),
    [
        ("OD", "", "REGION_TO_CATEGORY"),
        ("OD", "nothing here", "REGION_TO_CATEGORY"),
        ("OD", "flat@5@5@5@5", "REGION_TO_CATEGORY"),
        ("CAPTION", "   ", "CAPTION_TO_PHRASE_GROUNDING"),
        ("OD", "x@1@1@9@9", "CAPTION_TO_PHRASE_GROUNDING"),
    ],
    ids=["no tokens", "no regions", "a region without area", "blank text", "not a text"],
)
def test_follower_of_an_answer_without_input_fails_alone(
    source: str, answer: str, follower: str
) -> None:
    run = start(task(source, id="a"), task(follower, id="b", input_from="a"))
    run.plan()
    said(run, "a", answer)
    assert planned(run) == []
    assert outcomes(run) == {"a": "answer", "b": "INPUT_UNAVAILABLE"}
    assert run.state is JobState.SUCCEEDED


def test_a_region_below_the_least_score_is_left_out_and_not_followed() -> None:
    follower = task("REGION_TO_CATEGORY", id="b", input_from="a")
    run = start(task("OD", id="a", min_score=0.5), follower)
    run.plan()
    said(run, "a", "x@1@1@9@9y@2@2@8@8", logprobs=(-3.0,) * 5 + (-0.1,) * 5 + (0.0,))
    assert planned(run) == ["b.0"]
    said(run, "b.0", "yes")
    answer = run.results[0].answer
    assert [region.label for region in answer.detection.regions] == ["y"]
    assert answer.left_out_count == 1
    assert math.floor(run.results[1].region.x0) == 2


def test_follower_of_a_failed_task_fails_and_neighbours_do_not() -> None:
    run = start(
        task("OD", id="a"),
        task("REGION_TO_CATEGORY", id="b", input_from="a"),
        task("REGION_TO_OCR", id="c", input_from="b"),
        task("CAPTION", id="d"),
    )
    run.plan()
    said(run, "a", reason=FinishReason.ERROR, error=EngineError("out of luck"))
    said(run, "d", "cap")
    assert planned(run) == []
    assert outcomes(run) == {
        "a": "ENGINE_FAILED",
        "b": "INPUT_UNAVAILABLE",
        "c": "INPUT_UNAVAILABLE",
        "d": "answer",
    }


@pytest.mark.parametrize("input_from", ["a", "later", "nobody"])
def test_task_that_follows_no_earlier_one_fails_instead_of_waiting(input_from: str) -> None:
    run = start(
        task("CAPTION_TO_PHRASE_GROUNDING", id="a", input_from=input_from),
        task("CAPTION", id="later"),
    )
    assert planned(run) == ["later"]
    assert outcomes(run) == {"a": "INPUT_UNAVAILABLE"}


def test_task_with_unusable_input_fails_alone() -> None:
    run = start(task("REGION_TO_CATEGORY", id="a"), task("OD", id="b", text="no text, please"))
    assert planned(run) == []
    assert outcomes(run) == {"a": "INVALID_FIELD", "b": "INVALID_FIELD"}
    assert run.ended


def test_second_task_of_the_same_id_is_refused() -> None:
    run = start(task("CAPTION", id="a"), task("OD", id="a"))
    assert planned(run) == ["a"]
    said(run, "a", "cap")
    assert [result.HasField("answer") for result in run.results] == [True, False]


def test_deadline_keeps_what_was_said_and_expires_the_job() -> None:
    run = start(
        task("CAPTION", id="a"),
        task("OD", id="b"),
        task("REGION_TO_CATEGORY", id="c", input_from="b"),
    )
    run.plan()
    said(run, "a", "half a capt", reason=FinishReason.DEADLINE)
    said(run, "b", reason=FinishReason.DEADLINE)
    assert planned(run) == []
    assert outcomes(run) == {"a": "answer", "b": "DEADLINE_EXCEEDED", "c": "DEADLINE_EXCEEDED"}
    assert run.results[0].answer.finish_reason == types_pb2.FINISH_REASON_DEADLINE
    assert run.state is JobState.EXPIRED


def test_cancel_keeps_finished_results_and_starts_no_follower() -> None:
    run = start(
        task("CAPTION", id="a"), task("CAPTION_TO_PHRASE_GROUNDING", id="b", input_from="a")
    )
    run.plan()
    run.stop(CancelledError("enough"))
    said(run, "a", "a red cat")
    assert planned(run) == []
    assert outcomes(run) == {"a": "answer", "b": "CANCELLED"}
    assert run.state is JobState.CANCELLED


def test_cancel_that_came_too_late_changes_nothing() -> None:
    run = start(task("CAPTION", id="a"))
    run.plan()
    run.stop(CancelledError("enough"))
    said(run, "a", "a red cat")
    assert run.state is JobState.SUCCEEDED
    assert run.error is None


def test_answer_carries_the_times_of_all_stages() -> None:
    run = start(task("CAPTION", id="a"))
    run.plan()
    said(run, "a", "cat")
    timings = run.results[0].answer.timings
    stages = (timings.queue, timings.prepare, timings.encode, timings.decode)
    assert [stage.ToMilliseconds() for stage in stages] == [1500, 250, 125, 500]


def test_progress_counts_tokens_and_tells_each_result_once() -> None:
    run = start(task("CAPTION", id="a"), task("CAPTION", id="b"))
    run.plan()
    assert run.state is JobState.ENCODING
    run.progressed("a", encoded=True, token_count=3)
    assert (run.state, run.decoded_token_count) == (JobState.DECODING, 3)
    said(run, "b", "cat")
    [result] = run.take_new_results().values()
    assert types_pb2.TaskResult.FromString(result).id == "b"
    assert run.take_new_results() == {}


_NAMES = ["CAPTION", "OD", "CAPTION_TO_PHRASE_GROUNDING", "REGION_TO_CATEGORY", "REGION_TO_OCR"]
_ANSWERS = ["", "words", "x@1@1@9@9", "x@1@1@9@9y@2@2@8@8"]
_REASONS = [FinishReason.STOP, FinishReason.STOP, *FinishReason]


def _end(run: JobRun, result_id: str, text: str, reason: FinishReason) -> None:
    ids = token_ids(text) if text else ()
    run.finished(result_id, SequenceFinished(result_id, ids, (), reason, 0.0, 0.0))


@given(data=st.data())
def test_every_job_ends_with_each_result_once_in_request_order(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    sources = st.sampled_from(["", *map(str, range(count))])
    run = start(
        *(
            task(data.draw(st.sampled_from(_NAMES)), id=str(n), input_from=data.draw(sources))
            for n in range(count)
        )
    )
    waiting: list[str] = planned(run)
    seen = set(waiting)
    told: dict[int, bytes] = run.take_new_results()
    while not run.ended:
        assert waiting, "a job that has not ended has a sequence to wait for"
        if data.draw(st.integers(0, 9)) == 0:
            run.stop(CancelledError("enough"))
        name = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        _end(run, name, data.draw(st.sampled_from(_ANSWERS)), data.draw(st.sampled_from(_REASONS)))
        more = planned(run)
        assert not seen.intersection(more)
        seen.update(more)
        waiting += more
        new = run.take_new_results()
        assert not told.keys() & new.keys()
        told |= new
    assert not waiting
    assert run.state.ended
    results = run.results
    assert [told[key] for key in sorted(told)] == [r.SerializeToString() for r in results]
    assert len({result.id for result in results}) == len(results)
    order = [int(result.id.split(".")[0]) for result in results]
    assert order == sorted(order)
    assert set(order) == set(range(count))
    assert all(result.WhichOneof("outcome") for result in results)


def test_end_token_alone_is_an_answer_without_words() -> None:
    run = start(task("CAPTION", id="a"))
    run.plan()
    run.finished("a", SequenceFinished("a", (END_ID,), (0.0,), FinishReason.STOP, 0.0, 0.0))
    assert run.results[0].answer.text.text == ""
