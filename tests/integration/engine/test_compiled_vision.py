"""The vision encoder compiled ahead of time: the same tokens, found by a start, or done without."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from arno.cli.main import root
from arno.engine import DecodingOptions, EngineSettings
from arno.engine.checkpoints import load_checkpoint
from arno.engine.compiled_vision import CompiledTower
from arno.engine.continuous_engine import ContinuousEngine
from arno.errors import ModelError
from arno.ops.processor import Processor
from click.testing import CliRunner
from support.cpp_compiler import require_cpp_compiler
from support.engine_runs import (
    BEAMS,
    GREEDY,
    Reference,
    picture,
    request,
    run_all,
    submit_all,
)

pytestmark = [pytest.mark.model, pytest.mark.timeout(300), pytest.mark.slow]

PROMPTS = ("What?", "Where", "<loc_1><loc_20>", "")
OPTIONS = (GREEDY, BEAMS, DecodingOptions(num_beams=5, max_new_tokens=25, early_stopping="never"))


POSITIONS = 8 * 8 + 1
"""Of an image of 64 pixels a side after two stages, and of its mean."""


@pytest.fixture(scope="module")
def model_folder(short_model_folder):
    return short_model_folder


@pytest.fixture(scope="module")
def reference(model_folder):
    return Reference(model_folder)


def run_compile(folder, kept):
    words = ["model", "compile", str(folder), "--dtype", "float32", "--compiled-folder", str(kept)]
    return CliRunner().invoke(root, words, standalone_mode=False, catch_exceptions=False).output


@pytest.fixture(scope="module")
def compiled(model_folder, tmp_path_factory):
    """The folder that `arno model compile` filled, and what it said."""
    require_cpp_compiler()
    kept = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        # One package: each takes a quarter of a minute of a processor.
        patch.setattr("arno.engine.compiled_vision._SMALL_GROUP", 1)
        return kept, run_compile(model_folder, kept)


@pytest.fixture
def start(model_folder, compiled):
    """Starts an engine with a checkpoint of its own, as a worker does."""
    engines = []

    def make(**changes):
        facts = {"model": str(model_folder), "device": "cpu", "compiled_folder": str(compiled[0])}
        settings = EngineSettings.model_validate(facts | changes)
        checkpoint = load_checkpoint(settings)
        engines.append(ContinuousEngine(checkpoint, settings))
        return engines[-1], checkpoint.network.model.vision_tower

    yield make
    for engine in engines:
        engine.close()


def test_a_compiled_engine_gives_the_tokens_that_transformers_gives(start, reference):
    engine, tower = start(batch_sequences_max=8, admit_sequences_max=3)
    assert isinstance(tower, CompiledTower)
    images = [engine.prepare(picture(i)) for i in range(4)]
    requests = [
        request(f"{image}{prompt}{options}", images[image], prompt, options)
        for image in range(4)
        for prompt in PROMPTS
        for options in OPTIONS
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert engine.statistics().failed_batch_count == 0
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked), asked.sequence_id


def test_what_is_kept_is_not_compiled_again(compiled, model_folder):
    kept, said = compiled
    assert "compiled in" in said
    assert "was compiled before" in run_compile(model_folder, kept)


def test_a_start_that_finds_nothing_runs_uncompiled_and_says_so(start, tmp_path, caplog):
    caplog.set_level("INFO")
    _, tower = start(compiled_folder=str(tmp_path / "empty"))
    assert not isinstance(tower, CompiledTower)
    assert "arno model compile" in caplog.text
    assert not (tmp_path / "empty").exists(), "a start compiles nothing without being asked"


@pytest.mark.parametrize("changes", [{"vision_compile": "off"}, {"image_side": 32}])
def test_a_package_is_used_for_what_it_was_made_for_alone(start, changes):
    _, tower = start(**changes)
    assert not isinstance(tower, CompiledTower)


def test_a_package_of_another_processor_is_not_found(start, monkeypatch):
    other = Processor("another", frozenset({"avx2"}))
    monkeypatch.setattr("arno.engine.compiled_vision.read_processor", lambda: other)
    _, tower = start()
    assert not isinstance(tower, CompiledTower)


@pytest.mark.parametrize("harm", ["cut short", "writable by others"])
def test_a_package_that_cannot_be_trusted_is_not_run(start, compiled, tmp_path, caplog, harm):
    kept = tmp_path / "kept"
    shutil.copytree(compiled[0], kept)
    (package,) = kept.glob("*/vision-1.pt2")
    if harm == "cut short":
        package.write_bytes(package.read_bytes()[:1000])
    else:
        package.chmod(0o666)
    _, tower = start(compiled_folder=str(kept))
    assert not isinstance(tower, CompiledTower)
    assert "runs uncompiled" in caplog.text


def test_what_computes_something_else_is_not_kept(start, model_folder, tmp_path, monkeypatch):
    """`on` compiles at the start; here the compiler is one that makes a mistake."""

    class Wrong(CompiledTower):
        def __init__(self, packages):
            super(CompiledTower, self).__init__()

        def forward(self, pixel_values, **_):
            from transformers.modeling_outputs import BaseModelOutput

            return BaseModelOutput(last_hidden_state=torch.zeros(len(pixel_values), POSITIONS, 32))

    def compile_nothing(checkpoint, package, count):
        package.write_bytes(b"")

    monkeypatch.setattr("arno.engine.compiled_vision._compile", compile_nothing)
    monkeypatch.setattr("arno.engine.compiled_vision.CompiledTower", Wrong)
    with pytest.raises(ModelError, match=r"differs by 1\.0e\+00"):
        start(vision_compile="on", compiled_folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_mode_that_is_not_compiled_is_refused_where_it_is_asked_for(start, monkeypatch):
    other = Processor("new", frozenset({"avx2", "avx_vnni"}))
    monkeypatch.setattr("arno.engine.checkpoints.load.read_processor", lambda: other)
    with pytest.raises(ModelError, match="on takes float32 or bfloat16, not int8"):
        start(dtype="int8", vision_compile="on")
    assert not isinstance(start(dtype="int8")[1], CompiledTower)


def test_without_a_compiler_the_error_says_what_to_install(start, tmp_path, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def compile_nothing(checkpoint, package, count):
        raise InvalidCxxCompiler

    monkeypatch.setattr("arno.engine.compiled_vision._compile", compile_nothing)
    with pytest.raises(ModelError, match="apt-get install g"):
        start(vision_compile="on", compiled_folder=str(tmp_path))


def test_the_facts_of_a_package_are_beside_it(compiled):
    (facts,) = compiled[0].glob("*/facts.json")
    found = json.loads(facts.read_text())
    assert 0 <= found["deviation"] < 1e-4
    assert found["counts"] == [1]
    packages = [facts.with_name(f"vision-{count}.pt2") for count in found["counts"]]
    assert found["size_bytes"] == sum(package.stat().st_size for package in packages)


def test_images_are_taken_as_many_at_once_as_there_are_packages_for(start):
    _, tower = start()
    run, sizes = tower._runs[1], []

    def take(batch):
        sizes.append(len(batch))
        return torch.cat([run(image) for image in batch.split(1)])

    pixels = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        alone = tower(pixels).last_hidden_state
        tower._runs = {1: take, 3: take}
        together = tower(pixels).last_hidden_state
    assert sizes == [3, 3, 1, 1]
    torch.testing.assert_close(together, alone)
