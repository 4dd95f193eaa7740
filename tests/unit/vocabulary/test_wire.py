"""Tasks and answers survive the messages of the API."""

from dataclasses import replace

import pytest
from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError
from arno.vocabulary import (
    Answer,
    Box,
    DetectionAnswer,
    FinishReason,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    Point,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
)
from arno.vocabulary.answers import ScoredCandidate
from arno.vocabulary.wire import (
    answer_from_wire,
    answer_to_wire,
    finish_reason_from_wire,
    finish_reason_to_wire,
    region_from_wire,
    region_to_wire,
    spec_from_wire,
    spec_to_wire,
    task_from_wire,
    task_to_wire,
)
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import quick

numbers = st.floats(allow_nan=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
counts = st.integers(0, 2**31 - 1)
scores = st.none() | st.floats(0, 1)
points = st.builds(Point, numbers, numbers)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)
shapes = st.one_of(
    boxes,
    st.builds(QuadBox, st.tuples(points, points, points, points)),
    st.lists(st.builds(Polygon, st.lists(points, max_size=4).map(tuple)), max_size=3).map(tuple),
)
regions = st.builds(
    Region,
    label=words,
    shape=shapes,
    bins=st.lists(st.integers(0, 999), max_size=9).map(tuple),
    label_score=scores,
    location_score=scores,
    score=scores,
    official_location_score=scores,
    label_logprob=st.none() | st.floats(max_value=0, allow_nan=False),
    location_logprob=st.none() | st.floats(max_value=0, allow_nan=False),
    calibrated=st.booleans(),
    existence=scores,
)
many = st.lists(regions, max_size=3).map(tuple)
values = st.one_of(
    st.builds(TextAnswer, words, many),
    st.builds(DetectionAnswer, many),
    st.builds(
        GroundingAnswer,
        st.lists(st.builds(GroundedPhrase, words, many, st.booleans()), max_size=2).map(tuple),
    ),
    st.builds(SegmentationAnswer, many),
    st.builds(OcrAnswer, many),
)
answers = st.builds(
    Answer,
    value=values,
    score=st.none() | st.floats(0, 1, exclude_min=True),
    finish_reason=st.sampled_from(FinishReason),
    raw_text=words,
    token_count=counts,
    left_out_count=counts,
)
judged = st.builds(
    lambda answer, scored: replace(answer, candidates=scored),
    answers,
    st.lists(
        st.builds(
            ScoredCandidate,
            answers,
            st.floats(max_value=0, allow_nan=False),
            st.floats(0, 1),
            st.lists(st.floats(max_value=0, allow_nan=False), max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
specs = st.builds(
    TaskSpec,
    task=st.sampled_from(Task),
    id=words,
    text=words,
    classes=st.lists(words, max_size=3).map(tuple),
    region=st.none() | boxes,
    num_beams=st.none() | counts,
    max_new_tokens=st.none() | counts,
    constrained=st.booleans(),
    input_from=words,
    fan_out_max=st.none() | counts,
    min_score=scores,
    candidates=st.lists(
        words | st.lists(regions, min_size=1, max_size=2).map(tuple), max_size=2
    ).map(tuple),
)


def test_the_api_has_exactly_the_tasks_and_finish_reasons_of_this_package():
    numbers = set(types_pb2.Task.values()) - {types_pb2.TASK_UNSPECIFIED}
    assert {task_to_wire(task) for task in Task} == numbers
    reasons = set(types_pb2.FinishReason.values()) - {types_pb2.FINISH_REASON_UNSPECIFIED}
    assert {finish_reason_to_wire(reason) for reason in FinishReason} == reasons


@pytest.mark.parametrize("task", Task)
def test_a_task_survives_the_wire(task):
    assert task_from_wire(task_to_wire(task)) is task


@pytest.mark.parametrize("number", [0, 99, -1])
def test_a_number_that_is_no_task_is_refused(number):
    with pytest.raises(InvalidFieldError) as caught:
        task_from_wire(number)
    assert caught.value.field == "task"


@pytest.mark.parametrize("reason", FinishReason)
def test_a_finish_reason_survives_the_wire(reason):
    assert finish_reason_from_wire(finish_reason_to_wire(reason)) is reason


@pytest.mark.parametrize("number", [0, 99])
def test_a_number_that_is_no_finish_reason_is_an_error(number):
    with pytest.raises(ValueError, match=r"FinishReason|FINISH|[Ee]num"):
        finish_reason_from_wire(number)


@quick
@given(specs)
def test_a_task_spec_survives_the_wire(spec):
    message = types_pb2.TaskSpec.FromString(spec_to_wire(spec).SerializeToString())
    assert spec_from_wire(message) == spec


@pytest.mark.parametrize(
    ("candidate", "fault"),
    [
        (
            types_pb2.Candidate(text="a", regions=[region_to_wire(Region("a", Box(0, 0, 1, 1)))]),
            "both",
        ),
        (types_pb2.Candidate(regions=[types_pb2.Region(label="a")]), "regions.*needs a box"),
    ],
)
def test_a_candidate_that_cannot_be_read_is_refused_by_name(candidate, fault):
    message = types_pb2.TaskSpec(task=types_pb2.TASK_OD, candidates=[candidate])
    with pytest.raises(InvalidFieldError, match=rf"candidates\[0\].*{fault}"):
        spec_from_wire(message)


def test_a_task_spec_without_a_task_is_refused():
    with pytest.raises(InvalidFieldError):
        spec_from_wire(types_pb2.TaskSpec(text="car"))


@quick
@given(regions)
def test_a_region_survives_the_wire(region):
    message = types_pb2.Region.FromString(region_to_wire(region).SerializeToString())
    assert region_from_wire(message) == region


@pytest.mark.parametrize(
    "message",
    [
        types_pb2.Region(label="car"),
        types_pb2.Region(quad_box=types_pb2.QuadBox(points=[types_pb2.Point()] * 3)),
    ],
    ids=["no shape", "three corners"],
)
def test_a_region_without_a_whole_shape_is_an_error(message):
    with pytest.raises(ValueError, match=r"needs a box|values"):
        region_from_wire(message)


@quick
@given(answers | judged)
def test_an_answer_survives_the_wire(answer):
    message = types_pb2.Answer.FromString(answer_to_wire(answer).SerializeToString())
    assert answer_from_wire(message) == answer


def test_a_message_without_an_answer_is_an_error():
    message = types_pb2.Answer(finish_reason=finish_reason_to_wire(FinishReason.STOP))
    with pytest.raises(ValueError, match="no answer"):
        answer_from_wire(message)
