"""Follow objects from one answered frame to the next, and tell what they do.

ByteTrack and the geometry are those of `trackers` and `supervision`; here is what an event is, and
which regions may be one object: those of one task and, where labels name kinds, of one label.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arno.client import FrameResult, InferResult
from arno.errors import InvalidFieldError, MissingExtraError
from arno.vocabulary import Region, Task, bounding_box

_TRACKER_FPS: Final = 30.0
"""The unit in which the tracker counts how long it remembers an object."""

_SURE: Final = 0.5
_NEW: Final = 0.3
"""Scores from which a region is matched first, and from which it may begin a track."""

LOST_S: Final = 4.0
"""What passes behind another at a walking pace is hidden for two to three seconds."""

_TASKS_OF_KINDS: Final = frozenset(
    {Task.OD, Task.OPEN_VOCABULARY_DETECTION, Task.CAPTION_TO_PHRASE_GROUNDING}
)
"""Tasks whose labels name a kind of object, or a phrase of the caller's: an object keeps its label.
Those of others are sentences, readings or empty, and differ from frame to frame."""

_LINE_NUMBERS: Final = 4
_ZONE_NUMBERS_MIN: Final = 6


@dataclass(frozen=True, slots=True)
class Place:
    """A line or a zone that is watched.

    Attributes:
        name: Names it in events.
        corners: Two of a line, three and more of a zone, in pixels.
    """

    name: str
    corners: tuple[tuple[float, float], ...]


def place_of(written: str, *, field: str, line: bool) -> Place:
    """Return the place of ``NAME=x,y,x,y,...``.

    Raises:
        InvalidFieldError: It has another form.
    """
    name, _, numbers = written.partition("=")
    try:
        found = [float(number) for number in numbers.split(",")]
    except ValueError:
        found = []
    return place(name, found, field, line=line)


def place(name: str, numbers: Sequence[float], field: str, *, line: bool) -> Place:
    """Return the place with a name and the x and y of its corners in turn.

    Raises:
        InvalidFieldError: It has no name, or another number of corners.
    """
    fits = len(numbers) == _LINE_NUMBERS if line else len(numbers) >= _ZONE_NUMBERS_MIN
    if not name or not fits or len(numbers) % 2:
        limit = "NAME=x0,y0,x1,y1" if line else "NAME=x,y,x,y,x,y and further corners"
        sent = f"{name}={','.join(f'{number:g}' for number in numbers)}"
        raise InvalidFieldError(field=field, problem="not a place", limit=limit, sent=sent)
    return Place(name, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched.

    Attributes:
        lines: Crossed when the middle of an object has passed from one side to the other.
        zones: An object is in a zone when its middle is.
        lost_s: An object that is not seen for so long has left.
    """

    lines: tuple[Place, ...] = ()
    zones: tuple[Place, ...] = ()
    lost_s: float = LOST_S


@dataclass(frozen=True, slots=True)
class Observed:
    """What one frame adds.

    Attributes:
        tracks: Of each region with a track: ``id``, ``task`` and ``region`` (its index).
        events: ``appeared``, ``left``, ``crossed``, ``entered`` and ``exited``, each with its
            ``track`` and ``label``.
    """

    tracks: list[dict[str, Any]]
    events: list[dict[str, Any]]


@dataclass(slots=True)
class _Seen:
    label: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Found:
    task: str
    index: int
    region: Region
    kind: str

    @property
    def group(self) -> tuple[str, str]:
        """Regions of another group are never the same object."""
        return self.task, self.kind


class _Followers:
    """One tracker for each group of regions, and ids that are unique over all of them.

    A hidden object is followed by its expected place. A tracker that knows no groups gives its
    track to the object in front of it.
    """

    def __init__(self, new_tracker: Callable[[], Any], detections: Callable[..., Any]) -> None:
        """Take what makes a tracker, and what turns regions into its detections."""
        self._new_tracker = new_tracker
        self._detections = detections
        self._trackers: dict[tuple[str, str], Any] = {}
        self._ids: dict[tuple[str, str], dict[int, int]] = {}
        self._numbers = itertools.count()

    def follow(self, found: Sequence[_Found], at_s: float) -> list[int]:
        """Return the id of each region of a frame; -1 where it has none (yet)."""
        rows: dict[tuple[str, str], list[int]] = {group: [] for group in self._trackers}
        for row, one in enumerate(found):
            rows.setdefault(one.group, []).append(row)
        ids = [-1] * len(found)
        for group, own_rows in rows.items():
            for row, track in self._advance(group, [found[row] for row in own_rows], at_s):
                ids[own_rows[row]] = track
        return ids

    def _advance(
        self, group: tuple[str, str], found: Sequence[_Found], at_s: float
    ) -> Iterable[tuple[int, int]]:
        if group not in self._trackers:
            self._trackers[group], self._ids[group] = self._new_tracker(), {}
        tracker, known = self._trackers[group], self._ids[group]
        seen = tracker.update(self._detections(found), timestamp=at_s)
        # Of no detections the library returns no row numbers.
        pairs = zip(seen.data["row"], seen.tracker_id, strict=True) if len(seen) else ()
        tracks = [(int(row), int(track)) for row, track in pairs if track >= 0]
        for _, track in tracks:
            if track not in known:
                known[track] = next(self._numbers)
        yield from [(row, known[track]) for row, track in tracks]
        alive = {track.tracker_id for track in tracker.tracks}
        self._ids[group] = {track: number for track, number in known.items() if track in alive}
        if not tracker.tracks:
            # There may be any number of labels over the days.
            del self._trackers[group], self._ids[group]


