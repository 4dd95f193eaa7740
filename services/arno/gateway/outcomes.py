"""Turn what the store holds of a job into messages of the API.

One rule decides how a call ends: a job that succeeded is answered as it is; of one that did not,
what has been answered is handed out and each other task carries the job's error; where nothing has
been answered, that error is the status of the call.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import DeadlineExceededError
from arno.gateway.status import JobFailedError
from arno.results.jobs import JobSnapshot
from arno.vocabulary import JobState, TaskSpec
from arno.vocabulary.wire import state_to_wire, task_to_wire
from arno.vocabulary.wire_results import error_to_wire


def job_to_wire(snapshot: JobSnapshot) -> job_pb2.Job:
    """Return a job as clients see it."""
    job = job_pb2.Job(
        id=snapshot.job_id,
        state=state_to_wire(snapshot.state),
        submit_time=_timestamp(snapshot.submitted_at_ms),
        expire_time=_timestamp(snapshot.deadline_at_ms),
        response=results_so_far(snapshot),
        attempt_count=snapshot.attempt_count,
        decoded_token_count=snapshot.decoded_token_count,
    )
    if snapshot.outcome is not None:
        job.end_time.CopyFrom(_timestamp(snapshot.outcome.ended_at_ms))
        if snapshot.outcome.HasField("error"):
            job.error.CopyFrom(snapshot.outcome.error)
    return job


def results_so_far(snapshot: JobSnapshot) -> vision_pb2.InferResponse:
    """Return what tasks have ended; all of them where the job succeeded."""
    response = vision_pb2.InferResponse()
    if snapshot.outcome is not None and snapshot.outcome.HasField("response"):
        response.CopyFrom(snapshot.outcome.response)
    else:
        response.results.extend(map(types_pb2.TaskResult.FromString, snapshot.task_results))
    response.job_id = snapshot.job_id
    return response


def final_response(
    snapshot: JobSnapshot, tasks: Sequence[TaskSpec], image: types_pb2.ImageDescription
) -> vision_pb2.InferResponse:
    """Return the answer of a call whose job has ended, or whose time is over.

    Args:
        snapshot: The job.
        tasks: What was asked, ids filled in.
        image: What the gateway read from the image's header.

    Raises:
        JobFailedError: No task was answered.
    """
    response = results_so_far(snapshot)
    response.image.CopyFrom(image)
    if snapshot.state is JobState.SUCCEEDED:
        return response
    error = _job_error(snapshot)
    if not any(result.HasField("answer") for result in response.results):
        raise JobFailedError(error)
    found = list(response.results)
    del response.results[:]
    for spec in tasks:
        own = [result for result in found if result.id.partition(".")[0] == spec.id]
        response.results.extend(own or [_unanswered(spec, error)])
    return response


def _job_error(snapshot: JobSnapshot) -> types_pb2.Error:
    if snapshot.outcome is not None and snapshot.outcome.HasField("error"):
        return snapshot.outcome.error
    late = DeadlineExceededError(
        f"job {snapshot.job_id} had not ended by the deadline of the call; its state: "
        f"{snapshot.state}",
        job_id=snapshot.job_id,
        state=snapshot.state,
    )
    return error_to_wire(late)


def _unanswered(spec: TaskSpec, error: types_pb2.Error) -> types_pb2.TaskResult:
    return types_pb2.TaskResult(id=spec.id, task=task_to_wire(spec.task), error=error)


def _timestamp(at_ms: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(at_ms)
    return stamp
