"""Hold the beams of many searches to their grammars, on the model's device, without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import torch

from arno.engine.checkpoints.tokenizer import END_ID, PromptTokenizer
from arno.engine.device import upload
from arno.vocabulary import TokenTable
from arno.vocabulary.grammar import DONE, START, Grammar, Symbol, symbol_of
from arno.vocabulary.task_grammars import Constraint, grammar_of

_NONE: Final = 0
"""The class of tokens that no answer may hold; the classes of symbols follow it."""

_CLASSES: Final = {symbol: number for number, symbol in enumerate(Symbol, start=_NONE + 1)}

_ROOM: Final = 16
"""Room for states, steps, steps of one state and classes at first: enough for the grammars of tasks
whose labels are free."""

_LOWEST: Final = -1.0e5
"""Lower bound of log-probabilities, so that an allowed token always beats a forbidden one."""


def build_grammar(
    constraint: Constraint | None, tokenizer: PromptTokenizer, token_table: TokenTable
) -> Grammar | None:
    """Return the grammar of an answer: its task's, with the caller's labels spelled in tokens.

    None leaves the answer free.
    """
    if constraint is None:
        return None
    spellings = constraint.spellings
    labels = None if spellings is None else _labels(spellings, tokenizer, token_table)
    return grammar_of(constraint.task, labels)


def _labels(
    spellings: Iterable[str], tokenizer: PromptTokenizer, token_table: TokenTable
) -> Iterator[tuple[int, ...]]:
    text = (Symbol.WORD, Symbol.BLANK)
    for spelling in spellings:
        ids = tokenizer.encode_label(spelling)
        # A label that is spelled like a marker would be read as one.
        if all(symbol_of(token_table, token_id) in text for token_id in ids):
            yield ids


class TokenKinds:
    """The class of each token id of a vocabulary."""

    def __init__(self, token_table: TokenTable, size: int, device: torch.device) -> None:
        """Classify all ids below `size`, the width of the output; unknown ids are `_NONE`."""
        symbols = [symbol_of(token_table, token_id) for token_id in range(size)]
        symbols[END_ID] = Symbol.END
        classes = [_NONE if symbol is None else _CLASSES[symbol] for symbol in symbols]
        self.classes = torch.tensor(classes, device=device)  # [V]
        self.location_ids = token_table.location_ids
        self.available = frozenset(symbol for symbol in symbols if symbol is not None)


class ConstraintTable:
    """One automaton per row, that of its search, and the state of every beam.

    Shapes: S rows, K beams, V tokens, A states, E steps from a state to another, F steps from one
    state, C classes of tokens. A class is that of a symbol, or of one token that a grammar spells
    out. The steps of a state follow one another, so that memory grows with the length of the labels
    and not with its square. A, E, F and C are powers of two, and grow where a grammar needs more:
    then the tensors of the table are others than before.
    """

    def __init__(self, kinds: TokenKinds, rows: int, beams: int) -> None:
        """Allocate the rows and their beams."""
        self._kinds = kinds
        device = kinds.classes.device
        self._classes = kinds.classes.repeat(rows, 1)  # [S, V]
        self._starts = torch.zeros((rows, _ROOM + 1), dtype=torch.long, device=device)  # [S, A + 1]
        self._steps = torch.zeros((rows, _ROOM, 2), dtype=torch.long, device=device)  # [S, E, 2]
        self._distances = torch.full((rows, _ROOM), torch.inf, device=device)  # [S, A]
        self._states = torch.full((rows, beams), START, device=device)  # [S, K]
        self._each_step = torch.arange(_ROOM, device=device)  # [F]
        self._class_count = _ROOM

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size, (A, E, F, C); while that stays, its tensors are the same ones."""
        states, steps = self._distances.shape[1], self._steps.shape[1]
        return states, steps, len(self._each_step), self._class_count

    @property
    def size_bytes(self) -> int:
        """Memory that grows with grammars."""
        return sum(each.nbytes for each in (self._starts, self._steps, self._distances))

    def open(self, row: int, grammar: Grammar) -> None:
        """Begin a search in a row, which overwrites the one before."""
        spelled = sorted({step for steps in grammar.steps for step in steps if type(step) is int})
        numbers = {token: len(_CLASSES) + 1 + place for place, token in enumerate(spelled)}
        self._reserve(grammar, len(_CLASSES) + 1 + len(spelled))
        device = self._classes.device
        self._classes[row] = self._kinds.classes
        if spelled:
            self._classes[row, upload(spelled, device)] = torch.arange(
                len(_CLASSES) + 1, len(_CLASSES) + 1 + len(spelled), device=device
            )
        steps = [
            (_CLASSES[step] if isinstance(step, Symbol) else numbers[step], target)
            for steps in grammar.steps
            for step, target in steps.items()
        ]
        starts = [0, *accumulate(map(len, grammar.steps))]
        starts += [len(steps)] * (self._starts.shape[1] - len(starts))  # states without a step
        self._starts[row] = upload(starts, device)
        self._steps[row, : len(steps)] = upload(steps, device)
        distances = grammar.distances(self._kinds.available)
        self._distances[row] = torch.inf
        self._distances[row, : len(distances)] = upload(distances, device)
        self._states[row] = START

    def move(self, source: Any, target: Any) -> None:
        """Copy a search into another row, or several; indices as `moves` yields them."""
        for tensor in self._by_row():
            tensor[target] = tensor[source]

    def rows(self, part: slice) -> ConstraintRows:
        """Return some of the rows, a slice with step 1; it is valid while the shape is."""
        classes, starts, steps, distances, states = (each[part] for each in self._by_row())
        return ConstraintRows(
            classes, starts, steps, distances, states, self._each_step, self._class_count
        )

    def _by_row(self) -> tuple[torch.Tensor, ...]:
        return self._classes, self._starts, self._steps, self._distances, self._states

    def _reserve(self, grammar: Grammar, classes: int) -> None:
        counts = list(map(len, grammar.steps))
        needed = (len(counts), sum(counts), max(counts), classes)
        states, steps, fan, self._class_count = map(max, map(_ceiling, needed), self.shape)
        if states > self._distances.shape[1]:
            # Whatever state is beyond those of a row's own grammar has no steps.
            last = self._starts[:, -1:].expand(-1, states - self._distances.shape[1])
            self._starts = torch.cat([self._starts, last], dim=1)
            self._distances = _widened(self._distances, states, torch.inf)
        if steps > self._steps.shape[1]:
            self._steps = _widened(self._steps, steps, 0)
        if fan > len(self._each_step):
            self._each_step = torch.arange(fan, device=self._steps.device)


