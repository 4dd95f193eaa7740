"""The worker asks the store for cancelled jobs, sooner where it has just found some."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest
from arno.errors import BackendUnavailableError
from arno.worker.job_table import CancellationPoll, Cancelled, Message

INTERVAL_S = 0.25


class Store:
    """Answers in turns; an error is raised."""

    def __init__(self, *answers: set[str] | Exception) -> None:
        self.answers = list(answers)

    def cancelled(self, job_ids: list[str]) -> set[str]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Pauses:
    """Stands for the event that stops the poll: it is set once the store has no more answers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waited_s: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        return not self.store.answers


def polled(*answers: set[str] | Exception) -> tuple[list[float], list[Message]]:
    store = Store(*answers)
    table: Any = SimpleNamespace(job_ids=lambda: ["a", "b"])
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    any_store: Any = store
    poll = CancellationPoll(any_store, table, messages, interval_s=INTERVAL_S)
    pauses: Any = Pauses(store)
    poll._stopped = pauses
    poll.run()
    return pauses.waited_s, [messages.get() for _ in range(messages.qsize())]


def test_cancelled_jobs_are_passed_on_and_the_next_question_comes_sooner() -> None:
    waited_s, messages = polled(set(), {"a"}, {"a", "b"}, set())
    soon_s = pytest.approx(INTERVAL_S / 5)
    assert waited_s == [INTERVAL_S, INTERVAL_S, soon_s, soon_s, INTERVAL_S]
    assert messages == [Cancelled(frozenset({"a"})), Cancelled(frozenset({"a", "b"}))]


def test_store_that_is_away_is_asked_again_at_the_usual_time() -> None:
    away = BackendUnavailableError("the result store is away")
    waited_s, messages = polled({"a"}, away, set())
    assert waited_s == [INTERVAL_S, pytest.approx(INTERVAL_S / 5), INTERVAL_S, INTERVAL_S]
    assert messages == [Cancelled(frozenset({"a"}))]
