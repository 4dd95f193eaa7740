"""Steps in a few rounded shapes, as a GPU would have them recorded, give the same answers.

What runs here on the CPU is what a CUDA graph would record: the same kernels, over the same slots
that hold nobody, in tensors that never move.
"""

from __future__ import annotations

import pytest
from arno.engine import DecodingOptions
from arno.engine.decoding.stepping import AsItComes
from support.engine_runs import picture, request, run_all, submit_all

pytestmark = pytest.mark.model


@pytest.fixture
def few_shapes(make_engine):
    engine = make_engine(batch_sequences_max=5, admit_sequences_max=2)
    engine._pool._make_stepping = lambda: AsItComes(few_shapes=True)
    return engine


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


def test_nothing_that_a_recording_points_to_moves(few_shapes):
    long = DecodingOptions(num_beams=2, max_new_tokens=100, no_repeat_ngram_size=1)
    places: set[tuple[int, ...]] = set()

    def look() -> None:
        for batch in few_shapes._pool._batches.values():
            tensors = [*vars(batch._cache).values(), *batch._table._rows.tensors()]
            places.add(tuple(t.data_ptr() for t in tensors if hasattr(t, "data_ptr")))

    submit_all(
        few_shapes,
        [request(f"s{i}", few_shapes.prepare(picture(i)), "x" * i, long) for i in range(8)],
    )
    run_all(few_shapes, watch=look)
    assert len(places) == 1
    assert few_shapes.statistics().failed_batch_count == 0


def test_slots_that_hold_nobody_may_be_moved_on_for_ever(few_shapes, reference):
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
