"""Connect a source, an answerer and an answer folder: every item is answered once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from arno.bulk.answerer import Answered, Answerer
from arno.bulk.folder import AnswerFolder
from arno.bulk.item import Item
from arno.bulk.record import Record, failure_line, failures_of
from arno.errors import ArnoError, Code
from arno.vocabulary.results import InferResult

_MAY_PASS: Final = frozenset({Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN})
"""Codes of failures that a later run asks about again, beside those that are `retryable`."""


@dataclass(slots=True)
class BatchCounts:
    """How far a run has come.

    Attributes:
        answered: Items of this run with an answer to every task.
        failed: Items of this run of which a task, or all, failed.
        known: Items that were done already: by an earlier run, or under a key that came before.
    """

    answered: int = 0
    failed: int = 0
    known: int = 0

    @property
    def done(self) -> int:
        """Items that need no further work."""
        return self.answered + self.failed + self.known


def run_batch(
    items: Iterable[Item],
    answerer: Answerer,
    kept: AnswerFolder,
    *,
    failures_max: int | None = None,
    on_progress: Callable[[BatchCounts], None] = lambda counts: None,
) -> BatchCounts:
    """Ask about every item that is not done, and keep what comes of it.

    However it ends, what was answered is kept: in shards if it ends by itself, by an error or by
    Ctrl-C, and else in the journal.

    Args:
        items: With keys that are the same in every run.
        answerer: Answers them.
        kept: The answer folder.
        failures_max: Failed items of this run after which it stops; None is no limit.
        on_progress: Called with the counts whenever they have changed.

    Raises:
        ArnoError: The answerer cannot go on, another model answers than before, or more items
            failed than may.
        OSError: The disk is full, or cannot be written.
    """
    run = _Run(kept, BatchCounts(), on_progress)
    try:
        with contextlib.closing(answerer.answer(run.todo(items))) as outcomes:
            for answered in outcomes:
                run.keep(answered)
                if failures_max is not None and run.counts.failed > failures_max:
                    sentence = f"more than {failures_max} items failed; see {kept.path}"
                    raise ArnoError(sentence)
    finally:
        kept.write_shard()
    return run.counts


class _Run:
    def __init__(
        self,
        kept: AnswerFolder,
        counts: BatchCounts,
        on_progress: Callable[[BatchCounts], None],
    ) -> None:
        self._kept = kept
        self.counts = counts
        self._on_progress = on_progress
        self._under_way: set[str] = set()

    def todo(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items that are neither done nor under way."""
        for item in items:
            if item.key in self._under_way or self._kept.is_done(item.key):
                self.counts.known += 1
                self._on_progress(self.counts)
            else:
                self._under_way.add(item.key)
                yield item

    def keep(self, answered: Answered) -> None:
        """Keep the outcome of an item, then let the answerer forget it."""
        outcome = _judged(answered.outcome)
        key = answered.item.key
        if isinstance(outcome, ArnoError):
            again = outcome.retryable or outcome.code in _MAY_PASS
            self._kept.keep_failure(key, failure_line(key, outcome), again=again)
            self.counts.failed += 1
        else:
            self._keep_result(answered.item, outcome)
        answered.release()
        self._under_way.discard(key)
        self._on_progress(self.counts)

    def _keep_result(self, item: Item, result: InferResult) -> None:
        if result.model is not None:
            self._kept.keep_model(result.model)
        failures = list(failures_of(result))
        for task, error in failures:
            line = failure_line(item.key, error, task=task)
            self._kept.keep_failure(item.key, line, again=False, task=task)
        # Last: it is what makes the item done.
        self._kept.keep(item.key, Record.of(item, result).line())
        if failures:
            self.counts.failed += 1
        else:
            self.counts.answered += 1


def _judged(outcome: InferResult | ArnoError) -> InferResult | ArnoError:
    """Return the error of the first task in place of a result without any answer."""
    if isinstance(outcome, InferResult) and not any(result.ok for result in outcome):
        return outcome[0].error or outcome
    return outcome
