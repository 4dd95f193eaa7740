"""Measure what rounds of refinement do to a data set with planted noise, with and without filters.

python -m benchmarks.refine --work FOLDER --page

The truth are rendered scenes, whose categories bear one another's names: arno-tiny sees the things,
and has to learn every name from the noisy labels. Planted: 30 % of the boxes are dropped, 20 % of
the labels are wrong, 15 % of the captions are those of other images. The truth is shown to no
round: it is compared with what each round trains on next. Held-out scenes are right and decide
nothing but which round is the best. A run that was stopped goes on when it is given again.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from arno.data_engine.labels import import_labels
from arno.data_engine.refinement.run import refine
from arno.data_engine.refinement.settings import RefineSettings
from arno.data_engine.refinement.state import State
from arno.data_engine.selection import split
from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.shards import ShardFormat
from arno.training.data import open_data
from arno.training.world import WORLDS
from rich.console import Console

from benchmarks.kept_pages import write_block
from benchmarks.machine import describe

_ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = _ROOT / "benchmarks" / "results" / "data-engine" / "refine.json"
PAGE: Final = _ROOT / "docs" / "dataset.md"
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "filters": {"filters": True},
    "judged, not filtered": {"filters": False, "texts_max": 100},
    "no filters": {"filters": False, "texts_max": 100, "labels_compared": 0},
}
"""Without filters nothing is dropped; without any judging, labels also count the same in merging,
whatever the model would call their places."""
BOXES_DROPPED: Final = 0.3
LABELS_WRONG: Final = 0.2
CAPTIONS_SWAPPED: Final = 0.15
_WORLD: Final = "plain"
_TASKS: Final = "OD+CAPTION"
_SHIFT: Final = 5
_CATEGORIES: Final = WORLDS[_WORLD].categories
_LABELS: Final = tuple(category.label for category in _CATEGORIES)
_RENAMED: Final = {
    old: new
    for at, category in enumerate(_CATEGORIES)
    for other in (_CATEGORIES[(at + _SHIFT) % len(_CATEGORIES)],)
    for old, new in ((category.label, other.label), (category.plural, other.plural))
}
_WORDS: Final = re.compile(r"\b(" + "|".join(sorted(_RENAMED, key=len, reverse=True)) + r")\b")
_ARTICLE: Final = re.compile(r"\b([Aa])n?\b(?= ([a-z]))")
NOUNS: Final = {
    word: category.label for category in _CATEGORIES for word in (category.label, category.plural)
}


def rename(text: str) -> str:
    """Return a text in which each category bears the name of another."""
    named = _WORDS.sub(lambda found: _RENAMED[found[0]], text)
    return _ARTICLE.sub(lambda found: found[1] + "n" * (found[2] in "aeiou"), named)


def renamed(record: ImageRecord) -> ImageRecord:
    """Return a record whose categories bear the names of others."""
    return record.model_copy(
        update={
            "texts": tuple(
                one.model_copy(update={"text": rename(one.text)}) for one in record.texts
            ),
            "regions": tuple(
                one.model_copy(update={"text": _RENAMED[one.text]}) for one in record.regions
            ),
        }
    )


def noisy(records: Iterable[ImageRecord], chance: random.Random) -> Iterator[ImageRecord]:
    """Yield records with the planted noise."""
    held = list(records)
    swapped = [
        at for at, one in enumerate(held) if one.texts and chance.random() < CAPTIONS_SWAPPED
    ]
    texts = {
        at: held[other].texts for at, other in zip(swapped, swapped[1:] + swapped[:1], strict=True)
    }
    for at, record in enumerate(held):
        regions = []
        for one in record.regions:
            if chance.random() < BOXES_DROPPED:
                continue
            wrong = chance.random() < LABELS_WRONG
            others = [label for label in _LABELS if label != one.text]
            label = chance.choice(others) if wrong else one.text
            regions.append(one.model_copy(update={"text": label}))
        changes = {"regions": tuple(regions), "texts": texts.get(at, record.texts)}
        yield record.model_copy(update=changes)


def write(source: Dataset, out: Path, records: Iterable[ImageRecord]) -> Path:
    """Write records with the images of another data set."""
    manifest = source.manifest.model_copy(
        update={"complete": False, "images": source.images_from(out), "steps": ()}
    )
    with DatasetWriter(out, manifest) as writer:
        for record in records:
            writer.write(record)
    return out


def make_data(folder: Path, *, train: int, held_out: int, seed: int) -> dict[str, Path]:
    """Write truth, noisy labels and held-out scenes; return their folders."""
    places = {name: folder / name for name in ("truth", "labels", "held-out")}
    if not (places["held-out"] / "dataset.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        scenes = f"world:seed={seed},n={train + held_out},tasks={_TASKS},world={_WORLD}"
        import_labels(
            open_data(scenes), folder / "scenes", annotator="truth", form=ShardFormat.JSONL
        )
        share = held_out / (train + held_out)
        parts = {"train": 1 - share, "held-out": share}
        split(Dataset(folder / "scenes"), folder / "parts", parts=parts, seed=seed)
        known = Dataset(folder / "parts" / "train")
        write(known, places["truth"], map(renamed, known))
        truth = Dataset(places["truth"])
        write(truth, places["labels"], noisy(truth, random.Random(seed)))
        other = Dataset(folder / "parts" / "held-out")
        write(other, places["held-out"], map(renamed, other))
    return places


def run(places: Mapping[str, Path], out: Path, chosen: Mapping[str, Any]) -> State:
    """Refine the noisy labels and return what the rounds came to."""
    settings = RefineSettings(
        data=str(places["labels"]),
        validation=str(places["held-out"]),
        truth=str(places["truth"]),
        out=out,
        **chosen,
    )
    console = Console(stderr=True, force_terminal=False)
    last = ""

    def show(step: str, done: int, total: int | None) -> None:
        nonlocal last
        if step != last:
            last = step
            console.print(f"{time.strftime('%H:%M:%S')} {out.name}: {step}")

    state = refine(settings, console, nouns=NOUNS, on_progress=show)
    if state is None:
        raise SystemExit(130)
    return state


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path(".cache/refine"))
@click.option("--train", default=240, show_default=True, help="Scenes of the data set.")
@click.option("--held-out", default=60, show_default=True, help="Scenes that are held out.")
@click.option("--rounds", default=2, show_default=True)
@click.option("--steps", default=150, show_default=True, help="Of a round's training.")
@click.option("--batch", default=16, show_default=True)
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--freeze-vision/--no-freeze-vision", default=True, show_default=True)
@click.option("--beams", default=1, show_default=True)
@click.option("--seed", default=4, show_default=True)
@click.option("--only", type=click.Choice(list(VARIANTS)), help="Only one of the two.")
@click.option("--page", is_flag=True, help="Keep the figures, and write docs/dataset.md.")
def main(work: Path, train: int, held_out: int, only: str | None, page: bool, **how: Any) -> None:
    """Refine with and without filters, and print the table."""
    places = make_data(work / "data", train=train, held_out=held_out, seed=how["seed"])
    chosen = {**how, "loader_processes": 0, "micro_batch": how["batch"], "metrics_port": 0}
    machine = describe("cpu")
    states = {}
    for name, settings in VARIANTS.items():
        if only in (None, name):
            folder = work / name.replace(",", "").replace(" ", "-")
            states[name] = run(places, folder, {**chosen, **settings})
    click.echo("\n".join(table(states)))
    if page and only is None:
        document = {
            "machine": machine,
            "how": {**how, "train": train, "held_out": held_out},
            "rounds": {name: [asdict(one) for one in s.rounds] for name, s in states.items()},
            "rise": {name: rise(state) for name, state in states.items()},
        }
        FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        write_page(document, states)


def write_page(document: Mapping[str, Any], states: Mapping[str, State]) -> None:
    """Write the paragraph of docs/dataset.md."""
    how, machine = document["how"], document["machine"]
    images = document["rounds"]["filters"][0]["data"]["images"]
    rises = "; ".join(
        f"{name}: region F1 {found['region_f1']:+.3f}, caption object F1 "
        f"{found['caption_object_f1']:+.3f}"
        for name, found in document["rise"].items()
    )
    text = (
        f"Written by `python -m benchmarks.refine --page`. {images} rendered scenes whose "
        "categories bear one another's names, so that arno-tiny has to learn each name from the "
        f"labels; {BOXES_DROPPED:.0%} of the boxes are dropped, {LABELS_WRONG:.0%} of the labels "
        f"are wrong, {CAPTIONS_SWAPPED:.0%} of the captions belong to other images. A round trains "
        f"{how['steps']} steps of {how['batch']} samples, vision frozen, seed {how['seed']}: "
        "epochs would give more steps where more texts are kept. Without filters nothing "
        "is dropped, and `no filters` does not judge labels either. `held-out`: "
        f"{how['held_out']} scenes that are right. The other columns compare what is trained on "
        f"next with the hidden truth. One thread of {machine['processor']}.\n\n"
    )
    block = text + "\n".join(table(states)) + f"\n\nRise over all rounds: {rises}.\n"
    write_block(PAGE, "refine figures", block)


def rise(state: State) -> dict[str, float]:
    """Return how much the last round has raised each figure against the labels."""
    first, last = state.rounds[0].agreement, state.rounds[-1].agreement
    return {name: round(last[name] - first[name], 4) for name in first}


def table(states: Mapping[str, State]) -> Iterator[str]:
    """Yield the lines of the table."""
    measured = ("region F1", "precision", "recall", "caption object F1", "held-out")
    head = ("", "round", "texts", "regions", *measured)
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    for name, state in states.items():
        for one in state.rounds:
            held_out = "" if one.held_out is None else f"{one.held_out:.3f}"
            yield (
                f"| {name} | {one.number} | {one.data['texts']:,} | {one.data['regions']:,} "
                f"| {one.agreement['region_f1']:.3f} | {one.agreement['region_precision']:.3f} "
                f"| {one.agreement['region_recall']:.3f} "
                f"| {one.agreement['caption_object_f1']:.3f} | {held_out} |"
            )


if __name__ == "__main__":
    main()
