"""One small model in both layouts, and what transformers answers with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from arno.engine import EngineSettings, create_engine
from support.engine_runs import BEAMS, GREEDY, picture, request, run_all, submit_all
from support.older_florence import PADDED_ROWS, ROWS, SMALL, build_older_florence, native_twin
from support.random_florence import enliven
from transformers import Florence2ForConditionalGeneration

PROMPTS = ("What does the image describe?", "Locate the objects with category name in the image.")


def answers_of(folder: Path, **changes: object) -> dict[str, tuple[int, ...]]:
    """Return the tokens of a few answers."""
    settings = EngineSettings.model_validate({"model": str(folder), "device": "cpu"} | changes)
    engine = create_engine(settings)
    images = [engine.prepare(picture(seed)) for seed in range(2)]
    submit_all(
        engine,
        (
            request(f"{image.sha256[:4]} {prompt} {options.num_beams}", image, prompt, options)
            for image in images
            for prompt in PROMPTS
            for options in (GREEDY, BEAMS)
        ),
    )
    ends = run_all(engine)
    engine.close()
    assert all(end.error is None for end in ends.values())
    return {name: end.token_ids for name, end in sorted(ends.items())}


@dataclass(frozen=True)
class Twins:
    """One model, as the first releases stored it, and as transformers' own classes do."""

    older: Path
    native: Path
    network: Florence2ForConditionalGeneration


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    root = tmp_path_factory.mktemp("twins")
    torch.manual_seed(11)
    network = Florence2ForConditionalGeneration(native_twin(SMALL)).eval()
    enliven(network)
    with torch.no_grad():
        network.lm_head.weight[1] = 0.0  # padding is never the likeliest token
    older = build_older_florence(root / "older", network)
    wide = Florence2ForConditionalGeneration(native_twin(SMALL, rows=PADDED_ROWS)).eval()
    with torch.no_grad():
        for name, weight in wide.state_dict().items():
            found = network.state_dict()[name]
            weight[: found.shape[0]] = found
            if weight.shape[0] == PADDED_ROWS:
                weight[ROWS:] = found[1]
    native = root / "native"
    wide.save_pretrained(native)
    shutil.copy(older / "preprocessor_config.json", native)
    return Twins(older, native, network)


@pytest.fixture
def older(twins: Twins, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(twins.older, tmp_path / "model"))
