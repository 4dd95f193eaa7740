"""What only a GPU uses, as far as a CPU can run it."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch
import torch._dynamo.testing
from arno.engine import DecodingOptions, EngineSettings
from arno.engine.decoding.pool import DecodePool
from arno.engine.device import DeviceLostError
from arno.engine.encoding.image_encoding import encode_images
from arno.engine.encoding.image_preparation import Normaliser
from arno.engine.encoding.image_stage import Uploads, overlaps
from arno.engine.engine_loop import EngineLoop
from arno.engine.layers.vision_gpu import (
    compile_vision,
    encode_blank,
    group_sizes,
    lay_out_vision,
)
from arno.engine.warming import step_shapes, warm_decoding, widths
from arno.errors import ModelError
from support.engine_runs import picture, request, run_all, submit_all
from support.fake_gpu import FakeGpu

pytestmark = pytest.mark.model


@pytest.fixture
def pixels(checkpoint):
    generator = torch.Generator().manual_seed(3)
    side_px = checkpoint.recipe.side_px
    return torch.randn(2, 3, side_px, side_px, generator=generator)


@pytest.fixture
def vision(short_model_folder):
    """A model of its own, whose vision encoder may be changed."""
    from arno.engine.checkpoints import load_checkpoint

    settings = EngineSettings(model=str(short_model_folder), device="cpu", dtype="float32")
    yield load_checkpoint(settings).network
    torch.compiler.reset()


@torch.inference_mode()
def encoded(network, pixels):
    return network.get_image_features(pixels).pooler_output


def test_the_layers_for_a_gpu_give_the_same(vision, pixels):
    expected = encoded(vision, pixels)
    lay_out_vision(vision.model.vision_tower)
    names = {type(module).__name__ for module in vision.model.vision_tower.modules()}
    assert {"ChannelAttention", "DepthwiseConvolution"} <= names
    torch.testing.assert_close(encoded(vision, pixels), expected)


def test_equal_blocks_share_what_is_compiled_for_each_number_of_images(vision, pixels):
    """By the compiler's front end; what it generates for a GPU is not run here."""
    expected = encoded(vision, pixels)
    lay_out_vision(vision.model.vision_tower)
    counter = torch._dynamo.testing.CompileCounter()
    side_px = pixels.shape[-1]
    assert compile_vision(vision, side_px, (1, 2), backend=counter, fullgraph=True)
    compiled = counter.frame_count
    assert compiled <= 2 * len(vision.model.vision_tower.blocks)
    torch.testing.assert_close(encoded(vision, pixels), expected)
    torch.testing.assert_close(encoded(vision, pixels[:1]), expected[:1])
    assert counter.frame_count == compiled, "serving compiles nothing"


@pytest.mark.parametrize(("most", "sizes"), [(1, (1,)), (3, (1, 3)), (16, (4, 16))])
def test_the_encoder_is_compiled_for_whole_and_for_small_groups(most, sizes):
    assert group_sizes(most) == sizes


def test_blank_images_make_up_the_numbers_that_are_compiled(checkpoint, engine, monkeypatch):
    normalise = Normaliser(checkpoint.recipe)
    pixels = [engine.prepare(picture(i)).pixels for i in range(5)]
    alone = encode_images(checkpoint.network, normalise, pixels)
    network, passes = checkpoint.network, []
    encode = network.get_image_features
    monkeypatch.setattr(
        network, "get_image_features", lambda batch: passes.append(len(batch)) or encode(batch)
    )
    for count, size in ((1, 2), (2, 2), (3, 8), (5, 8)):
        found = encode_images(network, normalise, pixels[:count], (2, 8))
        assert passes.pop() == size
        torch.testing.assert_close(torch.stack(found), torch.stack(alone[:count]))


def test_a_compiler_that_fails_leaves_an_encoder_that_works(vision, pixels, caplog):
    expected = encoded(vision, pixels)

    def no_compiler(graph, inputs):
        raise RuntimeError("Failed to find C compiler")

    assert not compile_vision(vision, pixels.shape[-1], (2,), backend=no_compiler)
    assert "runs uncompiled" in caplog.text
    torch.testing.assert_close(encoded(vision, pixels), expected)


def test_an_image_takes_as_many_positions_as_its_encoding(checkpoint, pixels):
    blank = encode_blank(checkpoint.network, checkpoint.recipe.side_px, 1)
    assert blank.shape == encoded(checkpoint.network, pixels[:1]).shape


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_every_width_is_warmed(most, expected):
    assert list(widths(most)) == expected


def test_the_largest_shape_comes_first_because_its_memory_serves_the_others():
    shapes = step_shapes(4, 10)
    assert shapes[0] == max(shapes, key=lambda shape: (shape.count, shape.longest))
    assert {shape.count for shape in shapes} == {1, 2, 4}


@pytest.fixture
def shapes_run(monkeypatch):
    from arno.engine.decoding.launchers import EagerLauncher

    real, shapes = EagerLauncher.run, []

    def run(self, shape, body):
        shapes.append(shape)
        return real(self, shape, body)

    monkeypatch.setattr(EagerLauncher, "run", run)
    return shapes


