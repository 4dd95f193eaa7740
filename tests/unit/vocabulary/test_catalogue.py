"""The catalogue is whole, and agrees with what the rest of the package does."""

import pytest
from arno.vocabulary import (
    CATALOGUE,
    EXPECTED_TOKENS,
    AnswerKind,
    DetectionAnswer,
    ExtraInput,
    FinishReason,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    Task,
    TextAnswer,
    parse,
)
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, said

ANSWERS = {
    AnswerKind.TEXT: TextAnswer,
    AnswerKind.DETECTION: DetectionAnswer,
    AnswerKind.GROUNDING: GroundingAnswer,
    AnswerKind.SEGMENTATION: SegmentationAnswer,
    AnswerKind.OCR: OcrAnswer,
}


def test_there_are_sixteen_tasks_each_with_a_row_and_a_cost():
    assert len(Task) == 16
    assert list(CATALOGUE) == list(Task)
    assert set(EXPECTED_TOKENS) == set(Task)


@pytest.mark.parametrize("names", [Task, FinishReason])
def test_the_value_of_a_name_is_the_name(names):
    assert all(member.value == member.name == str(member) for member in names)


@pytest.mark.parametrize("task", Task)
def test_a_row_describes_its_own_task(task):
    definition = CATALOGUE[task]
    assert definition.task is task
    assert ("{input}" in definition.prompt) == (definition.extra_input is not ExtraInput.NONE)


@pytest.mark.parametrize("task", Task)
def test_the_parser_gives_the_kind_of_answer_that_the_catalogue_promises(task):
    value = parse(task, said("<s></s>"), VOCABULARY, THOUSAND).value
    assert type(value) is ANSWERS[CATALOGUE[task].answer_kind]


def test_tasks_that_name_a_region_ask_for_one():
    asking = {task for task, row in CATALOGUE.items() if row.extra_input is ExtraInput.REGION}
    assert asking == {task for task in Task if task.startswith("REGION_TO_")}


def test_long_answers_are_expected_of_the_tasks_that_give_them():
    caption = EXPECTED_TOKENS[Task.CAPTION]
    assert EXPECTED_TOKENS[Task.REGION_TO_CATEGORY] < caption < EXPECTED_TOKENS[Task.OD]
    assert min(EXPECTED_TOKENS.values()) > 2
