"""The quicker, inexact modes: 8-bit products and smaller images, and the gate before them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from arno.cli.main import root
from arno.engine import EngineSettings, create_engine
from arno.engine.checkpoints import load_checkpoint
from arno.engine.layers.int8 import Int8Linear, Int8LinearToCompile
from arno.errors import ModelError
from arno.ops.processor import Processor, read_processor
from click.testing import CliRunner
from support.engine_runs import picture, request, run_all, submit_all
from torch import nn

pytestmark = pytest.mark.model

WITHOUT = Processor("Old Processor", frozenset({"avx2"}))
WITH = Processor("New Processor", frozenset({"avx2", "avx_vnni"}))
EXAMPLES = Path(__file__).parents[3] / "examples" / "images"


@pytest.fixture
def on_any_processor(monkeypatch):
    """Products of 8-bit integers are right without VNNI, too; only slow."""
    if not read_processor().multiplies_int8:
        monkeypatch.setattr("arno.engine.checkpoints.load.read_processor", lambda: WITH)


@pytest.mark.parametrize("then_gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_8_bit_products_are_near_those_of_float32(then_gelu, bias):
    torch.manual_seed(0)
    source = nn.Linear(256, 96, bias=bias)
    x = torch.randn(2, 1500, 256)  # more than one block of rows
    expected = source(x)
    if then_gelu:
        expected = nn.functional.gelu(expected)
    found = Int8Linear(source, then_gelu=then_gelu)(x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 0.02
    assert not torch.equal(found, expected)
    to_compile = Int8LinearToCompile(source, then_gelu=then_gelu)(x)
    # A value between two levels may be rounded to either.
    assert float((to_compile - found).abs().max() / expected.abs().max()) < 0.005


@torch.inference_mode()
def test_rows_of_zeros_and_a_row_far_larger_than_its_neighbours_are_multiplied():
    source = nn.Linear(64, 8)
    zeros = torch.zeros(3, 64)
    torch.testing.assert_close(Int8Linear(source)(zeros), source(zeros))
    large = torch.cat([zeros, torch.full((1, 64), 1e6)])
    found = Int8Linear(source)(large)
    torch.testing.assert_close(found[-1], source(large)[-1], rtol=0.05, atol=5e4)


def test_a_processor_without_vnni_refuses_int8_by_name(model_folder, monkeypatch):
    monkeypatch.setattr("arno.engine.checkpoints.load.read_processor", lambda: WITHOUT)
    with pytest.raises(ModelError) as refusal:
        load_checkpoint(EngineSettings(model=str(model_folder), device="cpu", dtype="int8"))
    assert "int8" in refusal.value.message
    assert "Old Processor" in refusal.value.message
    assert "neither VNNI nor AMX (it has: AVX2)" in refusal.value.message


@pytest.mark.parametrize(
    ("changes", "prefix", "dtype"),
    [
        ({"dtype": "int8"}, "int8-", "int8"),
        ({"image_side": 32}, "32px-", "float32"),
        ({"dtype": "int8", "image_side": 32}, "int8-32px-", "int8"),
        ({"scaled_decoding": True}, "scaled-", "float32"),
        ({}, "", "float32"),
        ({"image_side": 64}, "", "float32"),
    ],
)
def test_an_inexact_mode_is_said_in_the_fingerprint(
    model_folder, on_any_processor, changes, prefix, dtype
):
    facts = {"model": str(model_folder), "device": "cpu"}
    exact = load_checkpoint(EngineSettings.model_validate(facts)).card
    card = load_checkpoint(EngineSettings.model_validate(facts | changes)).card
    assert card.fingerprint == prefix + exact.fingerprint
    assert card.dtype == dtype
    assert card.image_size_px == changes.get("image_side", exact.image_size_px)


@pytest.mark.parametrize("side_px", [8, 33, 128])
def test_a_side_of_parts_of_positions_or_above_the_models_own_is_refused(model_folder, side_px):
    settings = EngineSettings(model=str(model_folder), device="cpu", image_side=side_px)
    with pytest.raises(ModelError, match=f"image_side: {side_px} was sent; .* of 32, up to 64"):
        load_checkpoint(settings)


def test_answers_in_8_bits_do_not_depend_on_what_else_is_encoded(model_folder, on_any_processor):
    settings = EngineSettings(model=str(model_folder), device="cpu", dtype="int8")
    answers = []
    for seeds in ((0, 1, 2, 3), (3,)):
        engine = create_engine(settings)
        submit_all(engine, [request(str(i), engine.prepare(picture(i))) for i in seeds])
        answers.append(run_all(engine)["3"])
        engine.close()
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].logprobs == pytest.approx(answers[1].logprobs, abs=1e-4)


def verify(*words):
    return CliRunner().invoke(
        root, ["model", "verify", "tiny", *map(str, words)], standalone_mode=False
    )


def test_the_gate_passes_a_mode_that_agrees_and_fails_one_that_does_not(on_any_processor, tmp_path):
    for path in sorted(EXAMPLES.glob("*.png"))[:2] or sorted(EXAMPLES.iterdir())[:2]:
        shutil.copy(path, tmp_path)
    same = verify("--images", tmp_path, "--agree", 1)
    assert (same.exception, same.return_value) == (None, 0)
    int8 = verify("--images", tmp_path, "--dtype", "int8", "--agree", 0)
    assert (int8.exception, int8.return_value) == (None, 0)
    assert "int8-" in int8.output
    scaled = verify("--images", tmp_path, "--scaled-decoding", "--agree", 0)
    assert (scaled.exception, scaled.return_value) == (None, 0)
    assert "scaled-" in scaled.output
    small = verify("--images", tmp_path, "--image-side", 64, "--agree", 1)
    assert (small.exception, small.return_value) == (None, 1)
    assert "agree with float32, 100.0% have to" in " ".join(small.output.split())
