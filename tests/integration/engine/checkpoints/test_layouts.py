"""Both layouts of one model give the same tokens, whatever kind of file they are in."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from arno.engine import EngineSettings
from arno.engine.checkpoints import load_checkpoint
from arno.errors import ModelError
from safetensors.torch import load_file, save_file
from support.older_florence import ROWS, bart_tokenizer, older_of_native
from support.random_florence import PREPROCESSOR

from .conftest import answers_of

pytestmark = pytest.mark.model

SHARED = "language_model.model.shared.weight"


def load(folder: Path, **changes: object):
    return load_checkpoint(
        EngineSettings.model_validate({"model": str(folder), "device": "cpu"} | changes)
    )


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def to_pickle(folder: Path, weights: dict[str, torch.Tensor] | None = None) -> Path:
    weights = load_file(folder / "model.safetensors") if weights is None else weights
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def shard(folder: Path, *, suffix: str = "safetensors") -> dict[str, str]:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    where = {}
    for number, half in enumerate((names[::2], names[1::2]), start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        part = {name: weights[name] for name in half}
        (save_file if suffix == "safetensors" else torch.save)(part, folder / file)
        where |= dict.fromkeys(half, file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": where}))
    return where


@pytest.fixture(scope="module")
def wanted(twins, native_with_tokenizer):
    return answers_of(native_with_tokenizer)


@pytest.fixture(scope="module")
def native_with_tokenizer(twins) -> Path:
    load(twins.older).tokenizer.wrapped.save_pretrained(twins.native)
    return twins.native


def test_the_older_layout_answers_as_the_native_one_does(twins, wanted, native_with_tokenizer):
    assert answers_of(twins.older) == wanted
    native, older = (load(f).network.state_dict() for f in (native_with_tokenizer, twins.older))
    assert {
        name for name, weight in native.items() if not torch.equal(weight, older[name])
    } == set()
    assert len(set(wanted.values())) > len(wanted) // 2, "they all look alike"


def test_answers_are_those_of_the_weights_without_added_rows(twins, wanted):
    network = load(twins.older).network
    assert network.lm_head.weight.shape[0] > ROWS
    assert torch.equal(network.lm_head.weight[:ROWS], twins.network.lm_head.weight)
    assert max(token for tokens in wanted.values() for token in tokens) < ROWS


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_together(older, wanted, suffix):
    shard(older, suffix=suffix)
    assert answers_of(older) == wanted


def test_tensors_in_a_pickle_are_read(older, wanted):
    to_pickle(older)
    assert answers_of(older) == wanted


def test_a_matrix_may_stand_there_under_each_of_its_names(older, wanted):
    def repeat(weights):
        for name in ("lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens"):
            weights[f"language_model.{name}.weight"] = weights[SHARED].clone()

    change_weights(older, repeat)
    assert answers_of(older) == wanted


def test_a_matrix_may_stand_there_under_another_of_its_names(older, wanted):
    def rename(weights):
        weights["language_model.lm_head.weight"] = weights.pop(SHARED)

    change_weights(older, rename)
    assert answers_of(older) == wanted


def test_native_names_under_an_older_config_are_read(older, wanted):
    def rename(weights):
        older_names = {older_of_native(name): name for name in load(older).network.state_dict()}
        for name in list(weights):
            tensor = weights.pop(name)
            if name in older_names:
                tensor = tensor.t().contiguous() if name == "image_projection" else tensor
                weights[older_names[name]] = tensor

    change_weights(older, rename)
    assert answers_of(older) == wanted


def test_a_tokenizer_of_separate_files_is_read(older, wanted):
    tokenizer = bart_tokenizer()
    (older / "tokenizer.json").unlink()
    tokenizer.model.save(str(older))
    assert answers_of(older) == wanted


def test_a_tokenizer_that_has_its_markers_is_left_as_it_is(older, wanted):
    load(older).tokenizer.wrapped.save_pretrained(older)
    assert answers_of(older) == wanted


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_any_format_is_loaded_as_any_other(older, dtype):
    change_weights(older, lambda weights: weights.update({n: w.half() for n, w in weights.items()}))
    network = load(older, dtype=dtype).network
    assert {str(weight.dtype) for weight in network.parameters()} == {f"torch.{dtype}"}


def test_weights_of_the_wanted_format_stay_in_their_file(older):
    network = load(older).network
    assert (
        network.lm_head.weight.data_ptr() == network.model.language_model.shared.weight.data_ptr()
    )
    maps = Path("/proc/self/maps").read_text()
    assert str(older / "model.safetensors") in maps


def test_no_code_of_the_folder_runs(older):
    # processing_florence2.py would end the process.
    load(older)


class Payload:
    """A pickle that writes a file when it is read by an ordinary reader."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(older, tmp_path):
    file = to_pickle(older, {SHARED: Payload(str(tmp_path / "ran"))})
    with pytest.raises(ModelError, match=r"something else than tensors.*GLOBAL getattr") as caught:
        load(older)
    assert str(file) in caught.value.message
    assert "Please" not in caught.value.message
    file.write_bytes(pickle.dumps({SHARED: Payload(str(tmp_path / "ran"))}))
    with pytest.raises(ModelError, match=r"pytorch_model.bin"):
        load(older)
    assert not (tmp_path / "ran").exists()


