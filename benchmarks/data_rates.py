"""Measure how fast the data engine judges regions and fuses boxes, and whether it feeds workers.

python -m benchmarks.data_rates

Rules and fusion are measured in processor time of one core, which other work on the machine does
not change. For the workers, all of Arno runs with Redis Streams and one worker of one thread, and
`arno annotate` shows it pictures; what counts is how long the worker's engine was in steps. Writes
docs/scale.md.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from arno.bulk import GatewayAnswerer, open_source
from arno.bulk.gateway_answerer import GatewayOptions
from arno.cli.scraping import page_url, read_pages
from arno.client import Client
from arno.data_engine.annotation import RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import TaskAnnotator
from arno.data_engine.blocks import BLOCK_RECORDS
from arno.data_engine.labels import import_labels
from arno.dataset import ImageRecord, Provenance, RegionKind, RegionText
from arno.dataset.filters.judge import Filter
from arno.dataset.filters.place_rules import Places, judge_places
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.fusion import fuse
from arno.dataset.shards import ShardFormat
from arno.training.data import open_data
from arno.vocabulary import TaskSpec

from benchmarks.kept_pages import write_block
from benchmarks.machine import describe
from benchmarks.stack import running_stack

_ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = _ROOT / "benchmarks" / "results" / "data-engine" / "rates.json"
PAGE: Final = _ROOT / "docs" / "scale.md"
_REGIONS: Final = 10
_ANNOTATORS: Final = 3
_SIDE_PX: Final = 640.0
_ROUNDS: Final = 5
_WARM_UP: Final = 0.2
"""Part of the pictures that are annotated before the worker is watched, and left at the end."""


def _boxes(chance: np.random.Generator, images: int, each: int) -> np.ndarray[Any, Any]:
    """Return boxes that overlap as those of several annotators do. [images * each, 4]."""
    corners = chance.uniform(0, 0.7, (images, 1, -(-each // _ANNOTATORS), 2))
    sides = chance.uniform(0.1, 0.3, corners.shape)
    things = np.concatenate([corners, corners + sides], axis=-1)
    seen = things + chance.normal(0, 0.01, (images, _ANNOTATORS, *things.shape[2:]))
    return np.clip(seen.reshape(images, -1, 4)[:, :each], 0, 1).reshape(-1, 4)


def _best_s(run: Callable[[], object]) -> float:
    """Return the least processor time of some runs, in seconds."""
    spent = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        run()
        spent.append(time.process_time() - began_s)
    return min(spent)


def region_rules() -> dict[str, float]:
    """Return images a second and core: through the rules alone, and as records."""
    chance = np.random.default_rng(0)
    count = BLOCK_RECORDS * _REGIONS
    boxes = _boxes(chance, BLOCK_RECORDS, _REGIONS) * _SIDE_PX
    scores = chance.uniform(0, 1, count)
    names = chance.integers(0, 20, count)
    owners = np.repeat(np.arange(BLOCK_RECORDS), _REGIONS)
    sizes = np.full((count, 2), _SIDE_PX)
    places = Places(owners, boxes, sizes, scores, np.full(count, np.nan), names)
    settings = FilterSettings(text_rules=False)
    records = [
        ImageRecord(
            image_id=f"image-{number}",
            file=f"{number}.png",
            width_px=int(_SIDE_PX),
            height_px=int(_SIDE_PX),
            position=number,
            regions=tuple(
                RegionText(
                    box=tuple(boxes[at].tolist()),
                    kind=RegionKind.CATEGORY,
                    text=f"label {names[at]}",
                    provenance=Provenance(annotator="one", score=float(scores[at])),
                )
                for at in range(number * _REGIONS, (number + 1) * _REGIONS)
            ),
        )
        for number in range(BLOCK_RECORDS)
    ]
    rules = Filter(settings, None)
    return {
        "rules": BLOCK_RECORDS / _best_s(lambda: judge_places(places, settings)),
        "records": BLOCK_RECORDS / _best_s(lambda: rules.apply(records)),
    }


def fusion() -> dict[str, float]:
    """Return images a second and core of Arno's fusion and of `ensemble_boxes`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its strings have escapes that Python does not know
        from ensemble_boxes import weighted_boxes_fusion

    chance = np.random.default_rng(0)
    each = _ANNOTATORS * _REGIONS
    boxes = _boxes(chance, BLOCK_RECORDS, each)
    scores = chance.uniform(0.05, 1, len(boxes))
    owners = np.repeat(np.arange(BLOCK_RECORDS), each)
    shape = (BLOCK_RECORDS, _ANNOTATORS, _REGIONS)
    given = list(zip(boxes.reshape(*shape, 4), scores.reshape(shape), strict=True))
    labels = np.zeros(shape[1:], np.int64)

    def theirs() -> None:
        for some, sure in given:
            weighted_boxes_fusion(list(some), list(sure), list(labels), None, 0.55)

    return {
        "arno": BLOCK_RECORDS / _best_s(lambda: fuse(boxes, scores, owners, 0.55)),
        "ensemble_boxes": BLOCK_RECORDS / _best_s(theirs),
    }


