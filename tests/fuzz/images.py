"""Decode mutated images: each is decoded, or refused by name; nothing else may happen."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field

from arno.errors import ArnoError
from arno.ops.images import ImageLimits, decode_image, inspect_image
from fuzz.mutations import mutated
from fuzz.seeds import image_seeds

LIMITS = ImageLimits(bytes_max=1 << 20, pixels_max=16_000_000)


@dataclass(slots=True)
class ImageReport:
    """What became of the images.

    Attributes:
        decoded_count: Pictures that came out.
        refused_count: Images that were refused by name.
        faults: Anything else, with the number of the mutation.
        slowest_s: The longest that one took, in processor time.
        slowest: Its number.
    """

    decoded_count: int = 0
    refused_count: int = 0
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1


def try_image(number: int, report: ImageReport) -> None:
    """Decode the mutation of that number."""
    content = mutated(image_seeds(), number)
    began_s = time.thread_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inspect_image(content, LIMITS)
            decode_image(content, LIMITS)
        report.decoded_count += 1
    except ArnoError:
        report.refused_count += 1
    except Exception as fault:  # noqa: BLE001 - finding these is what it is for
        report.faults.append(f"image {number}: {fault!r}")
    took_s = time.thread_time() - began_s
    if took_s > report.slowest_s:
        report.slowest_s, report.slowest = took_s, number
