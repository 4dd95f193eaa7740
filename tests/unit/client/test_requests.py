import math

import pytest
from arno.api.v1 import types_pb2, vision_pb2
from arno.client import Frame, StreamOptions, TaskRequest
from arno.client.requests import (
    checked_id,
    config_message,
    frame_message,
    held_to_form,
    infer_message,
    submit_message,
)
from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary import Box, Task
from arno.vocabulary.spec import task_of


def specs(*tasks):
    return infer_message(b"x", tasks, lane=None, idempotency_key="").tasks


@pytest.mark.parametrize("name", ["OD", "od", Task.OD, "<OD>", " od "])
def test_task_is_known_by_its_name_in_any_case(name):
    assert task_of(name) is Task.OD


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(InvalidFieldError, match="did you mean CAPTION"):
        task_of("CAPTOIN")


def test_no_task_at_all_is_refused():
    with pytest.raises(InvalidFieldError, match="tasks: name at least one task"):
        specs()


def test_task_request_carries_all_it_says():
    (spec,) = specs(
        TaskRequest(
            "REGION_TO_OCR",
            region=(1, 2.5, 3, 4),
            id="words",
            input_from="boxes",
            fan_out_max=3,
            num_beams=1,
            max_new_tokens=9,
            constrained=True,
            min_score=0.25,
        )
    )
    assert spec.min_score == 0.25
    assert spec.task == types_pb2.TASK_REGION_TO_OCR
    assert (spec.id, spec.input_from, spec.fan_out_max) == ("words", "boxes", 3)
    assert spec.region == types_pb2.Box(x0=1, y0=2.5, x1=3, y1=4)
    assert (spec.options.num_beams, spec.options.max_new_tokens) == (1, 9)
    assert spec.options.constrained


def test_box_is_taken_as_region():
    (spec,) = specs(TaskRequest(Task.REGION_TO_OCR, region=Box(0, 0, 1, 1)))
    assert spec.region.x1 == 1


def test_region_that_is_not_four_numbers_is_refused():
    with pytest.raises(InvalidFieldError, match="region: a region is four numbers"):
        specs(TaskRequest("REGION_TO_OCR", region=(1, 2, 3)))


def test_file_that_no_message_can_hold_is_refused_unread(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(LimitExceededError, match="allowed: 2143289344 bytes; sent: 2147483648"):
        infer_message(path, ["OD"], lane=None, idempotency_key="")


def test_lane_is_sent_by_name_and_a_wrong_one_refused():
    message = infer_message(b"x", ["OD"], lane="batch", idempotency_key="k")
    assert message.lane == types_pb2.LANE_BATCH
    with pytest.raises(InvalidFieldError, match="lane: unknown name; allowed: interactive"):
        infer_message(b"x", ["OD"], lane="fast", idempotency_key="")


def test_stream_settings_left_out_stay_absent():
    config = config_message(["OD"], StreamOptions()).config
    assert config.policy == vision_pb2.STREAM_POLICY_UNSPECIFIED
    assert not config.HasField("every")
    assert not config.HasField("frame_timeout_ms")


def test_stream_settings_are_sent():
    options = StreamOptions(
        policy="every", every=3, in_flight_max=2, frame_timeout_s=1.5, unordered=True
    )
    config = config_message(["OD"], options).config
    assert config.unordered
    assert config.policy == vision_pb2.STREAM_POLICY_EVERY
    assert (config.every, config.in_flight_max, config.frame_timeout_ms) == (3, 2, 1500)


def test_frame_without_number_takes_the_next_one():
    assert frame_message(b"x", next_sequence=7).frame.sequence == 7
    assert frame_message(Frame(b"x", 9, 40), next_sequence=7).frame.sequence == 9


def test_frame_is_sent_with_its_image_time_and_key():
    frame = frame_message(Frame(b"x", 9, 40, idempotency_key="k"), next_sequence=7).frame
    assert (frame.image.content, frame.timestamp_ms, frame.idempotency_key) == (b"x", 40, "k")


def test_a_call_that_is_constrained_constrains_every_task_and_no_other_call_does():
    tasks = ("OD", TaskRequest("CAPTION", num_beams=2))
    assert [spec.options.constrained for spec in specs(*tasks)] == [False, False]
    held = specs(*held_to_form(tasks))
    assert [spec.options.constrained for spec in held] == [True, True]
    assert held[1].options.num_beams == 2


def test_classes_that_are_one_text_are_refused():
    with pytest.raises(InvalidFieldError, match="classes: must be a list of names"):
        specs(TaskRequest("OPEN_VOCABULARY_DETECTION", classes="car"))


NO_UTF_8 = "\udcff"  # what Python makes of the byte FF in a command line


@pytest.mark.parametrize(
    "sent", [{"text": NO_UTF_8}, {"max_new_tokens": 1 << 40}, {"num_beams": 1 << 40}]
)
def test_task_that_no_message_holds_is_named(sent):
    with pytest.raises(InvalidFieldError, match=r"^tasks\[1\]: "):
        specs("OD", TaskRequest("PROMPT", **sent))


@pytest.mark.parametrize("time_to_live_s", [1e300, math.inf, math.nan])
def test_time_to_live_that_no_message_holds_is_named(time_to_live_s):
    with pytest.raises(InvalidFieldError, match=r"^time_to_live_s: "):
        submit_message(b"x", ["OD"], lane=None, idempotency_key="", time_to_live_s=time_to_live_s)


@pytest.mark.parametrize("option", ["every", "in_flight_max", "frame_timeout_s"])
def test_option_of_a_stream_that_no_message_holds_is_named(option):
    with pytest.raises(InvalidFieldError, match=f"^{option}: "):
        config_message(["OD"], StreamOptions(**{option: 1 << 40}))


def test_number_of_a_frame_that_no_message_holds_is_named():
    with pytest.raises(InvalidFieldError, match=r"^frame: "):
        frame_message(Frame(b"x", sequence=1 << 70), next_sequence=0)


def test_idempotency_key_that_is_no_utf_8_is_named():
    with pytest.raises(InvalidFieldError, match=r"^idempotency_key: holds no UTF-8"):
        infer_message(b"x", ["OD"], lane=None, idempotency_key=NO_UTF_8)


def test_id_of_a_job_that_is_no_utf_8_is_named():
    with pytest.raises(InvalidFieldError, match=r"^job_id: "):
        checked_id(NO_UTF_8)


def test_tasks_in_a_list_are_refused_with_how_to_give_them():
    with pytest.raises(InvalidFieldError, match=r"argument of its own.*TaskRequest; sent: list"):
        infer_message(b"x", [["OD", "OCR"]], lane=None, idempotency_key="")
