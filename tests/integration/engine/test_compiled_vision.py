"""Parts of a model compiled ahead of time: the same tokens, found by a start, or done without."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from dataclasses import replace

import pytest
import torch
from arno.cli.main import root
from arno.engine import DecodingOptions, EngineSettings
from arno.engine.checkpoints import load_checkpoint
from arno.engine.compiled.packages import export_module
from arno.engine.compiled.start import lay_out_encoders_of
from arno.engine.compiled.steps import CompiledSteps, StepPart, step_to_export
from arno.engine.compiled.vision import CompiledTower, VisionPart
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.sequences.sequence import batch_key
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
from support.random_florence import build_random_florence

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


def run_compile(folder, kept, dtype="float32"):
    words = ["model", "compile", str(folder), "--dtype", dtype, "--compiled-folder", str(kept)]
    return CliRunner().invoke(root, words, standalone_mode=False, catch_exceptions=False).output


def run_verify(folder, kept):
    words = ["model", "verify", str(folder), "--compiled-folder", str(kept)]
    words += ["--device", "cpu", "--allow-untrained"]
    return CliRunner().invoke(root, words, standalone_mode=False, catch_exceptions=False).output


@pytest.fixture(scope="module")
def compiled(model_folder, tmp_path_factory):
    """The folder that `arno model compile` filled, and what it said."""
    require_cpp_compiler()
    kept = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        # One package of each part: each takes a quarter of a minute of a processor.
        patch.setattr("arno.engine.compiled.vision._SMALL_GROUP", 1)
        patch.setattr("arno.engine.compiled.steps.BEAMS", (BEAMS.num_beams,))
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


def test_compiled_steps_follow_sequences_that_join_and_leave_and_grow(start, reference):
    """Four slots for nine answers, some beyond the room that there is at first."""
    engine, _ = start(batch_sequences_max=4, admit_sequences_max=2)
    requests = [
        request(
            str(number),
            engine.prepare(picture(number)),
            options=replace(BEAMS, max_new_tokens=limit),
        )
        for number, limit in enumerate((5, 70, 3, 40, 12, 9, 33, 2, 64))
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    assert engine.statistics().failed_batch_count == 0
    lengths = {len(end.token_ids) for end in ends.values()}
    assert max(lengths) > 40
    assert min(lengths) < 5
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked), asked.sequence_id


@pytest.mark.parametrize(
    ("choice", "options", "expected"),
    [
        ("auto", BEAMS, True),
        ("auto", GREEDY, False),  # of which the fixture has no package
        ("auto", replace(BEAMS, length_penalty=0.5), False),
        ("off", BEAMS, False),
    ],
)
def test_steps_are_compiled_for_the_usual_options(start, choice, options, expected):
    engine, _ = start(vision_compile=choice)
    assert (engine._pool._compiled(batch_key(options).options) is not None) is expected


@pytest.mark.parametrize("beams", [1, 3])
def test_a_step_may_have_one_slot(model_folder, beams):
    """What the exporter found that it had to assume is asserted when the step runs."""
    settings = EngineSettings(model=str(model_folder), device="cpu", vision_compile="off")
    program = export_module(*step_to_export(load_checkpoint(settings), beams))
    said = [
        str(node.args[1])
        for node in program.graph.nodes
        if node.target is torch.ops.aten._assert_scalar.default
    ]
    assert said
    assert not [each for each in said if re.search(r"Ne\(.*, 1\)", each)]


def test_the_steps_of_a_large_model_are_not_compiled(start, monkeypatch):
    engine, _ = start(vision_compile="off")
    assert StepPart().sizes(engine._checkpoint) == (1, 3)
    monkeypatch.setattr("arno.engine.layers.linear._TRANSPOSED_MAX", 1000)
    assert StepPart().sizes(engine._checkpoint) == ()


def test_a_step_that_computes_something_else_is_not_kept(start, tmp_path, monkeypatch):
    def compile_nothing(module, arguments, package, sizes):
        package.write_bytes(b"")

    def nothing(state, longest, encoded):
        return torch.zeros(state.count, dtype=torch.bool)

    monkeypatch.setattr("arno.engine.compiled.start.PARTS", (StepPart(),))
    monkeypatch.setattr("arno.engine.compiled.steps.compile_module", compile_nothing)
    monkeypatch.setattr("arno.engine.compiled.steps.load_packages", lambda packages: packages)
    monkeypatch.setattr(CompiledSteps, "__getitem__", lambda self, beams: nothing)
    with pytest.raises(ModelError, match="the compiled decode step differs by"):
        start(vision_compile="on", compiled_folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_verifying_says_whether_the_encoder_that_answers_is_compiled(
    compiled, model_folder, tmp_path
):
    assert "float32, compiled, fingerprint " in run_verify(model_folder, compiled[0])
    assert "float32, fingerprint " in run_verify(model_folder, tmp_path / "none")


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


def test_how_images_are_decoded_does_not_concern_the_package(start):
    _, tower = start(scaled_decoding=True)
    assert isinstance(tower, CompiledTower)


def test_a_package_of_another_processor_is_not_found(start, monkeypatch):
    other = Processor("another", frozenset({"avx2"}))
    monkeypatch.setattr("arno.engine.compiled.packages.read_processor", lambda: other)
    _, tower = start()
    assert not isinstance(tower, CompiledTower)


@pytest.mark.parametrize("harm", ["cut short", "writable by others"])
def test_a_package_that_cannot_be_trusted_is_not_run(start, compiled, tmp_path, caplog, harm):
    caplog.set_level("INFO")
    kept = tmp_path / "kept"
    shutil.copytree(compiled[0], kept)
    (package,) = kept.glob("*/vision-1.so")
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

    def compile_nothing(module, arguments, package):
        package.write_bytes(b"")

    monkeypatch.setattr("arno.engine.compiled.start.PARTS", (VisionPart(),))
    monkeypatch.setattr("arno.engine.compiled.vision.compile_module", compile_nothing)
    monkeypatch.setattr("arno.engine.compiled.vision.CompiledTower", Wrong)
    with pytest.raises(ModelError, match=r"differs by 1\.0e\+00"):
        start(vision_compile="on", compiled_folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_mode_that_is_not_compiled_is_refused_where_it_is_asked_for(start):
    with pytest.raises(ModelError, match="on takes float32, bfloat16 or int8, not float16"):
        start(dtype="float16", vision_compile="on")


@torch.inference_mode()
def test_8_bit_products_are_compiled_and_are_those_of_the_uncompiled_mode(tmp_path, monkeypatch):
    """One stage of vision, because each takes seconds to compile."""
    require_cpp_compiler()
    monkeypatch.setattr("arno.engine.compiled.start.PARTS", (VisionPart(),))
    other = Processor("new", frozenset({"avx2", "avx_vnni"}))
    monkeypatch.setattr("arno.engine.checkpoints.load.read_processor", lambda: other)
    folder = build_random_florence(tmp_path, stages=1)
    assert "compiled in" in run_compile(folder, tmp_path / "kept", "int8")
    features = []
    for choice in ("auto", "off"):
        settings = EngineSettings(
            model=str(folder),
            device="cpu",
            dtype="int8",
            compiled_folder=str(tmp_path / "kept"),
            vision_compile=choice,
        )
        checkpoint = load_checkpoint(settings)
        assert lay_out_encoders_of(checkpoint, settings) == (1,)
        compiled = isinstance(checkpoint.network.model.vision_tower, CompiledTower)
        assert compiled is (choice == "auto")
        pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        features.append(checkpoint.network.get_image_features(pixels).pooler_output)
    deviation = (features[0] - features[1]).abs().max() / features[1].abs().max()
    assert float(deviation) < 0.01


def test_without_a_compiler_the_error_says_what_to_install(start, tmp_path, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def compile_nothing(module, arguments, package):
        raise InvalidCxxCompiler

    monkeypatch.setattr("arno.engine.compiled.vision.compile_module", compile_nothing)
    with pytest.raises(ModelError, match="apt-get install g"):
        start(vision_compile="on", compiled_folder=str(tmp_path))


def test_the_facts_of_a_package_are_beside_it(compiled):
    (facts,) = compiled[0].glob("*/facts.json")
    found = json.loads(facts.read_text())
    assert 0 <= found["deviations"]["vision"] < 1e-4
    assert 0 <= found["deviations"]["step"] < 1e-4
    assert found["sizes"] == {"vision": [1], "step": [3]}
    packages = [facts.with_name(name) for name in ("vision-1.so", "step-3.so")]
    assert found["size_bytes"] == sum(package.stat().st_size for package in packages)


def test_other_threads_go_on_while_a_package_runs(start):
    _, tower = start()
    go, went = threading.Lock(), threading.Event()

    def wait():
        with go:
            went.set()

    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    interval_s = sys.getswitchinterval()
    other = threading.Thread(target=wait)
    with go:
        other.start()
        sys.setswitchinterval(1000)  # no thread gives way unless it waits or computes outside
    try:
        runs = 0
        while not went.is_set() and runs < 1000:
            tower._runs[1](pixels)
            runs += 1
        assert went.is_set()
    finally:
        sys.setswitchinterval(interval_s)
        other.join()


@torch.inference_mode()
def test_a_package_keeps_neither_what_it_takes_nor_what_it_returns(start):
    _, tower = start()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    owners = pixels._use_count()
    (features,) = tower._runs[1](pixels)
    assert pixels._use_count() == owners
    assert features._use_count() == owners


@pytest.mark.parametrize("count", [0, 2])
def test_a_package_refuses_another_number_of_tensors(start, count):
    _, tower = start()
    with pytest.raises(TypeError, match=f"vision-1.so takes 1 tensors, not {count}"):
        tower._runs[1](*[torch.zeros(1)] * count)


def test_images_are_taken_as_many_at_once_as_there_are_packages_for(start):
    _, tower = start()
    run, sizes = tower._runs[1], []

    def take(batch):
        sizes.append(len(batch))
        return [torch.cat([run(image)[0] for image in batch.split(1)])]

    pixels = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        alone = tower(pixels).last_hidden_state
        tower._runs = {1: take, 3: take}
        together = tower(pixels).last_hidden_state
    assert sizes == [3, 3, 1, 1]
    torch.testing.assert_close(together, alone)
