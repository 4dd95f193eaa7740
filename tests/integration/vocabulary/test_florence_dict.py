"""`to_florence_dict` has the form of transformers' own answers, task by task."""

from random import Random

import pytest
from arno.vocabulary import Decoded, ImageSize, Task, parse
from arno.vocabulary.results import ImageDescription, TaskResult
from integration.vocabulary.generated import answer
from integration.vocabulary.reference import Reference
from support.results import result_of

SIZE = ImageSize(640, 480)


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.PROMPT])
def test_dictionary_is_that_of_the_reference(task: Task, reference: Reference):
    random = Random(f"{task} 7")
    image = ImageDescription(SIZE.width_px, SIZE.height_px, "image/png", "")
    for _ in range(30):
        tokens = reference.spell(answer(task, random))
        theirs = reference.read(task, tokens, SIZE)
        ours = parse(task, Decoded(tokens), reference.token_table, SIZE)
        document = result_of(TaskResult("t", task, "", None, ours), image=image).to_florence_dict()
        assert list(document) == [f"<{task}>"]
        assert_alike(task, document[f"<{task}>"], theirs)


def assert_alike(task, ours, theirs):
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        if name.startswith("polygons"):
            # Which outlines are too small to be any is a difference of that page.
            assert name != "polygons" or depth(ours[name]) in {1, 3}
            continue
        if "polygons" in theirs and name == "labels":
            assert len(ours["labels"]) == len(ours["polygons"])
            continue
        assert len(ours[name]) == len(values)
        if name.endswith("labels"):
            assert sorted(map(plain, ours[name])) == sorted(map(plain, values))
        elif task is not Task.CAPTION_TO_PHRASE_GROUNDING:
            # Grounding stands in another order; the reference cuts to whole pixels.
            assert flat(ours[name]) == pytest.approx(flat(values), abs=1.01)


def plain(label):
    # A difference of docs/parsing-differences.md: letters that are not of ASCII.
    return label.encode("ascii", "ignore").decode()


def depth(value):
    if not isinstance(value, list | tuple):
        return 0
    return 1 + max(map(depth, value), default=0)


def flat(values):
    if isinstance(values, list | tuple):
        return [number for value in values for number in flat(value)]
    return [float(values)]
