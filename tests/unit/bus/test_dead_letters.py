from arno.bus.dead_letters import DeadLetter, newest_per_job
from arno.bus.v1.records_pb2 import DeadJob, JobRecord


def _letter(name: str, job_id: str, at_ms: int) -> DeadLetter:
    dead = DeadJob(job=JobRecord(id=job_id)) if job_id else DeadJob(unreadable_value=b"same bytes")
    return DeadLetter(name, dead, 1, at_ms)


def test_job_that_left_several_letters_is_there_once_by_its_newest():
    # Of different partitions, so in no order.
    letters = [_letter("0-1", "a", 3), _letter("1-7", "b", 2), _letter("2-0", "a", 1)]
    listed = newest_per_job([*letters, _letter("2-1", "a", 4)])
    assert [(one.id, one.copies) for one in listed] == [("1-7", ()), ("2-1", ("2-0", "0-1"))]
    assert listed[1].facts()["copies"] == ["2-0", "0-1"]


def test_letter_goes_by_its_job_and_by_every_one_of_its_copies():
    (listed,) = newest_per_job([_letter("0-1", "a", 1), _letter("0-2", "a", 2)])
    assert all(listed.named(name) for name in ("0-1", "0-2", "a"))
    assert not listed.named("0-3")


def test_records_that_cannot_be_read_are_each_a_letter_of_their_own():
    letters = [_letter("0-1", "", 1), _letter("0-2", "", 2)]
    assert newest_per_job(letters) == letters
    assert not letters[0].named("0-2")
