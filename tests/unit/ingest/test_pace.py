"""How the adaptive policy finds its rate, and when a picture counts as still."""

from __future__ import annotations

import pytest
from arno.ingest.pace import AdaptivePace, Stillness


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
