"""What annotators make of answers and findings, and of failures."""

from __future__ import annotations

import pytest
import torch
from arno.bulk import Answered, Item
from arno.data_engine.annotators.annotator import FunctionAnnotator, TaskAnnotator, Work
from arno.data_engine.annotators.given_scores import LabelScorer, TextScorer, frequent_labels
from arno.dataset import RegionKind
from arno.errors import InvalidFieldError, ModelError
from arno.vocabulary import Box, ImageSize, TaskSpec
from arno.vocabulary.wire_results import infer_result
from PIL import Image
from support.annotated import record, text
from support.annotated import region as region_text
from support.answers import candidates, caption, detection, failure, posteriors, region, response
from support.bulk import ChosenAnswerer
from support.images import forbid_torchvision, png


def work(position: int = 0, content: bytes | None = None) -> Work:
    image = png(20, 10) if content is None else content
    return Work(Item(f"image-{position}", lambda: image), position)


def answered(*results) -> Work:
    answerer = ChosenAnswerer(lambda item: infer_result(response(*results)))
    (done,) = TaskAnnotator(answerer, ["OD", "CAPTION"], name="florence").annotate([work()])
    return done


def test_answers_of_tasks_become_annotations_with_the_models_fingerprint():
    done = answered(detection(region("cat", 1, 2, 3, 4, score=0.5)), caption("A cat."))
    (found,) = done.annotations.regions
    (text,) = done.annotations.texts
    assert (found.text, found.box) == ("cat", (1, 2, 3, 4))
    assert found.provenance.score == 0.5
    assert found.provenance.model == "f"
    assert (text.text, text.provenance.task) == ("A cat.", "CAPTION")
    assert done.failures == []


def test_task_that_failed_is_noted_beside_the_answers_of_the_others():
    done = answered(caption("A cat."), failure("ENGINE_FAILED", "it broke"))
    assert [name for name, _ in done.failures] == ["florence: OCR"]
    assert len(done.annotations.texts) == 1


def test_image_without_any_answer_is_a_failure():
    error = InvalidFieldError(field="image", problem="broken")
    answerer = ChosenAnswerer(lambda item: error)
    (done,) = TaskAnnotator(answerer, ["OD"], name="florence").annotate([work()])
    assert done.failures == [("florence", error)]
    assert answerer.released == []
    done.releases[0]()
    assert answerer.released == ["image-0"]


def test_grounding_of_classes_names_categories_and_not_a_caption():
    class Grounding:
        def answer(self, items):
            for item in items:
                message = response(detection(region("cat", 1, 2, 3, 4), id="ovd"))
                message.results[0].task = 12
                yield Answered(item, infer_result(message))

    spec = TaskSpec("OPEN_VOCABULARY_DETECTION", classes=("cat",), id="ovd")
    (done,) = TaskAnnotator(Grounding(), [spec], name="f").annotate([work()])
    assert [one.kind for one in done.annotations.regions] == ["category"]


def test_task_whose_answers_are_no_annotations_is_refused():
    with pytest.raises(InvalidFieldError, match=r"no annotations.*sent: OCR"):
        TaskAnnotator(ChosenAnswerer(), ["OCR"], name="florence")


def find(image: Image.Image):
    yield {"box": (0, 0, *image.size), "kind": "category", "text": "all", "score": 0.25}
    yield {"text": "A square.", "granularity": "brief"}


def test_findings_of_a_function_become_annotations():
    first = work()
    (done,) = FunctionAnnotator(find, name="mine", model="m1").annotate([first])
    assert done is first
    assert done.annotations.regions[0].box == (0, 0, 20, 10)
    assert done.annotations.regions[0].provenance.score == 0.25
    assert done.annotations.texts[0].provenance.model == "m1"


def test_texts_of_two_annotators_have_ids_of_their_own():
    stream = FunctionAnnotator(find, name="one").annotate([work()])
    (done,) = FunctionAnnotator(find, name="two").annotate(stream)
    assert [text.id for text in done.annotations.texts] == ["t0", "t1"]