def feeding(images: int) -> dict[str, float]:
    """Annotate pictures on a worker; return how much of the time its engine was in steps."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        scenes = open_data(f"world:seed=8,n={images},tasks=OD,world=plain")
        import_labels(scenes, folder / "labels", annotator="truth", form=ShardFormat.JSONL)
        (folder / "stack").mkdir()
        worker = {"model": "tiny", "device": "cpu", "threads": 1}
        with (
            running_stack(folder / "stack", bus="redis", worker=worker) as stack,
            Client(stack.target) as client,
        ):
            url = stack.metrics_urls["worker"]
            seen: list[tuple[float, float, int]] = []
            marks = [int(images * _WARM_UP), int(images * (1 - _WARM_UP))]

            def note(done: int, total: int | None) -> None:
                if marks and done >= marks[0]:
                    marks.pop(0)
                    (page,) = read_pages([page_url(url)])
                    seen.append((page.at_s, page.value("arno_worker_busy_seconds_total"), done))

            specs = [TaskSpec("OD"), TaskSpec("CAPTION")]
            answerer = GatewayAnswerer(
                client, specs, run_id="feeding", options=GatewayOptions(in_flight_max=32)
            )
            annotate(
                Sources(open_source(str(folder / "labels" / "images"))),
                [TaskAnnotator(answerer, specs, name="florence")],
                folder / "seen",
                RunOptions(ShardFormat.JSONL),
                on_progress=note,
            )
    (began_s, busy_before_s, first), (ended_s, busy_s, last) = seen
    return {
        "busy": (busy_s - busy_before_s) / (ended_s - began_s),
        "images_per_s": (last - first) / (ended_s - began_s),
        "images": images,
    }


def _rows(found: dict[str, Any]) -> Sequence[tuple[str, str, str]]:
    rules, fused, fed = found["region rules"], found["fusion"], found["feeding"]
    times = fused["arno"] / fused["ensemble_boxes"]
    return (
        (
            f"region rules, images a second and core, {_REGIONS} regions each",
            "20,000",
            f"{rules['rules']:,.0f}",
        ),
        (
            "the same with records read into columns and written back",
            "",
            f"{rules['records']:,.0f}",
        ),
        (
            f"fusion of {_ANNOTATORS} x {_REGIONS} boxes, as often as `ensemble_boxes`",
            "5 times",
            f"{times:.0f} times: {fused['arno']:,.0f} and {fused['ensemble_boxes']:,.0f} images "
            "a second and core",
        ),
        (
            f"time that a worker's engine is in steps while `arno annotate` feeds it, "
            f"{fed['images']:,} images at {fed['images_per_s']:.0f} a second",
            "95 %",
            f"{fed['busy']:.1%}",
        ),
    )


def _write_page(found: dict[str, Any]) -> None:
    machine = found["machine"]
    head = (
        "Written by `python -m benchmarks.data_rates`. Rules and fusion: processor time of one "
        f"core, {BLOCK_RECORDS} images at a time, as the commands do it. The worker: arno-tiny "
        "with one thread, `OD` and `CAPTION`, Redis Streams, 32 jobs in flight, between the first "
        f"and the last fifth of the images. {machine['processor']}, {machine['core_count']} cores; "
        f"load {machine['load_average'][0]} before it began.\n\n"
        "| | aim | measured |\n| --- | ---: | ---: |\n"
    )
    rows = "\n".join(f"| {' | '.join(row)} |" for row in _rows(found))
    write_block(PAGE, "rates", head + rows)


@click.command()
@click.option("--images", default=1500, show_default=True, help="That a worker is fed with.")
@click.option("--page", is_flag=True, help="Keep the figures, and write docs/scale.md.")
def main(images: int, page: bool) -> None:
    """Measure all, print the figures, and keep them."""
    found = {
        "machine": describe("cpu"),
        "region rules": region_rules(),
        "fusion": fusion(),
        "feeding": feeding(images),
    }
    for row in _rows(found):
        click.echo(": ".join(filter(None, itertools.chain(row[:1], row[2:]))))
    if page:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        _write_page(found)


if __name__ == "__main__":
    main()
