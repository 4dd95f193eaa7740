"""Sequences on their way into a batch: their turns, their images, and what holds them up."""

from __future__ import annotations

import dataclasses

import pytest
from arno.batching import Budget
from arno.errors import LimitExceededError
from support.sequences import IMAGE, sequence

torch = pytest.importorskip("torch")

from arno.engine.admission_queue import AdmissionQueue  # noqa: E402
from arno.engine.encoding.image_encoding import EncodedImages  # noqa: E402
from arno.engine.encoding.image_stage import ImageStage  # noqa: E402
from arno.engine.interface import DecodingOptions  # noqa: E402
from arno.engine.sequences.sequence import SequenceStage  # noqa: E402
from support.fake_gpu import stopped_at  # noqa: E402

POSITIONS, GROUP_MAX = 10, 5
GREEDY, BEAMS = DecodingOptions(num_beams=1), DecodingOptions(num_beams=3)


class Encoder:
    """Encodes images to four positions each; the image "bad" breaks it."""

    def encode(self, images):
        digests = {image.sha256 for image in images}
        good = digests - {"bad"}
        return EncodedImages(
            features={digest: torch.ones(4, 2) for digest in good},
            faults={digest: RuntimeError("a bad image") for digest in digests - good},
            fresh=frozenset(good - {"kept"}),
            watch=stopped_at(2.0),
            failed_batch_count=0,
        )


class Pool:
    """Batches with a number of free slots, and memory for a number of sequences."""

    def __init__(self, free=4, affordable=4):
        self.free, self.memory = free, affordable

    def free_slots(self, key):
        return self.free.get(key, 0) if isinstance(self.free, dict) else self.free

    def affordable(self, key):
        return self.memory.get(key, 0) if isinstance(self.memory, dict) else self.memory


@pytest.fixture
def queue():
    images = ImageStage(Encoder(), overlap=False)
    return AdmissionQueue(images, positions=POSITIONS, group_max=GROUP_MAX, size_max=100)


def of_image(name, digest, options=GREEDY, **changes):
    image = dataclasses.replace(IMAGE, sha256=digest)
    return sequence(name, options, image=image, **changes)


def encode(queue, *sequences):
    for each in sequences:
        queue.add(each)
    queue.encode(Budget(len(sequences)), 0.0)
    return queue.take_encoded(wait=True)


def names(sequences):
    return [each.sequence_id for each in sequences]


def test_a_sequence_is_queued_then_encoded_then_ready(queue):
    asked = sequence("s")
    queue.add(asked)
    assert (asked.stage, queue.queued_count, queue.started) == (SequenceStage.QUEUED, 1, [])
    queue.encode(Budget(4), 0.0)
    assert (asked.stage, queue.queued_count, queue.started) == (SequenceStage.ENCODING, 0, [asked])
    assert queue.encoding
    group = queue.take_encoded(wait=False)
    assert group is not None
    assert names(group.ready) == ["s"]
    assert (asked.stage, queue.encoding, queue.started) == (SequenceStage.READY, False, [asked])
    assert (asked.encoded_length, asked.encode_s) == (4 + 2, 2.0)
    assert queue.take_encoded(wait=True) is None
    queue.take([asked])
    assert queue.started == []


def test_an_image_that_is_kept_costs_a_sequence_no_time(queue):
    fresh, kept = of_image("fresh", "new"), of_image("kept", "kept")
    encode(queue, fresh, kept)
    assert (fresh.encode_s, kept.encode_s) == (2.0, 0.0)


def test_a_bad_image_and_a_prompt_that_is_too_long_are_refused_and_the_rest_is_ready(queue):
    long = sequence("long", prompt_ids=(0,) * (POSITIONS - 4 + 1))
    fits = sequence("fits", prompt_ids=(0,) * (POSITIONS - 4))
    group = encode(queue, of_image("bad", "bad"), long, fits)
    assert names(group.ready) == names(queue.started) == ["fits"]
    reasons = {each.sequence.sequence_id: each.error for each in group.refused}
    assert isinstance(reasons["bad"], RuntimeError)
    assert isinstance(reasons["long"], LimitExceededError)
    assert reasons["long"].metadata["sent"] == f"{POSITIONS - 3} tokens"


