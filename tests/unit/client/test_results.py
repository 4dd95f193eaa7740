import json

import pytest
from arno.api.v1 import job_pb2, vision_pb2
from arno.client.export import error_line, frame_line, json_lines
from arno.errors import EngineError, InvalidImageError
from arno.vocabulary import Box, FinishReason, JobState, Task
from arno.vocabulary.wire_results import frame_result, infer_result, job_result
from google.protobuf.json_format import ParseDict
from support.answers import caption, detection, failure, region, response

ANSWER = response(
    detection(region("cat", 1, 2, 30, 40)), caption("a cat"), failure("ENGINE_FAILED", "broke")
)


def test_task_is_found_by_position_id_and_name():
    result = infer_result(ANSWER)
    assert result[0] is result["od"] is result["OD"] is result[Task.OD]
    with pytest.raises(KeyError, match=r"no task 'ocr_with_region'.*od \(OD\)"):
        result["ocr_with_region"]


def test_regions_and_scores_are_typed():
    (cat,) = infer_result(ANSWER)["OD"].regions
    assert (cat.label, cat.shape, cat.score) == ("cat", Box(1, 2, 30, 40), 0.9)


def test_regions_above_a_score_are_those_with_at_least_that_score():
    result = infer_result(
        response(detection(region("cat", 1, 2, 3, 4, score=0.5), region("dog", 1, 2, 3, 4)))
    )["OD"]
    assert [one.label for one in result.above(0.5)] == ["cat", "dog"]
    assert [one.label for one in result.above(0.51)] == ["dog"]
    assert result.above(0.95) == ()
    with pytest.raises(EngineError, match="broke"):
        infer_result(ANSWER)["OCR"].above(0.5)


def test_failed_task_does_not_hide_the_others():
    result = infer_result(ANSWER)
    assert not result.ok
    assert result["OD"].ok
    assert isinstance(result["OCR"].error, EngineError)
    with pytest.raises(EngineError, match="broke"):
        _ = result["OCR"].answer


def test_text_finish_reason_and_timings_are_typed():
    result = infer_result(ANSWER)
    assert result["CAPTION"].answer_text == "a cat"
    assert result["CAPTION"].answer.finish_reason is FinishReason.LENGTH
    assert result["OD"].timings.encode_s == pytest.approx(0.04)


def test_frame_is_answered_failed_or_dropped():
    message = vision_pb2.InferStreamResponse(sequence=4, timestamp_ms=80, response=ANSWER)
    assert frame_result(message).result["OD"].ok
    message = vision_pb2.InferStreamResponse(sequence=4)
    message.error.reason = "INVALID_IMAGE"
    with pytest.raises(InvalidImageError):
        _ = frame_result(message).result
    message = vision_pb2.InferStreamResponse(sequence=4, dropped=vision_pb2.DroppedFrame())
    assert frame_result(message).dropped
    with pytest.raises(LookupError, match="frame 4 was left out"):
        _ = frame_result(message).result


def test_job_says_how_it_stands():
    message = job_pb2.Job(id="j", state=job_pb2.JOB_STATE_DECODING, decoded_token_count=5)
    message.submit_time.FromJsonString("2030-01-02T03:04:05Z")
    job = job_result(message)
    assert job.state is JobState.DECODING
    assert not job.ended
    assert job.ended_at is None
    assert job.submitted_at.isoformat() == "2030-01-02T03:04:05+00:00"


def test_each_line_is_one_outcome_and_reads_back_as_the_api_message():
    lines = [json.loads(line) for line in json_lines("photo.jpg", infer_result(ANSWER))]
    assert [line.pop("file") for line in lines] == ["photo.jpg"] * 3
    for line, outcome in zip(lines, ANSWER.results, strict=True):
        assert ParseDict(line, vision_pb2.InferResponse()).results[0] == outcome


def test_image_without_answer_has_a_line_with_its_error():
    line = json.loads(error_line("x.png", InvalidImageError(field="image", problem="empty")))
    assert line["file"] == "x.png"
    assert line["error"]["reason"] == "INVALID_IMAGE"


def test_frame_line_has_number_time_and_outcome():
    message = vision_pb2.InferStreamResponse(sequence=4, timestamp_ms=80, response=ANSWER)
    line = json.loads(frame_line(frame_result(message)))
    assert (line["sequence"], line["timestamp_ms"], len(line["results"])) == (4, 80, 3)
    message = vision_pb2.InferStreamResponse(sequence=5, dropped=vision_pb2.DroppedFrame())
    assert json.loads(frame_line(frame_result(message)))["dropped"] is True
