"""Florence-2 for ONNX Runtime in the usual four parts, exported here and run under `generate`.

The parts are the vision encoder, the word embedding, the text encoder, and the decoder with its
past. The text encoder also returns the keys and values that the decoder attends to, so that one
decoder serves the first step, too. transformers keeps the search and the caches.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime
import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
)

from benchmarks.ask import Serving
from benchmarks.engines.florence import Florence

_OPSET: Final = 18
_OFFSET: Final = 2
"""BART's positions begin at this row of their table."""


class OnnxFlorence(Florence):
    """transformers' Florence-2 whose parts are run by ONNX Runtime."""

    def __init__(self, serving: Serving) -> None:
        """Export a checkpoint and load the parts; takes a minute for the base model."""
        super().__init__(serving)
        loader: Any = Florence2ForConditionalGeneration
        source = loader.from_pretrained(
            serving.model, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        untyped: Any = self.network
        with tempfile.TemporaryDirectory() as name:
            parts = export(source, Path(name), self._recipe.side_px)
        text = untyped.model.language_model
        untyped.model.vision_tower, untyped.model.multi_modal_projector = (
            _Tower(parts["vision"]),
            nn.Identity(),
        )
        text.shared = _Embedding(parts["embed"])
        text.encoder = _Encoder(parts["encoder"])
        text.decoder = _Decoder(parts["decoder"], text.encoder, source.config.text_config)
        untyped.lm_head = _Head()


def export(source: Any, folder: Path, side_px: int) -> Mapping[str, onnxruntime.InferenceSession]:
    """Write the parts of a model into a folder, and return them loaded."""
    text = source.config.text_config
    states = torch.zeros(2, 7, text.d_model)
    mask = torch.ones(2, 7)
    heads = text.decoder_attention_heads
    crossed = torch.zeros(2, heads, 7, text.d_model // heads)
    past = [torch.zeros(2, heads, 3, text.d_model // heads)] * 2 * text.decoder_layers
    many = [crossed] * 2 * text.decoder_layers
    ids = torch.zeros(2, 1, dtype=torch.long)
    plans: dict[str, tuple[nn.Module, tuple[Any, ...], Sequence[Sequence[str]], int]] = {
        "vision": (_VisionPart(source), (torch.zeros(2, 3, side_px, side_px),), [["rows"]], 1),
        "embed": (source.get_input_embeddings(), (ids,), [["rows", "length"]], 1),
        "encoder": (
            _EncoderPart(source),
            (states, mask),
            [["rows", "length"], ["rows", "length"]],
            1 + len(many),
        ),
        "decoder": (
            _DecoderPart(source),
            (ids, torch.tensor([3]), mask, *many, *past),
            [["rows"], [], ["rows", "length"]]
            + [["rows", "", "length"]] * len(many)
            + [["rows", "", "past"]] * len(past),
            1 + len(past),
        ),
    }
    for name, (module, inputs, axes, output_count) in plans.items():
        names = [f"in{place}" for place in range(len(inputs))]
        dynamic = {
            each: {place: axis for place, axis in enumerate(of) if axis}
            for each, of in zip(names, axes, strict=True)
        }
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is the older one
            torch.onnx.export(
                module,
                inputs,
                str(folder / f"{name}.onnx"),
                input_names=names,
                output_names=[f"out{place}" for place in range(output_count)],
                dynamic_axes=dynamic,
                opset_version=_OPSET,
                dynamo=False,
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return {
        name: onnxruntime.InferenceSession(
            folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
        )
        for name in plans
    }


class _VisionPart(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.tower, self.projector = source.model.vision_tower, source.model.multi_modal_projector

    def forward(self, pixels: torch.Tensor) -> Any:
        return self.projector(self.tower(pixels).last_hidden_state)


class _EncoderPart(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.encoder = source.model.language_model.encoder
        self.layers = source.model.language_model.decoder.layers

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoder = self.encoder
        places = torch.arange(embedded.shape[1]) + _OFFSET
        states = encoder.layernorm_embedding(embedded + encoder.embed_positions.weight[places])
        for layer in encoder.layers:
            states = layer(states, _added(mask))
            states = states[0] if isinstance(states, tuple) else states
        crossed = []
        for layer in self.layers:
            attention = layer.encoder_attn
            for project in (attention.k_proj, attention.v_proj):
                rows, length = states.shape[:2]
                heads = project(states).view(rows, length, -1, attention.head_dim)
                crossed.append(heads.transpose(1, 2))
        return (states, *crossed)


class _DecoderPart(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.decoder, self.head = source.model.language_model.decoder, source.lm_head

    def forward(
        self, ids: torch.Tensor, place: torch.Tensor, mask: torch.Tensor, *kept: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        decoder: Any = self.decoder
        layer_count = len(decoder.layers)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        _fill(cache.cross_attention_cache, kept[: 2 * layer_count])
        _fill(cache.self_attention_cache, kept[2 * layer_count :])
        cache.is_updated = dict.fromkeys(range(layer_count), True)
        states = decoder.embed_tokens(ids) + decoder.embed_positions.weight[place + _OFFSET]
        states = decoder.layernorm_embedding(states)
        for layer in decoder.layers:
            states = layer(
                states,
                None,
                states,  # only says that there is an encoder; its keys are in the cache
                encoder_attention_mask=_added(mask),
                past_key_values=cache,
                use_cache=True,
            )
            states = states[0] if isinstance(states, tuple) else states
        return (self.head(states), *_held(cache.self_attention_cache))


def _held(cache: Any) -> list[torch.Tensor]:
    """Return keys and values of a cache, by layer."""
    return [kind for layer in cache.layers for kind in (layer.keys, layer.values)]


def _fill(cache: Any, held: Sequence[torch.Tensor]) -> None:
    """Append keys and values to a cache, by layer."""
    for index, (keys, values) in enumerate(zip(held[::2], held[1::2], strict=True)):
        cache.update(keys, values, index)


def _added(mask: torch.Tensor) -> torch.Tensor:
    """Return what is added to attention, [R, 1, 1, N], for a mask of ones and zeros, [R, N]."""
    return (1.0 - mask[:, None, None, :]) * torch.finfo(torch.float32).min


def _run(session: onnxruntime.InferenceSession, *inputs: torch.Tensor) -> list[torch.Tensor]:
    feed = {f"in{place}": each.contiguous().numpy() for place, each in enumerate(inputs)}
    return [torch.from_numpy(each) for each in session.run(None, feed)]


class _Part(nn.Module):
    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        super().__init__()
        self._session = session


class _Tower(_Part):
    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutput:
        (features,) = _run(self._session, pixel_values)
        return BaseModelOutput(last_hidden_state=features)


class _Embedding(_Part):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return _run(self._session, ids)[0]


class _Encoder(_Part):
    main_input_name = "input_ids"
    crossed: list[torch.Tensor]

    def forward(
        self, *, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> BaseModelOutput:
        states, *self.crossed = _run(self._session, inputs_embeds, attention_mask.float())
        return BaseModelOutput(last_hidden_state=states)


class _Head(nn.Module):
    """The decoder's part has the head; transformers asks a parameter on which device a model is."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


class _Decoder(nn.Module):
    def __init__(
        self, session: onnxruntime.InferenceSession, encoder: _Encoder, config: Any
    ) -> None:
        super().__init__()
        self._session, self._layer_count = session, config.decoder_layers
        self._encoder = [encoder]  # in a list, or it would be a part of this one
        heads = config.decoder_attention_heads
        self._empty = (heads, 0, config.d_model // heads)

    def forward(
        self,
        *,
        input_ids: torch.Tensor,
        encoder_attention_mask: torch.Tensor,
        past_key_values: EncoderDecoderCache,
        **_: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        rows = len(input_ids)
        own: Any = past_key_values.self_attention_cache
        crossed = self._encoder[0].crossed
        beams = rows // len(crossed[0])
        length = own.get_seq_length()
        if length:
            past, crossed = _held(own), _held(past_key_values.cross_attention_cache)
        else:
            past = [torch.zeros(rows, *self._empty)] * 2 * self._layer_count
            crossed = [each.repeat_interleave(beams, 0) for each in crossed]
            _fill(past_key_values.cross_attention_cache, crossed)
            past_key_values.is_updated = dict.fromkeys(range(self._layer_count), True)
        logits, *now = _run(
            self._session,
            input_ids[:, -1:],
            torch.tensor([length]),
            encoder_attention_mask.float(),
            *crossed,
            *past,
        )
        if length:
            for layer, keys, values in zip(own.layers, now[::2], now[1::2], strict=True):
                layer.keys, layer.values = keys, values
        else:
            _fill(own, now)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=logits, past_key_values=past_key_values
        )
