"""The one check of a request's tasks, of which the gateway's reader is a use with limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary import Task, TaskSpec
from arno.vocabulary.checks import check_specs, inside, read_specs

CAPTION = TaskSpec(Task.CAPTION)
GROUNDING = TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, input_from="0")


def field_at_fault(*specs: TaskSpec) -> str:
    with pytest.raises(InvalidFieldError) as refused:
        check_specs(specs)
    return refused.value.field


def test_missing_ids_are_filled_in_with_the_index_and_nothing_else_changes():
    named = TaskSpec(Task.OD, id="objects", num_beams=2)
    assert check_specs([CAPTION, named, GROUNDING]) == (
        replace(CAPTION, id="0"),
        named,
        replace(GROUNDING, id="2"),
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (TaskSpec(Task.OD, id="a b"), "id"),
        (TaskSpec(Task.OD, id="0"), "id"),
        (TaskSpec(Task.OD, num_beams=9), "options.num_beams"),
        (TaskSpec(Task.OD, max_new_tokens=1), "options.max_new_tokens"),
        (TaskSpec(Task.OD, min_score=float("nan")), "min_score"),
        (TaskSpec(Task.OD, fan_out_max=2), "fan_out_max"),
        (TaskSpec(Task.OD, text="x"), "text"),
        (TaskSpec(Task.OD, input_from="0"), "input_from"),
        (TaskSpec(Task.PROMPT, input_from="1"), "input_from"),
        (TaskSpec(Task.PROMPT, input_from="0", text="x"), "text"),
        (TaskSpec(Task.REGION_TO_OCR, input_from="0"), "input_from"),
        (TaskSpec(Task.CAPTION, candidates=["a</s>"]), "candidates[0]"),
    ],
)
def test_the_field_at_fault_is_named_with_its_task(spec, field):
    assert field_at_fault(CAPTION, spec) == f"tasks[1].{field}"


@pytest.mark.parametrize(
    ("followed", "follower", "fits"),
    [
        (Task.CAPTION, Task.PROMPT, True),
        (Task.OD, Task.REGION_TO_OCR, True),
        (Task.OD, Task.PROMPT, False),
        (Task.CAPTION, Task.OD, False),
    ],
)
def test_a_task_follows_only_answers_that_it_can_take(followed, follower, fits):
    specs = [TaskSpec(followed), TaskSpec(follower, input_from="0")]
    if fits:
        assert [spec.task for spec in check_specs(specs)] == [followed, follower]
    else:
        assert field_at_fault(*specs) == "tasks[1].input_from"


def test_no_task_at_all_is_refused_with_the_number_that_is_allowed():
    with pytest.raises(InvalidFieldError) as refused:
        read_specs((), TaskSpec, count_max=4, field="config.tasks")
    assert refused.value.metadata["field"] == "config.tasks"
    assert refused.value.metadata["limit"] == "1 to 4"
    assert field_at_fault() == "tasks"


def test_too_many_tasks_are_refused_before_any_is_read():
    def read(name: str) -> TaskSpec:
        raise AssertionError(name)

    with pytest.raises(LimitExceededError) as refused:
        read_specs(["OD"] * 5, read, count_max=4)
    assert (refused.value.metadata["limit"], refused.value.metadata["sent"]) == ("1 to 4", "5")


def test_an_item_that_cannot_be_read_is_named_by_its_place():
    assert read_specs(["OD", "CAPTION"], TaskSpec)[1].task is Task.CAPTION
    with pytest.raises(InvalidFieldError) as refused:
        read_specs(["OD", "NONE"], TaskSpec)
    assert refused.value.field == "tasks[1].task"


def test_the_kind_of_an_error_and_its_limit_stay_inside_a_message():
    with pytest.raises(LimitExceededError) as refused, inside("tasks[3]"):
        raise LimitExceededError(field="text", problem="too long", limit="5", sent="6")
    assert refused.value.metadata == {
        "field": "tasks[3].text",
        "problem": "too long",
        "limit": "5",
        "sent": "6",
    }
