"""Was every promise kept? What the checker found in the history, with figures of the run."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import redis
from chaos.checker import RULES, Violation, check
from chaos.history import History, accepts, terminal
from chaos.schedule import Disruption, Nemesis, Part

_JUST_BEFORE_S = 0.5


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What Redis counted over all jobs that it holds.

    Attributes:
        dropped: Ends that came second and were dropped.
        repeated: Attempts beyond each job's first.
    """

    dropped: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Outage:
    """The longest silence after one disruption, in seconds.

    Attributes:
        disruption: What came before it.
        accepting_s: Longest time between two acceptances.
        answering_s: Longest time between two first answers.
    """

    disruption: Disruption
    accepting_s: float
    answering_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a run.

    Attributes:
        done: What was done, how often.
        accepted: Jobs of which a gateway said that they were accepted.
        waited: Requests whose caller waited.
        violations: Broken promises.
        refusals: Calls that failed, by their code; each was tried again.
        store: What the store counted.
        outages: What was felt of each disruption.
    """

    done: Mapping[tuple[Part, Nemesis], int]
    accepted: int
    waited: int
    violations: Sequence[Violation]
    refusals: Mapping[str, int]
    store: StoreCounts
    outages: Sequence[Outage]

    @property
    def kill_count(self) -> int:
        """SIGKILLs sent."""
        return sum(n for (_, nemesis), n in self.done.items() if nemesis is Nemesis.KILL)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept, by a run that asked for something."""
        return not self.violations and self.accepted > 0

    def broken(self, rule: str) -> list[Violation]:
        """Return the violations of one kind, such as ``lost``."""
        return [violation for violation in self.violations if violation.rule == rule]

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        done = ", ".join(
            f"{part} {nemesis} {n}" for (part, nemesis), n in sorted(self.done.items())
        )
        yield f"disruptions         {self.kill_count} kills ({done})"
        yield f"accepted jobs       {self.accepted}"
        yield f"waiting calls       {self.waited}"
        for name, label in _LABELS.items():
            found = self.broken(name)
            yield f"{label:<19} {len(found)} {_some([one.text for one in found])}"
        yield f"duplicates dropped  {self.store.dropped} (attempts repeated: {self.store.repeated})"
        yield f"refusals, retried   {dict(self.refusals)}"
        for part in Part:
            outages = [one for one in self.outages if one.disruption.part is part]
            if outages:
                accepting_s = max(one.accepting_s for one in outages)
                answering_s = max(one.answering_s for one in outages)
                silence = f"{accepting_s:.1f} s, unanswered {answering_s:.1f} s"
                yield f"felt, {part:<8}      longest unaccepted {silence}"
        yield f"rules checked       {len(RULES)}"
        yield f"verdict             {'kept' if self.kept else 'BROKEN'}"


_LABELS = {
    "lost": "lost",
    "unanswered": "calls unanswered",
    "false": "false",
    "early": "expired early",
    "twice": "visible duplicates",
    "changed": "ends that changed",
    "backwards": "states backwards",
    "open watch": "watches cut short",
    "undeleted": "deleted and seen",
    "strange": "strange refusals",
    "leak": "quotas leaked",
}


def judge(
    history: History,
    disruptions: Sequence[Disruption],
    *,
    done: Mapping[tuple[Part, Nemesis], int],
    store: StoreCounts,
    began_s: float,
) -> Verdict:
    """Check a history and add the figures of its run.

    Args:
        history: Of the run.
        disruptions: Those that were made.
        done: How many of each.
        store: What Redis counted.
        began_s: When the schedule began, on the history's clock.
    """
    operations = history.operations
    refusals = Counter(operation.code for operation in operations if operation.code)
    return Verdict(
        done=done,
        accepted=len({operation.request for operation in operations if accepts(operation)}),
        waited=sum(not request.durable for request in history.requests.values()),
        violations=check(history),
        refusals=refusals,
        store=store,
        outages=_outages(history, disruptions, began_s),
    )


def count_in_store(url: str) -> StoreCounts:
    """Read what the store counted over all jobs."""
    dropped = repeated = 0
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("arno:job:*", count=1000):
            counts = client.hmget(key, "duplicate_count", "attempt_count")
            dropped += int(counts[0] or 0)
            repeated += max(0, int(counts[1] or 0) - 1)
    return StoreCounts(dropped, repeated)


def _outages(history: History, disruptions: Sequence[Disruption], began_s: float) -> list[Outage]:
    accepted_at_s = sorted(one.ended_s for one in history.operations if accepts(one))
    answered_at_s = sorted(_first_answers(history).values())
    times = [*(disruption.at_s for disruption in disruptions), float("inf")]
    outages = []
    for disruption in disruptions:
        # A silence belongs to the disruption before it.
        until_s = next(at_s for at_s in times if at_s > disruption.at_s)
        window = (began_s + disruption.at_s, began_s + until_s)
        accepting_s = _longest_gap(accepted_at_s, window)
        outages.append(Outage(disruption, accepting_s, _longest_gap(answered_at_s, window)))
    return outages


def _first_answers(history: History) -> Mapping[int, float]:
    first: dict[int, float] = {}
    for operation in history.operations:
        for reading in terminal(operation):
            first[operation.request] = min(reading.at_s, first.get(operation.request, float("inf")))
    return first


def _longest_gap(at_s: Sequence[float], window: tuple[float, float]) -> float:
    """Return the longest time between neighbours, of which the first is in the window.

    What came just before a disruption begins the silence after it.
    """
    first, last = bisect_left(at_s, window[0] - _JUST_BEFORE_S), bisect_right(at_s, window[1])
    seen = at_s[first : last + 1]
    return max((later - sooner for sooner, later in pairwise(seen)), default=0.0)


def _some(things: Sequence[object]) -> str:
    return "" if not things else f"({'; '.join(map(str, things[:3]))})"
