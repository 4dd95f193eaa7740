"""Decodes of all threads share one budget of pixels."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from arno.images.pixel_budget import PixelBudget
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=40))
def test_never_more_than_the_budget_is_decoded_at_once_but_for_one_that_is_larger(
    sizes: list[int],
) -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    held: list[int] = []
    seen: list[tuple[int, ...]] = []

    def decode(size: int) -> None:
        with budget.hold(size):
            with lock:
                held.append(size)
                seen.append(tuple(held))
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, sizes))
    assert len(seen) == len(sizes)
    assert all(sum(some) <= 100 or len(some) == 1 for some in seen)


def test_small_images_do_not_overtake_a_large_one_that_waits() -> None:
    budget, order = PixelBudget(100), []
    waiting = [threading.Event() for _ in range(2)]

    def decode(number: int, size: int) -> None:
        waiting[number].set()
        with budget.hold(size):
            order.append(size)

    with budget.hold(60):
        large = threading.Thread(target=decode, args=(0, 90))
        large.start()
        while budget.queue_length < 1:
            waiting[0].wait()
        small = threading.Thread(target=decode, args=(1, 10))
        small.start()
        while budget.queue_length < 2:
            waiting[1].wait()
        assert order == []
    large.join()
    small.join()
    assert order == [90, 10]


def test_budget_is_given_back_when_a_decode_fails() -> None:
    budget = PixelBudget(10)
    for _ in range(3):
        try:
            with budget.hold(10):
                raise ValueError
        except ValueError:
            continue
    with budget.hold(10):
        pass
