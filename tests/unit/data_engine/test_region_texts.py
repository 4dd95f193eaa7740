"""Which text a region gets: the class, the caption of its crop, or a chunk of the image's text."""

from __future__ import annotations

import pytest
from arno.bulk import Item
from arno.data_engine.annotators.annotator import Work
from arno.data_engine.annotators.region_texts import RegionTexts
from arno.dataset import RegionKind
from arno.errors import InvalidFieldError
from arno.vocabulary import Task
from arno.vocabulary.wire_results import infer_result
from support.annotated import region, text
from support.answers import candidates, caption, failure, response
from support.bulk import ChosenAnswerer
from support.images import png

CHUNKS = {"A red car next to two cats.": ["A red car", "two cats"]}


def chunks(words: str) -> list[str]:
    return CHUNKS.get(words, [])


def work(*regions, content: bytes | None = None) -> Work:
    image = png(200, 100) if content is None else content
    one = Work(Item("image", lambda: image), 0)
    one.annotations.regions += regions
    one.annotations.texts.append(text("A red car next to two cats."))
    return one


def answering(best: str, asked: list):
    """Captions crops with "A car.", and finds one of the candidates the likeliest."""

    def answer(item):
        asked.append(item)
        if item.tasks[0].task is Task.CAPTION:
            return infer_result(response(caption("A car.")))
        return infer_result(
            response(
                *(
                    candidates(*((one, 0.9 if one == best else 0.1) for one in spec.candidates))
                    for spec in item.tasks
                )
            )
        )

    return ChosenAnswerer(answer)


@pytest.mark.parametrize(
    ("best", "kind"),
    [
        ("car", RegionKind.PHRASE),
        ("A car.", RegionKind.SENTENCE),
        ("A red car", RegionKind.PHRASE),
    ],
)
def test_likeliest_candidate_becomes_the_text_of_the_region(best, kind):
    asked = []
    one = work(region("car", 10.0, 10.0, 60.0, 50.0))
    (done,) = RegionTexts(answering(best, asked), chunks).annotate([one])
    category, added = done.annotations.regions
    assert (added.text, added.kind, added.bounds) == (best, kind, category.bounds)
    assert added.provenance.score == 0.9
    (spec,) = asked[1].tasks
    assert spec.candidates == ("car", "A car.", "A red car", "two cats")
    assert (spec.task, spec.region.x1) == (Task.REGION_TO_DESCRIPTION, 60.0)


def test_similarity_model_judges_by_the_crop():
    sizes = []

    def similarity(crop, texts):
        sizes.append(crop.size)
        return [float(one == "two cats") for one in texts]

    one = work(region("car", 10.0, 10.0, 60.0, 50.0))
    judge = RegionTexts(answering("", []), chunks, similarity=similarity)
    (done,) = judge.annotate([one])
    assert done.annotations.regions[1].text == "two cats"
    assert sizes == [(50, 40)]


def test_regions_outside_and_other_kinds_get_no_text():
    outside = region("car", 190.0, 10.0, 500.0, 12.0)
    words = region("STOP", kind=RegionKind.OCR)
    one = work(outside, words)
    (done,) = RegionTexts(answering("", []), chunks).annotate([one])
    assert done.annotations.regions == [outside, words]
    assert done.failures == []


def test_broken_image_and_failed_model_are_failures_of_their_image():
    broken = work(region("car"), content=b"no image")
    (done,) = RegionTexts(answering("", []), chunks, name="texts").annotate([broken])
    assert [name for name, _ in done.failures] == ["texts"]
    error = InvalidFieldError(field="image", problem="broken")
    (done,) = RegionTexts(ChosenAnswerer(lambda item: error), chunks).annotate([work(region("x"))])
    assert {found for _, found in done.failures} == {error}
    assert len(done.annotations.regions) == 1


def test_task_that_the_model_refuses_is_a_failure_of_its_image():
    def refuse(item):
        return infer_result(response(*(failure("INVALID_FIELD", "a head") for _ in item.tasks)))

    one = work(region("car"))
    (done,) = RegionTexts(ChosenAnswerer(refuse), chunks, name="texts").annotate([one])
    assert [(name, error.message) for name, error in done.failures] == [
        ("texts: OCR", "a head"),
        ("texts: OCR", "a head"),
    ]
    assert len(done.annotations.regions) == 1
