"""The verbs of `python -m benchmarks` about topics and videos. Stands alone: an own parser."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.streams.bridge import BridgeLoad, measure_bridge
from benchmarks.streams.memory import MemoryLoad, measure_memory
from benchmarks.streams.page import PAGE, write_page
from benchmarks.streams.videos import (
    measure_painting,
    measure_reading,
    measure_streams,
    measure_tracks,
)

Write = Callable[[dict[str, Any], Path], None]
"""Writes a result to a folder."""


def add_verbs(verbs: Any, write: Write, results: Path) -> None:
    """Add the verbs to a parser's.

    Args:
        verbs: Of the parser.
        write: Gets each result.
        results: Where results are by default.
    """
    bridge = verbs.add_parser(
        "bridge", help="`arno ingest` between two topics: null engine, real Kafka and Redis"
    )
    bridge.add_argument("--images", type=int, default=3000, help="that wait in the topic")
    bridge.add_argument("--latency-s", type=float, default=10.0, help="of images one at a time")
    bridge.add_argument("--bus", default="kafka", choices=("kafka", "redis"), help="Arno's own")
    bridge.add_argument("--rounds", type=int, default=3)
    videos = verbs.add_parser(
        "videos", help="reading, painting, ten streams at arno-tiny, objects that cross"
    )
    videos.add_argument("parts", nargs="*", default=sorted(_PARTS), help=", ".join(_PARTS))
    videos.add_argument("--seconds", type=float, default=0.0, help="of each; 0: as in the page")
    memory = verbs.add_parser(
        "memory", help="of all processes, while streams of every kind run for an hour"
    )
    memory.add_argument("--minutes", type=float, default=60.0)
    memory.add_argument("--every-s", type=float, default=15.0, help="between two looks")
    memory.add_argument("--name", default="", help="of one run of several that are kept")
    memory.add_argument(
        "--note", default="", help="for the page, where it is not the present state"
    )
    page = verbs.add_parser("streams-page", help=f"write {PAGE} from the results")
    for each in (bridge, videos, memory, page):
        each.add_argument("--out", type=Path, default=results)
    bridge.set_defaults(verb=lambda given: write(measure_bridge(_load(given)), given.out))
    memory.set_defaults(verb=lambda given: _memory(given, write))
    videos.set_defaults(verb=lambda given: _videos(given, write))
    page.set_defaults(verb=lambda given: write_page(given.out))


_PARTS: dict[str, tuple[Callable[..., dict[str, Any]], float]] = {
    "reading": (measure_reading, 30.0),
    "painting": (measure_painting, 0.0),
    "ten": (measure_streams, 300.0),
    "tracks": (measure_tracks, 40.0),
}
"""What measures each part, and for how long; 0 where it takes no time."""


def _load(given: argparse.Namespace) -> BridgeLoad:
    return BridgeLoad(**{field.name: getattr(given, field.name) for field in fields(BridgeLoad)})


def _videos(given: argparse.Namespace, write: Write) -> None:
    for part in given.parts:
        measure, seconds = _PARTS[part]
        write(measure(seconds=given.seconds or seconds) if seconds else measure(), given.out)


def _memory(given: argparse.Namespace, write: Write) -> None:
    logging.getLogger("kafka").setLevel(logging.WARNING)
    # Each replaces the one before, so that an end before the end loses a minute at most.
    for result in measure_memory(MemoryLoad(given.minutes, given.every_s, given.name, given.note)):
        write(result, given.out)
