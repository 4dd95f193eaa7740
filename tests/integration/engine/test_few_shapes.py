"""Steps in a few rounded shapes, as a GPU would have them recorded, give the same answers.

What runs here on the CPU is what a CUDA graph would record: the same kernels, over the same slots
that are empty, in tensors that never move.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from arno.engine import DecodingOptions, EngineSettings
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.decoding.launchers import EagerLauncher, StepShape
from support.engine_runs import picture, request, run_all, submit_all
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.model


@pytest.fixture
def few_shapes(make_engine):
    return make_engine(batch_sequences_max=5, admit_sequences_max=2, few_shapes=True)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_answers_are_transformers_own_whatever_shares_the_slots(few_shapes, reference, num_beams):
    requests = [
        request(
            f"s{i}",
            few_shapes.prepare(picture(i % 6)),
            "What"[: 1 + i % 4],
            DecodingOptions(num_beams=num_beams, max_new_tokens=8 + 9 * (i % 8)),
        )
        for i in range(12)
    ]
    submit_all(few_shapes, requests)
    ends = run_all(few_shapes)
    assert few_shapes.statistics().failed_batch_count == 0
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


class Addresses(TorchDispatchMode):
    """Notes the memory that a step's work uses and did not allocate itself."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: set[int] = set()
        self._own: list[torch.Tensor] = []  # kept, so that no address comes twice
        self._own_addresses: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.outside |= set(addresses((args, kwargs))) - self._own_addresses
        result = func(*args, **kwargs)
        made = set(addresses(result)) - self.outside
        if made:
            self._own.append(result)
            self._own_addresses |= made
        return result


def addresses(values):
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return [t.untyped_storage().data_ptr() for t in tensors if not t.is_mkldnn and t.numel()]


class WatchedSteps(EagerLauncher):
    """Notes, by shape, the memory that each step's work points to."""

    def __init__(self) -> None:
        super().__init__(few_shapes=True)
        self.used: defaultdict[StepShape, list[set[int]]] = defaultdict(list)

    def run(self, shape, body):
        with Addresses() as addresses:
            result = super().run(shape, body)
        self.used[shape].append(addresses.outside)
        return result


def test_nothing_that_a_recording_points_to_moves(checkpoint):
    steps = WatchedSteps()
    settings = EngineSettings(model=checkpoint.card.name, device="cpu", batch_sequences_max=5)
    engine = ContinuousEngine(checkpoint, settings, make_launcher=lambda: steps)
    long = DecodingOptions(num_beams=2, max_new_tokens=100, no_repeat_ngram_size=1)
    submit_all(
        engine,
        [request(f"s{i}", engine.prepare(picture(i)), "x" * i, long) for i in range(8)],
    )
    run_all(engine)
    assert max(map(len, steps.used.values())) > 20
    for used in steps.used.values():
        assert all(used[0] == later for later in used)
    assert engine.statistics().failed_batch_count == 0


def test_empty_slots_may_be_advanced_without_end(few_shapes, reference):
    """One long answer after the other beside a slot that was left long ago."""
    short = request("short", few_shapes.prepare(picture(9)))
    submit_all(few_shapes, [short, request("also", short.image, "Where")])
    run_all(few_shapes)
    long = DecodingOptions(num_beams=3, max_new_tokens=120, no_repeat_ngram_size=2)
    for turn in range(2):
        asked = [
            request(f"{turn}-{i}", few_shapes.prepare(picture(turn)), "?" * (i + 1), long)
            for i in range(3)  # in four slots
        ]
        submit_all(few_shapes, asked)
        ends = run_all(few_shapes)
        for each in asked:
            assert ends[each.sequence_id].token_ids == reference.answer(each)
    assert few_shapes.statistics().failed_batch_count == 0
