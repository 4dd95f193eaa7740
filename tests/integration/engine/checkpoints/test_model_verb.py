"""`arno model`, as people use it, and what its folders are worth in plain transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from arno.cli.main import root
from arno.engine import EngineSettings, create_engine
from arno.engine.checkpoints import load_checkpoint
from arno.engine.checkpoints.folders import fingerprint
from arno.engine.checkpoints.random_model import IMAGE_TOKEN_ID, write_random_model
from arno.errors import ModelError
from arno.vocabulary import CATALOGUE
from click.testing import CliRunner
from PIL import Image
from support.arno_up import arno
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from .conftest import answers_of

pytestmark = [pytest.mark.model, pytest.mark.slow]


def run(*words: object):
    done = CliRunner().invoke(root, ["model", *map(str, words)], standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def random_tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "tiny"
    write_random_model(folder, "tiny", seed=1, dtype=torch.float32)
    return folder


def test_a_converted_model_answers_as_before_and_needs_no_conversion(twins, tmp_path):
    run("convert", twins.older, "--out", tmp_path / "out")
    assert answers_of(tmp_path / "out") == answers_of(twins.older)
    facts = json.loads(run("inspect", tmp_path / "out", "--json").output)
    assert (facts["config_layout"], facts["weights_layout"]) == ("native", "native")
    assert facts["faults"] == []


def test_a_converted_model_is_one_for_plain_transformers(twins, tmp_path):
    run("convert", twins.older, "--out", tmp_path / "out", "--dtype", "float16")
    processor = AutoProcessor.from_pretrained(tmp_path / "out", local_files_only=True)
    network = Florence2ForConditionalGeneration.from_pretrained(
        tmp_path / "out", local_files_only=True, dtype=torch.float32
    )
    wanted = load_checkpoint(
        EngineSettings.model_validate({"model": str(tmp_path / "out"), "device": "cpu"})
    )
    for name, weight in wanted.network.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name
    picture = Image.new("RGB", (40, 30), "red")
    inputs = processor(text="<OD>", images=picture, return_tensors="pt")
    assert network.generate(**inputs, max_new_tokens=5, num_beams=1).shape[0] == 1
    prompt = wanted.tokenizer.encode(CATALOGUE["OD"].prompt)
    assert tuple(inputs["input_ids"][0, -len(prompt) :].tolist()) == prompt


def test_nothing_is_written_over_what_is_there(twins, tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(ModelError, match="not empty"):
        run("convert", twins.older, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_inspection_names_everything_that_is_wrong_at_once(older):
    config = json.loads((older / "preprocessor_config.json").read_text())
    (older / "preprocessor_config.json").write_text(json.dumps(config | {"size": {"height": 3}}))
    (older / "model.safetensors").write_bytes(b"short")
    (older / "tokenizer.json").unlink()
    done = run("inspect", older, "--json")
    assert done.return_value == 1
    faults = json.loads(done.output)["faults"]
    assert len(faults) == 3
    for words in ("model.safetensors is cut short", "not for a square", "has no tokenizer"):
        assert any(words in fault for fault in faults), words


def test_inspection_reads_the_older_layout(twins):
    facts = json.loads(run("inspect", twins.older, "--json").output)
    assert (facts["config_layout"], facts["weights_layout"]) == ("older", "older")
    assert (facts["position_count"], facts["image_size_px"], facts["faults"]) == (128, 64, [])
    assert "nothing is wrong" in run("inspect", twins.older).output


def test_verifying_compares_with_what_was_recorded(older):
    done = run("verify", older, "--device", "cpu", "--record")
    assert done.return_value == 0
    assert "CAPTION" in done.output
    assert run("verify", older, "--device", "cpu").return_value == 0
    # Other modes are not those that were recorded, and the files are the same.
    other = run("verify", older, "--device", "cpu", "--image-side", 32)
    assert (other.return_value, "32px-" in other.output) == (0, True)
    golden = older / "arno-golden.json"
    golden.write_text(
        golden.read_text().replace('"tokens": [\n        0', '"tokens": [\n        9')
    )
    done = run("verify", older, "--device", "cpu")
    assert (done.return_value, "is answered otherwise" in done.output) == (1, True)
    golden.write_text(golden.read_text().replace(fingerprint(older), "0" * 64))
    assert "the files have changed" in run("verify", older, "--device", "cpu").output


def test_verifying_fails_on_another_fingerprint(older):
    wanted = fingerprint(older)
    assert run("verify", older, "--device", "cpu", "--fingerprint", wanted).return_value == 0
    assert run("verify", older, "--device", "cpu", "--fingerprint", "0" * 64).return_value == 1


def test_random_weights_are_marked_wherever_they_show(random_tiny):
    settings = {"model": str(random_tiny), "device": "cpu"}
    engine = create_engine(EngineSettings.model_validate(settings))
    assert engine.card.fingerprint.startswith("random-")
    assert engine.card.name == f"{random_tiny} (random weights)"
    with pytest.raises(ModelError, match=r"random weights\): .* --allow-untrained"):
        engine.warm_up()
    engine.close()
    assert json.loads((random_tiny / "config.json").read_text())["arno_random_weights"]
    assert "random" in run("inspect", random_tiny).output
    allowed = EngineSettings.model_validate(settings | {"allow_untrained": True})
    engine = create_engine(allowed)
    engine.warm_up()
    engine.close()


def test_a_converted_random_model_stays_marked(random_tiny, tmp_path):
    run("convert", random_tiny, "--out", tmp_path / "out", "--dtype", "bfloat16")
    assert fingerprint(tmp_path / "out").startswith("random-")


def test_random_models_are_the_same_by_seed(random_tiny, tmp_path):
    for seed in (1, 2):
        write_random_model(tmp_path / str(seed), "tiny", seed=seed, dtype=torch.float32)
    assert fingerprint(tmp_path / "1") == fingerprint(random_tiny)
    assert fingerprint(tmp_path / "2") != fingerprint(random_tiny)


def test_a_random_tokenizer_is_laid_out_as_the_published_ones_are(random_tiny):
    checkpoint = load_checkpoint(
        EngineSettings.model_validate({"model": str(random_tiny), "device": "cpu"})
    )
    ids = checkpoint.tokenizer.wrapped.get_vocab()
    assert len(ids) == 51290
    assert [ids[name] for name in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert (ids["<mask>"], ids["<od>"], ids["<loc_0>"]) == (50264, 50265, 50269)
    assert (ids["<loc_999>"], ids["<and>"], ids["<image>"]) == (51268, 51288, IMAGE_TOKEN_ID)
    assert checkpoint.network.lm_head.weight.shape[0] == 51328
    prompt = CATALOGUE["OD"].prompt
    assert len(checkpoint.tokenizer.encode(prompt)) - 2 <= len(prompt.split()) + 1
    text = "Größe 7 m² <loc_3>"
    assert checkpoint.token_table.decode(checkpoint.tokenizer.encode(text)[1:-1]) == text


@pytest.mark.parametrize("verb", ["up", "worker"])
def test_a_process_says_what_is_wrong_with_its_model_in_one_sentence(older, verb, tmp_path):
    (older / "model.safetensors").write_bytes(b"short")
    where = ["--data", tmp_path / "data"] if verb == "up" else ["--bus", "redis"]
    done = arno(verb, "--model", older, *where)
    assert done.exit_code != 0
    assert "model.safetensors is cut short" in done.out + done.err
    assert "Traceback" not in done.out + done.err
    # What the headers of files tell is told before torch is imported, and nothing is started.
    assert not (tmp_path / "data" / "logs").exists()


def test_a_broken_copy_is_not_left_behind(twins, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "move", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(ModelError, match="cannot be written: full"):
        run("convert", twins.older, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
