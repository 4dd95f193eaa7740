"""Steps in a few rounded shapes, as a GPU would have them recorded, give the same answers.

What runs here on the CPU is what a CUDA graph would record: the same kernels, over the same slots
that are empty, in tensors that never move.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict

import pytest
import torch
from arno.engine import DecodingOptions, EngineSettings
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.decoding.launchers import EagerLauncher, StepShape
from arno.vocabulary import Task
from arno.vocabulary.task_grammars import Constraint
from support.engine_runs import picture, request, run_all, submit_all
from torch.overrides import TorchFunctionMode
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

    def forget(self):
        self.used.clear()


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


def test_answers_held_to_grammars_are_the_same_and_recorded_until_the_table_grows(
    checkpoint, make_engine
):
    steps = WatchedSteps()
    settings = EngineSettings(model=checkpoint.card.name, device="cpu", batch_sequences_max=4)
    few_shapes = ContinuousEngine(checkpoint, settings, make_launcher=lambda: steps)
    options = DecodingOptions(num_beams=2, max_new_tokens=40)
    short, long = ("ab", "zebra"), tuple(f"{letter}bcdefgh" for letter in "abcdef")
    found = []
    for engine in (few_shapes, make_engine()):
        ends = {}
        for turn, classes in enumerate([(), short, short, long]):
            constraint = Constraint(Task.OPEN_VOCABULARY_DETECTION, classes or None)
            image = engine.prepare(picture(turn))
            submit_all(
                engine,
                [
                    request(f"{turn}{n}", image, "x" * n, options, constraint=constraint)
                    for n in range(3)
                ],
            )
            ends |= run_all(engine)
        assert engine.statistics().failed_batch_count == 0
        found.append({name: end.token_ids for name, end in ends.items()})
    assert found[0] == found[1]
    # What is left was recorded for the largest grammar, and holds for every later step.
    assert max(map(len, steps.used.values())) > 3
    for used in steps.used.values():
        assert all(used[0] == later for later in used)


class Factories(TorchFunctionMode):
    """Refuses to make a tensor of the host's numbers on a device, which waits for a GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):
            assert kwargs.get("device") is None, "see `upload`"
        return func(*args, **kwargs)


def test_no_step_waits_for_a_device_to_take_numbers(make_engine):
    engine = make_engine(batch_sequences_max=3, admit_sequences_max=2)
    image = engine.prepare(picture(0))
    held = Constraint(Task.OPEN_VOCABULARY_DETECTION, ("ab", "zebra"))
    requests = [
        *(request(f"s{n}", image, "x" * n) for n in range(4)),
        *(request(f"h{n}", image, "x" * n, constraint=held) for n in range(3)),
        request("c", image, candidates=("ab", "a zebra")),
    ]
    for turn in range(2):  # in the first, batches are made
        submit_all(
            engine, [dataclasses.replace(r, sequence_id=f"{turn}{r.sequence_id}") for r in requests]
        )
        with Factories() if turn else contextlib.nullcontext():
            run_all(engine)
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
