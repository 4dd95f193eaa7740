"""How the adaptive policy and topics find their rates, and when a picture counts as still."""

from __future__ import annotations

from collections import deque

import pytest
from arno.ingest.pace import AdaptivePace, RecordPace, Stillness


def answered(*, capacity: float, camera_fps: float, seconds: float) -> list[float]:
    """Return the latencies of frames at a model that answers so many a second, one by one."""
    pace = AdaptivePace(1.0)
    free_s, latencies, under_way = 0.0, [], []
    for number in range(int(seconds * camera_fps)):
        now_s = number / camera_fps
        while under_way and under_way[0][0] <= now_s:
            ended_s, latency_s = under_way.pop(0)
            pace.learn(latency_s, ended_s)
        if pace.take():
            free_s = max(free_s, now_s) + 1 / capacity
            latencies.append(free_s - now_s)
            under_way.append((free_s, free_s - now_s))
    return latencies


@pytest.mark.parametrize("capacity", [1.5, 4.0, 20.0])
def test_latency_is_held_at_its_target_and_the_model_is_kept_busy(capacity):
    latencies = answered(capacity=capacity, camera_fps=30, seconds=120)
    assert max(latencies) <= 1.05
    assert len(latencies) >= 0.9 * 120 * capacity


def test_model_slower_than_the_target_has_one_frame_under_way():
    latencies = answered(capacity=0.25, camera_fps=30, seconds=120)
    assert max(latencies) == pytest.approx(4.0)
    assert len(latencies) >= 28


def test_fast_model_gets_every_frame():
    assert len(answered(capacity=1000, camera_fps=30, seconds=60)) == 60 * 30


TIMEOUT_S, WINDOW = 60.0, 256


def asked(pace: RecordPace, *, service_s: float, count: int = 3000) -> list[float]:
    """Return the latencies of records at a model that answers one after the other."""
    now_s, waiting, latencies = 0.0, deque(), []
    for _ in range(count):
        while len(waiting) < pace.in_flight_max:
            waiting.append(now_s)
        now_s += service_s
        latencies.append(now_s - waiting.popleft())
        pace.learn(min(latencies[-1], TIMEOUT_S), now_s)
    return latencies


@pytest.mark.parametrize("service_s", [0.5, 2.0, 10.0, 14.0])
def test_records_at_a_slow_model_do_not_time_out_while_they_wait_for_one_another(service_s):
    pace = RecordPace(TIMEOUT_S, WINDOW)
    assert max(asked(pace, service_s=service_s)) < TIMEOUT_S
    assert 1 <= pace.in_flight_max <= max(1, TIMEOUT_S / 4 / service_s)


def test_records_at_a_fast_model_fill_the_window():
    pace = RecordPace(TIMEOUT_S, WINDOW)
    assert max(asked(pace, service_s=0.003)) < 1
    assert pace.in_flight_max == WINDOW


@pytest.mark.parametrize(("latency_s", "left"), [(TIMEOUT_S / 3, 32), (TIMEOUT_S, 16)])
def test_records_are_lessened_once_for_all_that_waited_for_one_another(latency_s, left):
    pace = RecordPace(TIMEOUT_S, WINDOW)
    pace.in_flight_max = 64
    for moment in range(10):
        pace.learn(latency_s, 1000.0 + moment)
    assert pace.in_flight_max == left


def holds(still: Stillness, frame_hash: int, timestamp_ms: int) -> bool:
    if still.alike(frame_hash, timestamp_ms):
        return True
    still.sent(frame_hash, timestamp_ms)
    return False


def test_pictures_that_differ_in_few_bits_are_held_until_they_are_old():
    still = Stillness(2)
    assert not holds(still, 0b0000, 0)
    assert holds(still, 0b0011, 100)
    assert not holds(still, 0b0111, 200)
    assert holds(still, 0b0111, 10_100)
    assert not holds(still, 0b0111, 10_200)


def test_slow_change_is_noticed_although_each_step_is_small():
    still = Stillness(2)
    hashes = [(1 << number) - 1 for number in range(7)]
    assert [holds(still, one, 0) for one in hashes] == [False, True, True, False, True, True, False]
