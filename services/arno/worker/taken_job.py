"""Hold what all threads of a worker know about a job in hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Span, format_trace_id

from arno.api.v1 import types_pb2
from arno.bus.v1.records_pb2 import JobRecord
from arno.results.jobs import Attempt
from arno.vocabulary import Lane

if TYPE_CHECKING:
    from arno.engine.interface import PreparedImage

_LANES: Final = {
    types_pb2.LANE_INTERACTIVE: Lane.INTERACTIVE,
    types_pb2.LANE_STREAM: Lane.STREAM,
}

_SERIALS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job that was begun and has not ended.

    Attributes:
        record: The job.
        channel: Where it was taken from.
        attempt: The right to work on it.
        done: Declares its delivery finished; called after its outcome is stored.
        queue_s: From the gateway's acceptance to this worker's taking it.
        deadline_s: On the engine's monotonic clock.
        span: Its part of the trace; ended with the job.
        serial: Counts the jobs that this process has taken.
    """

    record: JobRecord
    channel: str
    attempt: Attempt
    done: Callable[[], None]
    queue_s: float
    deadline_s: float
    span: Span
    serial: int = field(default_factory=_SERIALS.__next__)

    @property
    def key(self) -> str:
        """Unique in this process: a job that was delivered twice is in hand twice.

        By the number of its attempt it would not be: in a store that lost its memory they repeat.
        """
        return f"{self.record.id}#{self.serial}"

    @property
    def lane(self) -> str:
        """Its priority class; a lane that is newer than this worker counts as the lowest."""
        return _LANES.get(self.record.lane, Lane.BATCH).value

    @property
    def log_fields(self) -> dict[str, object]:
        """What every log line about this job carries."""
        trace_id = format_trace_id(self.span.get_span_context().trace_id)
        return {"job_id": self.record.id, "attempt": self.attempt.number, "trace_id": trace_id}


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job whose image is ready for the engine."""

    job: TakenJob
    image: PreparedImage
