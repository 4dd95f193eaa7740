"""Turn prompts into token ids, and the tokenizer's table into the parsers' vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from arno.engine.checkpoints.markers import IMAGE_TOKEN
from arno.engine.checkpoints.older_tokenizer import load_older_tokenizer
from arno.errors import ModelError
from arno.vocabulary import TokenTable

BEGIN_ID: Final = 0
PAD_ID: Final = 1
END_ID: Final = 2
"""BART's, and so Florence-2's. `END_ID` is also what the decoder starts with."""
_TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.json")
"""Any of them is a tokenizer; `vocab.json` needs `merges.txt` beside it."""


class PromptTokenizer:
    """A checkpoint's tokenizer. One thread: shared ones fail (huggingface/tokenizers#537)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Wrap a tokenizer that `load_tokenizer` checked."""
        self._tokenizer = tokenizer

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Return the ids of `<s>` prompt `</s>`, which stand behind the image's tokens.

        Source: transformers' `Florence2Processor`.
        """
        ids = self._tokenizer.encode(prompt, add_special_tokens=False)
        return BEGIN_ID, *ids, END_ID

    def encode_label(self, label: str) -> tuple[int, ...]:
        """Return the ids of a label as it stands in an answer."""
        return tuple(self._tokenizer.encode(label, add_special_tokens=False))

    @property
    def wrapped(self) -> PreTrainedTokenizerBase:
        """The tokenizer as transformers knows it."""
        return self._tokenizer

    def image_token_id(self) -> int:
        """Return the id of `<image>`, -1 if there is none; Arno itself never uses it."""
        return int(self._tokenizer.get_vocab().get(IMAGE_TOKEN, -1))

    def token_table(self) -> TokenTable:
        """Return the table that the parsers read token ids with.

        Raises:
            ModelError: The 1,000 location tokens are not there.
        """
        try:
            return TokenTable.from_byte_level(
                self._tokenizer.get_vocab(),
                added_tokens=self._tokenizer.get_added_vocab().keys(),
                special_ids=(BEGIN_ID, PAD_ID, END_ID),
            )
        except ValueError as fault:
            raise ModelError(f"model: not a Florence-2 vocabulary: {fault}") from fault


def load_tokenizer(folder: Path, *, older_rows: int | None = None) -> PromptTokenizer:
    """Load the tokenizer of a checkpoint; code in the folder is never run.

    Args:
        folder: The checkpoint.
        older_rows: Rows of the embedding matrix of a checkpoint in the older layout, which has
            BART's tokenizer and gets its markers here; None for the native layout.

    Raises:
        ModelError: There is none, or begin, padding and end are not 0, 1 and 2.
    """
    if older_rows is None:
        tokenizer = _load_native(folder)
    else:
        tokenizer = load_older_tokenizer(folder, token_count_max=older_rows)
    found = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    if found != (BEGIN_ID, PAD_ID, END_ID):
        raise ModelError(
            f"model: {folder} has no Florence-2 vocabulary: begin, padding and end are {found}, "
            "not 0, 1, 2"
        )
    return PromptTokenizer(tokenizer)


def _load_native(folder: Path) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError(f"model: {folder} has no tokenizer: no {' or '.join(_TOKENIZER_FILES)}")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as fault:  # the libraries raise nearly anything on bad files
        problem = str(fault).partition("\n")[0] or type(fault).__name__
        raise ModelError(f"model: the tokenizer of {folder} cannot be read: {problem}") from fault
    return tokenizer
