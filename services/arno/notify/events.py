"""The event of a job that has ended, as a CloudEvent with an `arno.api.v1.ResultEvent` in it.

Stands alone: what readers see, apart from how it reaches them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cloudevents.core.v1.event import CloudEvent

from arno.api.v1 import events_pb2
from arno.client.export import to_json
from arno.results.jobs import JobSnapshot
from arno.vocabulary.wire import state_to_wire

TYPE: Final = "arno.job.ended.v1"
JSON: Final = "application/json"
PROTOBUF: Final = "application/protobuf"


def result_event(job: JobSnapshot) -> events_pb2.ResultEvent:
    """Return the event of a job; its id is the job's, however often it is sent."""
    event = events_pb2.ResultEvent(id=job.job_id)
    origin = events_pb2.JobOrigin(id=job.job_id, state=state_to_wire(job.state), tenant=job.tenant)
    origin.submit_time.FromMilliseconds(job.submitted_at_ms)
    outcome = job.outcome
    if outcome is not None:
        origin.end_time.FromMilliseconds(outcome.ended_at_ms)
        event.time.CopyFrom(origin.end_time)
        if outcome.HasField("response"):
            event.response.CopyFrom(outcome.response)
        elif outcome.HasField("error"):
            event.error.CopyFrom(outcome.error)
    event.job.CopyFrom(origin)
    return event


def cloud_event(event: events_pb2.ResultEvent, *, source: str, content_type: str) -> CloudEvent:
    """Return the CloudEvent that carries the event, as JSON or as protobuf."""
    data = to_json(event) if content_type == JSON else event.SerializeToString()
    return CloudEvent(
        attributes={
            "id": event.id,
            "source": source,
            "type": TYPE,
            "subject": event.job.id,
            "time": event.time.ToDatetime(tzinfo=UTC)
            if event.HasField("time")
            else datetime.now(UTC),
            "datacontenttype": content_type,
        },
        data=data,
    )
