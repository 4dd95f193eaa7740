"""The cache of slots: every beam attends to its own past, and to nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from arno.engine.decoding.cache import SlotCache, slot_bytes  # noqa: E402
from arno.engine.decoding.decoder import KeysValues, Started  # noqa: E402

OPENING_LENGTH = 2
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cache asks of a decoder."""

    layer_count: int = 2
    head_count: int = 2
    head_width: int = 3
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32


SHAPE = Shape()


def keys_values(marks):
    """Keys and values whose every number is the mark of its position; [S, N] of marks."""
    marks = torch.tensor(marks, dtype=torch.float32)
    values = marks[:, None, :, None].expand(-1, SHAPE.head_count, -1, SHAPE.head_width)
    return KeysValues(values.transpose(2, 3), values)


def started(*prompts):
    """Sequences after the opening; each prompt is a list of marks, padded with 0."""
    longest = max(map(len, prompts))
    rows = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
    opening = [[mark * 10 for mark in prompt[:OPENING_LENGTH]] for prompt in prompts]
    layers = SHAPE.layer_count
    return Started([keys_values(rows)] * layers, [keys_values(opening)] * layers, torch.zeros(1))


def prompt_of(cache, slot, encoded):
    """The marks of a slot's prompt that are not hidden, in the first and the last layer."""
    slots = cache.slots(slice(0, slot + 1))
    hidden = slots.mask(encoded)[slot, 0, 0]
    for layer in slots.cross():
        values, keys = layer.values[slot, 0, :encoded, 0], layer.keys[slot, 0, 0, :encoded]
        assert torch.equal(values, keys)
    return [int(mark) for mark, mask in zip(values, hidden, strict=True) if not mask.isneginf()]


def write(cache, count, positions, longest):
    """Return the past of the first slots for one step, with room for the new tokens."""
    cache.reserve(0, longest, used=count)
    return cache.slots(slice(0, count)).write(positions, longest)


def past_of(step, layer, slot, beam, beams_marks):
    """Write the marks of every beam's new token; return the past that a beam sees, as marks."""
    past = step.update(layer, keys_values(beams_marks))
    visible = step.visible[slot, 0, beam]
    room = len(visible)
    values, keys = past.values[slot, 0, :room, 0], past.keys[slot, 0, 0, :room]
    assert torch.equal(values, keys)
    return sorted(int(mark) for mark, mask in zip(values, visible, strict=True) if mask == 0.0)


def test_prompts_come_back_without_padding_and_without_those_before_them():
    cache = SlotCache(SHAPE, 2, 1)
    cache.fill(0, started([1, 2, 3, 4, 5]), [5])
    cache.fill(0, started([6, 7], [8, 9, 10]), [2, 3])
    assert prompt_of(cache, 0, 5) == [6, 7]
    assert prompt_of(cache, 1, 5) == [8, 9, 10]


def test_a_sequence_sees_nothing_of_the_answer_that_was_in_its_slot():
    cache = SlotCache(SHAPE, 1, 1)
    cache.fill(0, started([1, 2]), [2])
    for position in range(2, 5):
        write(cache, 1, torch.tensor([position]), position + 1)
    cache.fill(0, started([3, 4]), [2])
    later = write(cache, 1, torch.tensor([2]), 8)
    assert past_of(later, 0, 0, 0, [[9]]) == [9, 30, 40]


