"""Export a work list of rendered scenes, have the packages read it, and compare every box."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click
from arno.data_engine.doubts import Doubt, write_doubts
from arno.data_engine.exports import export
from arno.data_engine.labels import import_labels
from arno.dataset import Dataset
from arno.dataset.shards import ShardFormat
from arno.training.data import open_data

_HERE: Final = Path(__file__).resolve().parent
_PEERS: Final = {
    "fiftyone": ("fiftyone==1.22.1", "read_fiftyone.py"),
    "label-studio": ("label-studio-sdk==2.1.2", "read_label_studio.py"),
}
_FORMATS: Final = ("fiftyone", "label-studio", "yolo", "coco", "cvat")
_DOUBTED: Final = frozenset({"fiftyone", "label-studio"})
_PLACE: Final = (10.0, 10.0, 60.0, 60.0)


def make(work: Path, scenes: int) -> Dataset:
    """Write a work list: of each third image something is overlooked."""
    data = f"world:seed=8,n={scenes},tasks=OD+CAPTION"
    import_labels(open_data(data), work / "labels", annotator="truth", form=ShardFormat.JSONL)
    labels = Dataset(work / "labels")
    doubts = [
        Doubt(record.image_id, "overlooked", 0.01 * (at + 1), "key", _PLACE)
        for at, record in enumerate(labels)
        if at % 3 == 0
    ]
    doubts += [
        Doubt(one.image_id, "swapped", 0.9, one.regions[0].text, one.regions[0].bounds)
        for one in labels
        if one.regions
    ]
    write_doubts(labels, doubts, work / "list", images_max=scenes)
    return Dataset(work / "list")


def expected(dataset: Dataset) -> list[list[Any]]:
    """Return name, label and box in parts of the image of each category region."""
    found = []
    for record in dataset:
        width, height = record.width_px, record.height_px
        for one in record.regions:
            x0, y0, x1, y1 = one.bounds
            sides = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
            found.append([Path(record.file).name, one.text, [round(side, 2) for side in sides]])
    return sorted(found, key=json.dumps)


def read(peer: str, peers: Path, words: list[str]) -> dict[str, list[list[Any]]]:
    """Return what a package reads, installed into an environment of its own the first time."""
    package, script = _PEERS[peer]
    python = peers / peer / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        subprocess.run([uv, "venv", "-q", str(peers / peer)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), package], check=True)
    command = [str(python), str(_HERE / script), *words]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, list[list[Any]]] = json.loads(said[said.index("{") :])
    return found


def near(one: list[Any], other: list[Any]) -> bool:
    """Whether two boxes are the same but for rounding."""
    sides = zip(one[2], other[2], strict=True)
    return one[:2] == other[:2] and all(abs(a - b) <= 0.011 for a, b in sides)


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path(".cache/readers/data"))
@click.option("--peers", type=click.Path(path_type=Path), default=Path(".cache/readers"))
@click.option("--scenes", default=20, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json")
def main(work: Path, peers: Path, scenes: int, out: Path | None) -> None:
    """Export, read, compare; print a line for each format."""
    work = work.absolute()
    dataset = make(work, scenes)
    for form in _FORMATS:
        export(dataset, work / form, form)
    images = str((dataset.folder / dataset.manifest.images).resolve())
    seen = read("fiftyone", peers.absolute(), [str(work), images])
    seen |= read("label-studio", peers.absolute(), [str(work)])
    wanted, overlooked = expected(dataset), sum(at % 3 == 0 for at in range(scenes))
    rows = []
    for form in _FORMATS:
        boxes = [one for one in seen[form] if one[3] != "overlooked"]
        missed = [one for one in wanted if not any(near(one, other) for other in boxes)]
        doubts = len(seen[form]) - len(boxes)
        assert not missed, f"{form}: {missed[:3]}"
        assert len(boxes) == len(wanted), form
        assert doubts == (overlooked if form in _DOUBTED else 0), form
        reader = _PEERS["label-studio" if form == "label-studio" else "fiftyone"][0]
        rows.append({"format": form, "reader": reader, "boxes": len(boxes), "doubts": doubts})
        click.echo(f"| `{form}` | {reader} | {len(boxes)} | {doubts} |")
    if out is not None:
        out.write_text(json.dumps({"scenes": scenes, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