@pytest.mark.parametrize("stage", ["queued", "encoding", "ready"])
def test_a_sequence_can_be_withdrawn_wherever_it_is(queue, stage):
    gone, stays = sequence("gone"), sequence("stays")
    queue.add(gone)
    queue.add(stays)
    if stage != "queued":
        queue.encode(Budget(4), 0.0)
    if stage == "ready":
        queue.take_encoded(wait=True)
    assert gone.stage.value == stage
    queue.withdraw(gone)
    if stage == "queued":
        queue.encode(Budget(4), 0.0)
    if stage != "ready":
        assert names(queue.take_encoded(wait=True).ready) == ["stays"]
    assert names(queue.joining(Pool(), 4)) == ["stays"]


def test_a_group_is_of_one_batch_and_no_larger_than_slots_memory_and_limit(queue):
    encode(queue, *(sequence(f"g{i}", GREEDY) for i in range(3)), sequence("b", BEAMS))
    assert names(queue.joining(Pool(free=8, affordable=8), 8)) == ["g0", "g1", "g2"]
    assert names(queue.joining(Pool(free=2, affordable=8), 8)) == ["g0", "g1"]
    assert names(queue.joining(Pool(free=8, affordable=1), 8)) == ["g0"]
    assert names(queue.joining(Pool(free=8, affordable=8), 2)) == ["g0", "g1"]
    assert queue.joining(Pool(free=8, affordable=8), 0) == []


def test_a_full_batch_is_passed_over_and_a_lack_of_memory_is_not(queue):
    greedy, beams = sequence("greedy", GREEDY), sequence("beams", BEAMS)
    encode(queue, beams, greedy)
    full = Pool(free={greedy.batch_key: 1})
    assert names(queue.joining(full, 4)) == ["greedy"]
    scarce = Pool(affordable={greedy.batch_key: 1})
    assert queue.joining(scarce, 4) == []


def test_no_more_sequences_are_encoded_than_may_decode_together(queue):
    """Each is of size 12: 12 tokens are expected, of one beam."""
    first, second = sequence("first", GREEDY), sequence("second", GREEDY)
    assert queue.budget([], 4, 0.0) is None, "nothing waits"
    queue.add(first)
    assert queue.budget([], 4, 0.0) == Budget(4, 100, 4)
    assert queue.budget([], 40, 0.0) == Budget(GROUP_MAX, 100, 40)
    assert queue.budget([second], 4, 0.0) == Budget(3, 88, 4, {second.tenant: 1})
    assert queue.budget([second], 1, 0.0) is None
    encode(queue, second)
    queue.add(sequence("third", GREEDY))
    assert queue.budget([], 4, 0.0) == Budget(3, 88, 4, {second.tenant: 1}), "one is ready"
    queue.encode(Budget(1), 0.0)
    assert queue.budget([], 4, 0.0) is None, "a group is being encoded"


def test_sequences_too_large_for_all_memory_run_one_at_a_time(queue):
    huge = sequence("huge", dataclasses.replace(BEAMS, num_beams=9))  # of size 108
    queue.add(sequence("waits"))
    assert queue.budget([huge], 4, 0.0) is None
    assert queue.budget([], 4, 0.0) is not None


def test_sequences_that_come_back_from_a_batch_go_first(queue):
    first, second, late = (sequence(name) for name in ("first", "second", "late"))
    encode(queue, first, second)
    queue.take([first, second])
    encode(queue, late)
    queue.put_back([first, second])
    assert names(queue.joining(Pool(), 4)) == ["first", "second", "late"]
    assert first.stage is SequenceStage.READY


def test_closing_forgets_all(queue):
    encode(queue, sequence("ready"))
    queue.add(sequence("queued"))
    queue.close()
    assert (queue.queued_count, queue.started) == (0, [])
