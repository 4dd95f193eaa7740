"""Translate tasks and answers to and from the messages of the API.

With `wire_results`, the one place where the two meet. Enums are matched by name, so that a task is
added to both without a table here.
"""

from collections.abc import Iterable
from typing import Final

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import InvalidFieldError
from arno.vocabulary.answers import (
    Answer,
    AnswerValue,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    ScoredCandidate,
    SegmentationAnswer,
    TextAnswer,
)
from arno.vocabulary.decoded import FinishReason
from arno.vocabulary.job import JobState, Lane, StreamPolicy
from arno.vocabulary.regions import Box, Point, Polygon, QuadBox, Region, Shape
from arno.vocabulary.spec import Candidate, TaskSpec
from arno.vocabulary.task import Task


def task_to_wire(task: Task) -> "types_pb2.Task.ValueType":
    """Return the API's number of a task."""
    return types_pb2.Task.Value(f"TASK_{task}")


_TASKS: Final[dict[int, Task]] = {task_to_wire(task): task for task in Task}


def task_from_wire(number: int) -> Task:
    """Return the task of a number.

    Raises:
        InvalidFieldError: The number is unspecified, or newer than this server. Not retryable.
    """
    task = _TASKS.get(number)
    if task is None:
        problem = "not a task that this server knows"
        raise InvalidFieldError(
            field="task", problem=problem, limit=", ".join(Task), sent=str(number)
        )
    return task


def finish_reason_to_wire(reason: FinishReason) -> "types_pb2.FinishReason.ValueType":
    """Return the API's number of a finish reason."""
    return types_pb2.FinishReason.Value(f"FINISH_REASON_{reason}")


def finish_reason_from_wire(number: "types_pb2.FinishReason.ValueType") -> FinishReason:
    """Return the finish reason of a number.

    Raises:
        ValueError: The number is unspecified or unknown.
    """
    return FinishReason(types_pb2.FinishReason.Name(number).removeprefix("FINISH_REASON_"))


def lane_to_wire(lane: Lane) -> "types_pb2.Lane.ValueType":
    """Return the API's number of a lane."""
    return types_pb2.Lane.Value(f"LANE_{lane.name}")


def lane_from_wire(number: int, *, default: Lane, field: str = "lane") -> Lane:
    """Return the lane of a number, or the default where none is given.

    Raises:
        InvalidFieldError: No such lane. Not retryable.
    """
    if number == types_pb2.LANE_UNSPECIFIED:
        return default
    lane = _LANES.get(number)
    if lane is None:
        names = ", ".join(lane.name for lane in Lane)
        raise InvalidFieldError(field=field, problem="no such lane", limit=names, sent=str(number))
    return lane


def lane_of_record(number: int) -> Lane:
    """Return the lane of a record; what a newer gateway may have named counts as the lowest."""
    return _LANES.get(number, Lane.BATCH)


def policy_to_wire(policy: StreamPolicy) -> "vision_pb2.StreamPolicy.ValueType":
    """Return the API's number of a stream's policy."""
    return vision_pb2.StreamPolicy.Value(f"STREAM_POLICY_{policy}")


def policy_from_wire(number: int, *, field: str = "policy") -> StreamPolicy:
    """Return the policy of a number; ALL where none is given.

    Raises:
        InvalidFieldError: No such policy. Not retryable.
    """
    if number == vision_pb2.STREAM_POLICY_UNSPECIFIED:
        return StreamPolicy.ALL
    policy = _POLICIES.get(number)
    if policy is None:
        limit = ", ".join(StreamPolicy)
        raise InvalidFieldError(
            field=field, problem="no such policy", limit=limit, sent=str(number)
        )
    return policy


