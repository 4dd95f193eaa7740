"""Prove that a run of three annotators keeps every image once, however often it is killed.

python -m benchmarks.annotate_kills --work FOLDER --page

Rendered scenes are annotated by arno-tiny, by another model's detector with random weights, and by
a function; the process is killed with SIGKILL three times on its way, and given again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import torch
from arno.data_engine.card import CARD_FILE, statistics_of, write_card
from arno.data_engine.labels import import_labels
from arno.dataset import Dataset
from arno.dataset.shards import ShardFormat
from arno.training.data import open_data

from benchmarks.kept_pages import write_block
from benchmarks.machine import describe

_ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = _ROOT / "benchmarks" / "results" / "data-engine" / "annotate-kills.json"
PAGE: Final = _ROOT / "docs" / "dataset.md"
_KILLS: Final = 3
_POLL_S: Final = 0.2
_MODULE: Final = '''
def find(image):
    """One box in the middle, named by the image's shape."""
    name = "wide" if image.width > image.height else "tall"
    box = (image.width / 4, image.height / 4, image.width * 3 / 4, image.height * 3 / 4)
    yield {"box": box, "kind": "category", "text": name, "score": 0.5}
'''


def make_detector(folder: Path) -> None:
    """Save a detector of random weights."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=5,
        id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    YolosImageProcessor(size=size).save_pretrained(folder)


def records_written(folder: Path, shard_records: int) -> int:
    """Return how many records a run has kept so far, about."""
    shards = sum(1 for _ in folder.glob("part-*.jsonl")) * shard_records
    journal = folder / "journal.jsonl"
    return shards + (journal.read_bytes().count(b"\n") if journal.exists() else 0)


def run(words: Sequence[str], work: Path, out: Path, count: int, shard_records: int) -> list[int]:
    """Give the command until it ends, killing it on its way; return where it was killed."""
    killed_at = []
    for kill in range(1, _KILLS + 1):
        process = subprocess.Popen(words, cwd=work)
        mark = count * kill // (_KILLS + 1)
        while records_written(out, shard_records) < mark and process.poll() is None:
            time.sleep(_POLL_S)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed_at.append(records_written(out, shard_records))
    subprocess.run(words, cwd=work, check=True)
    return killed_at


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path(".cache/annotate-kills"))
@click.option("--scenes", default=2000, show_default=True)
@click.option("--seed", default=6, show_default=True)
@click.option("--page", is_flag=True, help="Keep the figures, and write docs/dataset.md.")
def main(work: Path, scenes: int, seed: int, page: bool) -> None:
    """Annotate, kill, go on; check every record; write the card and the figures."""
    work = work.absolute()
    machine = describe("cpu")
    data = f"world:seed={seed},n={scenes},tasks=OD"
    import_labels(open_data(data), work / "labels", annotator="truth", form=ShardFormat.JSONL)
    make_detector(work / "detector")
    (work / "mine.py").write_text(_MODULE)
    shard_records = 250
    words = [
        *(sys.executable, "-m", "arno.cli", "annotate", str(work / "labels" / "images")),
        *("--out", str(work / "seen"), "--model", "tiny", "--task", "OD", "--task", "CAPTION"),
        *("--beams", "1", "--annotator", "detector:./detector"),
        *("--annotator", "python:mine:find", "--format", "jsonl"),
        *("--shard-records", str(shard_records), "--window", "64"),
    ]
    began_s = time.monotonic()
    killed_at = run(words, work, work / "seen", scenes, shard_records)
    seconds = time.monotonic() - began_s
    seen = Dataset(work / "seen")
    ids = Counter(record.image_id for record in seen)  # each record is validated as it is read
    assert set(ids.values()) == {1}, "an image is there twice"
    assert len(ids) == len(Dataset(work / "labels")), "an image is missing"
    annotators = Counter(one.provenance.annotator for record in seen for one in record.regions)
    annotators.update(one.provenance.annotator for record in seen for one in record.texts)
    write_card(work / "card", seen, statistics_of(seen, None))
    assert (work / "card" / CARD_FILE).exists()
    figures = {
        "machine": machine,
        "data": data,
        "images": len(ids),
        "killed_at": killed_at,
        "annotations": dict(annotators),
        "seconds": round(seconds),
    }
    click.echo(json.dumps(figures, indent=1))
    if page:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        _write_page(figures)


def _write_page(figures: dict[str, Any]) -> None:
    machine = figures["machine"]
    killed = ", ".join(f"{count:,}" for count in figures["killed_at"])
    text = (
        "Written by `python -m benchmarks.annotate_kills --page`: "
        f"{figures['images']:,} rendered scenes (`{figures['data']}`), annotated by arno-tiny, "
        "by a detector of transformers with random weights and by a function, in shards of 250 "
        f"records. The process was killed with SIGKILL after about {killed} records, and given "
        "again: every image is there once, every record is of the schema, and the card is "
        f"written. {figures['seconds']:,} s with four starts, on {machine['core_count']} cores of "
        f"{machine['processor']} with other work (load {machine['load_average'][0]}).\n\n"
    )
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in figures["annotations"].items())
    head = "| annotator | annotations |\n| --- | ---: |\n"
    write_block(PAGE, "annotate figures", text + head + rows)


if __name__ == "__main__":
    main()
