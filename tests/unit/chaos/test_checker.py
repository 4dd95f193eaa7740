"""The checker finds each kind of broken promise: one that finds none would let every run pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.checker import RULES, check
from chaos.history import History, Operation, Outcome, Request, Verb


class Scenario:
    """Writes a history on a clock of its own: every event comes one second after the last."""

    def __init__(self, path: Path | None = None) -> None:
        self.at_s = 0.0
        self.history = History(path)
        self.history.now_s = self._tick  # type: ignore[method-assign]
        self.numbers = iter(range(1000))

    def _tick(self) -> float:
        self.at_s += 1.0
        return self.at_s

    def request(self, *, durable: bool = True, life_s: float = 3600.0) -> int:
        number = next(self.numbers)
        self.history.request(number, Request(f"key-{number}", durable, life_s))
        return number

    def call(
        self, number: int, verb: Verb, *states: str, job_id: str = "job-0", **end: str
    ) -> Operation:
        operation = self.history.invoke(number, verb, job_id)
        self.show(operation, *states)
        code = end.get("code", "")
        self.history.end(operation, Outcome.INFO if code else Outcome.OK, code=code)
        return operation

    def show(self, operation: Operation, *states: str) -> None:
        for state in states:
            name, _, digest = state.partition(" ")
            ended = name in {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}
            self.history.read(operation, name, digest=digest or ("a" if ended else ""))


@pytest.fixture
def scenario() -> Scenario:
    """A job that was submitted twice, watched, read, cancelled too late and deleted, and a call."""
    made = Scenario()
    number = made.request()
    made.call(number, Verb.SUBMIT)
    made.call(number, Verb.SUBMIT, code="UNAVAILABLE")
    made.call(number, Verb.SUBMIT)
    made.call(number, Verb.WATCH, "QUEUED", "ENCODING", "DECODING", "SUCCEEDED")
    made.call(number, Verb.CANCEL, "SUCCEEDED")
    made.call(number, Verb.GET, "SUCCEEDED")
    made.call(number, Verb.DELETE)
    made.call(number, Verb.GET, code="NOT_FOUND")
    waiting = made.request(durable=False)
    made.call(waiting, Verb.INFER, "SUCCEEDED", job_id="")
    return made


def test_promises_kept_are_no_violation(scenario: Scenario) -> None:
    assert check(scenario.history) == []


def _job(scenario: Scenario, **facts: float) -> int:
    number = scenario.request(**facts)
    scenario.call(number, Verb.SUBMIT, job_id="job-1")
    return number


def _ended(scenario: Scenario, *states: str, verb: Verb = Verb.GET) -> None:
    scenario.call(_job(scenario), verb, *states, job_id="job-1")


def _given_up_early(scenario: Scenario) -> None:
    operation = scenario.history.invoke(_job(scenario), Verb.GET, "job-1", timeout_s=60.0)
    scenario.show(operation, "SUCCEEDED")
    scenario.history.end(operation, Outcome.INFO, code="DEADLINE_EXCEEDED")


def _twice(scenario: Scenario) -> None:
    number = _job(scenario)
    scenario.call(number, Verb.SUBMIT, job_id="job-2")
    scenario.call(number, Verb.GET, "SUCCEEDED", job_id="job-2")


def _read_twice(scenario: Scenario, first: str, second: str) -> None:
    number = _job(scenario)
    scenario.call(number, Verb.GET, first, job_id="job-1")
    scenario.call(number, Verb.GET, second, job_id="job-1")
    scenario.call(number, Verb.GET, "SUCCEEDED", job_id="job-1")


def _undeleted(scenario: Scenario) -> None:
    number = _job(scenario)
    for verb in (Verb.GET, Verb.DELETE, Verb.GET):
        scenario.call(number, verb, *(["SUCCEEDED"] if verb is Verb.GET else []), job_id="job-1")


def _wrong(scenario: Scenario) -> None:
    operation = scenario.history.invoke(_job(scenario), Verb.GET, "job-1")
    scenario.history.read(operation, "SUCCEEDED", digest="a", wrong="another text")
    scenario.history.end(operation, Outcome.OK)


def _image_lost(scenario: Scenario, number: int) -> None:
    operation = scenario.history.invoke(number, Verb.GET, "job-1")
    scenario.history.read(operation, "FAILED", digest="a", wrong="no image", reason="IMAGE_LOST")
    scenario.history.end(operation, Outcome.OK)


def _call_without_image(scenario: Scenario, number: int) -> None:
    operation = scenario.history.invoke(number, Verb.INFER)
    scenario.history.end(operation, Outcome.INFO, code="UNAVAILABLE", reason="IMAGE_LOST")
    scenario.call(number, Verb.INFER, "SUCCEEDED", job_id="")


def _cut_watch(scenario: Scenario) -> None:
    number = _job(scenario)
    scenario.call(number, Verb.WATCH, "QUEUED", job_id="job-1")
    scenario.call(number, Verb.GET, "SUCCEEDED", job_id="job-1")


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        (_job, "lost"),
        (lambda scenario: scenario.request(durable=False), "unanswered"),
        (_wrong, "false"),
        (lambda scenario: _ended(scenario, "CANCELLED"), "false"),
        (lambda scenario: _ended(scenario, "EXPIRED"), "early"),
        (_given_up_early, "early"),
        (lambda scenario: _image_lost(scenario, _job(scenario)), "false"),
        (lambda s: _call_without_image(s, s.request(durable=False)), "strange"),
        (_twice, "twice"),
        (lambda scenario: _read_twice(scenario, "SUCCEEDED b", "SUCCEEDED b"), "changed"),
        (lambda scenario: _read_twice(scenario, "DECODING", "QUEUED"), "backwards"),
        (lambda s: _ended(s, "DECODING", "QUEUED", "SUCCEEDED", verb=Verb.WATCH), "backwards"),
        (_cut_watch, "open watch"),
        (_undeleted, "undeleted"),
        (lambda s: s.call(_job(s), Verb.WATCH, "SUCCEEDED", code="INTERNAL"), "strange"),
        (lambda s: s.call(_job(s), Verb.WATCH, "SUCCEEDED", code="NOT_FOUND"), "strange"),
        (lambda scenario: scenario.history.leaked("1 job in flight"), "leak"),
    ],
    ids=[
        "an accepted job without an end",
        "a waiting call without an answer",
        "a false answer",
        "cancelled and nobody asked",
        "expired within its life",
        "a call given up before its deadline",
        "a job whose image was lost by a store that kept everything",
        "a call whose image was lost by a store that kept everything",
        "two jobs for one key",
        "an end that changed",
        "an earlier state read later",
        "an earlier state later in a watch",
        "a watch that ends well before the job",
        "a deleted job that is seen",
        "an internal error",
        "a job not found that nobody deleted",
        "a job counted in flight for ever",
    ],
)
def test_planted_bug_is_found(
    scenario: Scenario, plant: Callable[[Scenario], object], rule: str
) -> None:
    plant(scenario)
    assert {violation.rule for violation in check(scenario.history)} == {rule}


def test_every_rule_has_a_planted_bug() -> None:
    assert len(RULES) == 9, "a new rule: plant a bug that it finds"


def test_reads_that_overlap_may_come_in_either_order(scenario: Scenario) -> None:
    number = _job(scenario)
    slow = scenario.history.invoke(number, Verb.GET, "job-1")
    scenario.call(number, Verb.GET, "SUCCEEDED", job_id="job-1")
    scenario.show(slow, "QUEUED")
    scenario.history.end(slow, Outcome.OK)
    assert check(scenario.history) == []


def test_store_that_lost_its_memory_may_have_lost_jobs_and_keys_but_tells_nothing_false(
    scenario: Scenario,
) -> None:
    number = _job(scenario)
    scenario.history.store_lost()
    scenario.call(number, Verb.GET, code="NOT_FOUND", job_id="job-1")
    scenario.call(number, Verb.SUBMIT, job_id="job-2")
    assert check(scenario.history) == []
    scenario.call(number, Verb.GET, "CANCELLED", job_id="job-2")
    assert [violation.rule for violation in check(scenario.history)] == ["false"]


def test_image_may_be_lost_by_a_store_that_was_emptied_since(scenario: Scenario) -> None:
    durable, waiting = _job(scenario), scenario.request(durable=False)
    scenario.call(waiting, Verb.INFER, code="UNAVAILABLE", job_id="")
    scenario.history.store_lost()
    _image_lost(scenario, durable)
    _call_without_image(scenario, waiting)
    assert check(scenario.history) == []
    later = scenario.request()
    scenario.call(later, Verb.SUBMIT, job_id="job-3")
    _image_lost(scenario, later)
    assert [violation.rule for violation in check(scenario.history)] == ["false"]


@pytest.mark.parametrize(("life_s", "rules"), [(3.0, []), (60.0, ["early"])])
def test_call_that_comes_again_with_its_key_has_the_rest_of_the_first_calls_time(
    scenario: Scenario, life_s: float, rules: list[str]
) -> None:
    number = scenario.request(durable=False, life_s=life_s)
    scenario.call(number, Verb.INFER, code="UNAVAILABLE", job_id="")
    again = scenario.history.invoke(number, Verb.INFER, timeout_s=life_s)
    scenario.history.end(again, Outcome.INFO, code="DEADLINE_EXCEEDED")
    scenario.call(number, Verb.INFER, "SUCCEEDED", job_id="")
    assert [violation.rule for violation in check(scenario.history)] == rules


def test_job_accepted_after_the_loss_must_end(scenario: Scenario) -> None:
    scenario.history.store_lost()
    _job(scenario)
    assert [violation.rule for violation in check(scenario.history)] == ["lost"]


def test_saved_history_is_judged_as_the_one_in_memory(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "history.jsonl")
    _twice(scenario)
    scenario.history.store_lost()
    _job(scenario)
    scenario.history.leaked("a job")
    scenario.history.close()
    loaded = History.load(tmp_path / "history.jsonl")
    assert loaded.operations == scenario.history.operations
    assert check(loaded) == check(scenario.history) != []
