"""A slice of `make fuzz`: mutated images are decoded, or refused by name."""

from __future__ import annotations

import pytest
from fuzz.images import ImageReport, try_image
from fuzz.mutations import mutated
from fuzz.seeds import image_seeds


def test_mutated_images_are_decoded_or_refused_by_name(capfd: pytest.CaptureFixture[str]):
    report = ImageReport()
    for number in range(1_000_000, 1_000_600):
        try_image(number, report)
    assert report.faults == []
    assert report.decoded_count > 20
    assert report.refused_count > 200


def test_mutation_of_a_number_is_always_the_same():
    assert [mutated(image_seeds(), n) for n in range(50)] == [
        mutated(image_seeds(), n) for n in range(50)
    ]
    assert len({mutated(image_seeds(), n) for n in range(50)}) > 45