def test_a_slot_that_is_not_in_use_hides_nothing():
    """Attention over nothing but hidden places would be no number."""
    cache = SlotCache(SHAPE, 3, 1)
    cache.fill(0, started([1, 2]), [2])
    cache.fill(0, started([1] * 40), [40])
    assert not cache.slots(slice(0, 3)).mask(40)[1:].isneginf().any()


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 3))
def test_each_beam_sees_its_own_past_however_beams_change_places(data, slots, beams):
    """Against copies of the past: a list of marks for every beam."""
    cache = SlotCache(SHAPE, slots, beams)
    prompts = [[1 + slot, 5 + slot] for slot in range(slots)]
    for slot, prompt in enumerate(prompts):
        cache.fill(slot, started(prompt), [len(prompt)])
    pasts = [[[mark * 10 for mark in prompt]] * beams for prompt in prompts]
    mark = 1000
    for step_number in range(data.draw(st.sampled_from([3, 8, 40]))):
        length = OPENING_LENGTH + step_number
        step = write(cache, slots, torch.full((slots,), length), length + 1)
        new = [[mark + slot * beams + beam for beam in range(beams)] for slot in range(slots)]
        mark += slots * beams
        for layer in range(SHAPE.layer_count):
            for slot in range(slots):
                for beam in range(beams):
                    expected = sorted([*pasts[slot][beam], new[slot][beam]])
                    assert past_of(step, layer, slot, beam, new) == expected
        places = st.lists(st.integers(0, beams - 1), min_size=beams, max_size=beams)
        parents = [data.draw(places) for _ in range(slots)]
        cache.slots(slice(0, slots)).inherit(torch.tensor(parents))
        pasts = [
            [[*pasts[slot][parent], new[slot][parent]] for parent in parents[slot]]
            for slot in range(slots)
        ]


def test_slots_of_different_lengths_share_a_step():
    cache = SlotCache(SHAPE, 2, 2)
    for slot, prompt in enumerate(([1, 2], [3, 4])):
        cache.fill(slot, started(prompt), [2])
    first = write(cache, 1, torch.tensor([2]), 3)
    first.update(0, keys_values([[100, 101]]))
    both = write(cache, 2, torch.tensor([3, 2]), 4)
    new = [[200, 201], [300, 301]]
    assert past_of(both, 0, 0, 0, new) == [10, 20, 100, 200]
    assert past_of(both, 0, 1, 1, new) == [30, 40, 301]


def test_a_sequence_that_moves_takes_prompt_and_past_along():
    cache = SlotCache(SHAPE, 3, 1)
    for slot, prompt in enumerate(([1, 2], [3, 4, 5], [6, 7])):
        cache.fill(slot, started(prompt), [len(prompt)])
    cache.move([1], [0], longest=3)
    assert prompt_of(cache, 0, 3) == [3, 4, 5]
    assert past_of(write(cache, 1, torch.tensor([2]), 3), 0, 0, 0, [[9]]) == [9, 30, 40]


def test_a_wiped_slot_holds_no_numbers_that_are_none():
    cache = SlotCache(SHAPE, 2, 1)
    nan = float("nan")
    cache.fill(0, started([nan, nan, nan]), [3])
    cache.fill(1, started([1, 2]), [2])
    cache.wipe([0])
    layers = [
        *cache.slots(slice(0, 1)).cross(),
        write(cache, 1, torch.tensor([2]), 3).update(0, keys_values([[1]])),
    ]
    assert not any(part.isnan().any() for layer in layers for part in (layer.keys, layer.values))
    assert prompt_of(cache, 1, 2) == [1, 2]


def test_a_cache_that_grows_keeps_its_content_and_one_that_is_large_enough_stays():
    cache = SlotCache(SHAPE, 2, 2)
    cache.fill(0, started([1, 2]), [2])
    cache.reserve(100, 100, used=1)
    size = cache.size_bytes
    cache.fill(1, started(list(range(1, 101))), [100])
    write(cache, 2, torch.tensor([99, 99]), 100)
    assert cache.size_bytes == size
    assert prompt_of(cache, 0, 100) == [1, 2]
    assert prompt_of(cache, 1, 100) == list(range(1, 101))


def test_memory_at_its_largest_is_what_is_said_of_a_slot():
    """Rounded up to whole blocks of positions, and not counting the masks."""
    encoded, positions, beams = 64, 64, 3
    cache = SlotCache(SHAPE, 1, beams)
    cache.reserve(encoded, positions, used=0)
    mask_bytes = beams * positions * beams * SHAPE.dtype.itemsize
    assert cache.size_bytes == slot_bytes(SHAPE, beams, encoded, positions) + mask_bytes
