import copy

import pytest
from arno.engine.checkpoints.config import Layout, StoredConfig, build_config
from arno.errors import ModelError
from support.older_florence import BASE, LARGE


def build(config, tmp_path):
    stored = StoredConfig(tmp_path / "config.json", Layout.OLDER, config)
    return build_config(stored, image_token_id=51289)


def changed(dotted, value):
    config = copy.deepcopy(BASE)
    *path, last = dotted.split(".")
    inner = config
    for name in path:
        inner = inner[name]
    inner[last] = value
    return config


def test_rows_are_added_for_the_image_up_to_a_multiple_of_64(tmp_path):
    config = build(BASE, tmp_path)
    assert (config.text_config.vocab_size, config.image_token_id) == (51328, 51289)


def test_positions_are_the_checkpoints_own(tmp_path):
    assert build(LARGE, tmp_path).text_config.max_position_embeddings == 4096


def test_fields_that_are_not_there_have_the_older_code_s_defaults(tmp_path):
    config = copy.deepcopy(LARGE)
    for name in ("d_model", "encoder_layers"):
        del config["text_config"][name]
    del config["vision_config"]["dim_embed"]
    found = build(config, tmp_path)
    assert (found.text_config.d_model, found.text_config.encoder_layers) == (1024, 12)
    assert list(found.vision_config.embed_dim) == [256, 512, 1024, 2048]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vision_config.model_type", "swin"),
        ("vision_config.image_feature_source", ["spatial_avg_pool"]),
        ("vision_config.image_pos_embed", None),
        ("vision_config.image_pos_embed.type", "sine"),
        ("vision_config.visual_temporal_embedding.type", "LEARNED"),
        ("vision_config.conv_at_attn", False),
    ],
)
def test_what_the_native_classes_do_not_do_is_refused_by_its_field(field, value, tmp_path):
    with pytest.raises(ModelError, match=rf"config.json: {field.rsplit('.type')[0]}"):
        build(changed(field, value), tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("text_config.vocab_size", "many", "vocab_size is 'many'"),
        ("text_config.d_model", "wide", "d_model"),
        ("vision_config.depths", 3, "depths"),
    ],
)
def test_a_field_of_another_type_is_named(field, value, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        build(changed(field, value), tmp_path)
