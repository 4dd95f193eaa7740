import threading
from collections.abc import Iterator

import pytest
from arno.errors import BackendUnavailableError
from arno.ops.clock import StoreClock
from arno.worker.heartbeat import Heartbeat
from support.eventually import eventually

STORE_MS = 1_000_000


class _Store:
    """What of the store a heartbeat needs; ``away`` as long as the test wants."""

    def __init__(self) -> None:
        self.away = threading.Event()
        self.call_count = 0
        self.heard: list[str] = []

    def report_alive(self) -> int:
        self._hear("alive")
        return STORE_MS

    def report_gone(self, *, in_order: bool) -> None:
        self._hear("left" if in_order else "died")

    def _hear(self, word: str) -> None:
        self.call_count += 1
        if self.away.is_set():
            raise BackendUnavailableError("away")
        self.heard.append(word)


@pytest.fixture
def store() -> _Store:
    return _Store()


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


@pytest.fixture
def heartbeat(store: _Store, clock: StoreClock) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(store, clock, claim_timeout_s=0.01)  # type: ignore[arg-type]  # the part it needs
    heartbeat.start()
    yield heartbeat
    heartbeat.leave()


def test_worker_gives_signs_of_life_until_it_leaves(store: _Store, heartbeat: Heartbeat) -> None:
    eventually(lambda: len(store.heard) >= 3)
    heartbeat.leave()
    assert set(store.heard[:-1]) == {"alive"}
    assert store.heard[-1] == "left"


def test_worker_that_fails_has_died_however_it_leaves_then(
    store: _Store, heartbeat: Heartbeat
) -> None:
    heartbeat.report_stall_as_death()
    heartbeat.leave()
    assert store.heard[-1] == "died"
    assert store.heard.count("left") == 0


def test_store_that_is_away_hears_the_next_sign(store: _Store, heartbeat: Heartbeat) -> None:
    store.away.set()
    called = store.call_count
    eventually(lambda: store.call_count >= called + 3)
    store.away.clear()
    heard = len(store.heard)
    eventually(lambda: len(store.heard) > heard)


def test_farewell_that_no_store_hears_is_a_warning(
    store: _Store, heartbeat: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    store.away.set()
    heartbeat.leave()
    assert "did not hear" in caplog.text


def test_clock_of_the_worker_follows_that_of_the_store(
    store: _Store, heartbeat: Heartbeat, clock: StoreClock
) -> None:
    eventually(lambda: clock.wall_ms() < 2 * STORE_MS)
    assert clock.wall_ms() >= STORE_MS
