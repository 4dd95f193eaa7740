"""What each stage of Arno's engine costs, against the least that this machine could do it in.

The decode step is also run by transformers, on the same encoded prompts, and its tokens compared.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from arno.engine.checkpoints import Checkpoint, load_checkpoint
from arno.engine.compiled.start import lay_out_encoders
from arno.engine.decoding.batch import DecodeBatch
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.launchers import StepShape
from arno.engine.encoding.image_encoding import encode_images
from arno.engine.encoding.image_preparation import ImagePreparer, Normaliser
from arno.engine.encoding.prompt_encoding import EncodedPrompts, encode_prompts
from arno.engine.interface import DecodingOptions, PreparedImage, SequenceRequest
from arno.engine.sequences.sequence import Sequence
from arno.engine.settings import EngineSettings
from arno.vocabulary import CATALOGUE, ImageSize, Task
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.ask import Serving
from benchmarks.engines.florence import Florence
from benchmarks.floors import (
    Reach,
    Work,
    count_flops,
    measure_reach,
    median_s,
    synchronise,
    weight_bytes,
)
from benchmarks.machine import BusyTime, describe
from benchmarks.pictures import picture


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        requests: In a batch.
        beams: Of each.
        tokens: Decoded by each.
        repeats: Of every stage but the steps.
    """

    requests: int = 4
    beams: int = 3
    tokens: int = 24
    repeats: int = 3


@dataclass(slots=True)
class _Bench:
    """Models and inputs of a measurement."""

    checkpoint: Checkpoint
    florence: Florence
    sizes: Sizes
    reach: Reach
    stages: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return torch.device(self.checkpoint.network.device)

    def note(self, name: str, took_s: float, work: Work | None, **more: float) -> None:
        self.stages[name] = {"took_s": took_s, **more}
        if work is not None:
            floor_s = work.floor_s(self.reach)
            self.stages[name] |= asdict(work) | {"floor_s": floor_s, "over_floor": took_s / floor_s}


def measure_stages(name: str, model: str, serving: Serving, sizes: Sizes) -> dict[str, Any]:
    """Return the cost of every stage, ready for JSON."""
    machine = describe(serving.device)
    began_s, busy = time.monotonic(), BusyTime.now()
    dtype, device = getattr(torch, serving.dtype), torch.device(serving.device)
    settings = EngineSettings.model_validate(
        {
            "model": serving.model,
            "device": serving.device,
            "dtype": serving.dtype,
            "allow_untrained": True,
        }
    )
    checkpoint = load_checkpoint(settings)  # which also chooses how many threads multiply
    reach = measure_reach(device, dtype, small=model == "dry")
    bench = _Bench(checkpoint, Florence(serving), sizes, reach)
    with torch.inference_mode():
        pixels = _prepare(bench)
        features = _encode(bench, pixels)
        _decode(bench, features, _encode_prompts(bench, features))
    return {
        "kind": "stages",
        "name": name,
        "machine": machine,
        "model": model,
        "dtype": serving.dtype,
        "sizes": asdict(sizes),
        "reach": asdict(reach),
        "threads": torch.get_num_threads(),
        "others_cores": busy.others_cores(BusyTime.now(), time.monotonic() - began_s),
        "stages": bench.stages,
    }


def _prepare(bench: _Bench) -> list[torch.Tensor]:
    preparer = ImagePreparer(bench.checkpoint.recipe, EngineSettings.model_validate({}))

    def prepare(index: int) -> torch.Tensor:
        pixels = preparer.prepare(picture(index)).pixels
        assert pixels is not None
        return pixels

    bench.note(
        "prepare, 1 image", median_s(lambda: prepare(0), bench.sizes.repeats, bench.device), None
    )
    return [prepare(index) for index in range(bench.sizes.requests)]


def _encode(bench: _Bench, pixels: list[torch.Tensor]) -> list[torch.Tensor]:
    network, theirs, repeats = bench.checkpoint.network, bench.florence.network, bench.sizes.repeats
    normalise = Normaliser(bench.checkpoint.recipe, bench.device)
    all_at_once = normalise(torch.stack(pixels).to(bench.device)).to(theirs.dtype)
    first = all_at_once[:1]
    flops = count_flops(lambda: theirs.get_image_features(first))
    vision = weight_bytes(theirs.model.vision_tower, theirs.model.multi_modal_projector)
    lay_out_encoders(network)  # as the engine does when it takes a checkpoint
    for count, batch in ((1, first), (len(pixels), all_at_once)):
        bench.note(
            f"encode, {count} images",
            median_s(
                partial(encode_images, network, normalise, pixels[:count]), repeats, bench.device
            ),
            Work(flops * count, vision),
            transformers_s=median_s(
                partial(theirs.get_image_features, batch),
                repeats,
                bench.device,
            ),
        )
    return encode_images(network, normalise, pixels)


def _prompt_ids(bench: _Bench) -> tuple[int, ...]:
    return bench.checkpoint.tokenizer.encode(CATALOGUE[Task.CAPTION].prompt)


