"""What the topics say after a bridge was killed again and again: was every promise kept? Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from arno.vocabulary import ImageSize, Task, build_prompt
from chaos.echo_engine import echo
from support.kafka_topics import Found

_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class BridgeVerdict:
    """The outcome of a run.

    Attributes:
        inputs: Records of the source.
        results: Records of the results, with repeats.
        repeats: Results beyond the first of their id.
        kills: What was killed, how often.
        lag: Records that the group has not committed.
        faults: Broken promises, in words.
        elapsed_s: From the first kill to a lag of 0.
    """

    inputs: int
    results: int
    repeats: int
    kills: Mapping[str, int]
    lag: int
    faults: Sequence[str] = field(default=())
    elapsed_s: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults and self.lag == 0

    def lines(self) -> Iterator[str]:
        """Yield the verdict in words."""
        yield f"{self.inputs} images, {self.results} results, {self.repeats} of them repeats"
        yield f"killed: {', '.join(f'{part} {count}' for part, count in self.kills.items())}"
        yield f"lag {self.lag} after {self.elapsed_s:.0f} s"
        yield from self.faults
        yield "every promise was kept" if self.kept else "BROKEN"


def judge_topics(
    source: Sequence[Found], results: Sequence[Found], dead: Sequence[Found], *, topic: str
) -> list[str]:
    """Return the broken promises: nothing lost, nothing false, the order of each key kept."""
    given = {f"{topic}/{one.partition}/{one.offset}": one for one in source}
    answered = Counter(one.header("arno-id") for one in results)
    return [
        *_named("not answered", given.keys() - answered.keys()),
        *_named("answered, but never asked", answered.keys() - given.keys()),
        *_named("dead letters", {one.header("arno-id") for one in dead}),
        *_named("answered falsely", _false(given, results)),
        *_named("keys out of order", _out_of_order(given, results)),
    ]


def repeats(results: Sequence[Found]) -> int:
    """Return how many results are repeats, by their ids alone."""
    return len(results) - len({one.header("arno-id") for one in results})


def _named(fault: str, ids: set[str]) -> Iterator[str]:
    if ids:
        shown = ", ".join(sorted(ids)[:_SHOWN_MAX])
        yield f"{fault}: {len(ids)} ({shown})"


def _false(given: Mapping[str, Found], results: Sequence[Found]) -> set[str]:
    false = set()
    for one in results:
        asked = given.get(one.header("arno-id"))
        if asked is None:
            continue
        (result,) = json.loads(one.value or b"{}")["response"]["results"]
        true = echo(hashlib.sha256(asked.value or b"").hexdigest(), PROMPT)
        if result["answer"]["text"]["text"] != true or one.key != asked.key:
            false.add(one.header("arno-id"))
    return false


def _out_of_order(given: Mapping[str, Found], results: Sequence[Found]) -> set[str]:
    """Return the keys of which a result was written before one of an earlier image."""
    places: dict[bytes, dict[str, int]] = defaultdict(dict)
    for record_id, one in given.items():
        places[one.key or b""][record_id] = len(places[one.key or b""])
    due: Counter[bytes] = Counter()
    broken = set()
    for one in results:
        key = one.key or b""
        place = places[key].get(one.header("arno-id"), -1)
        # A repeat may begin again at any earlier image; nothing may be left out on the way.
        if place > due[key]:
            broken.add(key.decode())
        due[key] = max(due[key], place + 1)
    return broken


SIZE = ImageSize(64, 48)
"""Of `chaos.workload.PICTURE`."""

PROMPT = build_prompt(Task.CAPTION, size=SIZE)