class Tracking:
    """The objects of one source. Belongs to one thread."""

    def __init__(self, watch: Watch) -> None:
        """Take what is watched.

        Raises:
            MissingExtraError: The trackers are not installed.
        """
        try:
            import numpy as np
            import supervision as sv
            from trackers import ByteTrackTracker
        except ImportError as error:
            sentence = "tracks need the trackers: pip install 'arno[track]'"
            raise MissingExtraError(sentence, extra="track") from error
        self._np, self._sv = np, sv
        self._followers = _Followers(
            lambda: ByteTrackTracker(
                lost_track_buffer=max(1, round(watch.lost_s * _TRACKER_FPS)),
                frame_rate=_TRACKER_FPS,
                track_activation_threshold=_NEW,
                high_conf_det_threshold=_SURE,
                # Frames may be seconds apart: the second that shows an object begins its track.
                minimum_consecutive_frames=1,
            ),
            self._detections,
        )
        middle = (sv.Position.CENTER,)
        self._lines = {
            one.name: sv.LineZone(*_ends(sv, one), triggering_anchors=middle) for one in watch.lines
        }
        self._zones = {
            one.name: sv.PolygonZone(np.array(one.corners, dtype=np.int64), middle)
            for one in watch.zones
        }
        self._inside: dict[str, set[int]] = {name: set() for name in self._zones}
        self._lost_ms = 1000 * watch.lost_s
        self._seen: dict[int, _Seen] = {}

    def observe(self, result: FrameResult) -> Observed:
        """Take the regions of an answered frame."""
        found = list(_regions(result))
        ids = self._followers.follow(found, result.timestamp_ms / 1000)
        rows = [(track, one) for track, one in zip(ids, found, strict=True) if track >= 0]
        detections = self._detections(found)
        detections.tracker_id = self._np.array(ids, dtype=int)
        tracks = [{"id": track, "task": one.task, "region": one.index} for track, one in rows]
        events = [*self._appeared(rows, result.timestamp_ms), *self._moved(detections)]
        return Observed(tracks, [*events, *self._left(result.timestamp_ms)])

    def _detections(self, found: Sequence[_Found]) -> Any:
        np = self._np
        if not found:
            return self._sv.Detections.empty()
        boxes = [bounding_box(one.region.shape) for one in found]
        corners = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
        labels = sorted({one.region.label for one in found})
        return self._sv.Detections(
            xyxy=np.array(corners, dtype=np.float64).reshape(-1, 4),
            confidence=np.array(
                [1.0 if one.region.score is None else one.region.score for one in found]
            ),
            class_id=np.array([labels.index(one.region.label) for one in found], dtype=int),
            data={"row": np.arange(len(found))},
        )

    def _appeared(self, rows: Iterable[tuple[int, _Found]], at_ms: int) -> Iterable[dict[str, Any]]:
        for track, one in rows:
            if track not in self._seen:
                yield {"kind": "appeared", "track": track, "label": one.region.label}
            self._seen[track] = _Seen(one.region.label, at_ms)

    def _moved(self, detections: Any) -> Iterable[dict[str, Any]]:
        if not len(detections):
            # Nothing moved; the line ages what it remembers all the same.
            for line in self._lines.values():
                line.trigger(detections)
            return
        ids = [int(track) for track in detections.tracker_id]
        for name, line in self._lines.items():
            for direction, crossed in zip(("in", "out"), line.trigger(detections), strict=True):
                for track, yes in zip(ids, crossed, strict=True):
                    if yes and track >= 0:
                        yield self._event("crossed", track, line=name, direction=direction)
        for name, zone in self._zones.items():
            inside = {
                track
                for track, yes in zip(ids, zone.trigger(detections), strict=True)
                if yes and track >= 0
            }
            before, present = self._inside[name], set(ids)
            for track in sorted(inside - before):
                yield self._event("entered", track, zone=name)
            for track in sorted((before - inside) & present):
                yield self._event("exited", track, zone=name)
            # Those that are not seen now are still where they were last.
            self._inside[name] = inside | (before - present)

    def _left(self, at_ms: int) -> Iterable[dict[str, Any]]:
        gone = [track for track, seen in self._seen.items() if at_ms - seen.at_ms >= self._lost_ms]
        for track in gone:
            for name, inside in self._inside.items():
                if track in inside:
                    inside.discard(track)
                    yield self._event("exited", track, zone=name)
            yield {**self._event("left", track), "last_seen_ms": self._seen[track].at_ms}
            del self._seen[track]

    def _event(self, kind: str, track: int, **more: str) -> dict[str, Any]:
        return {"kind": kind, "track": track, "label": self._seen[track].label, **more}


def _ends(sv: Any, line: Place) -> tuple[Any, Any]:
    start, end = line.corners
    return sv.Point(*start), sv.Point(*end)


def _regions(result: FrameResult) -> Iterable[_Found]:
    if not isinstance(result.outcome, InferResult):
        return
    for task in result.outcome.tasks:
        if task.ok:
            of_kinds = task.task in _TASKS_OF_KINDS
            for index, region in enumerate(task.regions):
                yield _Found(task.id, index, region, region.label if of_kinds else "")
