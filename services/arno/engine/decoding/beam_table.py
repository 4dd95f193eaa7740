"""Beam search of many sequences at once, each at its own length, by transformers' rules.

Every row of the table is one search. All bookkeeping is tensors on the model's device, and an
update never waits for them; only `finished` is read back. The rules, their order and their
constants are those of `GenerationMixin._beam_search` in transformers 5.23, for one sequence at a
time; with one beam they come down to its greedy search.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.checkpoints.tokenizer import BEGIN_ID, END_ID
from arno.engine.decoding.constraint_table import ConstraintTable
from arno.engine.interface import DecodingOptions
from arno.vocabulary.grammar import Grammar

OPENING: Final = (END_ID, BEGIN_ID)
"""What every search begins with: the decoder's start token, and the forced first token."""

_NEVER: Final = -1.0e9
"""Added to scores that must lose; transformers' own number, because it decides ties."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a search has found.

    Attributes:
        token_ids: Without the start token; ends with `END_ID` where the answer is whole.
        logprobs: Of each token; 0.0 for forced ones.
        score: Sum of the log-probabilities over the length penalty, or the bare sum of one that
            still runs.
        ended: Whether it is whole.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    ended: bool


@dataclass(slots=True)
class _Rows:
    """The searches. S rows, K beams, W tokens at most.

    Attributes:
        tokens, logprobs, scores: Of the beams that run: [S, K, W], [S, K, W], [S, K].
        ended_tokens, ended_logprobs, ended_lengths, ended_scores: Of the best that have ended,
            best first: [S, K, W], [S, K, W], [S, K], [S, K].
        ended: Whether such a place is taken, [S, K].
        improvable: Whether a running beam may still beat those that have ended, [S, 1].
        lengths: Tokens of the running beams, start token included, [S, 1].
        limits: Most tokens, start token included, [S, 1].
    """

    tokens: torch.Tensor
    logprobs: torch.Tensor
    scores: torch.Tensor
    ended_tokens: torch.Tensor
    ended_logprobs: torch.Tensor
    ended_lengths: torch.Tensor
    ended_scores: torch.Tensor
    ended: torch.Tensor
    improvable: torch.Tensor
    lengths: torch.Tensor
    limits: torch.Tensor

    @classmethod
    def empty(cls, rows: int, beams: int, width: int, device: torch.device) -> _Rows:
        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=device)

        return cls(
            tokens=zeros(beams, width, dtype=torch.long),
            logprobs=zeros(beams, width),
            scores=zeros(beams),
            ended_tokens=zeros(beams, width, dtype=torch.long),
            ended_logprobs=zeros(beams, width),
            ended_lengths=zeros(beams, dtype=torch.long),
            ended_scores=zeros(beams),
            ended=zeros(beams, dtype=torch.bool),
            improvable=zeros(1, dtype=torch.bool),
            lengths=zeros(1, dtype=torch.long),
            limits=zeros(1, dtype=torch.long),
        )

    def tensors(self) -> list[torch.Tensor]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


class BeamTable:
    """Searches with equal options; their limits and lengths may differ."""

    def __init__(
        self,
        options: DecodingOptions,
        rows: int,
        width: int,
        device: torch.device,
        constraints: ConstraintTable | None = None,
    ) -> None:
        """Make room.

        Args:
            options: Of all searches; the limit on tokens is given to each by itself.
            rows: Most searches at a time.
            width: Most tokens of a search, start token included.
            device: Where the logits are.
            constraints: Holds every search to a grammar; None holds none.
        """
        self._options = options
        self._constraints = constraints
        self._beams = options.num_beams
        self._early = (
            options.early_stopping is True or self._beams == 1
        )  # greedy ends with its only beam
        self._rows = _Rows.empty(rows, self._beams, width, device)
        self._rows.lengths.fill_(len(OPENING))  # rows that hold nobody have places, too
        first = torch.full((self._beams,), _NEVER, device=device)
        first[0] = 0.0  # the beams are equal at first, so only one of them may be continued
        self._first_scores = first
        self._opening = torch.tensor(OPENING, device=device)
        self._ranks = torch.arange(2 * self._beams, device=device)
        self._width = width
        self._places = torch.arange(width, device=device)

    def open(self, row: int, limit: int, grammar: Grammar | None = None) -> None:
        """Begin a search; its first update is that of the logits after `OPENING`.

        Args:
            row: Where; whatever was there is gone.
            limit: Most tokens, start token included.
            grammar: What it is held to, in a table with constraints.
        """
        if self._constraints is not None and grammar is not None:
            self._constraints.open(row, grammar)
        rows = self._rows
        rows.tokens[row, :, : len(OPENING)] = self._opening
        rows.logprobs[row] = 0.0
        rows.scores[row] = self._first_scores
        rows.ended_scores[row] = _NEVER
        rows.ended_lengths[row] = 0
        rows.ended[row] = False
        rows.improvable[row] = True
        rows.lengths[row] = len(OPENING)
        rows.limits[row] = limit

    def move(self, source: int, target: int) -> None:
        """Put a search into another row."""
        for tensor in self._rows.tensors():
            tensor[target] = tensor[source]
        if self._constraints is not None:
            self._constraints.move(source, target)

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
            part: Which rows, without a step.
            logits: Of the next token, [S, K, V] of these rows.
            longest: Tokens of the longest of them, start token included.
        """
        rows = _Rows(*(tensor[part] for tensor in self._rows.tensors()))
        logprobs = torch.log_softmax(logits.float(), dim=-1)  # [S, K, V]
        logprobs = self._legal(part, rows, logprobs, longest)
        _force_end(rows, logprobs)
        top = self._top(rows, logprobs)
        hits = (top.tokens == END_ID) | (rows.lengths + 1 >= rows.limits)  # [S, 2K]
        self._merge_ended(rows, top, hits, longest)
        parents = self._continue(rows, top, hits, longest)
        # Rows that hold nobody are moved on with the others, and must not leave the table.
        rows.lengths.add_(1).clamp_(max=self._width - 1)
        if self._constraints is not None:
            self._constraints.advance(part, parents, _newest(rows.tokens, rows.lengths))
        return Advance(parents=parents, finished=self._finished(rows, hits))

    def best(self, row: int, length: int) -> Hypothesis:
        """Return the best that a search has found so far.

        Args:
            row: Which.
            length: Tokens of its running beams, start token included.
        """
        rows = self._rows
        if bool(rows.ended[row, 0]):
            size, tokens, logprobs = (
                int(rows.ended_lengths[row, 0]),
                rows.ended_tokens[row, 0],
                rows.ended_logprobs[row, 0],
            )
            score, ended = float(rows.ended_scores[row, 0]), True
        else:
            size, tokens, logprobs = length, rows.tokens[row, 0], rows.logprobs[row, 0]
            score, ended = float(rows.scores[row, 0]), False
        return Hypothesis(
            token_ids=tuple(tokens[1:size].tolist()),
            logprobs=tuple(logprobs[1:size].tolist()),
            score=score,
            ended=ended,
        )

    def _legal(
        self, part: slice, rows: _Rows, logprobs: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Return [S, K, V] without what must not follow, which is minus infinity."""
        if self._constraints is None:
            self._ban_repeats(rows, logprobs, longest)
            return logprobs
        self._constraints.restrict(part, logprobs, rows.limits - rows.lengths)
        fresh = logprobs.clone()
        self._ban_repeats(rows, fresh, longest)
        # Where all that the grammar allows would be repeats, a repeat it has to be.
        stuck = torch.isneginf(fresh).all(-1, keepdim=True)
        return torch.where(stuck, logprobs, fresh)

    def _ban_repeats(self, rows: _Rows, logprobs: torch.Tensor, longest: int) -> None:
        """Take out, in place, every token that would repeat an n-gram of its beam."""
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

    def _top(self, rows: _Rows, logprobs: torch.Tensor) -> _Candidates:
        """Return the best continuations: twice the beams, so that enough of them go on."""
        size = logprobs.shape[-1]
        sums = (logprobs + rows.scores[:, :, None]).flatten(1)  # [S, K * V]
        scores, places = sums.topk(2 * self._beams)  # [S, 2K], best first
        return _Candidates(
            scores=scores,
            parents=places // size,
            tokens=places % size,
            logprobs=logprobs.flatten(1).gather(1, places),
        )

    def _merge_ended(self, rows: _Rows, top: _Candidates, hits: torch.Tensor, longest: int) -> None:
        """Keep the best of those that had ended and those that end now."""
        ends = hits & (self._ranks < self._beams)
        scores = top.scores / rows.lengths.double().pow(self._options.length_penalty).float()
        scores = scores + ~ends * _NEVER + ~rows.improvable * _NEVER
        if self._early:
            scores = scores + rows.ended.all(1, keepdim=True) * _NEVER
        merged = torch.cat([rows.ended_scores, scores], dim=1)  # [S, 3K]
        best_scores, best = merged.topk(self._beams)
        histories = self._appended(rows, top, longest)
        width = longest + 1
        for ended, appended in (
            (rows.ended_tokens, histories.tokens),
            (rows.ended_logprobs, histories.logprobs),
        ):
            both = torch.cat([ended[:, :, :width], appended], dim=1)  # [S, 3K, width]
            ended[:, :, :width] = both.gather(1, best[:, :, None].expand(-1, -1, width))
        sizes = (rows.lengths + 1).expand(-1, 2 * self._beams)
        rows.ended_lengths.copy_(torch.cat([rows.ended_lengths, sizes], 1).gather(1, best))
        rows.ended.copy_(torch.cat([rows.ended, ends], 1).gather(1, best))
        rows.ended_scores.copy_(best_scores)

    def _continue(
        self, rows: _Rows, top: _Candidates, hits: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Go on with the best that do not end; return which beam each of them comes from."""
        scores, kept = (top.scores + hits * _NEVER).topk(self._beams)  # [S, K]
        histories = self._appended(rows, top.take(kept), longest)
        rows.tokens[:, :, : longest + 1] = histories.tokens
        rows.logprobs[:, :, : longest + 1] = histories.logprobs
        rows.scores.copy_(scores)
        return top.parents.gather(1, kept)

    def _appended(self, rows: _Rows, top: _Candidates, longest: int) -> _Histories:
        """Return the beams of candidates, each with its new token, up to the longest's width."""
        width = longest + 1
        parents = top.parents[:, :, None].expand(-1, -1, width)
        here = self._places[:width] == rows.lengths[:, :, None]  # [S, 1, width]
        tokens = rows.tokens[:, :, :width].gather(1, parents)
        logprobs = rows.logprobs[:, :, :width].gather(1, parents)
        return _Histories(
            tokens=torch.where(here, top.tokens[:, :, None], tokens),
            logprobs=torch.where(here, top.logprobs[:, :, None], logprobs),
        )

    def _finished(self, rows: _Rows, hits: torch.Tensor) -> torch.Tensor:
        """Return which searches are over, [S], after noting which may still improve."""
        penalty = self._options.length_penalty
        never = self._options.early_stopping == "never" and penalty > 0.0
        longest = (rows.limits if never else rows.lengths) - 1
        possible = rows.scores[:, :1] / longest.double().pow(penalty).float()
        worst = rows.ended_scores.amin(1, keepdim=True)
        worst = worst.where(rows.ended, _NEVER)
        rows.improvable &= (possible > worst).any(1, keepdim=True)
        over = ~rows.improvable.squeeze(1) | hits.all(1)
        return over | rows.ended.all(1) if self._early else over


@dataclass(frozen=True, slots=True)
class Advance:
    """What an update did.

    Attributes:
        parents: The beam that each beam continues, [S, K].
        finished: Which searches are over, [S].
    """

    parents: torch.Tensor
    finished: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Continuations, best first: [S, C] each."""

    scores: torch.Tensor
    parents: torch.Tensor
    tokens: torch.Tensor
    logprobs: torch.Tensor

    def take(self, places: torch.Tensor) -> _Candidates:
        fields = (self.scores, self.parents, self.tokens, self.logprobs)
        return _Candidates(*(field.gather(1, places) for field in fields))


@dataclass(frozen=True, slots=True)
class _Histories:
    """Tokens and log-probabilities, [S, C, W] each."""

    tokens: torch.Tensor
    logprobs: torch.Tensor


def _newest(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the last token of each beam, [S, K] of [S, K, W]."""
    last = (lengths - 1)[:, :, None]  # [S, 1, 1]
    return tokens.gather(2, last.expand(-1, tokens.shape[1], -1)).squeeze(2)


def _force_end(rows: _Rows, logprobs: torch.Tensor) -> None:
    """Leave only the end token, in place, to those whose next token is their last."""
    last = (rows.lengths == rows.limits - 1)[:, :, None]  # [S, 1, 1]
    logprobs.masked_fill_(last, -torch.inf)
    logprobs[:, :, END_ID].masked_fill_(last.squeeze(2), 0.0)
