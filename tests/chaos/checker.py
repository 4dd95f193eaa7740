"""Judges a history: which promises of docs/delivery.md it breaks. Pure.

Each rule is a function from a history to violations. The rules use real time only where one
operation ended before another began; operations that overlap may take effect in either order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chaos.history import TERMINAL, History, Operation, Outcome, Reading, Verb, accepts, terminal

HONEST_REFUSALS: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
"""Codes that a client of a broken or full installation may get; it tries again."""

IMAGE_LOST: Final = "IMAGE_LOST"

CLOCK_MARGIN_S: Final = 1.0
"""How much earlier than promised a job may expire: clocks of one machine are read one by one."""

_RANK: Final = {"QUEUED": 0, "ENCODING": 1, "DECODING": 2} | dict.fromkeys(TERMINAL, 3)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise.

    Attributes:
        rule: The name of the rule.
        request: The request that shows it; -1 for the installation as a whole.
        text: What was seen.
    """

    rule: str
    request: int
    text: str


@dataclass(frozen=True, slots=True)
class _Sight:
    """A reading with the time between which it was true."""

    began_s: float
    reading: Reading
    operation: Operation


def check(history: History) -> list[Violation]:
    """Return every violation of every rule, by rule."""
    return [violation for rule in RULES.values() for violation in rule(history)]


def every_accepted_job_ends(history: History) -> Iterator[Violation]:
    """A job that was accepted has been seen to end, unless it was deleted or the store was lost."""
    for request, operations in history.by_request.items():
        accepted = [op for op in operations if accepts(op)]
        if not accepted or _may_be_forgotten(history, operations):
            continue
        if not any(reading for op in operations for reading in terminal(op)):
            yield Violation("lost", request, f"job {accepted[0].job_id} has no end")


def every_waiting_call_is_answered(history: History) -> Iterator[Violation]:
    """A caller that kept asking until the end of the run has got an answer."""
    for number, request in history.requests.items():
        operations = history.by_request.get(number, [])
        if request.durable or any(any(terminal(op)) for op in operations):
            continue
        yield Violation("unanswered", number, f"{len(operations)} calls without an answer")


def answers_are_true(history: History) -> Iterator[Violation]:
    """An answer is the true one; a job fails, is cancelled or expires only for a reason."""
    for number, operations in history.by_request.items():
        submitted_s = min(op.invoked_s for op in operations)
        stopped_s = min(
            (op.invoked_s for op in operations if op.verb in {Verb.CANCEL, Verb.DELETE}),
            default=float("inf"),
        )
        expires_s = submitted_s + history.requests[number].life_s - CLOCK_MARGIN_S
        for op in operations:
            if op.code == "DEADLINE_EXCEEDED" and op.ended_s < _patience_ends_s(op, expires_s):
                spent_s = op.ended_s - op.invoked_s
                text = f"{op.verb} was given up after {spent_s:.1f} s of {op.timeout_s:g} s"
                yield Violation("early", number, text)
            for reading in terminal(op):
                lost = reading.reason == IMAGE_LOST and history.emptied(submitted_s, reading.at_s)
                if reading.wrong and not lost:
                    yield Violation("false", number, reading.wrong)
                if reading.state == "CANCELLED" and reading.at_s < stopped_s:
                    yield Violation("false", number, "CANCELLED before anybody asked for it")
                if reading.state == "EXPIRED" and reading.at_s < expires_s:
                    early_s = expires_s - reading.at_s
                    yield Violation("early", number, f"EXPIRED {early_s:.1f} s too early")


def one_job_a_key(history: History) -> Iterator[Violation]:
    """All acceptances of one idempotency key name one job, as long as the store has its memory."""
    jobs: dict[tuple[int, int], set[str]] = defaultdict(set)
    for op in history.operations:
        if accepts(op) and history.era(op.invoked_s) == history.era(op.ended_s):
            jobs[op.request, history.era(op.ended_s)].add(op.job_id)
    for (request, _), ids in jobs.items():
        if len(ids) > 1:
            yield Violation("twice", request, f"one key, {len(ids)} jobs: {sorted(ids)}")


def states_are_monotone(history: History) -> Iterator[Violation]:
    """What is read later is never an earlier state; after the first end every reading equals it."""
    for sights in _sights(history).values():
        sights.sort(key=lambda sight: sight.reading.at_s)
        for index, later in enumerate(sights):
            for earlier in sights[:index]:
                if earlier.reading.at_s < later.began_s:
                    yield from _compared(earlier, later)


