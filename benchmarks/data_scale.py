"""Measure how fast texts are filtered, and that memory does not grow with a data set.

python -m benchmarks.data_scale --work FOLDER

Texts are those of rendered scenes, in the three granularities. Each step runs in a process of its
own, as its command does; its figures stay in the folder, so that a run that was stopped goes on.
`--only ray` compares the same steps on Ray (extra `ray`) with processes of this machine. Parts that
are not measured keep their figures. `--page` writes docs/scale.md.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import click
from arno.data_engine.annotation import RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import FunctionAnnotator
from arno.data_engine.blocks import EngineName, Workers
from arno.data_engine.card import statistics_of
from arno.data_engine.filtering import filter_dataset
from arno.data_engine.merging import merge_datasets
from arno.dataset import Dataset, DatasetWriter, ImageRecord, Manifest, Provenance
from arno.dataset.answers import GRANULARITIES, Annotations
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.merging import MergeSettings
from arno.dataset.shards import ShardFormat
from arno.vocabulary import Task
from PIL import Image

from benchmarks.kept_pages import write_block

_ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = _ROOT / "benchmarks" / "results" / "data-engine" / "scale.json"
PAGE: Final = _ROOT / "docs" / "scale.md"
_SCENES: Final = 500
"""Scenes whose texts are used again and again, each time as those of another image."""
_IMAGES: Final = 16
_REGIONS: Final = 10
_MEGABYTE: Final = 1 << 20
_TEXTS: Final = {
    Task.CAPTION: 20_000,
    Task.DETAILED_CAPTION: 12_000,
    Task.MORE_DETAILED_CAPTION: 8_000,
}
"""How many texts of each granularity are filtered: each some ten seconds on one core."""


def _records(count: int, tasks: tuple[Task, ...], world: str = "open") -> Iterator[ImageRecord]:
    """Yield records of made images: texts and boxes of scenes that are not drawn."""
    made = [_parts(number, tasks, world) for number in range(min(_SCENES, count))]
    for position, parts in zip(range(count), itertools.cycle(made), strict=False):
        yield ImageRecord(
            image_id=f"scene-{position:07}",
            file=f"{position % _IMAGES}.png",
            width_px=320,
            height_px=320,
            position=position,
            **parts,
        )


def _parts(number: int, tasks: tuple[Task, ...], world: str) -> dict[str, Any]:
    # Not for the processes of steps, whose memory is measured: it imports torch.
    from arno.training.data.world import samples
    from arno.training.world import Split

    found = Annotations()
    for sample in samples(Split.TRAIN, number, tasks, world):
        provenance = Provenance(annotator="world", score=0.8)
        found.add(sample.spec, sample.answer, provenance)
    if Task.OD in tasks:
        found.regions = list(itertools.islice(itertools.cycle(found.regions), _REGIONS))
    return found.parts()


def _write(folder: Path, count: int, tasks: tuple[Task, ...]) -> Path:
    """Write a data set, unless it is there."""
    if not (folder / "dataset.json").exists():
        folder.mkdir(parents=True)
        for number in range(_IMAGES):
            Image.new("RGB", (320, 320), (number, 0, 0)).save(folder / f"{number}.png")
        manifest = Manifest(format=ShardFormat.JSONL)
        with DatasetWriter(folder, manifest) as writer:
            for record in _records(count, tasks):
                writer.write(record)
    return folder


def _see(image: Image.Image) -> Iterator[dict[str, Any]]:
    yield {"box": (1, 1, image.width / 2, 9), "kind": "category", "text": "left", "score": 0.5}


def _annotate(source: Dataset, out: Path, workers: Workers, note: Any) -> None:
    annotator = FunctionAnnotator(_see, name="function")
    annotate(Sources(source), [annotator], out, RunOptions(ShardFormat.JSONL), on_progress=note)


def _filter(source: Dataset, out: Path, workers: Workers, note: Any) -> None:
    settings = FilterSettings(processes=workers.processes)
    filter_dataset(source, out, settings, engine=workers.engine, on_progress=note)


def _filter_regions(source: Dataset, out: Path, workers: Workers, note: Any) -> None:
    settings = FilterSettings(text_rules=False, processes=workers.processes)
    filter_dataset(source, out, settings, engine=workers.engine, on_progress=note)


def _merge(source: Dataset, out: Path, workers: Workers, note: Any) -> None:
    merge_datasets([source], out, MergeSettings(), workers=workers, on_progress=note)


def _measure(source: Dataset, out: Path, workers: Workers, note: Any) -> None:
    out.mkdir()
    found = statistics_of(source, None, workers=workers, on_progress=note)
    (out / "statistics.json").write_text(json.dumps(found.document()))


_STEPS: Final[dict[str, Callable[[Dataset, Path, Workers, Any], None]]] = {
    "annotate": _annotate,
    "filter": _filter,
    "filter regions": _filter_regions,
    "merge": _merge,
    "stats": _measure,
}


def _do(step: str, source: Path, out: Path, workers: Workers) -> dict[str, float]:
    """Do a step in this process; return its figures."""
    seen: list[tuple[float, int]] = []

    def note(done: int, total: int | None) -> None:
        # The first and the last are enough, and a list would be the memory that is measured.
        seen[1:] = [(time.monotonic(), done)]

    began_s = time.monotonic()
    _STEPS[step](Dataset(source), out, workers, note)
    (first_s, first), (last_s, last) = seen[0], seen[-1]
    return {
        "seconds": time.monotonic() - began_s,
        "rate": (last - first) / (last_s - first_s) if last > first else 0.0,
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    """Return the most memory that this program has had: `ru_maxrss` begins with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _in_own_process(step: str, source: Path, out: Path, workers: Workers) -> dict[str, Any]:
    name = f"{step} of {source.name}, {workers.engine} {workers.processes}"
    kept = out.with_name("figures") / f"{name}.json"
    if kept.exists():
        earlier: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return earlier
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    words = (step, source, out, workers.engine, workers.processes)
    command = [
        sys.executable,
        "-m",
        "benchmarks.data_scale",
        "--step",
        json.dumps([*map(str, words)]),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    click.echo(f"{name}: {found}", err=True)
    found["digest"] = _digest(out)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def texts(work: Path, small: int) -> list[dict[str, Any]]:
    """Measure the rate of texts by granularity, with one process and with two."""
    rows = []
    for task, count in _TEXTS.items():
        source = _write(work / f"{task.lower()}-{count // small}", count // small, (task,))
        (text,) = Dataset(source)[0].texts[:1]
        words = [
            len(record.texts[0].text.split()) for record in itertools.islice(Dataset(source), 500)
        ]
        rows.append(
            {
                "granularity": GRANULARITIES[task],
                "texts": count // small,
                "words": fmean(words),
                "example": text.text,
                "rates": {
                    str(n): _in_own_process("filter", source, work / "out", Workers(processes=n))
                    for n in (1, 2)
                },
            }
        )
    return rows


def memory(work: Path, small: int) -> list[dict[str, Any]]:
    """Measure the peak memory of each step over 10,000 and over 100,000 records."""
    rows = []
    for count in (10_000 // small, 100_000 // small):
        source = _write(work / f"memory-{count}", count, (Task.OD, Task.CAPTION))
        rows.append(
            {
                "records": count,
                "steps": {
                    step: _in_own_process(step, source, work / "out", Workers()) for step in _STEPS
                },
            }
        )
    return rows


def on_ray(work: Path, small: int) -> list[dict[str, Any]]:
    """Do steps on Ray and by two processes of this machine; compare what is written."""
    count = 20_000 // small
    source = _write(work / f"ray-{count}", count, (Task.OD, Task.CAPTION))
    rows = []
    for step in ("merge", "filter", "stats"):
        found: dict[str, Any] = {"step": step, "records": count}
        for name, workers in (
            ("local 1", Workers()),
            ("local 2", Workers(processes=2)),
            ("ray", Workers(EngineName.RAY)),
        ):
            found[name] = _in_own_process(step, source, work / "out", workers)
        digests = {found[name]["digest"] for name in ("local 1", "local 2", "ray")}
        rows.append({**found, "same bytes": len(digests) == 1})
    return rows


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


_PARTS: Final[dict[str, Callable[[Path, int], list[dict[str, Any]]]]] = {
    "texts": texts,
    "memory": memory,
    "ray": on_ray,
}


def _table(document: dict[str, Any]) -> Iterator[str]:
    if "texts" in document:
        yield "| text | words | texts a second, one process | two processes (aim: 2,000) |"
        yield "| --- | ---: | ---: | ---: |"
        for row in document["texts"]["rows"]:
            one, two = (row["rates"][n]["rate"] for n in ("1", "2"))
            name = row["granularity"].replace("_", " ")
            yield f"| {name} | {row['words']:.0f} | {one:,.0f} | {two:,.0f} |"
        yield ""
    if "memory" in document:
        rows = document["memory"]["rows"]
        counts = " | ".join(f"{one['records']:,} images" for one in rows)
        yield f"| peak memory, one process | {counts} |"
        yield f"| --- | {' | '.join('---:' for _ in rows)} |"
        for step in rows[0]["steps"]:
            peaks = (f"{one['steps'][step]['peak_bytes'] / _MEGABYTE:,.0f} MB" for one in rows)
            yield f"| {step} | {' | '.join(peaks)} |"
        yield ""
    if "ray" in document:
        yield "| step | records | one process | two processes | Ray, two cores | same bytes |"
        yield "| --- | ---: | ---: | ---: | ---: | --- |"
        for row in document["ray"]["rows"]:
            seconds = " | ".join(
                f"{row[n]['seconds']:.1f} s" for n in ("local 1", "local 2", "ray")
            )
            same = "yes" if row["same bytes"] else "**no**"
            yield f"| {row['step']} | {row['records']:,} | {seconds} | {same} |"
        yield ""


def _write_page(document: dict[str, Any]) -> None:
    machine = next(iter(document.values()))["machine"]
    loads = {name: part["machine"]["load_average"][0] for name, part in document.items()}
    measured = ", ".join(f"{name} at load {load}" for name, load in loads.items())
    text = (
        "Written by `python -m benchmarks.data_scale --page`. Texts are those of rendered scenes; "
        f"{machine['processor']}, {machine['core_count']} cores: {measured} before it began. "
        "Rates are those of the whole command `arno dataset filter`, reading and writing "
        "included, once its first part is done; seconds include the start of processes and of "
        f"Ray. The images of the memory rows have {_REGIONS} regions and a text.\n\n"
    )
    write_block(PAGE, "figures", text + "\n".join(_table(document)))


def _kept() -> dict[str, Any]:
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


@click.command()
@click.option("--work", type=click.Path(path_type=Path), help="Folder of the made data sets.")
@click.option("--only", type=click.Choice(list(_PARTS)), multiple=True, help="Only these parts.")
@click.option("--small", default=1, show_default=True, help="Divide all sizes, and keep nothing.")
@click.option("--page", is_flag=True, help="Write docs/scale.md from the kept figures.")
@click.option("--step", hidden=True, help="Of a process of this program.")
def main(
    work: Path | None, only: tuple[str, ...], small: int, page: bool, step: str | None
) -> None:
    """Measure, keep the figures, and write the page."""
    if step is not None:
        name, source, out, engine, processes = json.loads(step)
        workers = Workers(EngineName(engine), int(processes))
        click.echo(json.dumps(_do(name, Path(source), Path(out), workers)))
        return
    document = _kept()
    if work is not None:
        from benchmarks.machine import describe  # imports torch

        for name in only or ("texts", "memory"):
            machine = describe("cpu")
            rows = _PARTS[name](work.absolute(), small)
            document = {**_kept(), name: {"machine": machine, "rows": rows}}
            if small == 1:
                FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if small > 1:
        click.echo("\n".join(_table(document)))
    elif page or work is not None:
        _write_page(document)


if __name__ == "__main__":
    main()
