"""Beam search of many sequences at once, each at its own length, by transformers' rules.

Every row of the table is one search. All state is tensors on the model's device, and an update
never waits for it; the host reads only which searches are over. The rules, their order and their
constants are those of `GenerationMixin._beam_search` in transformers 5.23, applied to one sequence
at a time; with one beam they are those of its greedy search.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.checkpoints.tokenizer import BEGIN_ID, END_ID
from arno.engine.decoding.constraint_table import ConstraintTable
from arno.engine.device import upload
from arno.engine.interface import DecodingOptions
from arno.vocabulary.grammar import Grammar

OPENING: Final = (END_ID, BEGIN_ID)
"""Tokens that every search begins with: the decoder's start token, and the forced first token."""

_NEVER: Final = -1.0e9
"""Added to scores that must lose; transformers' own number, because the value decides ties."""

_NO_IDS: Final = range(0)

_FIELDS: Final = 5
"""Numbers of a node: token, log-probability, deviation, chance of the end, and the node before."""


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


@dataclass(slots=True)
class _Rows:
    """The state of the searches: S rows, K beams, C = 2K candidates, W tokens at most.

    Every candidate of every step is a node: the token, the numbers that belong to it, and the node
    that it continues. A hypothesis is the number of its last node, position x C + rank, so that no
    step copies what its beams have found, and a search is read backwards once it is over. Number 0
    stands for no node, because the start token has none.

    Attributes:
        tokens: Of the running beams, [S, K, W], for the ban of repeats; without it the newest alone
            are right.
        scores, nodes: Of the running beams, [S, K] each.
        ended_scores, ended_nodes: Of the best ended hypotheses, best first, [S, K] each.
        improvable: Whether a running beam may still beat an ended hypothesis, [S, 1].
        lengths: Tokens of the running beams, start token included, [S, 1].
        limits: Most tokens of each search, start token included, [S, 1].
        trellis: All nodes, [S, W, C, 5]; float32 holds ids and numbers of nodes below 2^24 exactly.
    """

    tokens: torch.Tensor
    scores: torch.Tensor
    nodes: torch.Tensor
    ended_scores: torch.Tensor
    ended_nodes: torch.Tensor
    improvable: torch.Tensor
    lengths: torch.Tensor
    limits: torch.Tensor
    trellis: torch.Tensor

    @classmethod
    def empty(cls, rows: int, beams: int, width: int, device: torch.device) -> _Rows:
        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=device)

        return cls(
            tokens=zeros(beams, width),
            scores=zeros(beams, dtype=torch.float32),
            nodes=zeros(beams),
            ended_scores=zeros(beams, dtype=torch.float32),
            ended_nodes=zeros(beams),
            improvable=zeros(1, dtype=torch.bool),
            lengths=zeros(1),
            limits=zeros(1),
            trellis=zeros(width, 2 * beams, _FIELDS, dtype=torch.float32),
        )

    @property
    def ended(self) -> torch.Tensor:
        """Whether there is an ended hypothesis at each rank, [S, K]."""
        return self.ended_nodes > 0

    def tensors(self) -> list[torch.Tensor]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


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
        self._options = options
        self._constraints = constraints
        self._beams = options.num_beams
        self._early = (
            options.early_stopping is True or self._beams == 1
        )  # greedy ends with its only beam
        self._rows = _Rows.empty(rows, self._beams, width, device)
        self._rows.lengths.fill_(len(OPENING))  # empty rows are updated, too
        first = torch.full((self._beams,), _NEVER, device=device)
        first[0] = 0.0  # the beams are equal at first, so only one of them may be continued
        self._first_scores = first
        self._opening = torch.tensor(OPENING, device=device)
        lengths = torch.arange(width + 1, device=device, dtype=torch.double)
        self._penalties = lengths.pow(options.length_penalty).float()
        self._root = (len(OPENING) - 1) * 2 * self._beams  # its first candidate
        self._root_node = torch.tensor([float(OPENING[-1]), 0.0, 0.0, 0.0, 0.0], device=device)
        self._ranks = torch.arange(2 * self._beams, device=device)
        self._width = width
        self._places = torch.arange(width, device=device)
        self._location_ids = location_ids
        self._bins = torch.arange(float(len(location_ids)), device=device)[:, None]
        self._end_alone = torch.full((2 * self._beams,), -torch.inf, device=device)
        self._end_alone[0] = 0.0

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
        rows.ended_scores[opened] = _NEVER
        rows.ended_nodes[opened] = 0
        rows.improvable[opened] = True
        rows.lengths[opened] = len(OPENING)
        rows.limits[opened, 0] = upload(limits, rows.limits.device)

    def move(self, sources: list[int], targets: list[int]) -> None:
        """Copy searches into other rows; no row is a source and a target."""
        device = self._rows.tokens.device
        origin, rows = (upload(each, device) for each in (sources, targets))
        for tensor in self._rows.tensors():
            tensor[rows] = tensor[origin]
        if self._constraints is not None:
            self._constraints.move(origin, rows)

    def positions(self, count: int) -> torch.Tensor:
        """Return the position of the last token of the first rows, [count]."""
        return self._rows.lengths[:count, 0] - 1

    def newest(self, count: int) -> torch.Tensor:
        """Return the last token of each beam of the first rows, [count, K]."""
        rows = self._rows
        return _newest(rows.tokens[:count], rows.lengths[:count])

    def update(self, part: slice, logits: torch.Tensor, longest: int) -> Advance:
        """Append one token to every beam of some rows.

        Args:
            part: The rows, a slice with step 1.
            logits: Logits of the next token, [S, K, V] of these rows.
            longest: Tokens of the longest of these searches, start token included.
        """
        rows = _Rows(*(tensor[part] for tensor in self._rows.tensors()))
        logprobs = torch.log_softmax(logits.float(), dim=-1)  # [S, K, V]
        ends = logprobs[:, :, END_ID].exp()  # [S, K], before anything is forbidden
        logprobs = self._legal(part, rows, logprobs, longest)
        top = self._top(rows, logits, logprobs, ends)
        hits = (top.tokens == END_ID) | (rows.lengths + 1 >= rows.limits)  # [S, 2K]
        self._merge_ended(rows, top, hits)
        parents = self._continue(rows, top, hits, longest)
        # Empty rows are advanced with the others, and must not leave the table.
        rows.lengths.add_(1).clamp_(max=self._width - 1)
        if self._constraints is not None:
            self._constraints.advance(part, parents, _newest(rows.tokens, rows.lengths))
        return Advance(parents=parents, finished=self._finished(rows, hits))

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

    def _legal(
        self, part: slice, rows: _Rows, logprobs: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Return the log-probabilities, [S, K, V], with forbidden tokens at minus infinity."""
        if self._constraints is None:
            self._ban_repeats(rows, logprobs, longest)
            return logprobs
        self._constraints.restrict(part, logprobs, rows.limits - rows.lengths)
        fresh = logprobs.clone()
        self._ban_repeats(rows, fresh, longest)
        # Where all tokens that the grammar allows are repeats, repeats are allowed.
        stuck = torch.isneginf(fresh).all(-1, keepdim=True)
        return torch.where(stuck, logprobs, fresh)

    def _ban_repeats(self, rows: _Rows, logprobs: torch.Tensor, longest: int) -> None:
        """Forbid, in place, every token that would repeat an n-gram of its beam."""
        size = self._options.no_repeat_ngram_size
        if not size or longest < size:
            return
        grams = rows.tokens[:, :, :longest].unfold(2, size, 1)  # [S, K, longest - size + 1, size]
        tail = rows.lengths[:, None] - (size - 1) + self._places[: size - 1]  # [S, 1, size - 1]
        tail_ids = tail.clamp(min=0).expand(-1, self._beams, -1)
        prefix = rows.tokens.gather(2, tail_ids)  # [S, K, size - 1]
        whole = self._places[: grams.shape[2]] + size <= rows.lengths  # [S, grams]
        match = (grams[..., :-1] == prefix[:, :, None]).all(-1) & whole[:, None]
        banned = torch.zeros_like(match, dtype=logprobs.dtype).masked_fill_(match, -torch.inf)
        logprobs.scatter_add_(2, grams[..., -1], banned)

    def _top(
        self, rows: _Rows, logits: torch.Tensor, logprobs: torch.Tensor, ends: torch.Tensor
    ) -> _Candidates:
        """Return the best continuations, twice as many as beams, so that enough do not end.

        Each becomes a node.
        """
        # What is not among the best C of its own beam is not among those of all beams, so that the
        # vocabulary is read once.
        count = min(len(self._ranks), logprobs.shape[-1])
        best, tokens = logprobs.topk(count)  # [S, K, C]
        last = (rows.lengths == rows.limits - 1)[:, :, None]  # where only the end may follow
        best = torch.where(last, self._end_alone[:count], best)
        tokens = tokens.masked_fill(last, END_ID).flatten(1)
        sums = (best + rows.scores[:, :, None]).flatten(1)  # [S, K * C]
        scores, places = sums.topk(len(self._ranks))  # [S, C], best first
        parents, tokens = places // count, tokens.gather(1, places)
        node = torch.stack(
            [
                tokens.float(),
                best.flatten(1).gather(1, places),
                self._deviations(logits, parents, tokens),
                ends.gather(1, parents),
                rows.nodes.gather(1, parents).float(),
            ],
            dim=-1,
        )  # [S, C, 5]
        here = rows.lengths[:, :, None, None].expand(-1, 1, *node.shape[1:])
        rows.trellis.scatter_(1, here, node[:, None])
        nodes = rows.lengths * len(self._ranks) + self._ranks
        return _Candidates(scores=scores, parents=parents, tokens=tokens, nodes=nodes)

    def _deviations(
        self, logits: torch.Tensor, parents: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean absolute deviation of candidates from their own bins, [S, C].

        The mean is over the location tokens alone, by the model's own probabilities: no grammar
        and no ban of repeats changes it. 0 for tokens that are no locations.
        """
        ids = self._location_ids
        if not ids:
            return torch.zeros_like(tokens, dtype=torch.float32)
        chances = logits[:, :, ids.start : ids.stop].float().softmax(-1)  # [S, K, bins]
        chosen = tokens - ids.start  # [S, C]
        apart = (self._bins - chosen[:, None]).abs_()  # [S, bins, C]
        means = torch.matmul(chances, apart).gather(1, parents[:, None])[:, 0]
        return means.where((chosen >= 0) & (chosen < len(ids)), 0.0)

    def _merge_ended(self, rows: _Rows, top: _Candidates, hits: torch.Tensor) -> None:
        """Keep the best of the hypotheses that had ended and those that end now."""
        ends = hits & (self._ranks < self._beams)
        scores = top.scores / self._penalties[rows.lengths]
        scores = scores + ~ends * _NEVER + ~rows.improvable * _NEVER
        if self._early:
            scores = scores + rows.ended.all(1, keepdim=True) * _NEVER
        merged = torch.cat([rows.ended_scores, scores], dim=1)  # [S, 3K]
        best_scores, best = merged.topk(self._beams)
        nodes = torch.cat([rows.ended_nodes, top.nodes * ends], dim=1)
        rows.ended_nodes.copy_(nodes.gather(1, best))
        rows.ended_scores.copy_(best_scores)

    def _continue(
        self, rows: _Rows, top: _Candidates, hits: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Continue the best candidates that do not end; return the parent beam of each, [S, K]."""
        scores, kept = (top.scores + hits * _NEVER).topk(self._beams)  # [S, K]
        parents = top.parents.gather(1, kept)
        if self._options.no_repeat_ngram_size:
            past = rows.tokens[:, :, :longest]
            past.copy_(past.gather(1, parents[:, :, None].expand_as(past)))
        here = rows.lengths[:, :, None].expand(-1, self._beams, 1)
        rows.tokens.scatter_(2, here, top.tokens.gather(1, kept)[:, :, None])
        rows.nodes.copy_(top.nodes.gather(1, kept))
        rows.scores.copy_(scores)
        return parents

    def _finished(self, rows: _Rows, hits: torch.Tensor) -> torch.Tensor:
        """Update which searches may still improve; return which are over, [S]."""
        never = self._options.early_stopping == "never" and self._options.length_penalty > 0.0
        longest = (rows.limits if never else rows.lengths) - 1
        possible = rows.scores[:, :1] / self._penalties[longest]
        worst = rows.ended_scores.amin(1, keepdim=True)
        worst = worst.where(rows.ended, _NEVER)
        rows.improvable &= (possible > worst).any(1, keepdim=True)
        over = ~rows.improvable.squeeze(1) | hits.all(1)
        return over | rows.ended.all(1) if self._early else over


@dataclass(frozen=True, slots=True)
class Advance:
    """The outcome of an update.

    Attributes:
        parents: The beam that each beam continues, [S, K].
        finished: Whether each search is over, [S].
    """

    parents: torch.Tensor
    finished: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Continuations of beams, best first: [S, C] each."""

    scores: torch.Tensor
    parents: torch.Tensor
    tokens: torch.Tensor
    nodes: torch.Tensor


def _trace(nodes: list[list[float]], last: int) -> Hypothesis:
    """Return the hypothesis that ends at a node of a search."""
    path = []
    while last:
        path.append(nodes[last])
        last = int(nodes[last][-1])
    tokens, logprobs, deviations, end_chances, _ = zip(*reversed(path), strict=True)
    return Hypothesis(tuple(map(int, tokens)), logprobs, deviations, end_chances)


def _newest(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the last token of each beam, [S, K] of [S, K, W]."""
    last = (lengths - 1)[:, :, None]  # [S, 1, 1]
    return tokens.gather(2, last.expand(-1, tokens.shape[1], -1)).squeeze(2)