def watches_are_in_order(history: History) -> Iterator[Violation]:
    """A watch shows states in their order, and one that ends well has shown the end."""
    for op in history.operations:
        if op.verb is not Verb.WATCH:
            continue
        if any(history.era(reading.at_s) != history.era(op.invoked_s) for reading in op.readings):
            continue
        for earlier, later in pairwise(op.readings):
            if _RANK[later.state] < _RANK[earlier.state]:
                text = f"a watch showed {earlier.state}, then {later.state}"
                yield Violation("backwards", op.request, text)
        if op.outcome is Outcome.OK and not any(terminal(op)):
            last = op.readings[-1].state if op.readings else "nothing"
            yield Violation("open watch", op.request, f"a watch ended well after {last}")


def deleted_jobs_stay_deleted(history: History) -> Iterator[Violation]:
    """After a delete has succeeded, no later operation sees the job."""
    for number, operations in history.by_request.items():
        gone = [op for op in operations if op.verb is Verb.DELETE and op.outcome is Outcome.OK]
        for op in operations:
            earlier = [
                one
                for one in gone
                if one.job_id == op.job_id
                and one.ended_s < op.invoked_s
                and history.era(one.invoked_s) == history.era(op.ended_s)
            ]
            if earlier and op.verb in {Verb.GET, Verb.WATCH} and op.readings:
                state = op.readings[0].state
                yield Violation("undeleted", number, f"{op.job_id} is {state} after its deletion")


def refusals_are_honest(history: History) -> Iterator[Violation]:
    """A call fails only for reasons that an outage explains, or because its job was deleted.

    A lost image is explained only by a store that was emptied.
    """
    for number, operations in history.by_request.items():
        deletes_s = [op.invoked_s for op in operations if op.verb is Verb.DELETE]
        submitted_s = min(op.invoked_s for op in operations)
        for op in operations:
            if op.reason == IMAGE_LOST and not history.emptied(submitted_s, op.ended_s):
                yield Violation("strange", number, f"{op.verb}: an image was lost by no loss")
            if not op.code or op.code in HONEST_REFUSALS:
                continue
            deleted = any(at_s < op.ended_s for at_s in deletes_s)
            if op.code == "NOT_FOUND" and (deleted or _may_be_forgotten(history, operations)):
                continue
            yield Violation("strange", number, f"{op.verb} was answered {op.code}")


def quotas_are_conserved(history: History) -> Iterator[Violation]:
    """After the last call has ended, no gateway counts anything as in flight."""
    for leak in history.leaks:
        yield Violation("leak", -1, leak)


RULES: Final[Mapping[str, Callable[[History], Iterator[Violation]]]] = {
    rule.__name__: rule
    for rule in (
        every_accepted_job_ends,
        every_waiting_call_is_answered,
        answers_are_true,
        one_job_a_key,
        states_are_monotone,
        watches_are_in_order,
        deleted_jobs_stay_deleted,
        refusals_are_honest,
        quotas_are_conserved,
    )
}


def _patience_ends_s(op: Operation, expires_s: float) -> float:
    """Return from when on an operation may say that its time is over.

    A call that comes again with its key gets the rest of the first call's time.
    """
    own_s = op.invoked_s + op.timeout_s - CLOCK_MARGIN_S
    return min(own_s, expires_s) if op.verb is Verb.INFER else own_s


def _may_be_forgotten(history: History, operations: Sequence[Operation]) -> bool:
    """Return whether the job may rightly be gone: deleted, or older than a loss of the store."""
    if any(op.verb is Verb.DELETE for op in operations):
        return True
    first_s = min(op.invoked_s for op in operations)
    return any(first_s <= loss_s for loss_s in history.store_losses_s)


def _sights(history: History) -> Mapping[tuple[str, int], list[_Sight]]:
    """Group what was read by job and era; a reading that a loss may have split is left out."""
    sights: dict[tuple[str, int], list[_Sight]] = defaultdict(list)
    for op in history.operations:
        for reading in op.readings:
            era = history.era(reading.at_s)
            if op.job_id and history.era(op.invoked_s) == era:
                sights[op.job_id, era].append(_Sight(op.invoked_s, reading, op))
    return sights


def _compared(earlier: _Sight, later: _Sight) -> Iterator[Violation]:
    before, after = earlier.reading, later.reading
    request = later.operation.request
    if _RANK[after.state] < _RANK[before.state]:
        yield Violation("backwards", request, f"{before.state}, and later {after.state}")
    elif before.digest and after.digest and before.digest != after.digest:
        text = f"{before.state} {before.digest}, and later {after.state} {after.digest}"
        yield Violation("changed", request, text)
