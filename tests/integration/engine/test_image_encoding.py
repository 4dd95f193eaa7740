"""The vision encoder: how many images go through it in one pass."""

from __future__ import annotations

import pytest
import torch
from arno.engine.encoding import image_encoding
from arno.engine.encoding.image_encoding import encode_images
from arno.engine.encoding.image_preparation import Normaliser
from support.engine_runs import picture

pytestmark = pytest.mark.model


def test_images_that_are_too_many_for_one_pass_take_several_and_come_out_the_same(
    checkpoint, engine, monkeypatch
):
    normalise = Normaliser(checkpoint.recipe)
    pixels = [engine.prepare(picture(i)).pixels for i in range(5)]
    together = encode_images(checkpoint.network, normalise, pixels)
    network, passes = checkpoint.network, []
    encode = network.get_image_features

    def counted(batch):
        passes.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(network, "get_image_features", counted)
    monkeypatch.setattr(image_encoding, "_CPU_PIXELS_AT_ONCE", 2 * pixels[0][0].numel())
    apart = encode_images(network, normalise, pixels)
    assert passes == [2, 2, 1]
    torch.testing.assert_close(torch.stack(apart), torch.stack(together))
