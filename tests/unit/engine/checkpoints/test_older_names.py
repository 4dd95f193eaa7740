import pytest
import torch
from arno.engine.checkpoints.assembly import (
    LOGITS_BIAS,
    layout_of_names,
    native_module,
    native_name,
)
from arno.engine.checkpoints.config import Layout, StoredConfig, build_config
from arno.engine.checkpoints.load import empty_network
from support.older_florence import BASE, LARGE, SMALL, native_twin, older_names

TIED = {
    "lm_head.weight",
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
}


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("config", [BASE, LARGE, SMALL], ids=["base", "large", "small"])
def test_names_of_the_older_layout_are_all_of_the_native_ones_once(config):
    older = [name for name in older_names(config) if name != LOGITS_BIAS]
    translated = [native_name(name) for name in older]
    assert len(set(translated)) == len(older)
    assert set(translated) == set(empty_network(native_twin(config)).state_dict()) - TIED


@pytest.mark.parametrize(
    ("config", "size_millions"), [(BASE, 231), (LARGE, 776)], ids=["base", "large"]
)
def test_configs_of_the_first_releases_give_the_native_shapes(config, size_millions, tmp_path):
    stored = StoredConfig(tmp_path / "config.json", Layout.OLDER, config)
    converted = empty_network(build_config(stored, image_token_id=51289))
    twin = empty_network(native_twin(config, rows=51328))
    assert shapes(converted) == shapes(twin)
    assert converted.config.vision_config.to_dict() == twin.config.vision_config.to_dict()
    parameter_count = sum(weight.numel() for weight in converted.parameters())
    assert parameter_count == pytest.approx(size_millions * 1e6, rel=0.01)
    assert all(weight.device == torch.device("meta") for weight in converted.parameters())


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.convs.0.proj.weights",
        "vision_tower.convs.0.conv.weight",
        "vision_tower.blocks.0.0.spatial_block.channel_attn.fn.qkv.weight",
        "vision_tower.blocks.0.0.spatial_block.window_attn.fn.query.weight",
        "vision_tower.blocks.0.spatial_block.ffn.norm.weight",
        "vision_tower.head.weight",
        "image_projection.weight",
        "language_model.shared.weight",
        "nonsense",
    ],
)
def test_a_name_that_the_older_layout_does_not_have_has_no_translation(name):
    assert native_name(name) is None


def test_modules_are_translated_as_adapters_name_them():
    assert native_module("language_model.lm_head") == "lm_head"
    assert (
        native_module("vision_tower.blocks.2.8.channel_block.ffn.fn.net.fc2")
        == "model.vision_tower.blocks.2.8.channel_block.ffn.fc2"
    )


def test_layouts_are_told_by_their_names():
    assert layout_of_names(["image_projection", "language_model.lm_head.weight"]) is Layout.OLDER
    assert layout_of_names(["model.vision_tower.convs.0.conv.bias"]) is Layout.NATIVE
    assert layout_of_names(["transformer.h.0.attn.weight"]) is None
