"""`arno stream`: run a video, a network stream or a camera through the model."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from arno.cli.asking import TaskFlags, address_options, task_options
from arno.cli.connecting import Connection
from arno.cli.main import EXIT_FAILURE
from arno.cli.parameter_types import FiniteRange
from arno.cli.terminal import SafeConsole
from arno.client import StreamOptions, StreamPolicy
from arno.errors import ConfigurationError
from arno.ingest.pace import AdaptivePace, Stillness
from arno.ingest.videos.frames import duration_s
from arno.ingest.videos.ledger import Told
from arno.ingest.videos.lines import file_of_lines
from arno.ingest.videos.painter import VideoFile
from arno.ingest.videos.pictures import SourceOptions
from arno.ingest.videos.preview import Preview, preview_of_one
from arno.ingest.videos.tracking import Place, Tracking, Watch, place_of
from arno.ingest.videos.video_run import RunOptions, StreamCounts, VideoRun
from arno.ops.help_sections import SectionedCommand

_ADAPTIVE: Final = "adaptive"
_LATENCY_S: Final = 1.0
_PREVIEWED: Final = "stream"
_LOOPBACK: Final = "127.0.0.1"
_POLICIES: Final = frozenset(policy.lower() for policy in StreamPolicy)


@click.command("stream", cls=SectionedCommand)
@click.argument("source")
@task_options
@click.option(
    "--fps",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="Frames a second that are sent: the first in each slot of 1/N s.  [default: all]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("-"),
    metavar="EVENTS.jsonl",
    help="Where the lines go.  [default: standard output]",
)
@click.option(
    "--policy",
    default="all",
    show_default=True,
    metavar="all|latest|every=N|adaptive",
    help="When the model is slower: wait; keep only the newest; answer each N-th frame; send as "
    "many as are answered within --latency.",
)
@click.option(
    "--latency",
    "latency_s",
    type=FiniteRange(min=0, min_open=True),
    metavar="S",
    help="Time from frame to answer that --policy adaptive holds.  [default: 1]",
)
@click.option(
    "--hold",
    "hold_bits",
    type=click.IntRange(0, 256),
    metavar="BITS",
    help="Repeat the last answer, for 10 s at most, while at most so many of 256 bits of a "
    "frame's perceptual hash have changed.  [default: ask about every frame]",
)
@click.option(
    "--video",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SEEN.mp4",
    help="Write the answered frames as a video with their regions.",
)
@click.option(
    "--preview",
    metavar="[HOST:]PORT",
    help="Show the answered frames with their regions to browsers while it runs. Without a HOST "
    "to those of this machine alone; port 0 takes a free one.",
)
@click.option(
    "--track", is_flag=True, help="Follow objects, and report those that appear and leave."
)
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="NAME=X0,Y0,X1,Y1",
    help="Report objects that cross this line, in pixels; may be repeated; implies --track.",
)
@click.option(
    "--zone",
    "zones",
    multiple=True,
    metavar="NAME=X,Y,X,Y,..",
    help="Report objects that enter or leave this zone, in pixels; may be repeated; "
    "implies --track.",
)
@click.option("--in-flight", type=click.IntRange(1, 64), metavar="N", help="Frames open at once.")
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Stop after N sampled frames.")
@click.option(
    "--key-frames",
    is_flag=True,
    help="Decode key frames alone, and sample among them: a small part of the work.",
)
@click.option("--realtime", is_flag=True, help="Read a file no faster than it plays.")
@address_options
def verb(
    source: str,
    fps: float | None,
    out: Path,
    policy: str,
    latency_s: float | None,
    hold_bits: int | None,
    video: Path | None,
    preview: str | None,
    track: bool,
    lines: tuple[str, ...],
    zones: tuple[str, ...],
    in_flight: int | None,
    frames: int | None,
    key_frames: bool,
    realtime: bool,
    gateway: Connection,
    timeout_s: float,
    **flags: Any,
) -> int:
    """Send the frames of SOURCE; write one line of JSON for each, in their order.

    SOURCE is a video file, an rtsp:// address (opened again when it breaks off) or a camera such as
    /dev/video0. --timeout limits each frame. Ctrl-C sends no more; frames under way are still
    written.

    \b
    Examples:
      arno stream street.mp4 --task OD --fps 2 --out events.jsonl
      arno stream rtsp://camera/1 --task OD --policy latest --preview 8090 --out events.jsonl
      arno stream talk.mp4 --task OCR --fps 0.2 | jq .timestamp_ms
      arno stream gate.mp4 --task OD --policy latest --video seen.mp4 --line gate=0,400,1280,400
    """
    tasks = TaskFlags(**flags).requests()
    options = _options(policy, in_flight, timeout_s)
    place = _place(preview)
    pace = _pace(policy, latency_s)
    for flag, path in (("--out", out), ("--video", video)):
        if path is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise ConfigurationError(f"{flag} {path}: is the source, and would be written over")
    tracking = _tracking(lines, zones) if track or lines or zones else None
    reading = SourceOptions(
        source,
        fps=fps,
        frame_count_max=frames,
        realtime=realtime,
        hashed=hold_bits is not None,
        key_frames=key_frames,
    )
    expected = _expected_count(reading)
    console = SafeConsole(stderr=True, highlight=False)
    with (
        gateway.client() as client,
        _output(out) as written,
        _video(video) as painted,
        _previewed(place, console) as shown,
    ):
        stillness = None if hold_bits is None else Stillness(hold_bits)
        beside = RunOptions(pace, stillness, tracking, painted, shown)
        run = VideoRun(client, reading, tasks, options, beside=beside)
        with _stopped_by_signal(run), _progress(console) as progress:
            bar = progress.add_task("frames", total=expected, said="")

            def show(told: Told, outcome: str) -> None:
                progress.update(bar, advance=1, said=_say(run.counts))

            run.write_events(written, show)
    places = [f"events in {out}"] * (str(out) != "-") + [f"video in {video}"] * bool(video)
    console.print("; ".join([_say(run.counts), *places]))
    return EXIT_FAILURE if run.counts.failed else 0


def _pace(policy: str, latency_s: float | None) -> AdaptivePace | None:
    if policy == _ADAPTIVE:
        return AdaptivePace(_LATENCY_S if latency_s is None else latency_s)
    if latency_s is not None:
        raise ConfigurationError(f"--latency {latency_s:g}: needs --policy adaptive")
    return None


def _tracking(lines: tuple[str, ...], zones: tuple[str, ...]) -> Tracking:
    return Tracking(Watch(_places("--line", lines), _places("--zone", zones)))


def _places(flag: str, written: tuple[str, ...]) -> tuple[Place, ...]:
    places = {}
    for one in written:
        found = place_of(one, field=flag, line=flag == "--line")
        if found.name in places:
            raise ConfigurationError(f"{flag} {one}: {found.name} is named already")
        places[found.name] = found
    return tuple(places.values())


def _options(policy: str, in_flight: int | None, timeout_s: float) -> StreamOptions:
    if policy == _ADAPTIVE:
        # The pace decides alone which frames are sent, so the gateway need not.
        return StreamOptions(policy="all", in_flight_max=in_flight or 64, frame_timeout_s=timeout_s)
    name, _, number = policy.partition("=")
    if name not in _POLICIES or (name == "every") != number.isdecimal():
        sentence = f"--policy {policy}: must be all, latest, adaptive or every=N, such as every=3"
        raise ConfigurationError(sentence)
    return StreamOptions(
        policy=name,
        every=int(number) if number else None,
        in_flight_max=in_flight,
        frame_timeout_s=timeout_s,
    )


def _expected_count(video: SourceOptions) -> int | None:
    length_s = duration_s(video)
    if length_s is None or video.fps is None:
        return video.frame_count_max
    count = max(1, round(length_s * video.fps))
    return count if video.frame_count_max is None else min(count, video.frame_count_max)


@contextlib.contextmanager
def _output(out: Path) -> Iterator[IO[str]]:
    if str(out) == "-":
        yield sys.stdout
        return
    with contextlib.ExitStack() as opened:
        try:
            lines = opened.enter_context(file_of_lines(out, "w"))
        except OSError as error:
            raise ConfigurationError(f"--out {out}: {error.strerror or error}") from error
        yield lines


def _video(path: Path | None) -> contextlib.AbstractContextManager[VideoFile | None]:
    return contextlib.nullcontext() if path is None else VideoFile(path)


def _place(preview: str | None) -> tuple[str, int] | None:
    if preview is None:
        return None
    host, _, port = preview.rpartition(":")
    if not port.isdecimal():
        sentence = f"--preview {preview}: must be PORT or HOST:PORT, such as 8090 or 0.0.0.0:8090"
        raise ConfigurationError(sentence)
    return host.strip("[]") or _LOOPBACK, int(port)


@contextlib.contextmanager
def _previewed(place: tuple[str, int] | None, console: Console) -> Iterator[Preview | None]:
    if place is None:
        yield None
        return
    with preview_of_one(_PREVIEWED, *place) as (preview, url):
        console.print(f"preview: {url}")
        yield preview


@contextlib.contextmanager
def _stopped_by_signal(run: VideoRun) -> Iterator[None]:
    """The first Ctrl-C stops the source, a second one everything."""

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        run.stop()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _say(counts: StreamCounts) -> str:
    parts = [f"{counts.total} frame{'s' * (counts.total != 1)}: {counts.answered} answered"]
    if counts.held:
        parts.append(f"{counts.held} held")
    if counts.dropped:
        parts.append(f"{counts.dropped} dropped")
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    return ", ".join(parts)
