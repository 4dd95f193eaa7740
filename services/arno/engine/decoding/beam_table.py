"""The searches of a batch: where they begin, and what they have found.

Every row of the table is one search. All state is tensors on the model's device, and the host reads
only which searches are over. What an update does is in `beam_search`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.checkpoints.tokenizer import BEGIN_ID, END_ID
from arno.engine.decoding.beam_search import NEVER, Advance, BeamRows, BeamSearch
from arno.engine.decoding.constraint_table import ConstraintTable
from arno.engine.device import moves, upload
from arno.engine.interface import DecodingOptions
from arno.vocabulary.grammar import Grammar

OPENING: Final = (END_ID, BEGIN_ID)
"""Tokens that every search begins with: the decoder's start token, and the forced first token."""

_NO_IDS: Final = range(0)

_ROOM_TOKENS: Final = 32
"""The room for the tokens of running beams at first; it doubles."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An answer that a search has found.

    Attributes:
        token_ids: Its tokens, without the start token; the last is `END_ID` if it has ended.
        logprobs: Log-probability of each token; 0.0 for forced ones.
        deviations: Mean absolute deviation of each location token, in bins; 0.0 for others.
        end_chances: Probability of the end in place of each token; 0.0 for the forced first one.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    deviations: tuple[float, ...]
    end_chances: tuple[float, ...]


class BeamTable:
    """Searches with equal options; their limits, lengths and grammars may differ."""

    def __init__(
        self,
        options: DecodingOptions,
        rows: int,
        width: int,
        device: torch.device,
        constraints: ConstraintTable | None = None,
        location_ids: range = _NO_IDS,
    ) -> None:
        """Allocate the rows.

        Args:
            options: Options of all searches; `open` takes the limit on tokens of each.
            rows: Most searches at a time.
            width: Most tokens of a search, start token included.
            device: Device of the logits.
            constraints: Grammars of the searches; None if they have none.
            location_ids: Ids of the location tokens, in the order of their bins.
        """
        self._constraints = constraints
        beams = options.num_beams
        self.search = BeamSearch(options, width, device, location_ids)
        self._width = width
        self._rows = BeamRows.empty(rows, beams, width, min(width, _ROOM_TOKENS), device)
        self._rows.lengths.fill_(len(OPENING))  # empty rows are updated, too
        first = torch.full((beams,), NEVER, device=device)
        first[0] = 0.0  # the beams are equal at first, so only one of them may be continued
        self._first_scores = first
        self._opening = torch.tensor(OPENING, device=device)
        self._root = (len(OPENING) - 1) * 2 * beams  # its first candidate
        self._root_node = torch.tensor([float(OPENING[-1]), 0.0, 0.0, 0.0, 0.0], device=device)

    def reserve(self, longest: int) -> bool:
        """Make room for a token more in searches of this length; return whether rows moved."""
        old = self._rows.tokens
        if longest < old.shape[2]:
            return False
        room = min(max(longest + 1, 2 * old.shape[2]), self._width)
        self._rows.tokens = old.new_zeros(*old.shape[:2], room)
        self._rows.tokens[:, :, : old.shape[2]] = old
        return True

    def rows(self, part: slice) -> BeamRows:
        """Return the state of some rows, a slice with step 1; it is valid until rows move."""
        return self._rows.part(part)

    def open(self, first: int, limits: list[int], grammars: Iterable[Grammar | None] = ()) -> None:
        """Begin searches; their first update takes the logits after `OPENING`.

        Args:
            first: Row of the first, the others follow; searches that were there are overwritten.
            limits: Most tokens of each, start token included.
            grammars: Form of each answer, in a table with constraints.
        """
        if self._constraints is not None:
            for row, grammar in enumerate(grammars, first):
                if grammar is not None:
                    self._constraints.open(row, grammar)
        rows, opened = self._rows, slice(first, first + len(limits))
        rows.tokens[opened, :, : len(OPENING)] = self._opening
        rows.scores[opened] = self._first_scores
        rows.nodes[opened] = self._root
        rows.trellis[opened].flatten(1, 2)[:, self._root] = self._root_node
        rows.ended_scores[opened] = NEVER
        rows.ended_nodes[opened] = 0
        rows.improvable[opened] = True
        rows.lengths[opened] = len(OPENING)
        rows.limits[opened, 0] = upload(limits, rows.limits.device)

    def move(self, sources: list[int], targets: list[int]) -> None:
        """Copy searches into other rows; no row is a source and a target."""
        for source, target in moves(sources, targets, self._rows.tokens.device):
            for tensor in self._rows.tensors():
                tensor[target] = tensor[source]
            if self._constraints is not None:
                self._constraints.move(source, target)

    def newest(self, count: int) -> torch.Tensor:
        """Return the last token of each beam of the first rows, [count, K]."""
        return self._rows.part(slice(0, count)).newest()

    def update(self, part: slice, logits: torch.Tensor, longest: int) -> Advance:
        """Append one token to every beam of some rows.

        Args:
            part: The rows, a slice with step 1.
            logits: Logits of the next token, [S, K, V] of these rows.
            longest: Tokens of the longest of these searches, start token included.
        """
        self.reserve(longest)
        held = self._constraints.rows(part) if self._constraints is not None else None
        return self.search.update(self.rows(part), logits, longest, held)

    def best(self, places: list[int], lengths: list[int]) -> list[Hypothesis]:
        """Return the best hypothesis of searches so far.

        Args:
            places: Their rows.
            lengths: Tokens of each one's running beams, start token included.
        """
        rows, row = self._rows, upload(places, self._rows.nodes.device)  # [S]
        ended = rows.ended_nodes[row, 0]
        last = ended.where(ended > 0, rows.nodes[row, 0]).tolist()
        searches = rows.trellis[row, : max(lengths)].flatten(1, 2).tolist()
        return [_trace(nodes, number) for nodes, number in zip(searches, last, strict=True)]


def _trace(nodes: list[list[float]], last: int) -> Hypothesis:
    """Return the hypothesis that ends at a node of a search."""
    path = []
    while last:
        path.append(nodes[last])
        last = int(nodes[last][-1])
    tokens, logprobs, deviations, end_chances, _ = zip(*reversed(path), strict=True)
    return Hypothesis(tuple(map(int, tokens)), logprobs, deviations, end_chances)