@dataclass(frozen=True, slots=True)
class ConstraintRows:
    """Rows of the table.

    Attributes:
        classes: Of each token, [S, V].
        starts: Where the steps of each state begin, and those of the last end, [S, A + 1].
        steps: The class of the token that takes each step, and the next state, [S, E, 2].
        distances: Tokens from each state to the end, [S, A].
        states: Of each beam, [S, K].
        each_step: Numbers of the steps that a state may have, [F].
        class_count: Number of classes, C.
    """

    classes: torch.Tensor
    starts: torch.Tensor
    steps: torch.Tensor
    distances: torch.Tensor
    states: torch.Tensor
    each_step: torch.Tensor
    class_count: int

    def restrict(self, logprobs: torch.Tensor, left: torch.Tensor) -> None:
        """Remove, in place, tokens that a grammar forbids or that leave no room to end.

        Args:
            logprobs: Of the next token, [S, K, V].
            left: Tokens that each search may still append, [S, 1].
        """
        classes, targets = self._steps_of(self.states)  # [S, K, F]
        distances = self.distances.gather(1, targets.flatten(1)).view_as(targets)
        legal = (classes != _NONE) & (distances <= left[:, :, None] - 1)
        by_class = legal.new_zeros(*legal.shape[:2], self.class_count)
        by_class.scatter_(2, classes.where(legal, _NONE), legal)
        allowed = by_class.gather(2, self.classes[:, None].expand(-1, legal.shape[1], -1))
        logprobs.clamp_(min=_LOWEST).masked_fill_(~allowed, -torch.inf)

    def advance(self, parents: torch.Tensor, tokens: torch.Tensor) -> None:
        """Advance the beams.

        Args:
            parents: The beam that each beam continues, [S, K].
            tokens: The token that it appends, [S, K].
        """
        classes, targets = self._steps_of(self.states.gather(1, parents))  # [S, K, F]
        taken = self.classes.gather(1, tokens)[:, :, None]
        here = (classes == taken) & (taken != _NONE)
        # A beam that has lost may hold any token; DONE leads nowhere.
        self.states.copy_(targets.where(here, -1).amax(2).where(here.any(2), DONE))

    def _steps_of(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class and target of each step of states, [S, K, F]; class `_NONE` is no step."""
        first, end = (self.starts.gather(1, states + more)[:, :, None] for more in (0, 1))
        places = first + self.each_step
        real = places < end
        flat = places.clamp(max=self.steps.shape[1] - 1).flatten(1)
        found = self.steps.gather(1, flat[:, :, None].expand(-1, -1, 2))
        classes, targets = found.view(*places.shape, 2).unbind(-1)
        return classes.where(real, _NONE), targets


def _ceiling(size: int) -> int:
    """Return the next power of two, so that a table grows a few times at most."""
    return 1 << (size - 1).bit_length()


def _widened(tensor: torch.Tensor, size: int, value: float) -> torch.Tensor:
    """Return a tensor with more columns."""
    wide = tensor.new_full((tensor.shape[0], size, *tensor.shape[2:]), value)
    wide[:, : tensor.shape[1]] = tensor
    return wide