@pytest.mark.parametrize(
    ("findings", "problem"),
    [
        (["nonsense"], "not a mapping"),
        ([{"box": (1, 2, 3), "kind": "category", "text": "x"}], "finding 0: box"),
        ([{"text": "x", "granularity": "epic"}], "finding 0: granularity"),
        ([{"box": (1, 2, 3, 4), "kind": "category", "text": "x", "score": 7}], "finding 0: score"),
        ([{"box": (1, 2, 3, 4), "kind": "category", "text": "x", "hue": 1}], "finding 0: hue"),
        (3, "TypeError"),
        ([{"box": (1, 2, 3, 4), "kind": "ocr", "text": "ok"}, None], "finding 1: not a mapping"),
    ],
)
def test_nonsense_of_a_function_fails_its_image_alone(findings, problem):
    calls = iter([findings, list(find(Image.new("RGB", (2, 2))))])
    annotator = FunctionAnnotator(lambda image: next(calls), name="mine")
    bad, good = annotator.annotate([work(0), work(1)])
    assert len(bad.failures) == 1
    assert problem in bad.failures[0][1].message
    assert bad.annotations.regions == []
    assert len(good.annotations.regions) == 1


def test_function_that_raises_and_broken_images_fail_their_image_alone():
    def fail(image):
        raise RuntimeError("no idea")

    (done,) = FunctionAnnotator(fail, name="mine").annotate([work()])
    assert "RuntimeError: no idea" in done.failures[0][1].message
    (done,) = FunctionAnnotator(find, name="mine").annotate([work(content=b"no image")])
    assert done.failures[0][1].reason == "INVALID_IMAGE"


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory):
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    folder = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=[32, 32], patch_size=16, num_detection_tokens=5,
        id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 32, "longest_edge": 32}
    YolosImageProcessor(size=size).save_pretrained(folder)
    return folder


@pytest.mark.model
def test_detector_of_transformers_annotates(detector_folder, capfd):
    from arno.data_engine.annotators.detector import Detector

    detector = Detector(str(detector_folder), score_min=0.0)
    assert capfd.readouterr().err == ""  # a run shows its own progress
    annotator = FunctionAnnotator(detector, name="detector", model=detector.fingerprint)
    (done,) = annotator.annotate([work()])
    assert done.failures == []
    assert len(done.annotations.regions) == 5
    assert {one.text for one in done.annotations.regions} <= {"cat", "dog"}
    assert all(0 <= one.provenance.score <= 1 for one in done.annotations.regions)
    assert len(detector.fingerprint) == 64


@pytest.mark.model
def test_detector_sees_pixels_by_pillow_where_torchvision_is_installed(
    detector_folder, monkeypatch
):
    forbid_torchvision(monkeypatch)
    from arno.data_engine.annotators.detector import Detector

    assert list(Detector(str(detector_folder), score_min=0.0)(Image.new("RGB", (40, 30))))


def test_folder_without_a_detector_is_refused(tmp_path):
    from arno.data_engine.annotators.detector import Detector

    with pytest.raises(ModelError, match="no detector of transformers"):
        Detector(str(tmp_path))


def test_texts_of_labels_get_the_score_that_the_model_gives_them():
    known, scored, bare = work(0), work(1), work(2)
    known.annotations.texts += [text("A cat.", "t0"), text("A dog.", "t1", score=0.25)]
    scored.annotations.texts.append(text("A dog.", "t0", score=0.25))
    asked = []

    def answer(item):
        asked.extend(item.tasks)
        return infer_result(response(candidates(("A cat.", 0.75))))

    answerer = ChosenAnswerer(answer)
    done = {one.position: one for one in TextScorer(answerer).annotate([known, scored, bare])}
    assert [one.provenance.score for one in done[0].annotations.texts] == [0.75, 0.25]
    assert [one.provenance.score for one in done[1].annotations.texts] == [0.25]
    assert sorted(done) == [0, 1, 2]
    assert [(spec.task, spec.candidates) for spec in asked] == [("CAPTION", ("A cat.",))]


