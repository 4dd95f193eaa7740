"""LoRA teaches arno-tiny a category it never saw; both the model and the adapter are served."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from arno.engine.checkpoints import load_checkpoint
from arno.engine.create import create_engine
from arno.engine.settings import EngineSettings
from arno.training.data import Sample, open_data
from arno.vocabulary import CATALOGUE, Box, Decoded, Task, iou, parse
from support.engine_runs import request, run_all, submit_all
from support.warm_arno import WarmArno

pytestmark = [pytest.mark.model, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[3]
NEW = "pizza"


@pytest.fixture(scope="module")
def trained(warm_arno: WarmArno, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of examples/fine_tune, with fewer steps."""
    folder = tmp_path_factory.mktemp("lora")
    example = ROOT / "examples/fine_tune/draw_pizzas.py"
    subprocess.run([sys.executable, example, folder], check=True, capture_output=True)
    done = warm_arno(
        *("train", "--data", folder / "train.jsonl", "--out", folder / "run", "--device", "cpu"),
        *("--lora-rank", 16, "--learning-rate", "4e-3", "--steps", 80, "--threads", 1),
        *("--loader-processes", 0),
    )
    assert done.exit_code == 0, done.err
    return folder


def finds(model: str, samples: Iterable[Sample]) -> int:
    """Return in how many pictures the model finds the new thing where it is."""
    engine = create_engine(EngineSettings(model=model, device="cpu"))
    asked = {sample.sample_id: sample for sample in samples}
    for name, sample in asked.items():
        image = engine.prepare(Path(sample.image_id).read_bytes())
        submit_all(engine, [request(name, image, CATALOGUE[Task.OD].prompt)])
    found = 0
    for name, end in run_all(engine).items():
        sample = asked[name]
        decoded = Decoded(end.token_ids, end.logprobs)
        answer = parse(Task.OD, decoded, engine.token_table, sample.size).value
        regions = getattr(answer, "regions", ())
        (truth,) = (r.shape for r in getattr(sample.answer, "regions", ()) if r.label == NEW)
        found += any(
            region.label == NEW and isinstance(region.shape, Box) and iou(region.shape, truth) > 0.5
            for region in regions
        )
    engine.close()
    return found


def test_category_never_seen_is_found_after_fine_tuning(trained):
    samples = list(open_data(str(trained / "test.jsonl")))
    assert finds("tiny", samples) == 0
    assert finds(str(trained / "run" / "model"), samples) >= len(samples) / 2


def test_adapter_alone_is_the_same_model(trained):
    def weights(folder: Path) -> dict[str, torch.Tensor]:
        settings = EngineSettings(model=str(folder), device="cpu", dtype="float32")
        return dict(load_checkpoint(settings).network.named_parameters())

    merged, adapted = weights(trained / "run" / "model"), weights(trained / "run" / "adapter")
    assert merged.keys() == adapted.keys()
    for name, weight in merged.items():
        # The merged model is kept in float16, as its base is.
        torch.testing.assert_close(adapted[name], weight, rtol=2e-3, atol=1e-3, msg=name)


def test_only_the_adapter_is_in_its_folder_with_its_origin(trained):
    adapter = trained / "run" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 16
    assert (adapter / "adapter_model.safetensors").stat().st_size < 4_000_000
    facts = json.loads((adapter / "training.json").read_text())
    assert facts["base"] == "tiny"
    assert facts["settings"]["lora_rank"] == 16