def state_to_wire(state: JobState) -> "job_pb2.JobState.ValueType":
    """Return the API's number of a job's state."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state}")


def state_from_wire(number: "job_pb2.JobState.ValueType") -> JobState:
    """Return the state of a number that a server wrote.

    Raises:
        ValueError: The number is unspecified or unknown.
    """
    return JobState(job_pb2.JobState.Name(number).removeprefix("JOB_STATE_"))


_LANES: Final[dict[int, Lane]] = {lane_to_wire(lane): lane for lane in Lane}
_POLICIES: Final[dict[int, StreamPolicy]] = {policy_to_wire(one): one for one in StreamPolicy}


def spec_to_wire(spec: TaskSpec) -> types_pb2.TaskSpec:
    """Return the message of a task spec."""
    message = types_pb2.TaskSpec(
        id=spec.id,
        task=task_to_wire(spec.task),
        text=spec.text,
        classes=spec.classes,
        region=None if spec.region is None else box_to_wire(spec.region),
        input_from=spec.input_from,
        fan_out_max=spec.fan_out_max,
        min_score=spec.min_score,
        candidates=map(_candidate_to_wire, spec.candidates),
    )
    if spec.num_beams is not None:
        message.options.num_beams = spec.num_beams
    if spec.max_new_tokens is not None:
        message.options.max_new_tokens = spec.max_new_tokens
    if spec.constrained:
        message.options.constrained = True
    return message


def spec_from_wire(message: types_pb2.TaskSpec) -> TaskSpec:
    """Return the task spec of a message; its inputs are for `check_inputs` to judge.

    Raises:
        InvalidFieldError: It names no task, or a candidate cannot be read. Not retryable.
    """
    options = message.options
    return TaskSpec(
        task=task_from_wire(message.task),
        id=message.id,
        text=message.text,
        classes=tuple(message.classes),
        region=box_from_wire(message.region) if message.HasField("region") else None,
        num_beams=options.num_beams if options.HasField("num_beams") else None,
        max_new_tokens=options.max_new_tokens if options.HasField("max_new_tokens") else None,
        constrained=options.constrained,
        input_from=message.input_from,
        fan_out_max=message.fan_out_max if message.HasField("fan_out_max") else None,
        min_score=message.min_score if message.HasField("min_score") else None,
        candidates=[
            _candidate_from_wire(one, f"candidates[{index}]")
            for index, one in enumerate(message.candidates)
        ],
    )


def _candidate_to_wire(candidate: Candidate) -> types_pb2.Candidate:
    if isinstance(candidate, str):
        return types_pb2.Candidate(text=candidate)
    return types_pb2.Candidate(regions=_to_wire(candidate))


def _candidate_from_wire(message: types_pb2.Candidate, field: str) -> Candidate:
    if not message.regions:
        return message.text
    if message.text:
        raise InvalidFieldError(field=field, problem="give text or regions, not both")
    try:
        return _from_wire(message.regions)
    except ValueError as fault:
        raise InvalidFieldError(field=f"{field}.regions", problem=str(fault)) from fault


def answer_to_wire(answer: Answer) -> types_pb2.Answer:
    """Return the message of an answer, without timings: they are the worker's to add."""
    message = types_pb2.Answer(
        score=answer.score or 0.0,
        finish_reason=finish_reason_to_wire(answer.finish_reason),
        raw_text=answer.raw_text,
        token_count=answer.token_count,
        left_out_count=answer.left_out_count,
        candidates=map(_scored_to_wire, answer.candidates),
    )
    match answer.value:
        case TextAnswer(text, regions):
            message.text.CopyFrom(types_pb2.TextAnswer(text=text, regions=_to_wire(regions)))
        case DetectionAnswer(regions):
            message.detection.CopyFrom(types_pb2.DetectionAnswer(regions=_to_wire(regions)))
        case GroundingAnswer(phrases):
            message.grounding.CopyFrom(
                types_pb2.GroundingAnswer(phrases=map(_phrase_to_wire, phrases))
            )
        case SegmentationAnswer(regions):
            message.segmentation.CopyFrom(types_pb2.SegmentationAnswer(regions=_to_wire(regions)))
        case OcrAnswer(regions):
            message.ocr.CopyFrom(types_pb2.OcrAnswer(regions=_to_wire(regions)))
    return message


def answer_from_wire(message: types_pb2.Answer) -> Answer:
    """Return the answer of a message.

    Raises:
        ValueError: It holds no answer, an unknown finish reason or a region without a shape.
    """
    return Answer(
        value=_value_from_wire(message),
        # The message cannot say "no score", and no generated sequence has the probability 0.
        score=message.score or None,
        finish_reason=finish_reason_from_wire(message.finish_reason),
        raw_text=message.raw_text,
        token_count=message.token_count,
        left_out_count=message.left_out_count,
        candidates=tuple(map(_scored_from_wire, message.candidates)),
    )


def _scored_to_wire(scored: ScoredCandidate) -> types_pb2.ScoredCandidate:
    return types_pb2.ScoredCandidate(
        answer=answer_to_wire(scored.answer),
        log_likelihood=scored.log_likelihood,
        posterior=scored.posterior,
        token_logprobs=scored.token_logprobs,
    )


