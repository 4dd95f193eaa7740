import json

import pytest
from arno.bulk import read_records, run_batch
from arno.errors import (
    ArnoError,
    ConfigurationError,
    DeadlineExceededError,
    InputUnavailableError,
    InvalidImageError,
    OverloadedError,
)
from arno.vocabulary.wire_results import error_to_wire, infer_result, rebuild_error
from support.answers import caption, failure, response
from support.bulk import ChosenAnswerer, items, open_folder, seen

BROKEN = InvalidImageError(field="image", problem="broken")


def keys(folder):
    return sorted(record.key for record in read_records(folder))


def failures(folder):
    return [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]


def test_every_item_is_asked_about_once_over_all_runs(tmp_path):
    first, second = ChosenAnswerer(), ChosenAnswerer()
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a", "b"), first, kept)
    assert (counts.answered, counts.failed, counts.known) == (2, 0, 0)
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a", "b", "c"), second, kept)
    assert (counts.answered, counts.known, counts.done) == (1, 2, 3)
    assert first.asked + second.asked == ["a", "b", "c"]
    assert first.released == ["a", "b"]
    assert keys(tmp_path) == ["a", "b", "c"]


def test_key_that_comes_twice_is_one_item_even_while_it_is_under_way(tmp_path):
    class Slow(ChosenAnswerer):
        def answer(self, items):
            yield from super().answer(list(items))

    answerer = Slow()
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a", "a", "b", "a"), answerer, kept)
    assert answerer.asked == ["a", "b"]
    assert counts.known == 2


def test_failure_of_one_item_stops_no_other(tmp_path):
    answerer = ChosenAnswerer(lambda item: BROKEN if item.key == "b" else seen())
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a", "b", "c"), answerer, kept)
        assert kept.failed_count == counts.failed == 1
    assert keys(tmp_path) == ["a", "c"]
    (line,) = failures(tmp_path)
    assert (line["key"], line["error"]["reason"]) == ("b", "INVALID_IMAGE")
    assert answerer.released == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("error", "asked_again"),
    [
        (BROKEN, False),
        (DeadlineExceededError("late"), True),
        (OverloadedError("full"), True),
        (rebuild_error("INTERNAL", "error_id 1f", code=13, metadata={}), True),
    ],
)
def test_later_run_asks_again_only_where_the_failure_may_pass(tmp_path, error, asked_again):
    with open_folder(tmp_path) as kept:
        run_batch(items("a"), ChosenAnswerer(lambda item: error), kept)
    answerer = ChosenAnswerer()
    with open_folder(tmp_path) as kept:
        kept.reopen_failures(everything=False)
        run_batch(items("a"), answerer, kept)
    assert answerer.asked == (["a"] if asked_again else [])
    assert failures(tmp_path) == [] or not asked_again


def test_task_that_fails_alone_leaves_the_others_and_is_told(tmp_path):
    half = infer_result(response(caption("a cat"), failure("ENGINE_FAILED", "broke")))
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a"), ChosenAnswerer(lambda item: half), kept)
    assert (counts.answered, counts.failed) == (0, 1)
    (record,) = read_records(tmp_path)
    assert record.result["CAPTION"].answer_text == "a cat"
    (line,) = failures(tmp_path)
    assert (line["task"], line["error"]["reason"]) == ("ocr", "ENGINE_FAILED")


def test_result_without_any_answer_is_a_failure(tmp_path):
    none = infer_result(response(failure("ENGINE_FAILED", "broke")))
    with open_folder(tmp_path) as kept:
        run_batch(items("a"), ChosenAnswerer(lambda item: none), kept)
    assert keys(tmp_path) == []
    assert failures(tmp_path)[0]["error"]["message"] == "broke"


def test_task_with_nothing_to_follow_has_not_failed(tmp_path):
    idle = failure("", "")
    idle.error.CopyFrom(error_to_wire(InputUnavailableError("no region")))
    result = infer_result(response(caption("a cat"), idle))
    with open_folder(tmp_path) as kept:
        counts = run_batch(items("a"), ChosenAnswerer(lambda item: result), kept)
    assert (counts.answered, counts.failed) == (1, 0)
    assert failures(tmp_path) == []


def test_run_that_is_broken_off_keeps_what_was_answered(tmp_path):
    def choose(item):
        if item.key == "c":
            raise KeyboardInterrupt
        return seen()

    with open_folder(tmp_path) as kept, pytest.raises(KeyboardInterrupt):
        run_batch(items("a", "b", "c"), ChosenAnswerer(choose), kept)
    assert keys(tmp_path) == ["a", "b"]


def test_run_stops_at_too_many_failures(tmp_path):
    answerer = ChosenAnswerer(lambda item: BROKEN)
    with open_folder(tmp_path) as kept, pytest.raises(ArnoError, match="more than 2 items failed"):
        run_batch(items(*"abcdefg"), answerer, kept, failures_max=2)
    assert answerer.asked == ["a", "b", "c"]
    assert len(failures(tmp_path)) == 3


def test_answer_of_another_model_stops_the_run_and_is_not_kept(tmp_path):
    other = infer_result(response(caption("a cat")))
    other.message.model.fingerprint = "g"
    other = infer_result(other.message)
    answerer = ChosenAnswerer(lambda item: other if item.key == "b" else seen())
    with open_folder(tmp_path) as kept, pytest.raises(ConfigurationError, match="answered before"):
        run_batch(items("a", "b"), answerer, kept)
    assert keys(tmp_path) == ["a"]


def test_items_are_taken_only_as_they_are_answered(tmp_path):
    taken = []
    progress = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield items(str(number))[0]

    def show(counts):
        progress.append(counts.done)
        if counts.done == 5:
            raise KeyboardInterrupt

    with open_folder(tmp_path) as kept, pytest.raises(KeyboardInterrupt):
        run_batch(endless(), ChosenAnswerer(), kept, on_progress=show)
    assert (len(taken), progress) == (5, [1, 2, 3, 4, 5])
