"""Hold the beams of many searches to their grammars, on the model's device, without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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

_STATES: Final = 16
_CLASSES_AT_FIRST: Final = 16
"""Room for the grammars of tasks whose labels are free."""

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

    Shapes: S rows, K beams, V tokens, A states, C classes of tokens. A class is that of a symbol,
    or of one token that a grammar spells out. A and C are powers of two, and grow where a grammar
    needs more: then the tensors of the table are others than before.
    """

    def __init__(self, kinds: TokenKinds, rows: int, beams: int) -> None:
        """Allocate the rows and their beams."""
        self._kinds = kinds
        device = kinds.classes.device
        self._classes = kinds.classes.repeat(rows, 1)  # [S, V]
        shape = (rows, _STATES, _CLASSES_AT_FIRST)
        self._moves = torch.full(shape, -1, device=device)  # [S, A, C]
        self._distances = torch.full(shape[:2], torch.inf, device=device)  # [S, A]
        self._states = torch.full((rows, beams), START, device=device)  # [S, K]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size, [S, A, C]; while that stays, its tensors are the same ones."""
        return tuple(self._moves.shape)

    def open(self, row: int, grammar: Grammar) -> None:
        """Begin a search in a row, which overwrites the one before."""
        spelled = sorted({step for steps in grammar.steps for step in steps if type(step) is int})
        numbers = {token: len(_CLASSES) + 1 + place for place, token in enumerate(spelled)}
        self._reserve(len(grammar.steps), len(_CLASSES) + 1 + len(spelled))
        self._classes[row] = self._kinds.classes
        if spelled:
            tokens = upload(spelled, self._classes.device)
            self._classes[row, tokens] = torch.arange(len(spelled), device=tokens.device) + (
                len(_CLASSES) + 1
            )
        moves = torch.full(self._moves.shape[1:], -1)
        for state, steps in enumerate(grammar.steps):
            for step, target in steps.items():
                moves[state, _CLASSES[step] if isinstance(step, Symbol) else numbers[step]] = target
        self._moves[row] = upload(moves, self._moves.device)
        distances = grammar.distances(self._kinds.available)
        self._distances[row] = torch.inf
        self._distances[row, : len(distances)] = upload(distances, self._distances.device)
        self._states[row] = START

    def move(self, source: Any, target: Any) -> None:
        """Copy a search into another row, or several; indices as `moves` yields them."""
        for tensor in (self._classes, self._moves, self._distances, self._states):
            tensor[target] = tensor[source]

    def rows(self, part: slice) -> ConstraintRows:
        """Return some of the rows, a slice with step 1; it is valid while the shape is."""
        tensors = (self._classes, self._moves, self._distances, self._states)
        return ConstraintRows(*(tensor[part] for tensor in tensors))

    def _reserve(self, states: int, classes: int) -> None:
        rows, old_states, old_classes = self._moves.shape
        if states <= old_states and classes <= old_classes:
            return
        shape = (rows, max(_ceiling(states), old_states), max(_ceiling(classes), old_classes))
        moves = self._moves.new_full(shape, -1)
        moves[:, :old_states, :old_classes] = self._moves
        distances = self._distances.new_full(shape[:2], torch.inf)
        distances[:, :old_states] = self._distances
        self._moves, self._distances = moves, distances


@dataclass(frozen=True, slots=True)
class ConstraintRows:
    """Rows of the table.

    Attributes:
        classes: Of each token, [S, V].
        moves: The next state, by state and class of the token, negative where none, [S, A, C].
        distances: Tokens from each state to the end, [S, A].
        states: Of each beam, [S, K].
    """

    classes: torch.Tensor
    moves: torch.Tensor
    distances: torch.Tensor
    states: torch.Tensor

    def restrict(self, logprobs: torch.Tensor, left: torch.Tensor) -> None:
        """Remove, in place, tokens that a grammar forbids or that leave no room to end.

        Args:
            logprobs: Of the next token, [S, K, V].
            left: Tokens that each search may still append, [S, 1].
        """
        moves = self._moves_of(self.states)  # [S, K, C]
        count, beams, classes = moves.shape
        targets = moves.clamp(min=0).flatten(1)
        distances = self.distances.gather(1, targets).view(count, beams, classes)
        legal = (moves >= 0) & (distances <= left[:, :, None] - 1)
        allowed = legal.gather(2, self.classes[:, None].expand(-1, beams, -1))
        logprobs.clamp_(min=_LOWEST).masked_fill_(~allowed, -torch.inf)

    def advance(self, parents: torch.Tensor, tokens: torch.Tensor) -> None:
        """Advance the beams.

        Args:
            parents: The beam that each beam continues, [S, K].
            tokens: The token that it appends, [S, K].
        """
        states = self.states.gather(1, parents)
        classes = self.classes.gather(1, tokens)
        moves = self._moves_of(states).gather(2, classes[:, :, None]).squeeze(2)
        # A beam that has lost may hold any token; DONE leads nowhere.
        self.states.copy_(torch.where(moves < 0, DONE, moves))

    def _moves_of(self, states: torch.Tensor) -> torch.Tensor:
        return self.moves.gather(1, states[:, :, None].expand(-1, -1, self.moves.shape[2]))


def _ceiling(size: int) -> int:
    """Return the next power of two, so that a table grows a few times at most."""
    return 1 << (size - 1).bit_length()