def test_text_that_cannot_be_scored_is_a_failure_and_stays():
    one = work()
    one.annotations.texts.append(text("A cat."))
    error = InvalidFieldError(field="image", problem="broken")
    (done,) = TextScorer(ChosenAnswerer(lambda item: error)).annotate([one])
    assert done.failures == [("scorer", error)]
    assert [found.provenance.score for found in done.annotations.texts] == [None]


def judged(*answers, labels=("cat", "dog"), size=None):
    """Regions called cat, and what a model makes of them that gives these posteriors."""
    one = work()
    one.size = size
    for _ in answers:
        one.annotations.regions.append(region_text("cat", 2.0, 3.0, 30.0, 9.0))
    asked = []

    def answer(item):
        asked.extend(item.tasks)
        return infer_result(response(*answers))

    scorer = LabelScorer(ChosenAnswerer(answer), labels, finder="round 1", round_number=1)
    (done,) = scorer.annotate([one])
    return done, asked


def test_label_that_the_model_would_give_too_is_sure():
    done, asked = judged(posteriors(("cat", 0.75), ("dog", 0.25)), size=ImageSize(20, 10))
    (found,) = done.annotations.regions
    assert (found.text, found.provenance.annotator, found.provenance.score) == ("cat", "one", 1.0)
    (spec,) = asked
    assert (spec.task, spec.candidates) == ("REGION_TO_CATEGORY", ("cat", "dog"))
    assert spec.region == Box(2.0, 3.0, 20.0, 9.0)  # what is outside is no part of the question


def test_label_that_the_model_would_not_give_loses_to_what_it_would():
    done, _ = judged(posteriors(("cat", 0.125), ("dog", 0.5)))
    wrong, own = done.annotations.regions
    assert (wrong.text, wrong.provenance.score) == ("cat", 0.25)
    assert (own.text, own.provenance.score, own.box) == ("dog", 0.5, wrong.box)
    assert (own.provenance.annotator, own.provenance.model) == ("round 1", "f")
    assert (own.provenance.task, own.provenance.round) == ("REGION_TO_CATEGORY", 1)


def test_label_is_compared_with_itself_where_it_is_a_rare_one():
    _, asked = judged(posteriors(("dog", 0.5), ("fox", 0.25), ("cat", 0.25)), labels=("dog", "fox"))
    assert asked[0].candidates == ("dog", "fox", "cat")


def test_label_that_cannot_be_judged_is_a_failure_and_stays():
    done, _ = judged(failure("ENGINE_FAILED", "it broke"), posteriors(("cat", 1.0), ("dog", 0.0)))
    assert [one.provenance.score for one in done.annotations.regions] == [None, 1.0]
    assert [name for name, _ in done.failures] == ["label scorer: OCR"]


def test_regions_without_a_label_to_judge_are_not_asked_about():
    one = work()
    one.size = ImageSize(20, 10)
    one.annotations.regions += [
        region_text("cat", 1.0, 1.0, 5.0, 5.0, score=0.5),
        region_text("A cat.", 1.0, 1.0, 5.0, 5.0, kind=RegionKind.SENTENCE),
        region_text("cat", 25.0, 1.0, 30.0, 5.0),
    ]
    before = list(one.annotations.regions)
    answerer = ChosenAnswerer()
    (done,) = LabelScorer(answerer, ["cat", "dog"], finder="round 1").annotate([one])
    assert done.annotations.regions == before
    assert answerer.asked == []


def test_labels_are_compared_with_the_most_frequent():
    labels = ["cat", "dog", "cat", "fox", "ant"]
    records = [record(regions=tuple(region_text(label) for label in labels))]
    assert frequent_labels(records, 3) == ["cat", "ant", "dog"]
