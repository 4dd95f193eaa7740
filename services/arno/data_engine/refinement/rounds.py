"""The steps of a round: train, annotate, merge, filter, measure.

Each step writes into a folder of its own and goes on where a killed process stopped; a step that is
done is not done again. So a round is gone on with by going through its steps again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

from rich.console import Console

from arno.bulk import LocalAnswerer
from arno.data_engine.annotation import RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import Annotator, TaskAnnotator
from arno.data_engine.annotators.given_scores import LabelScorer, TextScorer, frequent_labels
from arno.data_engine.comparison import compare
from arno.data_engine.filtering import filter_dataset
from arno.data_engine.merging import merge_datasets
from arno.data_engine.refinement.settings import RefineSettings
from arno.data_engine.refinement.state import Round
from arno.dataset import Dataset, RegionKind
from arno.dataset.answers import ANNOTATING, KINDS
from arno.dataset.folder import MANIFEST, read_manifest
from arno.dataset.merging import MergeSettings
from arno.dataset.questions import questions
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from arno.training.data import open_data
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import Evaluation, evaluate
from arno.vocabulary import CATALOGUE, ExtraInput, Task, TaskSpec

if TYPE_CHECKING:
    from arno.engine.in_process.florence import Florence

KEPT: Final = "kept"
MERGED: Final = "merged"
SEEN: Final = "seen"
_CAPTION: Final = "caption"
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Materials:
    """What all rounds of a run share.

    Attributes:
        settings: Of the run.
        labels: The data set that is refined.
        truth: What is right about its images; None where that is not known.
        tasks: What is trained, asked and measured.
        nouns: Words that name objects in texts; None are the labels of the truth.
        on_progress: Called with the name of the step, and how much of how much of it is done.
    """

    settings: RefineSettings
    labels: Dataset
    truth: Dataset | None
    tasks: tuple[Task, ...]
    nouns: Mapping[str, str] | None
    on_progress: OnProgress

    def folder(self, number: int) -> Path:
        """Return the folder of a round."""
        return self.settings.out / f"round-{number}"


def tasks_of(settings: RefineSettings, labels: Dataset) -> tuple[Task, ...]:
    """Return the tasks that the labels answer: those of the settings, or all that annotate.

    Raises:
        InvalidFieldError: They answer none.
    """
    wanted = settings.tasks or None
    found = {asked.spec.task for record in labels for asked in questions(record, wanted)}
    tasks = tuple(task for task in Task if task in found & ANNOTATING)
    if not any(map(_is_of_images, tasks)):
        problem = "it answers no question that a model can be trained on and annotate with"
        raise InvalidFieldError(field=settings.data, problem=problem)
    return tasks


def _is_of_images(task: Task) -> bool:
    """Whether a task asks about an image alone; annotating begins with nothing else."""
    return CATALOGUE[task].extra_input is ExtraInput.NONE


def begin(materials: Materials) -> Round:
    """Return round 0: the labels, filtered."""
    started_s = time.monotonic()
    kept = _filtered(materials, materials.labels, materials.folder(0))
    return _round(materials, 0, kept, None, started_s)


def train_and_annotate(materials: Materials, number: int, console: Console) -> Round | None:
    """Do a round from 1 on; None where a signal has stopped it."""
    started_s = time.monotonic()
    folder = materials.folder(number)
    model = _trained(materials, number, console)
    if model is None:
        return None
    seen = _annotated(materials, number, model)
    merged = _merged(materials, seen, folder / MERGED)
    kept = _filtered(materials, merged, folder)
    return _round(materials, number, kept, _measured(materials, model, folder), started_s)


def _trained(materials: Materials, number: int, console: Console) -> Path | None:
    """Train on what the round before has kept; return the folder of the model."""
    settings = materials.settings
    out = materials.folder(number) / "train"
    model = out / "model"
    if model.is_dir():  # written whole, after the last step
        return model
    from arno.training.trainer.fine_tune import fine_tune
    from arno.training.trainer.process_group import ProcessGroup

    before = materials.folder(number - 1)
    begun = number > 1 and settings.start == "previous"
    base = str(before / "train" / "model") if begun else settings.model
    data = before / KEPT if settings.filters else _unfiltered(materials, number - 1).folder
    limit = f",regions={settings.regions_named}" if _compared(materials) else ""
    trained = settings.train_settings(f"{data}{limit}", out, base)
    trained = trained.model_copy(update={"tasks": _trained_tasks(materials)})
    return model if fine_tune(trained, ProcessGroup.of({}), console) else None


def _trained_tasks(materials: Materials) -> tuple[Task, ...]:
    """Return what a round trains: also the names of places, by which the model judges labels.

    A model that has learned the names of the data as answers of other tasks alone gives many of
    them a low probability as the name of a place.
    """
    judging = (Task.REGION_TO_CATEGORY,) if _compared(materials) else ()
    return tuple(dict.fromkeys((*materials.tasks, *judging)))


def _compared(materials: Materials) -> list[str]:
    """Return the labels that each label of a region is compared with; none where none is judged."""
    kinds = {KINDS.get(task) for task in materials.tasks}
    if RegionKind.CATEGORY not in kinds:
        return []
    return frequent_labels(materials.labels, materials.settings.labels_compared)


def _annotated(materials: Materials, number: int, model: Path) -> Dataset:
    """Show all images to the model; it also scores the labels."""
    settings, out = materials.settings, materials.folder(number) / SEEN
    if not is_complete(out):
        from arno.engine.in_process.florence import load

        with load(str(model), device=settings.device, allow_untrained=True) as florence:
            annotate(
                Sources(materials.labels),
                _annotators(materials, number, florence),
                out,
                RunOptions(ShardFormat(materials.labels.manifest.format)),
                on_progress=lambda done, total: materials.on_progress("annotating", done, total),
            )
    return Dataset(out)


def _annotators(materials: Materials, number: int, florence: Florence) -> list[Annotator]:
    """Return what the model does: it scores the texts and the labels, and annotates by itself."""
    specs, name = _specs(materials), f"round {number}"
    annotators: list[Annotator] = [
        TextScorer(LocalAnswerer(florence, ()), round_number=number),
        TaskAnnotator(LocalAnswerer(florence, specs), specs, name=name, round_number=number),
    ]
    if labels := _compared(materials):
        asking = LocalAnswerer(florence, ())
        annotators.insert(1, LabelScorer(asking, labels, finder=name, round_number=number))
    return annotators


def _specs(materials: Materials) -> list[TaskSpec]:
    """Return what a model is asked about an image; a caption is grounded where phrases are."""
    beams = materials.settings.beams
    captions = [task for task in materials.tasks if task is Task.CAPTION]
    others = [task for task in materials.tasks if _is_of_images(task) and task not in captions]
    specs = [TaskSpec(task, id=_CAPTION, num_beams=beams) for task in captions]
    specs += [TaskSpec(task, num_beams=beams) for task in others]
    if captions and Task.CAPTION_TO_PHRASE_GROUNDING in materials.tasks:
        grounding = Task.CAPTION_TO_PHRASE_GROUNDING
        specs.append(TaskSpec(grounding, input_from=_CAPTION, num_beams=beams))
    return specs


def _merged(materials: Materials, seen: Dataset, out: Path) -> Dataset:
    if not is_complete(out):
        settings = materials.settings
        merging = MergeSettings(settings.overlap_min, settings.similarity_min, settings.unscored)
        merge_datasets(
            [seen],
            out,
            merging,
            on_progress=lambda done, total: materials.on_progress("merging", done, total),
        )
    return Dataset(out)


def _filtered(materials: Materials, source: Dataset, folder: Path) -> Dataset:
    """Return what is trained on next: the source without what the filter drops, or all of it."""
    if not materials.settings.filters:
        return source
    if not is_complete(folder / KEPT):
        filter_dataset(
            source,
            folder / KEPT,
            materials.settings.filter_settings(),
            on_progress=lambda done, total: materials.on_progress("filtering", done, total),
        )
    return Dataset(folder / KEPT)


def _unfiltered(materials: Materials, number: int) -> Dataset:
    return Dataset(materials.folder(number) / MERGED) if number else materials.labels


def _measured(materials: Materials, model: Path, folder: Path) -> Evaluation:
    """Ask the model the held-out questions."""
    from arno.training.evaluation.local import open_model

    settings = materials.settings
    choice = DecodingChoice(settings.beams, None)
    asked = questions_of(
        open_data(settings.validation, tasks=materials.tasks), tasks=materials.tasks
    )
    answerer = open_model(str(model), choice, device=settings.device)
    total = len(asked.questions)
    with contextlib.closing(answerer):
        return evaluate(
            answerer,
            asked,
            decoding=choice,
            nouns=materials.nouns or nouns_of(settings.validation),
            folder=folder / "judged",
            on_progress=lambda done: materials.on_progress("measuring", done, total),
        )


def _round(
    materials: Materials,
    number: int,
    kept: Dataset,
    measured: Evaluation | None,
    started_s: float,
) -> Round:
    counts = {"images": len(kept), "texts": 0, "regions": 0, "triplets": 0}
    for record in kept:
        for name in ("texts", "regions", "triplets"):
            counts[name] += len(getattr(record, name))
    truth = materials.truth
    figures: dict[str, dict[str, float]] = {}
    if measured is not None:
        figures = {str(task): dict(one.figures.values) for task, one in measured.tasks.items()}
    return Round(
        number=number,
        held_out=None if measured is None else goodness(measured),
        figures=figures,
        data=counts,
        agreement={} if truth is None else compare(kept, truth, materials.nouns).figures(),
        seconds=round(time.monotonic() - started_s, 1),
    )


def goodness(evaluation: Evaluation) -> float:
    """Return how good the answers are, 0..1: the mean over tasks of the mean over questions.

    Figures of tasks have different scales; the goodness of a question has one.
    """
    return fmean(fmean(judged.figures.goodness) for judged in evaluation.tasks.values())


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a data set that is written to its end."""
    return (folder / MANIFEST).exists() and read_manifest(folder).complete
