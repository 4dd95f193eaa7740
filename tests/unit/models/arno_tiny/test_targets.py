"""What the model is to write, and what the auxiliary heads are to predict, fit the scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from arno.training.trainer.batches import IGNORED
from arno.training.trainer.process_group import ProcessGroup
from arno.training.world import CATEGORIES, TINY, Split, imagine, inquire
from arno.vocabulary import ImageSize, Task, encode, quantise

from models.arno_tiny.auxiliary_heads import answer_losses, cell_targets, soft_bins
from models.arno_tiny.scene_batches import (
    LETTERS,
    TASKS,
    Items,
    SamplingConfig,
    SceneBatch,
    SceneBatches,
    make_batch,
    prompt_of,
)
from models.arno_tiny.tokenizer import build_tokenizer

pytestmark = pytest.mark.model

TOKENIZER = build_tokenizer()
SAMPLING = SamplingConfig(6, tasks_a_scene=4)


@pytest.fixture(scope="module")
def batch() -> SceneBatch:
    return make_batch(range(6), SAMPLING, TOKENIZER)


def test_no_two_processes_and_steps_get_the_same_scene() -> None:
    first, second = (
        SceneBatches(SamplingConfig(2), ProcessGroup(rank, rank, 2)) for rank in (0, 1)
    )
    batches = [part.batches[0] for part in (first[0], second[0], first[1])]
    seen = torch.cat([batch.pixels for batch in batches]).flatten(1)
    assert len(seen.unique(dim=0)) == 6


def test_scenes_of_a_step_are_those_of_one_process_in_turn() -> None:
    alone = SceneBatches(SamplingConfig(4), ProcessGroup(), first_scene=8)
    halves = [SceneBatches(SamplingConfig(2), ProcessGroup(r, r, 2), first_scene=8) for r in (0, 1)]
    both = torch.cat([half[1].batches[0].pixels for half in halves])
    assert torch.equal(alone[1].batches[0].pixels, both)


def test_a_batch_is_always_the_same(batch: SceneBatch) -> None:
    again = make_batch(range(6), SAMPLING, TOKENIZER)
    assert torch.equal(again.pixels, batch.pixels)
    for one, other in zip(again.inquiries, batch.inquiries, strict=True):
        assert torch.equal(one.answers, other.answers)
        assert torch.equal(one.prompts, other.prompts)


def test_each_scene_is_asked_as_many_different_tasks_as_wanted(batch: SceneBatch) -> None:
    asked = [
        (image, task)
        for one in batch.inquiries
        for image, task in zip(one.images.tolist(), one.tasks.tolist(), strict=True)
    ]
    assert len(asked) == len(set(asked))
    # An object that no expression fits alone is not asked about.
    assert 6 * 4 - 2 <= len(asked) <= 6 * 4


def test_questions_and_answers_are_those_of_the_world(batch: SceneBatch) -> None:
    size = ImageSize(128, 128)
    for one in batch.inquiries:
        rows = zip(one.images, one.tasks, one.prompts, one.answers, strict=True)
        for image, task, prompt, answer in rows:
            scene = imagine(Split.TRAIN.seed(int(image)))
            inquiry = inquire(scene, TASKS[task], size, TINY)
            assert inquiry is not None
            wanted = TOKENIZER(encode(inquiry.answer, size)).input_ids
            assert answer[answer != IGNORED].tolist() == wanted
            assert (answer[len(wanted) :] == IGNORED).all()
            asked = TOKENIZER(prompt_of(inquiry, size)).input_ids
            assert prompt[: len(asked)].tolist() == asked
            assert (prompt[len(asked) :] == TOKENIZER.pad_token_id).all()


def test_a_task_without_weight_is_not_asked() -> None:
    weights = dict.fromkeys(TASKS, 0.0) | {Task.OD: 1.0, Task.CAPTION: 1.0}
    batch = make_batch(range(6), replace(SAMPLING, tasks_a_scene=2, weights=weights), TOKENIZER)
    asked = {TASKS[task] for one in batch.inquiries for task in one.tasks.tolist()}
    assert asked == {Task.OD, Task.CAPTION}


def test_letters_are_in_the_half_cells_where_they_are_printed() -> None:
    index = next(i for i in range(50) if imagine(Split.TRAIN.seed(i)).words)
    scene = imagine(Split.TRAIN.seed(index))
    letters = make_batch([index], SAMPLING, TOKENIZER).letters.view(8, 16)
    printed = sum(len(word.text) for word in scene.words)
    assert printed * 0.8 <= int((letters > 0).sum()) <= printed
    word = scene.words[-1]
    at = word.letters[-1]
    assert letters[int(at.y * 8), int(at.x * 16)] == LETTERS.index(word.text[-1]) + 1


def test_items_are_what_the_answer_is_about(batch: SceneBatch) -> None:
    for one in batch.inquiries:
        for row, task in enumerate(one.tasks.tolist()):
            count = int((one.items.classes[row] > 0).sum())
            if TASKS[task] in (Task.REGION_TO_CATEGORY, Task.REGION_TO_OCR):
                assert count == 1
            if TASKS[task] is Task.OD:
                image = batch.items.classes[one.images[row]]
                things = image[(image > 0) & (image <= len(CATEGORIES))]
                assert one.items.classes[row, :count].tolist() == things.tolist()


def test_the_cell_at_a_centre_belongs_to_its_object() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.25, 0.25], [0.5, 0.5, 1.0, 1.0], [0.0] * 4]])
    items = Items(boxes, torch.tensor([[3, 5, 0]]), torch.tensor([[7, 8, 0]]))
    targets = cell_targets(items)
    grid, ranks = targets.classes.view(8, 8), targets.ranks.view(8, 8)
    assert grid[1, 1] == 3
    assert ranks[1, 1] == 1
    assert targets.colours.view(8, 8)[1, 1] == 7
    assert grid[6, 6] == 5
    assert ranks[6, 6] == 2
    assert grid[0, 7] == 0


def test_soft_targets_are_least_costly_at_the_right_bin() -> None:
    softness = soft_bins(5.0)
    assert torch.allclose(softness.sum(dim=1), torch.ones(1000))

    def loss(said: int) -> float:
        logits = torch.zeros(1, 1, 1004)
        logits[0, 0, 4 + said] = 5.0
        return answer_losses(logits, torch.tensor([[4 + 500]]), 4, softness).item()

    assert loss(500) < loss(505) < loss(600)


def test_each_answer_has_a_loss_of_its_own() -> None:
    logits = torch.zeros(2, 3, 1004)
    logits[1, :, 2] = 8.0
    labels = torch.tensor([[2, 3, IGNORED], [2, 2, 2]])
    losses = answer_losses(logits, labels, 4, soft_bins(5.0))
    assert losses[0] == pytest.approx(torch.log(torch.tensor(1004.0)).item(), abs=1e-4)
    assert losses[1] < 0.4


def test_box_quantisation_is_the_tasks_own() -> None:
    scene = imagine(Split.TEST.seed(0))
    inquiry = inquire(scene, Task.OD, ImageSize(200, 100), TINY)
    assert inquiry is not None
    left = quantise(scene.things[0].box.x0 * 200, 200)
    assert f"<loc_{left}>" in encode(inquiry.answer, ImageSize(200, 100))
