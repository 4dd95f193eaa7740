"""Say which rows of tokens are well-formed, by an automaton over what tokens are.

A grammar is of kinds of tokens, not of ids; only labels that must be chosen from a list are spelled
out in ids. `grammars` has one for each task.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, TypeAlias

from arno.vocabulary.token_table import POLYGON_END, POLYGON_SEPARATOR, POLYGON_START, TokenTable


class Symbol(Enum):
    """What a token is. Those that are none of these never stand in a well-formed answer."""

    WORD = auto()
    """Text, or a part of a character."""
    BLANK = auto()
    """Text that is nothing but spaces."""
    LOCATION = auto()
    POLYGON_START = auto()
    POLYGON_END = auto()
    SEPARATOR = auto()
    END = auto()


Step: TypeAlias = Symbol | int
"""A token of a kind, or the token of an id."""

START: Final = 0
DONE: Final = 1
"""The states in which every grammar begins, and to which `Symbol.END` leads."""

_MARKERS: Final = {
    POLYGON_START: Symbol.POLYGON_START,
    POLYGON_END: Symbol.POLYGON_END,
    POLYGON_SEPARATOR: Symbol.SEPARATOR,
}


@dataclass(frozen=True, slots=True)
class Grammar:
    """A deterministic automaton.

    Attributes:
        steps: Of every state, where each step leads; what is not there is not allowed.
    """

    steps: tuple[Mapping[Step, int], ...]

    def distances(self, available: Collection[Symbol]) -> tuple[float, ...]:
        """Return how many tokens each state is from the end, the end token included.

        Args:
            available: The kinds that the vocabulary has tokens of; infinite where these do not do.
        """
        sources: list[list[int]] = [[] for _ in self.steps]
        for state, steps in enumerate(self.steps):
            for step, target in steps.items():
                if isinstance(step, int) or step in available:
                    sources[target].append(state)
        found = [float("inf")] * len(self.steps)
        found[DONE] = 0.0
        queue = deque([DONE])
        while queue:
            state = queue.popleft()
            for source in sources[state]:
                if found[source] == float("inf"):
                    found[source] = found[state] + 1.0
                    queue.append(source)
        return tuple(found)

    def accepts(self, steps: Iterable[Step]) -> bool:
        """Return whether a row of steps is a whole answer."""
        state: int | None = START
        for step in steps:
            state = None if state is None else self.steps[state].get(step)
        return state == DONE


class Draft:
    """A grammar in the making."""

    def __init__(self) -> None:
        """Begin with the two states that all have, and nothing allowed."""
        self._steps: list[dict[Step, int]] = [{}, {}]

    def state(self) -> int:
        """Add a state."""
        self._steps.append({})
        return len(self._steps) - 1

    def allow(self, source: int, step: Step, target: int) -> None:
        """Let a step lead from one state to another."""
        self._steps[source][step] = target

    def follow(self, source: int, step: Step) -> int:
        """Return the state that a step leads to; a new one, if it led nowhere so far."""
        if step not in self._steps[source]:
            self.allow(source, step, self.state())
        return self._steps[source][step]

    def row(self, source: int, steps: Sequence[Step], target: int) -> None:
        """Let steps, one after another, lead from one state to another."""
        for step in steps[:-1]:
            source = self.follow(source, step)
        self.allow(source, steps[-1], target)

    def finish(self) -> Grammar:
        """Return the grammar."""
        return Grammar(tuple(MappingProxyType(steps) for steps in self._steps))


def symbol_of(token_table: TokenTable, token_id: int) -> Symbol | None:
    """Return what a token is; None if it has no place in an answer.

    The end token is identified by its id, which is not in the vocabulary: it is None here.
    """
    if token_table.is_special(token_id):
        return None
    if token_table.location_bin(token_id) is not None:
        return Symbol.LOCATION
    marker = token_table.marker(token_id)
    if marker is not None:
        return _MARKERS.get(marker)
    piece = token_table.pieces[token_id]
    if not piece:
        return None
    return Symbol.WORD if piece.strip() else Symbol.BLANK
