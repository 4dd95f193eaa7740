"""Was every promise kept? From the ledger, and from what the store counted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import redis
from chaos.ledger import Ledger
from chaos.schedule import Blow, Kind, Strike

# What a client of a broken installation may be told; anything else is a false answer too.
HONEST_REFUSALS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})

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
class Felt:
    """The longest silences after blows on one kind of part, in seconds."""

    accepting_s: float
    answering_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a run.

    Attributes:
        blows: What was done, how often.
        accepted: Jobs of which the gateway said that they were accepted.
        waited: Calls that waited for their answer.
        lost: Accepted jobs without an end.
        unanswered: Waiting calls without an answer, although they kept asking.
        false: Answers that were not the true one.
        twice: Questions with two job ids, or with an end that changed.
        refusals: What calls that failed were told; each was tried again.
        store: What the store counted.
        felt: The longest silences, by kind.
    """

    blows: Mapping[tuple[Kind, Blow], int]
    accepted: int
    waited: int
    lost: Sequence[int]
    unanswered: Sequence[int]
    false: Sequence[str]
    twice: Sequence[int]
    refusals: Mapping[str, int]
    store: StoreCounts
    felt: Mapping[Kind, Felt]

    @property
    def kill_count(self) -> int:
        """SIGKILLs sent."""
        return sum(count for (_, blow), count in self.blows.items() if blow is Blow.KILL)

    @property
    def strange(self) -> Mapping[str, int]:
        """What callers were told that no outage explains."""
        return {code: n for code, n in self.refusals.items() if code not in HONEST_REFUSALS}

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.unanswered, self.false, self.twice, self.strange)
        return not any(broken) and self.accepted > 0

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        struck = ", ".join(f"{kind} {blow} {n}" for (kind, blow), n in sorted(self.blows.items()))
        yield f"blows               {self.kill_count} kills ({struck})"
        yield f"accepted jobs       {self.accepted}"
        yield f"waiting calls       {self.waited}"
        yield f"lost                {len(self.lost)} {_some(self.lost)}"
        yield f"calls unanswered    {len(self.unanswered)} {_some(self.unanswered)}"
        yield f"false               {len(self.false)} {_some(self.false)}"
        yield f"visible duplicates  {len(self.twice)} {_some(self.twice)}"
        yield f"duplicates dropped  {self.store.dropped} (attempts repeated: {self.store.repeated})"
        yield f"refusals, retried   {dict(self.refusals)}"
        for kind, felt in self.felt.items():
            silence = f"{felt.accepting_s:.1f} s, unanswered {felt.answering_s:.1f} s"
            yield f"felt, {kind:<8}      longest unaccepted {silence}"
        yield f"verdict             {'kept' if self.kept else 'BROKEN'}"


def judge(
    ledger: Ledger,
    strikes: Sequence[Strike],
    *,
    blows: Mapping[tuple[Kind, Blow], int],
    store: StoreCounts,
    began_s: float,
) -> Verdict:
    """Compare what was said with what was found.

    Args:
        ledger: Of the run.
        strikes: Those that were made.
        blows: How many of each.
        store: What Redis counted.
        began_s: When the schedule began, on the ledger's clock.
    """
    entries = ledger.entries.items()
    return Verdict(
        blows=blows,
        accepted=sum(bool(entry.job_ids) for _, entry in entries),
        waited=sum(not entry.durable for _, entry in entries),
        lost=[n for n, entry in entries if entry.job_ids and not entry.answers],
        unanswered=[n for n, entry in entries if not entry.durable and not entry.answers],
        false=[fault for _, entry in entries for fault in entry.faults],
        twice=[n for n, e in entries if len(e.job_ids) > 1 or len(e.answers) > 1],
        refusals=dict(ledger.refusals),
        store=store,
        felt=_felt(ledger, strikes, began_s),
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


def _felt(ledger: Ledger, strikes: Sequence[Strike], began_s: float) -> dict[Kind, Felt]:
    felt: dict[Kind, Felt] = {}
    times = [*(strike.at_s for strike in strikes), float("inf")]
    for strike in strikes:
        # A silence belongs to the blow before it.
        until_s = next(at_s for at_s in times if at_s > strike.at_s)
        window = (began_s + strike.at_s, began_s + until_s)
        old = felt.get(strike.kind, Felt(0.0, 0.0))
        felt[strike.kind] = Felt(
            max(old.accepting_s, _longest_gap(ledger.accepted_at_s, window)),
            max(old.answering_s, _longest_gap(ledger.answered_at_s, window)),
        )
    return felt


def _longest_gap(at_s: Sequence[float], window: tuple[float, float]) -> float:
    """Return the longest time between neighbours, of which the first is in the window.

    What was said just before a blow begins the silence after it.
    """
    first, last = bisect_left(at_s, window[0] - _JUST_BEFORE_S), bisect_right(at_s, window[1])
    seen = at_s[first : last + 1]
    return max((later - sooner for sooner, later in pairwise(seen)), default=0.0)


def _some(things: Sequence[object]) -> str:
    return "" if not things else f"({'; '.join(map(str, things[:3]))})"
