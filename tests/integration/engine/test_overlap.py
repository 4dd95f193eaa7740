"""Images are encoded beside decoding: neither waits for the other, and nothing gets lost."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from arno.engine import SequenceFinished
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.encoding.image_encoding import ImageEncoding
from arno.engine.encoding.image_preparation import Normaliser
from arno.engine.encoding.image_stage import ImageStage
from arno.vocabulary import FinishReason
from support.engine_runs import GREEDY, encoded_ids, picture, request, run_all

pytestmark = pytest.mark.model

_LONGEST_S = 60


@pytest.fixture
def engine(make_engine: Callable[..., ContinuousEngine]) -> ContinuousEngine:
    return make_engine(encode_overlap="on")


@contextmanager
def encoding_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no image's encoding begin before the block ends."""
    real, released = ImageEncoding.encode, threading.Event()

    def held(self, images):
        assert released.wait(_LONGEST_S)
        return real(self, images)

    monkeypatch.setattr(ImageEncoding, "encode", held)
    try:
        yield
    finally:
        released.set()
        monkeypatch.setattr(ImageEncoding, "encode", real)


def start(engine, asked):
    """Submit a sequence, and step until it decodes."""
    engine.submit(asked)
    while not engine.statistics().step_count:
        engine.step()


def test_decoding_goes_on_while_an_image_is_encoded(engine, reference, monkeypatch):
    first, second = (
        request(f"s{i}", engine.prepare(picture(i)), "Where", GREEDY) for i in range(2)
    )
    start(engine, first)
    ends = {}
    with encoding_held(monkeypatch):
        engine.submit(second)
        while not ends:
            told = [event for event in engine.step() if isinstance(event, SequenceFinished)]
            ends.update((end.sequence_id, end) for end in told)
        statistics = engine.statistics()
        assert (statistics.waiting_count, statistics.running_count) == (0, 1)
    ends |= run_all(engine)
    for asked in (first, second):
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)


@pytest.mark.parametrize("reason", [FinishReason.CANCELLED, FinishReason.DEADLINE])
def test_a_sequence_that_is_retired_while_its_image_is_encoded_ends_at_once(
    engine, clock, monkeypatch, reason
):
    start(engine, request("other", engine.prepare(picture(1))))
    asked = request("gone", engine.prepare(picture(0)), deadline_s=clock.monotonic_s() + 5)
    with encoding_held(monkeypatch):
        engine.submit(asked)
        engine.step()
        if reason is FinishReason.CANCELLED:
            engine.cancel("gone")
        else:
            clock.advance(5)
        ends = [event for event in engine.step() if isinstance(event, SequenceFinished)]
        assert [(end.sequence_id, end.finish_reason) for end in ends] == [("gone", reason)]
    assert run_all(engine).keys() == {"other"}


def test_an_image_that_is_being_encoded_is_encoded_once(engine, reference, monkeypatch):
    start(engine, request("other", engine.prepare(picture(1))))
    image = engine.prepare(picture(0))
    asked = [request(f"s{i}", image, prompt) for i, prompt in enumerate(["What?", "Where"])]
    with encoding_held(monkeypatch):
        for each in asked:
            engine.submit(each)
            engine.step()
    ends = run_all(engine)
    assert engine.statistics().encoded_image_count == 2
    for each in asked:
        assert ends[each.sequence_id].token_ids == reference.answer(each)


def test_an_image_that_cannot_be_encoded_fails_alone(engine, reference):
    whole, other = (engine.prepare(picture(i)) for i in range(2))
    broken = dataclasses.replace(other, pixels=torch.zeros(3, 7, 7, 7))
    good, bad = request("s0", whole), request("s1", broken)
    start(engine, request("other", engine.prepare(picture(2))))
    for asked in (good, bad):
        engine.submit(asked)
    ends = run_all(engine)
    assert ends["s1"].finish_reason is FinishReason.ERROR
    assert ends["s0"].token_ids == reference.answer(good)


def test_an_idle_engine_waits_for_the_encoder_instead_of_turning(engine):
    engine.submit(request("s", engine.prepare(picture(0)), "Where", GREEDY))
    assert encoded_ids(engine.step()) == ["s"], "the step that began it has waited for it"
    assert engine.statistics().encoded_image_count == 1


def test_closing_lets_the_thread_go(checkpoint):
    before = set(threading.enumerate())
    images = ImageEncoding(checkpoint.network, Normaliser(checkpoint.recipe), cache_bytes=0)
    stage = ImageStage(images, overlap=True)
    stage.begin([])
    assert stage.take(wait=True) is not None
    (thread,) = set(threading.enumerate()) - before
    stage.close()
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("choice", "threads", "cpus", "overlaps"),
    [
        ("auto", 1, 2, True),
        ("auto", 2, 2, False),
        ("auto", 1, 1, False),
        ("on", 2, 2, True),
        ("off", 1, 8, False),
    ],
)
def test_by_default_it_is_done_where_a_processor_is_free(
    make_engine, monkeypatch, choice, threads, cpus, overlaps
):
    monkeypatch.setattr("arno.engine.encoding.image_stage.available_cpus", lambda: cpus)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    real, encoded_on = ImageEncoding.encode, []

    def noted(self, images):
        encoded_on.append(threading.current_thread())
        return real(self, images)

    monkeypatch.setattr(ImageEncoding, "encode", noted)
    engine = make_engine(encode_overlap=choice)
    engine.submit(request("s", engine.prepare(picture(0)), "Where", GREEDY))
    run_all(engine)
    assert [thread is not threading.current_thread() for thread in encoded_on] == [overlaps]
