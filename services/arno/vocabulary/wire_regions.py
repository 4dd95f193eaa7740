"""Translate places and regions to and from the messages of the API."""

from collections.abc import Iterable

from arno.api.v1 import types_pb2
from arno.vocabulary.regions import Box, Point, Polygon, QuadBox, Region, Shape


def box_to_wire(box: Box) -> types_pb2.Box:
    """Return the message of a box."""
    return types_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)


def box_from_wire(message: types_pb2.Box) -> Box:
    """Return the box of a message, unchecked: `check_inputs` judges it."""
    return Box(message.x0, message.y0, message.x1, message.y1)


def region_to_wire(region: Region) -> types_pb2.Region:
    """Return the message of a region."""
    message = types_pb2.Region(
        label=region.label,
        bins=region.bins,
        label_score=region.label_score,
        location_score=region.location_score,
        score=region.score,
    )
    match region.shape:
        case Box() as box:
            message.box.CopyFrom(box_to_wire(box))
        case QuadBox(points):
            message.quad_box.points.extend(_points_to_wire(points))
        case polygons:
            message.polygons.polygons.extend(
                types_pb2.Polygon(points=_points_to_wire(polygon.points)) for polygon in polygons
            )
    return message


def region_from_wire(message: types_pb2.Region) -> Region:
    """Return the region of a message.

    Raises:
        ValueError: It has no shape, or a quad box without four corners.
    """
    return Region(
        label=message.label,
        shape=_shape_from_wire(message),
        bins=tuple(message.bins),
        label_score=message.label_score if message.HasField("label_score") else None,
        location_score=message.location_score if message.HasField("location_score") else None,
        score=message.score if message.HasField("score") else None,
    )


def _shape_from_wire(message: types_pb2.Region) -> Shape:
    match message.WhichOneof("shape"):
        case "box":
            return box_from_wire(message.box)
        case "quad_box":
            first, second, third, fourth = _points_from_wire(message.quad_box.points)
            return QuadBox((first, second, third, fourth))
        case "polygons":
            return tuple(
                Polygon(_points_from_wire(polygon.points)) for polygon in message.polygons.polygons
            )
        case _:
            raise ValueError("a region needs a box, a quad box or polygons")


def _points_to_wire(points: Iterable[Point]) -> list[types_pb2.Point]:
    return [types_pb2.Point(x=point.x, y=point.y) for point in points]


def _points_from_wire(points: Iterable[types_pb2.Point]) -> tuple[Point, ...]:
    return tuple(Point(point.x, point.y) for point in points)