def drop(name):
    return lambda folder: change_weights(folder, lambda weights: weights.pop(name))


def put(name, tensor):
    return lambda folder: change_weights(folder, lambda weights: weights.update({name: tensor}))


def truncate(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def poison(value):
    def change(weights):
        weights[SHARED][7, 3] = value

    return lambda folder: change_weights(folder, change)


def lose_a_shard(folder):
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def lie_in_the_index(folder):
    where = shard(folder)
    name, file = next(iter(where.items()))
    other = next(found for found in where.values() if found != file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where | {name: other}}))


def leave_the_folder(folder):
    where = shard(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where | {SHARED: "../other.safetensors"}}))


def truncate_pickle(folder):
    file = to_pickle(folder)
    file.write_bytes(file.read_bytes()[:5000])


def without_locations(folder):
    edit(folder / "config.json", auto_map=None)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = 261
    (folder / "config.json").write_text(json.dumps(config))


FAULTS = {
    "a missing name": (
        drop("vision_tower.blocks.2.1.channel_block.channel_attn.fn.qkv.bias"),
        r"missing: model.vision_tower.blocks.2.1.channel_block.channel_attn.qkv.bias$",
    ),
    "an unknown name": (
        put("vision_tower.extra.weight", torch.ones(1)),
        "unknown: vision_tower.ex",
    ),
    "a bare name": (put("nonsense", torch.ones(1)), "unknown: nonsense"),
    "another shape": (
        put("image_proj_norm.bias", torch.ones(3)),
        r"another shape: model.multi_modal_projector.image_proj_norm.bias \[3\] instead of \[32\]",
    ),
    "another embedding": (put(SHARED, torch.ones(99, 32)), r"shared.weight \[99, 32\] instead"),
    "a bias that the native classes lack": (
        put("language_model.final_logits_bias", torch.ones(1, ROWS)),
        "final_logits_bias is not zero",
    ),
    "an output matrix of its own": (
        put("language_model.lm_head.weight", torch.ones(ROWS, 32)),
        "lm_head.weight and model.language_model.shared.weight are one matrix",
    ),
    "a file cut short": (truncate, "model.safetensors is cut short"),
    "an empty file": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "model.safetensors is cut short",
    ),
    "NaN": (poison(torch.nan), "shared.weight holds NaN or infinity"),
    "infinity": (poison(torch.inf), "shared.weight holds NaN or infinity"),
    "a missing shard": (lose_a_shard, "names model-00002-of-00002.safetensors, which is not there"),
    "an index that is wrong": (lie_in_the_index, "says that .* is in model-0000"),
    "a shard elsewhere": (leave_the_folder, r"'../other.safetensors', which is no file beside it"),
    "a pickle cut short": (truncate_pickle, "pytorch_model.bin"),
    "a pickle of something else": (
        lambda folder: to_pickle(folder, {SHARED: [1.0]}),
        r"'language_model.model.shared.weight' is a list, not a tensor",
    ),
    "a tokenizer without room for locations": (
        without_locations,
        "a tokenizer with 1285 tokens, markers included, and a model with 261",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
    "a tokenizer that is none": (
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        "the tokenizer of .* cannot be read",
    ),
    "a config that is none": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "config.json holds no JSON object",
    ),
    "a config without parts": (
        lambda folder: edit(folder / "config.json", vision_config=None),
        "config.json lacks vision_config",
    ),
    "another kind of model": (
        lambda folder: save_file({"h.0.weight": torch.ones(1)}, folder / "model.safetensors"),
        "weights of another kind of model: h.0.weight",
    ),
    "images that are cropped": (
        lambda folder: edit(folder / "preprocessor_config.json", do_center_crop=True),
        "cropped",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_of_the_older_layout_is_refused_with_a_reason(older, fault):
    breaks, words = FAULTS[fault]
    breaks(older)
    with pytest.raises(ModelError, match=words):
        load(older)


def test_values_too_large_for_the_wanted_format_are_told(older):
    poison(1e20)(older)
    with pytest.raises(ModelError, match=r"or what torch\.float16 cannot hold"):
        load(older, dtype="float16")


def test_a_native_model_may_have_an_output_matrix_of_its_own(native_with_tokenizer, tmp_path):
    import shutil

    folder = Path(shutil.copytree(native_with_tokenizer, tmp_path / "model"))
    edit(folder / "config.json", tie_word_embeddings=False)
    head = torch.randn(load(native_with_tokenizer).network.lm_head.weight.shape)
    change_weights(folder, lambda weights: weights.update({"lm_head.weight": head}))
    network = load(folder).network
    assert torch.equal(network.lm_head.weight, head)
    assert not torch.equal(network.model.language_model.shared.weight, head)


def test_the_image_recipe_is_the_same_in_both_layouts(twins):
    assert load(twins.older).recipe.side_px == PREPROCESSOR["size"]["height"]
