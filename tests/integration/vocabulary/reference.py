"""Transformers' own reading of Florence-2 answers, built without a download.

The tokenizer is a real byte-level BPE without merges: its tokens are single bytes, the thousand
locations and the markers. The configuration is that of the published processors.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from arno.vocabulary import ImageSize, Task, TokenTable
from arno.vocabulary.parsing.phrases import EMPTY_PHRASES
from arno.vocabulary.token_table import MARKERS
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.florence2.processing_florence2 import Florence2Processor
from transformers.processing_utils import ProcessorMixin

PUBLISHED_CONFIG: dict[str, dict[str, Any]] = {
    "ocr": {},
    "phrase_grounding": {"banned_grounding_tokens": sorted(EMPTY_PHRASES)},
    "pure_text": {},
    "description_with_bboxes": {},
    "description_with_polygons": {},
    "polygons": {},
    "bboxes": {},
    "description_with_bboxes_or_polygons": {},
}


@dataclass(frozen=True)
class Reference:
    """The reference processor, its tokenizer, and Arno's vocabulary made from the same one."""

    tokenizer: PreTrainedTokenizerFast
    token_table: TokenTable

    def spell(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def read(self, task: Task, tokens: list[int], size: ImageSize) -> Any:
        """Read tokens the usual way: decoded to text, special tokens kept."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=False)
        return self.post_process(task, size, text=text)

    def post_process(
        self, task: Task, size: ImageSize, *, config: dict[str, Any] | None = None, **said: Any
    ) -> Any:
        processor = _processor(self.tokenizer, config or PUBLISHED_CONFIG)
        name = f"<{task}>"
        image_size = (size.width_px, size.height_px)
        return processor.post_process_generation(task=name, image_size=image_size, **said)[name]


def build_reference() -> Reference:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    ids = {token: index for index, token in enumerate([*specials, *alphabet])}
    bpe = Tokenizer(models.BPE(vocab=ids, merges=[], unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # untyped upstream
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    added = [*(f"<loc_{i}>" for i in range(1000)), *sorted(MARKERS - {"<unk>"})]
    tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in added], special_tokens=True
    )
    token_table = TokenTable.from_byte_level(
        tokenizer.get_vocab(),
        added_tokens=set(tokenizer.get_added_vocab()),
        special_ids=[tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id],
    )
    return Reference(tokenizer, token_table)


def _processor(tokenizer: PreTrainedTokenizerFast, config: dict[str, Any]) -> Florence2Processor:
    tokenizer.image_token, tokenizer.image_token_id = "<image>", -1
    # The mixin wants a real image processor, which reading answers does not.
    with patch.object(ProcessorMixin, "__init__", return_value=None):
        return Florence2Processor(
            image_processor=SimpleNamespace(image_seq_length=0),
            tokenizer=tokenizer,
            post_processor_config=config,
        )
