"""Time on a device is that of the device, and nothing waits for it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from arno.batching.costs import IMAGE_TOKENS  # noqa: E402
from arno.engine.stopwatch import EncodingTimes, Stopwatch  # noqa: E402
from support.fake_gpu import FakeGpu, stopped_at  # noqa: E402


def test_on_a_cpu_the_work_is_done_when_the_call_returns():
    watch = Stopwatch(torch.device("cpu"))
    watch.stop()
    assert watch.done
    assert 0 <= watch.seconds < 60


def test_on_a_gpu_it_is_done_when_the_gpu_has_come_so_far():
    gpu = FakeGpu(busy_s=2.0)
    watch = gpu.stopwatch()
    watch.stop()
    assert not watch.done
    gpu.catch_up()
    assert watch.done
    assert watch.seconds == 2.0


def test_to_read_it_earlier_waits():
    watch = FakeGpu(busy_s=2.0).stopwatch()
    watch.stop()
    assert watch.seconds == 2.0
    assert watch.done


def test_a_group_that_is_encoded_is_learnt_from_at_once():
    times = EncodingTimes()
    times.note(4, stopped_at(2.0))
    assert times.price.image_s == 0.5
    assert times.note_step(10, 0.1) == 0.0
    assert times.price.token_s == pytest.approx(0.01)


def test_what_is_being_encoded_counts_when_a_step_has_waited_for_it():
    gpu, times = FakeGpu(busy_s=2.0), EncodingTimes()
    watch = gpu.stopwatch()
    watch.stop()
    times.note(4, watch)
    assert times.price.tokens == IMAGE_TOKENS, "the launch says nothing about the price"
    gpu.catch_up()
    assert times.note_step(10, 2.1) == 2.0
    assert times.price.image_s == 0.5
    assert times.price.token_s == pytest.approx(0.01), "the wait for images is not the tokens'"
    assert times.note_step(10, 0.1) == 0.0, "each group counts once"


def test_a_step_is_charged_for_no_more_encoding_than_it_took():
    gpu, times = FakeGpu(busy_s=2.0), EncodingTimes()
    watch = gpu.stopwatch()
    watch.stop()
    times.note(1, watch)
    gpu.catch_up()
    assert times.note_step(10, 0.5) == 0.5
    assert times.price.image_s == 2.0
