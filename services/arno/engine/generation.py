"""Decode a batch of equals with transformers' `generate`, and say how likely each token was.

All prompts of a batch have the same length and options, so nothing is padded on the encoder's side,
and every sequence gets the tokens that it gets alone. Options come from Arno only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Florence2ForConditionalGeneration, GenerationConfig
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutput

from arno.engine.interface import DecodingOptions
from arno.engine.network import position_count
from arno.engine.prompt_tokens import BEGIN_ID, END_ID, PAD_ID

_SCORED_POSITIONS = 64
"""Positions whose logits are held at a time: a whole answer of 1,024 takes 210 MB in float32."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """What a sequence is decoded from.

    Attributes:
        features: The encoded image, [V, D].
        prompt_ids: The prompt, [T]; equally long for all members of a batch.
    """

    features: torch.Tensor
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """What a sequence became.

    Attributes:
        token_ids: Without the decoder's start token; ends with `END_ID` unless it was cut.
        logprobs: Of each token under the model's own distribution; 0.0 for forced ones.
        complete: Whether the model ended it by itself.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What looks on while a batch decodes.

    Attributes:
        alive: Whether a member, by its place in the batch, is still wanted; asked after each step.
        stepped: Told the number of tokens so far, after each step.
    """

    alive: Callable[[int], bool]
    stepped: Callable[[int], None]


@torch.inference_mode()
def encode_images(
    network: Florence2ForConditionalGeneration, pixels: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Return the encoded images, [V, D] each, owning their memory.

    Shapes: pixels [C=3, H, W] float32 each.
    """
    batch = torch.stack(list(pixels)).to(network.device, network.dtype)  # [B, C, H, W]
    features = network.get_image_features(batch).pooler_output  # [B, V, D]
    return [row.clone() for row in features]


@torch.inference_mode()
def generate(
    network: Florence2ForConditionalGeneration,
    prompts: Sequence[EncodedPrompt],
    options: DecodingOptions,
    watch: Watch,
) -> list[Generated]:
    """Decode a batch whose prompts are equally long; stop when nobody is left alive.

    A member that dies keeps what it has by then, without costing its neighbours anything but time.
    """
    states = _encode_prompts(network, prompts)  # [B, V + T, D]
    limit = min(options.max_new_tokens, position_count(network))
    untyped: Any = network  # transformers' types refuse its own models here
    sequences = untyped.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),  # expanded in place for beams
        generation_config=_config(options, limit),
        stopping_criteria=StoppingCriteriaList([_Watching(watch, len(prompts))]),
    )
    answers = [_trim(row) for row in sequences[:, 1:].tolist()]
    logprobs = _score(network, states, answers)
    return [
        _finish(token_ids, scores, limit)
        for token_ids, scores in zip(answers, logprobs, strict=True)
    ]


def _encode_prompts(
    network: Florence2ForConditionalGeneration, prompts: Sequence[EncodedPrompt]
) -> torch.Tensor:
    """Run the text encoder over [image; prompt] and return its states, [B, V + T, D]."""
    ids = torch.tensor([prompt.prompt_ids for prompt in prompts], device=network.device)  # [B, T]
    features = torch.stack([prompt.features for prompt in prompts])  # [B, V, D]
    embedded = network.get_input_embeddings()(ids)  # [B, T, D]
    joined = torch.cat([features.to(embedded.dtype), embedded], dim=1)  # [B, V + T, D]
    states: torch.Tensor = network.get_encoder()(inputs_embeds=joined).last_hidden_state
    return states


def _config(options: DecodingOptions, limit: int) -> GenerationConfig:
    beams: dict[str, Any] = {}
    if options.num_beams > 1:
        beams = {
            "length_penalty": options.length_penalty,
            "early_stopping": options.early_stopping,
        }
    return GenerationConfig(  # type: ignore[no-untyped-call]  # transformers does not type it
        num_beams=options.num_beams,
        do_sample=False,
        max_new_tokens=limit,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
        decoder_start_token_id=END_ID,
        bos_token_id=BEGIN_ID,
        forced_bos_token_id=BEGIN_ID,
        eos_token_id=END_ID,
        forced_eos_token_id=END_ID,
        pad_token_id=PAD_ID,
        use_cache=True,
        **beams,
    )


class _Watching(StoppingCriteria):
    """Stops the rows of members that died.

    `generate` shows it B rows in greedy search and, in beam search, B times the candidates that it
    considers; either way a member's rows stand together.
    """

    def __init__(self, watch: Watch, member_count: int) -> None:
        self._watch = watch
        self._member_count = member_count

    def __call__(
        self, input_ids: torch.Tensor, scores: tuple[torch.Tensor] | None, **kwargs: Any
    ) -> torch.Tensor:
        self._watch.stepped(input_ids.shape[1] - 1)
        dead = [not self._watch.alive(place) for place in range(self._member_count)]
        rows_each = input_ids.shape[0] // self._member_count
        return torch.tensor(dead, device=input_ids.device).repeat_interleave(rows_each)


def _trim(token_ids: list[int]) -> list[int]:
    """Cut off what pads a row behind its end."""
    if END_ID in token_ids:
        return token_ids[: token_ids.index(END_ID) + 1]
    length = len(token_ids)
    while length and token_ids[length - 1] == PAD_ID:
        length -= 1
    return token_ids[:length]


def _score(
    network: Florence2ForConditionalGeneration, states: torch.Tensor, answers: list[list[int]]
) -> list[list[float]]:
    """Return the log-probability of every token of every answer, by one pass over all positions.

    Keeping the scores of each step of the search would take beams x vocabulary floats a token.
    """
    if not any(answers):
        return [[] for _ in answers]
    longest = max(map(len, answers))
    padded = torch.tensor(
        [answer + [PAD_ID] * (longest - len(answer)) for answer in answers], device=network.device
    )  # [B, N]
    start = torch.full_like(padded[:, :1], END_ID)
    decoded = network.model(  # padding stands behind all that counts, and attention is causal
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        decoder_input_ids=torch.cat([start, padded[:, :-1]], dim=1),
        use_cache=False,
    ).last_hidden_state  # [B, N, D]
    columns = [
        _chosen_logprobs(network, part, ids)
        for part, ids in zip(
            torch.split(decoded, _SCORED_POSITIONS, dim=1),
            torch.split(padded, _SCORED_POSITIONS, dim=1),
            strict=True,
        )
    ]
    rows = torch.cat(columns, dim=1).tolist()
    return [row[: len(answer)] for row, answer in zip(rows, answers, strict=True)]


def _chosen_logprobs(
    network: Florence2ForConditionalGeneration, states: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """Return [B, N] log-probabilities of ids [B, N], of states [B, N, D], one row at a time."""
    rows = []
    for row, row_ids in zip(states, ids, strict=True):
        logits = network.lm_head(row).float()  # [N, K]
        chosen = logits.gather(1, row_ids[:, None]).squeeze(1)
        rows.append(chosen - logits.logsumexp(dim=1))
    return torch.stack(rows)


def _finish(token_ids: list[int], logprobs: list[float], limit: int) -> Generated:
    ended = bool(token_ids) and token_ids[-1] == END_ID
    at_limit = len(token_ids) >= limit
    scores = [min(logprob, 0.0) for logprob in logprobs]  # rounding may leave a hair above 0
    if scores:
        scores[0] = 0.0
    if ended and at_limit:
        scores[-1] = 0.0
    return Generated(tuple(token_ids), tuple(scores), complete=ended and not at_limit)
