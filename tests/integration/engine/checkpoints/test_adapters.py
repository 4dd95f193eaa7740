"""LoRA folders of peft, of models in both layouts, answer as peft's own merged model does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from arno.engine import EngineSettings
from arno.engine.checkpoints import load_checkpoint
from arno.errors import ModelError
from safetensors.torch import load_file, save_file
from support.older_florence import ROWS, older_of_native

peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.model,
    # peft asks transformers by a name that goes away, and warns of what is tested here.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*tie_word_embeddings:UserWarning"),
]

TARGETS = ["q_proj", "v_proj", "fc2", "qkv", "conv"]
FC2 = "model.language_model.decoder.layers.1.fc2"


def network_of(folder: Path, **changes: object):
    settings = {"model": str(folder), "device": "cpu"} | changes
    return load_checkpoint(EngineSettings.model_validate(settings)).network


def train(base: Path, folder: Path, **changes: object) -> dict[str, torch.Tensor]:
    """Write an adapter that changes something, and return the weights that peft merges."""
    torch.manual_seed(3)
    # Two models, since peft changes the one that it is given.
    network = network_of(base)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS} | changes
    adapted = peft.get_peft_model(network, peft.LoraConfig(**settings))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": str(base)}
    path.write_text(json.dumps(config))
    return dict(adapted.merge_and_unload().state_dict())


def rename_to_older(folder: Path) -> None:
    """Name the adapted modules as a model of the older layout has them."""
    found = load_file(folder / "adapter_model.safetensors")
    top = "base_model.model."
    renamed = {}
    for name, tensor in found.items():
        module, which = name.removeprefix(top).split(".lora_")
        older = older_of_native(f"{module}.weight").removesuffix(".weight")
        renamed[f"{top}{older}.lora_{which}"] = tensor
    save_file(renamed, folder / "adapter_model.safetensors")


def assert_same(found, wanted) -> None:
    assert set(found) == set(wanted)
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    "changes",
    [{}, {"use_rslora": True}, {"rank_pattern": {"fc2": 2}, "alpha_pattern": {"q_proj": 11}}],
    ids=["plain", "rank-stabilised", "patterns"],
)
def test_a_merged_adapter_is_what_peft_merges(twins, tmp_path, changes):
    wanted = train(twins.older, tmp_path, **changes)
    assert_same(network_of(tmp_path).state_dict(), wanted)
    base = network_of(twins.older).state_dict()
    assert not torch.equal(wanted[f"{FC2}.weight"], base[f"{FC2}.weight"])


def test_an_adapter_of_the_older_layout_fits_a_model_of_either(twins, tmp_path):
    wanted = train(twins.older, tmp_path)
    rename_to_older(tmp_path)
    assert_same(network_of(tmp_path).state_dict(), wanted)
    load_checkpoint(
        EngineSettings.model_validate({"model": str(twins.older), "device": "cpu"})
    ).tokenizer.wrapped.save_pretrained(twins.native)
    assert_same(network_of(tmp_path, base_model=str(twins.native)).state_dict(), wanted)


def test_an_adapter_of_the_output_leaves_the_embedding_alone(twins, tmp_path):
    train(twins.older, tmp_path, target_modules=["lm_head"])
    network, base = network_of(tmp_path), network_of(twins.older)
    shared = network.model.language_model.shared.weight
    assert torch.equal(shared, base.model.language_model.shared.weight)
    assert not torch.allclose(network.lm_head.weight[:ROWS], shared[:ROWS])
    factors = load_file(tmp_path / "adapter_model.safetensors")
    down, up = (factors[f"base_model.model.lm_head.lora_{half}.weight"] for half in "AB")
    torch.testing.assert_close(network.lm_head.weight, shared + up @ down * 6 / 4)


EMBEDDING = "base_model.model.model.language_model.{}.weight"


def add(weights: dict[str, torch.Tensor]):
    def change(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(load_file(path) | weights, path)

    return change


def test_a_new_embedding_is_that_of_encoder_and_decoder(twins, adapter):
    base = network_of(twins.older)
    new = base.model.language_model.shared.weight + 1
    add({EMBEDDING.format("decoder.embed_tokens"): new})(adapter)
    network = network_of(adapter)
    language = network.model.language_model
    for part in (language.shared, language.encoder.embed_tokens, language.decoder.embed_tokens):
        assert torch.equal(part.weight, new)
    assert torch.equal(network.lm_head.weight, base.lm_head.weight)


def test_an_adapter_has_a_fingerprint_of_its_own(twins, tmp_path):
    train(twins.older, tmp_path)
    settings = {"device": "cpu"}
    cards = [
        load_checkpoint(EngineSettings.model_validate(settings | {"model": str(folder)})).card
        for folder in (twins.older, tmp_path)
    ]
    assert cards[0].fingerprint != cards[1].fingerprint


@pytest.fixture(scope="module")
def trained(twins, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(twins.older, folder)
    return folder


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "adapter"))


def configure(**changes: object):
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def rename(old: str, new: str):
    def change(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        weights = load_file(path)
        save_file({name.replace(old, new): weight for name, weight in weights.items()}, path)

    return change


def halve(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(f"base_model.model.{FC2}.lora_B.weight")
    save_file(weights, path)


FAULTS = {
    "another kind of adapter": (configure(peft_type="IA3"), "peft_type is 'IA3'"),
    "weight decomposition": (configure(use_dora=True), "use_dora"),
    "no rank": (configure(r=None), "r is None"),
    "an unknown module": (rename("decoder.layers.1", "decoder.layers.7"), r"layers\.7.*lacks"),
    "half an adapter": (halve, "half an adapter for model.language_model.decoder.layers.1.fc2"),
    "halves of other sizes": (
        add({f"base_model.model.{FC2}.lora_B.weight": torch.ones(8, 3)}),
        "halves for model.language_model.decoder.layers.1.fc2.* do not fit",
    ),
    "several embeddings": (
        add(
            {
                EMBEDDING.format("encoder.embed_tokens"): torch.ones(2, 2),
                EMBEDDING.format("decoder.embed_tokens"): torch.zeros(2, 2),
            }
        ),
        "are one matrix in Florence-2, and differ",
    ),
    "patterns that are none": (configure(alpha_pattern=[11]), "alpha_pattern"),
    "a pattern that cannot be read": (
        configure(alpha_pattern={"q_proj(": 11}),
        "alpha_pattern .* is no pattern of names",
    ),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "neither adapter_model.safetensors",
    ),
    "no model that it adapts": (
        configure(base_model_name_or_path="./no/such"),
        "cannot be found.*--base-model",
    ),
    "no name of what it adapts": (configure(base_model_name_or_path=None), "does not say which"),
    "a config that is none": (
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        "adapter_config.json is not JSON",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_adapter_that_does_not_fit_is_refused_with_a_reason(adapter, fault):
    breaks, words = FAULTS[fault]
    breaks(adapter)
    with pytest.raises(ModelError, match=words):
        network_of(adapter)


def test_a_base_model_for_what_is_no_adapter_is_refused(twins):
    with pytest.raises(ModelError, match=r"base_model: .* is no adapter"):
        network_of(twins.older, base_model="tiny")
