import pytest
from arno.api.v1 import types_pb2
from arno.bus.v1.records_pb2 import JobRecord
from arno.worker.job import UnreadableRecordError, read_job

_WHOLE = JobRecord(
    id="j",
    deadline_at_ms=1,
    inline_image=b"x",
    tasks=[types_pb2.TaskSpec(id="0", task=types_pb2.TASK_OD)],
)


def test_whole_record_is_read() -> None:
    assert read_job(_WHOLE.SerializeToString()) == _WHOLE


def test_fields_of_a_newer_release_are_no_fault() -> None:
    newer = _WHOLE.SerializeToString() + b"\xa2\x06\x03new"
    assert read_job(newer).id == "j"


@pytest.mark.parametrize("field", ["id", "deadline_at_ms", "inline_image", "tasks"])
def test_record_that_lacks_what_every_job_has_is_refused_by_name(field: str) -> None:
    record = JobRecord()
    record.CopyFrom(_WHOLE)
    record.ClearField(field)  # type: ignore[arg-type]  # a name from the list above
    with pytest.raises(UnreadableRecordError, match="image" if "image" in field else field):
        read_job(record.SerializeToString())


@pytest.mark.parametrize("value", [b"", b"\xff\xff\xff", b'{"id": 1}'])
def test_foreign_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        read_job(value)


@pytest.mark.parametrize("field", ["submitted_at_ms", "deadline_at_ms"])
@pytest.mark.parametrize("at_ms", [-1, 253_402_300_800_000, 2**63 - 1])
def test_moment_outside_the_calendar_is_refused_by_name(field: str, at_ms: int) -> None:
    record = JobRecord()
    record.CopyFrom(_WHOLE)
    setattr(record, field, at_ms)
    with pytest.raises(UnreadableRecordError, match=field):
        read_job(record.SerializeToString())
