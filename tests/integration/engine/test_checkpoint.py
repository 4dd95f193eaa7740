"""A checkpoint loads whole or not at all, and says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from arno.engine import EngineSettings, create_engine
from arno.engine.checkpoints import load_checkpoint
from arno.engine.checkpoints.load import choose_device, choose_dtype
from arno.errors import ModelError
from arno.vocabulary import FinishReason
from safetensors.torch import load_file, save_file
from support.engine_runs import GREEDY, picture, request, run_all
from support.random_florence import build_random_florence

pytestmark = pytest.mark.model


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path, **changes: object):
    settings = EngineSettings(model=str(folder), device="cpu", **changes)
    return load_checkpoint(settings)


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def drop_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop(sorted(weights)[5]))


def add_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update(stray=torch.zeros(1)))


def reshape_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({sorted(weights)[5]: torch.zeros(3, 1)}))


def lose_vision(folder: Path) -> None:
    edit(folder / "config.json", vision_config=None)


def odd_heads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(folder / "config.json", text_config=config["text_config"] | {"encoder_attention_heads": 3})


def make_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


FAULTS = {
    "truncated weights": (truncate, "model.safetensors is cut short"),
    "a weight is missing": (drop_weight, "missing: model"),
    "a weight too many": (add_weight, "unknown: stray"),
    "a weight of another shape": (reshape_weight, r"another shape: .* \[3, 1\] instead of"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    "only a pickle of nothing": (make_pickle, "hold nothing"),
    "the parts of another layout": (lose_vision, "vision_config or text_config"),
    "sizes that do not divide": (odd_heads, "config.json"),
    "another model": (
        lambda folder: edit(folder / "config.json", model_type="bert"),
        "'bert', not 'florence2'",
    ),
    "a configuration that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "not JSON",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "has no tokenizer: no tokenizer.json or vocab.json",
    ),
    "no image recipe": (
        lambda folder: (folder / "preprocessor_config.json").unlink(),
        "how images are prepared",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_is_not_whole_is_refused_with_a_reason(folder, fault):
    breaks, words = FAULTS[fault]
    breaks(folder)
    with pytest.raises(ModelError, match=words):
        load(folder)


def test_a_tokenizer_without_all_locations_is_refused(tmp_path):
    build_random_florence(tmp_path, locations=999)
    with pytest.raises(ModelError, match="lacks <loc_0> to <loc_999>"):
        load(tmp_path)


def test_a_generation_config_in_the_folder_changes_nothing(folder, reference):
    wrong = {
        "num_beams": 5,
        "max_length": 4,
        "min_new_tokens": 15,
        "no_repeat_ngram_size": 1,
        "repetition_penalty": 9.0,
        "forced_bos_token_id": 77,
        "suppress_tokens": [0, 2],
        "do_sample": True,
        "temperature": 5.0,
    }
    (folder / "generation_config.json").write_text(json.dumps(wrong))
    engine = create_engine(EngineSettings(model=str(folder), device="cpu"))
    asked = request("s", engine.prepare(picture(0)), options=GREEDY)
    engine.submit(asked)
    assert run_all(engine)["s"].token_ids == reference.answer(asked)
    engine.close()


def test_the_card_says_what_runs(checkpoint):
    card = checkpoint.card
    assert (card.dtype, card.position_count, card.image_size_px) == ("float32", 128, 64)
    assert len(card.fingerprint) == 64


def test_half_the_bits_run_too(folder):
    engine = create_engine(EngineSettings(model=str(folder), device="cpu", dtype="bfloat16"))
    engine.submit(request("s", engine.prepare(picture(0)), options=GREEDY))
    end = run_all(engine)["s"]
    assert end.finish_reason in {FinishReason.STOP, FinishReason.LENGTH}
    assert engine.card.dtype == "bfloat16"
    engine.close()
    engine.close()


def test_devices_and_formats_are_chosen_by_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ModelError, match="no usable GPU: "):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ModelError, match="last GPU is cuda:1"):
        choose_device("cuda:2")
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32


def test_a_model_that_answers_nothing_but_special_tokens_is_refused(folder):
    def silence(weights):
        """Have the decoder end in the begin token's direction, whatever it was asked."""
        norm = "decoder.layers.1.final_layer_norm."
        begin = next(value for name, value in weights.items() if name.endswith("shared.weight"))[0]
        for name, value in weights.items():
            if norm in name:
                value.copy_(begin * 10 if name.endswith("bias") else torch.zeros_like(value))

    change_weights(folder, silence)
    settings = EngineSettings(model=str(folder), device="cpu")
    with pytest.raises(ModelError, match="nothing but special tokens"):
        create_engine(settings).warm_up()
    create_engine(settings.model_copy(update={"allow_untrained": True})).warm_up()


def test_warming_up_leaves_no_trace(engine):
    engine.warm_up()
    statistics = engine.statistics()
    assert (statistics.waiting_count, statistics.token_count, statistics.step_count) == (0, 0, 0)