def _encode_prompts(bench: _Bench, features: list[torch.Tensor]) -> EncodedPrompts:
    network, theirs = bench.checkpoint.network, bench.florence.network
    prompt = _prompt_ids(bench)
    encoder = theirs.model.language_model.encoder
    for count in (1, len(features)):
        rows = torch.zeros(
            count, features[0].shape[0] + len(prompt), features[0].shape[1],
            device=bench.device, dtype=features[0].dtype,
        )  # fmt: skip
        run = partial(encoder, inputs_embeds=rows)
        bench.note(
            f"encode prompts, {count} requests",
            median_s(
                partial(encode_prompts, network, features[:count], [prompt] * count),
                bench.sizes.repeats,
                bench.device,
            ),
            Work(count_flops(run), weight_bytes(encoder.layers)),
            transformers_s=median_s(
                run,
                bench.sizes.repeats,
                bench.device,
            ),
        )
    return encode_prompts(network, features, [prompt] * len(features))


def _decode(bench: _Bench, features: list[torch.Tensor], encoded: EncodedPrompts) -> None:
    sizes, decoder = bench.sizes, Decoder(bench.checkpoint.network)
    states, padding = encoded.states, encoded.padding
    count, width = states.shape[0], states.shape[2]
    cross = 2.0 * 2 * decoder.layer_count * states.shape[0] * states.shape[1] * width * width
    stack = bench.florence.network.model.language_model.decoder
    layers = weight_bytes(stack.layers)
    bench.note(
        f"start, {count} requests",
        median_s(lambda: decoder.start(states, padding), sizes.repeats, bench.device),
        Work(cross, float(layers)),
    )
    cached = 2 * decoder.layer_count * states.numel() * states.element_size()
    matrix = bench.florence.network.lm_head.weight
    rows = count * sizes.beams
    work = Work(
        # Every weight multiplies every row; attention over the prompts comes on top.
        2.0 * rows * (layers / matrix.element_size() + matrix.numel())
        + 4.0 * decoder.layer_count * rows * states.shape[1] * width,
        float(layers + matrix.nbytes + cached),
    )
    steps = _arno_steps(bench, decoder, features, encoded)
    theirs_s, theirs = _transformers_step(bench, states)
    equal = sum(a == b for a, b in zip(steps.answers, theirs, strict=True))
    bench.note(
        f"step, {count} requests x {sizes.beams} beams",
        steps.median_s,
        work,
        transformers_s=theirs_s,
        equal_count=float(equal),
        join_each_s=steps.join_each_s,
    )
    one = _arno_steps(bench, decoder, features[:1], EncodedPrompts(states[:1], None))
    shared = Work(work.flops / count, float(layers + matrix.nbytes + cached / count))
    theirs_s, _ = _transformers_step(bench, states[:1])
    bench.note(
        f"step, 1 request x {sizes.beams} beams", one.median_s, shared, transformers_s=theirs_s
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    median_s: float
    join_each_s: float
    answers: list[tuple[int, ...]]


def _sequence(
    bench: _Bench, name: str, features: torch.Tensor, options: DecodingOptions
) -> Sequence:
    """Return a sequence whose image is encoded."""
    request = SequenceRequest(
        sequence_id=name,
        image=PreparedImage(name, None, ImageSize(1, 1), "image/png", 0.0),
        prompt=CATALOGUE[Task.CAPTION].prompt,
        options=options,
        deadline_s=None,
        lane="interactive",
        tenant="bench",
        expected_token_count=options.max_new_tokens,
    )
    sequence = Sequence(request, _prompt_ids(bench), options.max_new_tokens, 0.0)
    sequence.take_image(features, None)
    return sequence


def _arno_steps(
    bench: _Bench, decoder: Decoder, features: list[torch.Tensor], encoded: EncodedPrompts
) -> _Steps:
    sizes, count = bench.sizes, len(features)
    options = DecodingOptions(num_beams=sizes.beams, max_new_tokens=sizes.tokens)
    positions = bench.checkpoint.card.position_count
    batch = DecodeBatch(decoder, options, StepShape(count, positions, positions))
    sequences = [
        _sequence(bench, str(place), image, options) for place, image in enumerate(features)
    ]
    synchronise(bench.device)
    began_s = time.perf_counter()
    started = decoder.start(encoded.states, encoded.padding)
    batch.join(started, sequences)
    join_s = time.perf_counter() - began_s
    took_s: list[float] = []
    while True:
        step_s = time.perf_counter()
        over = batch.step()
        synchronise(bench.device)
        took_s.append(time.perf_counter() - step_s)
        if over:
            break
    return _Steps(
        median(took_s), join_s / count, [best.token_ids for best in batch.best(sequences)]
    )


class _StepTimes(LogitsProcessor):
    """Notes when each step of `generate` has its logits, and changes nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at_s: list[float] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        synchronise(self._device)
        self._at_s.append(time.perf_counter())
        return scores

    def median_s(self) -> float:
        return median(later - sooner for sooner, later in pairwise(self._at_s))


def _transformers_step(bench: _Bench, states: torch.Tensor) -> tuple[float, list[tuple[int, ...]]]:
    """Return how long a step of `generate` takes, and its answers."""
    times = _StepTimes(bench.device)
    generate: Any = bench.florence.network.generate
    tokens = generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states.clone()),
        logits_processor=LogitsProcessorList([times]),
        num_beams=bench.sizes.beams,
        max_new_tokens=bench.sizes.tokens,
        no_repeat_ngram_size=3,
        do_sample=False,
        decoder_start_token_id=2,
        bos_token_id=0,
        forced_bos_token_id=0,
        eos_token_id=2,
        forced_eos_token_id=2,
        pad_token_id=1,
        length_penalty=1.0,
        early_stopping=True,
    )
    return times.median_s(), [tuple(row) for row in tokens[:, 1:].tolist()]
