"""Rounds of refinement with arno-tiny: cut short at every step, they end as one that was not."""

from __future__ import annotations

import io
import shutil

import pytest
from arno.data_engine.labels import import_labels
from arno.data_engine.refinement.run import refine
from arno.data_engine.refinement.settings import RefineSettings
from arno.dataset import Dataset, DatasetWriter
from arno.dataset.shards import ShardFormat
from arno.errors import ConfigurationError
from arno.training.data import open_data
from rich.console import Console

pytestmark = pytest.mark.model
STEPS = ("annotating", "merging", "filtering", "measuring")


class Killed(BaseException):
    """Stands for a kill: nothing that runs handles it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six scenes as held-out data; as labels, the first without regions, the second renamed."""
    folder = tmp_path_factory.mktemp("data")
    scenes = "world:seed=5,n=6,tasks=OD+CAPTION,world=plain"
    import_labels(open_data(scenes), folder / "truth", annotator="truth", form=ShardFormat.JSONL)
    truth = Dataset(folder / "truth")
    manifest = truth.manifest.model_copy(
        update={"complete": False, "images": truth.images_from(folder / "labels"), "steps": ()}
    )
    with DatasetWriter(folder / "labels", manifest) as writer:
        for number, record in enumerate(truth):
            regions = () if number == 0 else record.regions
            if number == 1:
                regions = tuple(one.model_copy(update={"text": "key"}) for one in regions)
            writer.write(record.model_copy(update={"regions": regions}))
    return folder


def settings(data, out, **changed) -> RefineSettings:
    given = {
        "data": str(data / "labels"),
        "validation": str(data / "truth"),
        "truth": str(data / "truth"),
        "out": out,
        "rounds": 1,
        "steps": 1,
        "learning_rate": 1e-9,
        "batch": 2,
        "beams": 1,
        "loader_processes": 0,
        "device": "cpu",
        "text_rules": False,
        **changed,
    }
    return RefineSettings(**given)


def run(chosen, on_progress=lambda step, done, total: None):
    return refine(chosen, Console(file=io.StringIO()), on_progress=on_progress)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    chosen = settings(data, tmp_path_factory.mktemp("whole"))
    return chosen, run(chosen)


def test_round_mends_labels_and_says_what_it_did(whole):
    chosen, state = whole
    before, after = (one.agreement for one in state.rounds)
    assert after["region_recall"] > before["region_recall"]
    assert after["region_precision"] > before["region_precision"]
    assert state.best.number == 1
    assert (chosen.out / "best").resolve() == chosen.out / "round-1"
    assert (chosen.out / "best" / "train" / "model" / "config.json").is_file()
    assert not (chosen.out / "round-1" / "train" / "checkpoint.pt").exists()
    assert "The best round is 1" in (chosen.out / "README.md").read_text()
    page = (chosen.out / "round-1" / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "<figcaption>now</figcaption>" in page


def said(out):
    """What round 1 has kept; the last digits of a place depend on what was decoded together."""
    return [
        (
            record.image_id,
            [text.text for text in record.texts],
            [
                (one.text, one.provenance.model, [round(side, 2) for side in one.bounds])
                for one in record.regions
            ],
        )
        for record in Dataset(out / "round-1" / "kept")
    ]


def test_run_killed_in_every_step_ends_with_the_same_data(data, whole, tmp_path):
    chosen = settings(data, tmp_path / "run")
    for step in STEPS:

        def kill(name, done, total, step=step):
            if name == step and done >= (total + 1) // 2 and "round-1" in under_way():
                raise Killed

        def under_way():
            return {path.name for path in chosen.out.glob("round-*")}

        with pytest.raises(Killed):
            run(chosen, kill)
    state = run(chosen)
    assert said(chosen.out) == said(whole[0].out)
    assert [one.agreement for one in state.rounds] == [one.agreement for one in whole[1].rounds]
    assert state.rounds[1].held_out == pytest.approx(whole[1].rounds[1].held_out)


def test_run_that_has_ended_does_nothing_again(whole):
    chosen, state = whole
    again = run(chosen, lambda step, done, total: pytest.fail(step))
    assert again == state


def test_more_rounds_go_on_until_one_is_no_better(data, whole):
    out = whole[0].out.with_name("more")  # beside it: images are named relative to the data
    shutil.copytree(whole[0].out, out, symlinks=True)
    state = run(settings(data, out, rounds=5))
    assert state.ended == "round 2 is no better on held-out data"
    assert state.best.number == 1


def test_labels_that_changed_are_another_run(data, whole):
    with pytest.raises(ConfigurationError, match="another seed"):
        run(settings(data, whole[0].out, seed=7))