def test_warming_changes_no_answer_and_runs_each_shape_until_it_is_recorded(
    make_engine, reference, shapes_run, monkeypatch
):
    engine = make_engine(batch_sequences_max=4, admit_sequences_max=2, few_shapes=True)
    pools = []
    step = DecodePool.step
    monkeypatch.setattr(DecodePool, "step", lambda pool: pools.append(pool) or step(pool))
    images = [engine.prepare(picture(i)) for i in range(3)]
    submit_all(engine, [request("first", images[0])])
    run_all(engine)
    shapes_run.clear()
    warm_decoding(pools[0], 4, 10)
    assert len(shapes_run) == 2 * 2 * len(set(shapes_run))
    requests = [
        request(f"s{i}", images[i % 3], "What"[: 1 + i % 4], options)
        for i, options in enumerate(
            DecodingOptions(num_beams=beams, max_new_tokens=10 + 5 * turn)
            for turn in range(4)
            for beams in (1, 3)
        )
    ]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        assert ends[asked.sequence_id].token_ids == reference.answer(asked)
    assert engine.statistics().failed_batch_count == 0


def test_encoding_is_timed_by_the_gpu_once_a_step_has_waited_for_it(make_engine, monkeypatch):
    gpu = FakeGpu(busy_s=7.0)
    monkeypatch.setattr("arno.engine.encoding.image_encoding.Stopwatch", gpu.stopwatch)
    step = DecodePool.step

    def waited(pool):
        done = step(pool)
        gpu.catch_up()
        return done

    monkeypatch.setattr(DecodePool, "step", waited)
    engine = make_engine(admit_sequences_max=2)
    submit_all(engine, [request(f"s{i}", engine.prepare(picture(i))) for i in range(2)])
    ends = run_all(engine)
    assert [ends[f"s{i}"].encode_s for i in range(2)] == [7.0, 7.0]
    assert engine._times.price.image_s == 3.5


def test_on_a_cpu_pixels_stay_where_they_are(engine):
    image = engine.prepare(picture(0))
    uploads = Uploads(torch.device("cpu"))
    assert uploads.send(image) is image
    assert uploads.pin(image.pixels) is image.pixels
    uploads.wait()


class FakeStreams:
    """Stands for the streams of `torch.cuda`, and notes what is queued where, in order."""

    def __init__(self, monkeypatch):
        self.notes = []
        self.current = self.computing = FakeStream(self, "computing")
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(self, "copying"))
        monkeypatch.setattr(torch.cuda, "stream", self.within)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.current)

        def pin_memory(pixels):
            self.notes.append(("pinned",))
            return pixels.clone()

        def to(pixels, device, *, non_blocking):
            self.notes.append(("copied", device.type, self.current.name, non_blocking))
            return pixels.clone()

        def record_stream(pixels, stream):
            self.notes.append(("kept for", stream.name))

        for fake in (pin_memory, to, record_stream):
            monkeypatch.setattr(torch.Tensor, fake.__name__, fake)

    @contextlib.contextmanager
    def within(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before


@dataclasses.dataclass(frozen=True)
class FakeStream:
    streams: FakeStreams
    name: str

    def wait_stream(self, other):
        self.streams.notes.append((f"{self.name} waits for {other.name}",))


def test_pixels_are_copied_beside_the_work_and_kept_until_it_has_read_them(engine, monkeypatch):
    image = engine.prepare(picture(0))
    streams = FakeStreams(monkeypatch)
    uploads = Uploads(torch.device("cuda"))
    image = dataclasses.replace(image, pixels=uploads.pin(image.pixels))
    sent = uploads.send(image)
    uploads.wait()
    assert sent.pixels is not image.pixels
    assert torch.equal(sent.pixels, image.pixels)
    assert streams.notes == [
        ("pinned",),
        ("copied", "cuda", "copying", True),
        ("kept for", "computing"),
        ("computing waits for copying",),
    ]


def test_images_are_not_encoded_beside_decoding_on_a_gpu():
    gpu = torch.device("cuda")
    assert not overlaps(EngineSettings(model="tiny"), gpu)
    with pytest.raises(ModelError, match="encode_overlap: on"):
        overlaps(EngineSettings(model="tiny", encode_overlap="on"), gpu)


@pytest.fixture
def lost_gpu(monkeypatch):
    """A CUDA context that answers every call with the error of an earlier one."""

    def synchronize():
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)


def failing(*_, **__):
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    "broken",
    [
        "arno.engine.encoding.image_encoding.encode_images",
        "arno.engine.decoding.decoder.Decoder.step",
    ],
)
def test_a_lost_gpu_ends_the_engine_and_blames_no_sequence(engine, monkeypatch, lost_gpu, broken):
    events = []
    loop = EngineLoop(engine, on_events=events.extend)
    image = engine.prepare(picture(0))
    monkeypatch.setattr(broken, failing)
    loop.submit([request(f"s{i}", dataclasses.replace(image, sha256=str(i))) for i in range(3)])
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        loop.run()
    assert not [event for event in events if hasattr(event, "finish_reason")]
