"""Drive an engine in tests, and get the same answers from transformers alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from arno.engine import (
    DecodingOptions,
    Engine,
    Event,
    PreparedImage,
    SequenceFinished,
    SequenceProgress,
    SequenceRequest,
)
from arno.engine.checkpoints.config import read_recipe
from arno.engine.encoding.image_preparation import Normaliser
from PIL import Image
from transformers import AutoTokenizer, Florence2ForConditionalGeneration

GREEDY = DecodingOptions(num_beams=1, max_new_tokens=20)
BEAMS = DecodingOptions(num_beams=3, max_new_tokens=20)


def picture(seed: int) -> bytes:
    """A PNG of noise, different for every seed."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (32, 40, 3), generator=generator, dtype=torch.uint8)
    file = io.BytesIO()
    Image.fromarray(values.numpy()).save(file, "PNG")
    return file.getvalue()


def request(
    sequence_id: str,
    image: PreparedImage,
    prompt: str = "What?",
    options: DecodingOptions = BEAMS,
    **changes: object,
) -> SequenceRequest:
    """A sequence without a deadline, in the interactive lane."""
    facts: dict[str, object] = {
        "deadline_s": None,
        "lane": "interactive",
        "tenant": "t",
        "expected_token_count": 10,
    }
    facts |= {"sequence_id": sequence_id, "image": image, "prompt": prompt, "options": options}
    return SequenceRequest(**(facts | changes))  # type: ignore[arg-type]  # the keys are its fields


def until_idle(engine: Engine) -> Iterator[Event]:
    """Step until the engine is idle; yield the events of each step."""
    while True:
        events = engine.step()
        yield from events
        statistics = engine.statistics()
        if not events and not statistics.waiting_count and not statistics.running_count:
            return


def run_all(
    engine: Engine, watch: Callable[[], object] = lambda: None
) -> dict[str, SequenceFinished]:
    """Step until the engine is idle, and return how every sequence ended.

    ``watch`` is called after each event.
    """
    ends: dict[str, SequenceFinished] = {}
    for event in until_idle(engine):
        watch()
        if isinstance(event, SequenceFinished):
            assert event.sequence_id not in ends, "ended twice"
            ends[event.sequence_id] = event
    return ends


def submit_all(engine: Engine, requests: Iterable[SequenceRequest]) -> None:
    for each in requests:
        engine.submit(each)


def encoded_ids(events: Iterable[Event]) -> list[str]:
    return [e.sequence_id for e in events if isinstance(e, SequenceProgress) and e.encoded]


class Reference:
    """transformers as its documentation says to use it: one request at a time, from pixels."""

    def __init__(self, folder: Path) -> None:
        loader = Florence2ForConditionalGeneration
        self.network = loader.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.normalise = Normaliser(read_recipe(folder))
        self._answers: dict[object, tuple[int, ...]] = {}

    def answer(self, asked: SequenceRequest) -> tuple[int, ...]:
        """Return the tokens that plain `generate` gives to one request."""
        key = (asked.image.sha256, asked.prompt, asked.options)
        if key not in self._answers:
            self._answers[key] = tuple(self.generate(asked).sequences[0, 1:].tolist())
        return self._answers[key]

    def generate(self, asked: SequenceRequest, **extra: object):
        options = asked.options
        beams = {}
        if options.num_beams > 1:
            beams = {
                "early_stopping": options.early_stopping,
                "length_penalty": options.length_penalty,
            }
        return self.network.generate(
            input_ids=self.input_ids(asked),
            pixel_values=self.pixels(asked),
            num_beams=options.num_beams,
            max_new_tokens=options.max_new_tokens,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            do_sample=False,
            decoder_start_token_id=2,
            bos_token_id=0,
            forced_bos_token_id=0,
            eos_token_id=2,
            forced_eos_token_id=2,
            pad_token_id=1,
            return_dict_in_generate=True,
            **beams,
            **extra,
        )

    def pixels(self, asked: SequenceRequest) -> torch.Tensor:
        return self.normalise(asked.image.pixels[None])

    def input_ids(self, asked: SequenceRequest) -> torch.Tensor:
        features = self.network.get_image_features(self.pixels(asked)).pooler_output
        places = [self.network.config.image_token_id] * features.shape[1]
        prompt = self.tokenizer("<s>" + asked.prompt + "</s>", add_special_tokens=False).input_ids
        return torch.tensor([places + prompt])
