from collections import Counter
from statistics import mean

import pytest

from benchmarks.schedule import (
    CAPTION_TOKENS,
    LENGTH_RATIOS,
    WORKLOADS,
    items,
    poisson_arrivals_s,
    steady_arrivals_s,
)


def test_same_seed_gives_the_same_requests() -> None:
    first = items(WORKLOADS["mix"], 40, seed=3)
    assert items(WORKLOADS["mix"], 40, seed=3) == first
    assert items(WORKLOADS["mix"], 40, seed=4) != first


def test_rounds_share_no_image_because_engines_keep_what_they_encoded() -> None:
    images = [{item.image_index for item in items(WORKLOADS["mix"], 40, seed=s)} for s in (1, 2)]
    assert images[0].isdisjoint(images[1])


def test_a_mix_holds_every_task_equally_often() -> None:
    counts = Counter(item.task for item in items(WORKLOADS["mix"], 8 * 5, seed=1))
    assert counts == dict.fromkeys(LENGTH_RATIOS, 5)


def test_lengths_follow_the_ratios_of_the_tasks() -> None:
    chosen = items(WORKLOADS["mix"], 8 * 200, seed=1)
    for task, ratio in LENGTH_RATIOS.items():
        lengths = [item.token_limit for item in chosen if item.task == task]
        assert mean(lengths) == pytest.approx(CAPTION_TOKENS * ratio, rel=0.05)
        assert min(lengths) < mean(lengths) < max(lengths)


def test_no_answer_is_shorter_than_its_forced_tokens() -> None:
    chosen = items(WORKLOADS["mix"], 80, seed=1, length_factor=0.01)
    assert all(item.token_limit >= 4 for item in chosen)


def test_three_tasks_share_an_image_and_differ() -> None:
    chosen = items(WORKLOADS["three-tasks"], 6, seed=1)
    for three in (chosen[:3], chosen[3:]):
        assert len({item.image_index for item in three}) == 1
        assert len({item.task for item in three}) == 3
    assert chosen[0].image_index != chosen[3].image_index


def test_the_same_requests_without_sharing_differ_in_their_images_alone() -> None:
    shared = items(WORKLOADS["three-tasks"], 9, seed=1)
    apart = items(WORKLOADS["three-images"], 9, seed=1)
    assert [(i.task, i.token_limit) for i in shared] == [(i.task, i.token_limit) for i in apart]
    assert len({item.image_index for item in apart}) == 9


def test_video_shows_the_same_frame_until_something_changes() -> None:
    images = [item.image_index for item in items(WORKLOADS["video"], 60, seed=1)]
    assert len(set(images)) == 10


def test_poisson_arrivals_are_seeded_and_come_at_their_rate() -> None:
    moments = poisson_arrivals_s(4000, 50.0, seed=1)
    assert moments == poisson_arrivals_s(4000, 50.0, seed=1) == sorted(moments)
    assert moments[-1] == pytest.approx(80.0, rel=0.1)


def test_frames_come_evenly() -> None:
    assert steady_arrivals_s(3, 30.0) == pytest.approx([0.0, 1 / 30, 2 / 30])
