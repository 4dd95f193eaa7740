"""`arno batch`: killed three times, over a broken tenth, and how busy it keeps a worker."""

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

from benchmarks.stack import running_stack

_IMAGES: Final = 2000
_KILLS: Final = 3
_SHARD: Final = 100
_MIXED: Final = 1000
_RUN_S: Final = 600.0
_BROKEN_EVERY: Final = 10
_BUSY_IMAGES: Final = 600
_BUSY_SHARD: Final = 10
_ENDS_SHARDS: Final = 2
"""Left out at either end of the run: while the batch fills, and while it empties."""


def measure_batch(size: float) -> dict[str, Any]:
    """Return how often images were answered, over four runs of which three were killed.

    Args:
        size: 1 for the whole measurement.
    """
    images = int(_IMAGES * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, out = folder / "photos", folder / "seen"
        photos.mkdir()
        for number in range(images):
            picture = encoded(numbered_picture(number), "PNG")
            (photos / f"{number:04d}.png").write_bytes(picture)
        servers = folder / "stack"
        servers.mkdir()
        with running_stack(servers, bus="redis") as stack:
            words: list[str | Path] = [
                "batch",
                photos,
                "--task",
                "OD",
                "--out",
                out,
                "--address",
                stack.target,
            ]
            words += ["--shard-size", str(int(_SHARD * size))]
            started_s = time.monotonic()
            for kills in range(1, _KILLS + 1):
                _run_and_kill(words, out, kills, folder / "batch.log")
            exit_code = start_arno(*words, log=folder / "batch.log").wait(_RUN_S)
            elapsed_s = time.monotonic() - started_s
            broken = _with_broken_files(folder, stack.target, int(_MIXED * size))
        times = Counter(record.key for record in read_records(out))
    return {
        "images": images,
        "kills": _KILLS,
        "exit_code": exit_code,
        "answered": len(times),
        "answered_more_than_once": sum(count > 1 for count in times.values()),
        "elapsed_s": elapsed_s,
        "broken": broken,
    }


def measure_busy(size: float) -> dict[str, Any]:
    """Return the part of the time that the engine of one worker with arno-tiny is in steps.

    Args:
        size: 1 for the whole measurement.
    """
    images = int(_BUSY_IMAGES * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, out, servers = folder / "photos", folder / "seen", folder / "stack"
        photos.mkdir()
        servers.mkdir()
        for number in range(images):
            picture = encoded(numbered_picture(number), "PNG")
            (photos / f"{number:04d}.png").write_bytes(picture)
        with running_stack(servers, bus="redis", worker={"model": "tiny"}) as stack:
            words = ["batch", photos, "--task", "OD", "--out", out, "--address", stack.target]
            run = start_arno(*words, "--shard-size", str(_BUSY_SHARD), log=folder / "batch.log")
            urls = [page_url(stack.metrics_urls["worker"])]
            _await_shards(run, out, _ENDS_SHARDS)
            (before,) = read_pages(urls)
            _await_shards(run, out, images // _BUSY_SHARD - _ENDS_SHARDS)
            reading = Reading(before, *read_pages(urls))
            exit_code = run.wait(_RUN_S)
    return {
        "images": images,
        "exit_code": exit_code,
        "seconds": reading.now.at_s - before.at_s,
        "images_per_s": reading.rate("arno_worker_jobs_total"),
        "busy": reading.rate("arno_worker_busy_seconds_total"),
    }


def _with_broken_files(folder: Path, target: str, files: int) -> dict[str, Any]:
    """Ask about 1,000 files of which 100 are cut off or no images."""
    photos, out = folder / "mixed", folder / "mixed-seen"
    photos.mkdir()
    for number in range(files):
        content = encoded(numbered_picture(number), "PNG")
        if number % _BROKEN_EVERY == 0:
            content = content[: len(content) // 2] if number % 20 else b"no image"
        (photos / f"{number:04d}.png").write_bytes(content)
    words: list[str | Path] = ["batch", photos, "--task", "OD", "--out", out, "--address", target]
    exit_code = start_arno(*words, log=folder / "mixed.log").wait(_RUN_S)
    failures = (out / "failures.jsonl").read_text().splitlines()
    return {
        "files": files,
        "answered": sum(1 for _ in read_records(out)),
        "failures": len(failures),
        "exit_code": exit_code,
    }


def _run_and_kill(words: list[str | Path], out: Path, kills: int, log: Path) -> None:
    """Kill a run once it has written its share of the shards."""
    wanted = kills * (_IMAGES // _SHARD) // (_KILLS + 1)
    run = start_arno(*words, log=log)
    _await_shards(run, out, wanted)
    run.kill()
    run.wait()


def _await_shards(run: Popen[bytes], out: Path, count: int) -> None:
    """Wait until an answer folder has as many shards, or its run has ended."""
    while run.poll() is None and len(list((out / "shards").glob("0*"))) < count:
        time.sleep(0.02)
