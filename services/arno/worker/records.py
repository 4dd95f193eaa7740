"""Read a job from a record of the bus, which may hold anything."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import InvalidRequestError

_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999: the last moment that the API's timestamps can name."""


class UnreadableRecordError(InvalidRequestError):
    """The record's value is no job that this worker can read."""

    reason = "UNREADABLE_RECORD"


def read_job(value: bytes) -> JobRecord:
    """Return the job of a record.

    Tasks are not looked at: one that is newer than this worker fails alone, when the job runs.

    Raises:
        UnreadableRecordError: It is not a job, or lacks what every job has. Not retryable.
    """
    try:
        record = JobRecord.FromString(value)
    except DecodeError as error:
        raise UnreadableRecordError("the record's value is not a JobRecord") from error
    # Foreign bytes may parse: what is unknown to the format is skipped.
    present = {
        "id": bool(record.id),
        "deadline_at_ms": record.deadline_at_ms > 0,
        "image": record.WhichOneof("image") is not None,
        "tasks": len(record.tasks) > 0,
    }
    missing = ", ".join(name for name, there in present.items() if not there)
    if missing:
        raise UnreadableRecordError(f"the record's value lacks {missing}", missing=missing)
    for name in ("submitted_at_ms", "deadline_at_ms"):
        at_ms = getattr(record, name)
        if not 0 <= at_ms <= _LAST_MS:
            # The store would refuse it for ever, and everything behind it would wait.
            raise UnreadableRecordError(f"the record's {name} is no time: {at_ms}", field=name)
    return record
