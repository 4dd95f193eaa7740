"""What only a GPU uses, as far as a CPU can run it."""

from __future__ import annotations

import pytest
import torch
from arno.engine.decoding.pool import DecodePool
from arno.engine.image_encoding import ImageEncoding, encode_images
from arno.engine.image_stage import Uploads
from arno.engine.self_test import probe_picture
from arno.engine.warming import warm_images, warm_width, widths
from support.engine_runs import picture

pytestmark = pytest.mark.model


def test_the_vision_encoder_can_be_traced_and_gives_the_same(checkpoint, engine):
    """By the compiler's front end; what it generates for a GPU is not run here."""
    pixels = [engine.prepare(picture(i)).pixels for i in range(2)]
    expected = encode_images(checkpoint.network, pixels)
    tower = checkpoint.network.model.vision_tower
    tower.compile(dynamic=False, backend="eager", fullgraph=True)
    try:
        traced = encode_images(checkpoint.network, pixels)
    finally:
        tower._compiled_call_impl = None
        torch.compiler.reset()
    for ours, theirs in zip(traced, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_every_width_is_warmed(most, expected):
    assert list(widths(most)) == expected


def noted(monkeypatch, owner, name, fact):
    """Keep a fact of whatever a method returns."""
    real, facts = getattr(owner, name), []

    def method(self, *args):
        result = real(self, *args)
        facts.append(fact(result))
        return result

    monkeypatch.setattr(owner, name, method)
    return facts


def test_warming_encodes_as_many_images_together_as_may_come(make_engine, monkeypatch):
    engine = make_engine(admit_sequences_max=3)
    counts = noted(monkeypatch, ImageEncoding, "encode", lambda images: len(images.fresh))
    for count in (1, 2, 3):
        warm_images(engine, engine.prepare(probe_picture()), count)
    assert counts == [1, 2, 3]
    assert engine.statistics().step_count == 0
    assert (engine.statistics().waiting_count, engine.statistics().running_count) == (0, 0)


def test_warming_decodes_at_the_full_width_and_leaves_nothing_behind(make_engine, monkeypatch):
    engine = make_engine(batch_sequences_max=5, few_shapes=True)
    shapes = noted(monkeypatch, DecodePool, "step", lambda step: step.widest)
    warm_width(engine, engine.prepare(probe_picture()), 5)
    assert max(shapes) == 5
    assert (engine.statistics().waiting_count, engine.statistics().running_count) == (0, 0)


def test_on_a_cpu_pixels_stay_where_they_are(engine):
    image = engine.prepare(picture(0))
    uploads = Uploads(torch.device("cpu"))
    assert uploads.send(image) is image
    uploads.wait()