def _scored_from_wire(message: types_pb2.ScoredCandidate) -> ScoredCandidate:
    return ScoredCandidate(
        answer_from_wire(message.answer),
        message.log_likelihood,
        message.posterior,
        tuple(message.token_logprobs),
    )


def _value_from_wire(message: types_pb2.Answer) -> AnswerValue:
    match message.WhichOneof("value"):
        case "text":
            return TextAnswer(message.text.text, _from_wire(message.text.regions))
        case "detection":
            return DetectionAnswer(_from_wire(message.detection.regions))
        case "grounding":
            return GroundingAnswer(tuple(map(_phrase_from_wire, message.grounding.phrases)))
        case "segmentation":
            return SegmentationAnswer(_from_wire(message.segmentation.regions))
        case "ocr":
            return OcrAnswer(_from_wire(message.ocr.regions))
        case _:
            raise ValueError("the message holds no answer")


def _phrase_to_wire(phrase: GroundedPhrase) -> types_pb2.GroundedPhrase:
    return types_pb2.GroundedPhrase(
        phrase=phrase.phrase, regions=_to_wire(phrase.regions), matched=phrase.matched
    )


def _phrase_from_wire(message: types_pb2.GroundedPhrase) -> GroundedPhrase:
    return GroundedPhrase(message.phrase, _from_wire(message.regions), message.matched)


def _to_wire(regions: Iterable[Region]) -> list[types_pb2.Region]:
    return [region_to_wire(region) for region in regions]


def _from_wire(messages: Iterable[types_pb2.Region]) -> tuple[Region, ...]:
    return tuple(region_from_wire(message) for message in messages)


def box_to_wire(box: Box) -> types_pb2.Box:
    """Return the message of a box."""
    return types_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)


def box_from_wire(message: types_pb2.Box) -> Box:
    """Return the box of a message, unchecked: `check_inputs` judges it."""
    return Box(message.x0, message.y0, message.x1, message.y1)


def region_to_wire(region: Region) -> types_pb2.Region:
    """Return the message of a region."""
    message = types_pb2.Region(
        label=region.label,
        bins=region.bins,
        label_score=region.label_score,
        location_score=region.location_score,
        score=region.score,
        official_location_score=region.official_location_score,
        label_logprob=region.label_logprob,
        location_logprob=region.location_logprob,
        calibrated=region.calibrated,
        existence=region.existence,
    )
    match region.shape:
        case Box() as box:
            message.box.CopyFrom(box_to_wire(box))
        case QuadBox(points):
            message.quad_box.points.extend(_points_to_wire(points))
        case polygons:
            message.polygons.polygons.extend(
                types_pb2.Polygon(points=_points_to_wire(polygon.points)) for polygon in polygons
            )
    return message


def region_from_wire(message: types_pb2.Region) -> Region:
    """Return the region of a message.

    Raises:
        ValueError: It has no shape, or a quad box without four corners.
    """
    return Region(
        label=message.label,
        shape=_shape_from_wire(message),
        bins=tuple(message.bins),
        calibrated=message.calibrated,
        **{name: _number(message, name) for name in _SCORES},
    )


_SCORES: Final = (
    "label_score",
    "location_score",
    "score",
    "official_location_score",
    "label_logprob",
    "location_logprob",
    "existence",
)


def _number(message: types_pb2.Region, name: str) -> float | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs list the names literally
        return None
    number: float = getattr(message, name)
    return number


def _shape_from_wire(message: types_pb2.Region) -> Shape:
    match message.WhichOneof("shape"):
        case "box":
            return box_from_wire(message.box)
        case "quad_box":
            first, second, third, fourth = _points_from_wire(message.quad_box.points)
            return QuadBox((first, second, third, fourth))
        case "polygons":
            return tuple(
                Polygon(_points_from_wire(polygon.points)) for polygon in message.polygons.polygons
            )
        case _:
            raise ValueError("a region needs a box, a quad box or polygons")


def _points_to_wire(points: Iterable[Point]) -> list[types_pb2.Point]:
    return [types_pb2.Point(x=point.x, y=point.y) for point in points]


def _points_from_wire(points: Iterable[types_pb2.Point]) -> tuple[Point, ...]:
    return tuple(Point(point.x, point.y) for point in points)
