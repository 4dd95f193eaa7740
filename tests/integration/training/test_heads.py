"""Heads as they are used: trained, stopped, resumed, judged, and asked in process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from arno import TaskRequest, load
from arno.cli.main import root
from arno.dataset import Dataset
from arno.engine.checkpoints import load_checkpoint
from arno.engine.settings import EngineSettings
from arno.errors import ConfigurationError, InvalidFieldError, ModelError
from arno.training.heads.run import train_head
from arno.training.trainer.loop import TrainingRun
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings
from arno.vocabulary import Box
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

pytestmark = [pytest.mark.model, pytest.mark.timeout(900), pytest.mark.slow]

SCENES = "world:seed=1,n=8,world=plain"


def settings(out: Path, head: str, **changes: object) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "head": head,
            "data": SCENES,
            "out": out,
            "steps": 2,
            "batch": 2,
            "micro_batch": 2,
            "head_width": 16,
            "device": "cpu",
            "threads": 1,
            "loader_processes": 0,
            "checkpoint_steps": 1,
        }
        | ({"region_samples": 16} if head == "detection" else {})
        | changes
    )


def run(asked: TrainSettings) -> str:
    said = io.StringIO()
    assert train_head(asked, ProcessGroup(), Console(file=said, width=200))
    return said.getvalue()


@pytest.fixture(scope="module", params=["detection", "segmentation"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of each kind of head."""
    out = tmp_path_factory.mktemp(request.param)
    said = run(settings(out, request.param, validation="world:seed=2,n=2,world=plain"))
    assert f"the head is in {out / 'model'}" in said
    return out


def kind_of(out: Path) -> str:
    return str(json.loads((out / "model" / "config.json").read_text())["kind"])


def test_losses_and_figures_are_logged(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    figure = {"detection": "mask_map", "segmentation": "miou"}[kind_of(trained)]
    assert all(0 <= line[figure] <= 1 for line in lines)
    facts = json.loads((trained / "model" / "training.json").read_text())
    assert (facts["steps"], facts["sample_count"]) == (2, 8)


def test_head_is_asked_as_any_model_in_process(trained, tmp_path):
    picture = tmp_path / "grey.png"
    Image.new("RGB", (60, 40), "grey").save(picture)
    with load(str(trained / "model")) as head:
        assert "cup" in head.categories
        named = TaskRequest("OPEN_VOCABULARY_DETECTION", classes=["cup", "cat"])
        task = "OD" if kind_of(trained) == "detection" else named
        (result,) = head.ask_many([picture], task)
        assert result.ok
        assert result.image is not None
        assert result.image.width_px == 60
        for region in result.tasks[0].regions:
            assert region.label in head.categories
            assert region.score is not None
            if isinstance(region.shape, Box):
                assert 0 <= region.shape.x0 <= region.shape.x1 <= 60
        wrong = head.ask(picture, "CAPTION", named)
        assert isinstance(wrong.tasks[0].error, InvalidFieldError)
        assert f"{kind_of(trained)} head, which does not answer it" in str(wrong.tasks[0].error)
        assert wrong.tasks[1].ok


def test_head_annotates_images_and_writes_no_texts_of_regions(trained, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "photos" / "grey.png")
    words = ["annotate", str(tmp_path / "photos"), "--model", str(trained / "model")]
    words += ["--out", str(tmp_path / "seen"), "--task"]
    named = ["OPEN_VOCABULARY_DETECTION", "--classes", "cup,cat"]
    words += ["OD"] if kind_of(trained) == "detection" else named
    done = CliRunner().invoke(root, words, standalone_mode=False)
    assert done.exception is None, done.stderr
    (record,) = Dataset(tmp_path / "seen")
    assert all(one.provenance.annotator == "florence" for one in record.regions)
    refused = CliRunner().invoke(root, [*words, "--region-texts"], standalone_mode=False)
    assert "--region-texts: needs a Florence-2" in str(refused.exception)
    refused = CliRunner().invoke(root, [*words, "--task", "CAPTION"], standalone_mode=False)
    assert "is a head, which does not answer it" in str(refused.exception)


@pytest.mark.parametrize("mode", [{"dtype": "int8"}, {"image_side": 64}])
def test_modes_of_models_that_write_are_refused_and_not_ignored(trained, mode):
    with pytest.raises(ModelError, match="int8, and image_side, are for models that answer with"):
        load(str(trained / "model"), **mode)


def test_head_is_judged_by_arno_eval(trained, tmp_path):
    words = ["eval", "--model", str(trained / "model"), "--json", "--device", "cpu"]
    words += ["--data", "world:seed=5,n=3,world=plain", "--limit", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(root, words, standalone_mode=False)
    assert done.exception is None, done.stderr
    assert not done.return_value
    report = json.loads(done.stdout)
    assert report["images"] == 2
    figures = {
        "detection": {"box_map", "box_map_50", "mask_map", "mask_map_50"},
        "segmentation": {"miou", "pixel_accuracy"},
    }
    assert report["figures"].keys() == figures[kind_of(trained)]
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    trained, tmp_path, monkeypatch
):
    asked = settings(tmp_path, kind_of(trained))
    whole = TrainingRun.run
    monkeypatch.setattr(
        TrainingRun, "run", lambda self, report, _: whole(self, report, lambda: self.progress.step)
    )
    assert not train_head(asked, ProcessGroup(), Console(quiet=True))
    monkeypatch.undo()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    run(asked)
    states = [
        torch.load(folder / "checkpoint.pt", weights_only=True)["weights"]
        for folder in (trained, tmp_path)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(one, states[1][name]) for name, one in states[0].items())
    with pytest.raises(ConfigurationError, match="vision_stages was 4, is 0"):
        run(settings(tmp_path, kind_of(trained), vision_stages=0))


def test_frozen_stages_keep_the_weights_of_the_model(tmp_path):
    run(settings(tmp_path, "segmentation", vision_stages=1, steps=1))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["weights"]
    given = load_checkpoint(EngineSettings(model="tiny", device="cpu", dtype="float32"))
    tower = given.network.model.vision_tower.state_dict()
    kept = {name: torch.equal(one, state[f"stages.tower.{name}"]) for name, one in tower.items()}
    learned = {name for name in kept if name.startswith(("convs.3.", "blocks.3."))}
    assert all(same for name, same in kept.items() if name not in learned)
    assert not all(kept[name] for name in learned)
