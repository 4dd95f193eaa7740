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
from arno.vocabulary import Box, Region, Task, bounding_box

_TRACKER_FPS: Final = 10.0
"""The tracker's unit of time. In it the noise of an object's motion is fixed: in the usual unit, a
thirtieth of a second, what is seen twice a second has any speed that the last two boxes tell, and
is lost when it is hidden (docs/decisions/0032)."""

_BUFFER_FPS: Final = 30.0
"""The unit in which the tracker takes how long it remembers an object, whatever its own."""

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

CORNER_MAX: Final = 8192
"""Pixels to a corner of a place. `supervision` keeps a zone as a mask that reaches to its corners,
so that one at a thousand times as many would take all memory."""

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
        InvalidFieldError: It has no name, another number of corners, one that is in no picture, or
            a line begins where it ends.
    """
    fits = len(numbers) == _LINE_NUMBERS if line else len(numbers) >= _ZONE_NUMBERS_MIN
    corners = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    sent = f"{name}={','.join(f'{number:g}' for number in numbers)}"
    if not name or not fits or len(numbers) % 2:
        limit = "NAME=x0,y0,x1,y1" if line else "NAME=x,y,x,y,x,y and further corners"
        raise InvalidFieldError(field=field, problem="not a place", limit=limit, sent=sent)
    if not all(abs(number) <= CORNER_MAX for number in numbers):
        problem = "a corner is in no picture"
        limit = f"pixels from {-CORNER_MAX} to {CORNER_MAX}"
        raise InvalidFieldError(field=field, problem=problem, limit=limit, sent=sent)
    if line and corners[0] == corners[1]:
        problem = "the line begins where it ends"
        raise InvalidFieldError(field=field, problem=problem, sent=sent)
    return Place(name, corners)


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """An object as it was seen last."""

    label: str
    box: Box
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

    def __init__(
        self,
        new_tracker: Callable[[], Any],
        detections: Callable[[Sequence[Box], Sequence[float]], Any],
    ) -> None:
        """Take what makes a tracker, and what turns boxes and scores into its detections."""
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
        boxes = [bounding_box(one.region.shape) for one in found]
        scores = [1.0 if one.region.score is None else one.region.score for one in found]
        seen = tracker.update(self._detections(boxes, scores), timestamp=at_s)
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
                lost_track_buffer=max(1, round(watch.lost_s * _BUFFER_FPS)),
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
        tracks = [{"id": track, "task": one.task, "region": one.index} for track, one in rows]
        events = [*self._appeared(rows, result.timestamp_ms), *self._moved()]
        return Observed(tracks, [*events, *self._left(result.timestamp_ms)])

    def _detections(self, boxes: Sequence[Box], scores: Sequence[float]) -> Any:
        np = self._np
        corners = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
        return self._sv.Detections(
            xyxy=np.array(corners, dtype=np.float64).reshape(-1, 4),
            confidence=np.array(scores, dtype=np.float64),
            data={"row": np.arange(len(boxes))},
        )

    def _appeared(self, rows: Iterable[tuple[int, _Found]], at_ms: int) -> Iterable[dict[str, Any]]:
        for track, one in rows:
            new = track not in self._seen
            self._seen[track] = _Seen(one.region.label, bounding_box(one.region.shape), at_ms)
            if new:
                yield self._event("appeared", track)

    def _moved(self) -> Iterable[dict[str, Any]]:
        if not self._lines and not self._zones:
            return
        # Those that are hidden now are still where they were last: what passes a line behind
        # something has crossed it once it is seen again.
        ids = list(self._seen)
        there = self._detections([seen.box for seen in self._seen.values()], [1.0] * len(ids))
        there.tracker_id = self._np.array(ids, dtype=int)
        for name, line in self._lines.items():
            for direction, crossed in zip(("in", "out"), line.trigger(there), strict=True):
                for track in itertools.compress(ids, crossed):
                    yield self._event("crossed", track, line=name, direction=direction)
        for name, zone in self._zones.items():
            inside = set(itertools.compress(ids, zone.trigger(there)))
            before = self._inside[name]
            for kind, moved in (("entered", inside - before), ("exited", before - inside)):
                for track in sorted(moved):
                    yield self._event(kind, track, zone=name)
            self._inside[name] = inside

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
