"""`arno batch`: killed three times; over a broken tenth, and how busy it keeps a worker then."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from arno.bulk import read_records
from arno.cli.scraping import Reading, page_url, read_pages
from support.arno_up import start_arno
from support.images import encoded
from support.videos import numbered_picture

from benchmarks.stack import Stack, running_stack

_IMAGES: Final = 2000
_KILLS: Final = 3
_SHARD: Final = 100
_FILES: Final = 1000
_RUN_S: Final = 600.0
_BROKEN_EVERY: Final = 10
_SMALL_SHARD: Final = 10
_ENDS_SHARDS: Final = 2
"""Left out at either end of the run: while the batch fills, and while it empties."""


def measure_batch(size: float) -> dict[str, Any]:
    """Return how often images were answered, over four runs of which three were killed.

    Args:
        size: 1 for the whole measurement.
    """
    images, shard = int(_IMAGES * size), int(_SHARD * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, out = _photos(folder, images), folder / "seen"
        with running_stack(_made(folder / "stack"), bus="redis") as stack:
            words = _words(photos, out, stack, shard)
            started_s = time.monotonic()
            kills = sum(
                _run_and_kill(words, out, number * (images // shard) // (_KILLS + 1))
                for number in range(1, _KILLS + 1)
            )
            exit_code = start_arno(*words, log=folder / "batch.log").wait(_RUN_S)
            elapsed_s = time.monotonic() - started_s
        times = Counter(record.key for record in read_records(out))
    return {
        "images": images,
        "kills": kills,
        "exit_code": exit_code,
        "answered": len(times),
        "answered_more_than_once": sum(count > 1 for count in times.values()),
        "elapsed_s": elapsed_s,
    }


def measure_broken(size: float) -> dict[str, Any]:
    """Return what became of files of which a tenth is broken, and how busy the worker was.

    The model is arno-tiny: only a real one needs whole images.

    Args:
        size: 1 for the whole measurement.
    """
    files = int(_FILES * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, out = _photos(folder, files), folder / "seen"
        for number in range(0, files, _BROKEN_EVERY):
            broken = photos / f"{number:04d}.png"
            content = broken.read_bytes()
            broken.write_bytes(content[: len(content) // 2] if number % 20 else b"no image")
        with running_stack(_made(folder / "stack"), bus="redis", worker={"model": "tiny"}) as stack:
            words = _words(photos, out, stack, _SMALL_SHARD)
            run = start_arno(*words, log=folder / "batch.log")
            urls = [page_url(stack.metrics_urls["worker"])]
            shards = files * (_BROKEN_EVERY - 1) // _BROKEN_EVERY // _SMALL_SHARD
            _await_shards(run, out, _ENDS_SHARDS)
            (before,) = read_pages(urls)
            _await_shards(run, out, shards - _ENDS_SHARDS)
            reading = Reading(before, *read_pages(urls))
            exit_code = run.wait(_RUN_S)
        return {
            "files": files,
            "answered": sum(1 for _ in read_records(out)),
            "failures": len((out / "failures.jsonl").read_text().splitlines()),
            "exit_code": exit_code,
            "seconds": reading.now.at_s - before.at_s,
            "images_per_s": reading.rate("arno_worker_jobs_total"),
            "busy": reading.rate("arno_worker_busy_seconds_total"),
        }


def _photos(folder: Path, count: int) -> Path:
    photos = _made(folder / "photos")
    for number in range(count):
        picture = encoded(numbered_picture(number), "PNG")
        (photos / f"{number:04d}.png").write_bytes(picture)
    return photos


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _words(photos: Path, out: Path, stack: Stack, shard: int) -> list[str | Path]:
    words: list[str | Path] = ["batch", photos, "--task", "OD", "--out", out]
    return [*words, "--address", stack.target, "--shard-size", str(shard)]


def _run_and_kill(words: list[str | Path], out: Path, shards: int) -> bool:
    """Kill a run once the folder has so many shards; return whether it still ran."""
    run = start_arno(*words, log=out.with_name("batch.log"))
    _await_shards(run, out, shards)
    ran = run.poll() is None
    run.kill()
    run.wait()
    return ran


def _await_shards(run: Popen[bytes], out: Path, count: int) -> None:
    """Wait until an answer folder has as many shards, or its run has ended."""
    while run.poll() is None and len(list((out / "shards").glob("0*"))) < count:
        time.sleep(0.02)  # another process writes them, and a kill has to come in the middle
