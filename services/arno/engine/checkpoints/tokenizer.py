"""Load a checkpoint's tokenizer, of either layout, with all tokens that Florence-2 needs.

The native layout stores a whole tokenizer. The older one stores BART's files; the code of those
releases added Florence-2's markers each time, and so does this module.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arno.engine.checkpoints.folders import read_json
from arno.errors import ModelError
from arno.vocabulary import BIN_COUNT, TokenTable

BEGIN_ID: Final = 0
PAD_ID: Final = 1
END_ID: Final = 2
"""Ids of BART, and so of Florence-2. The decoder also starts with `END_ID`."""
_TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.json")
"""Either is a tokenizer; `vocab.json` needs `merges.txt` beside it."""

_PROMPTS_KEPT: Final = 256


class PromptTokenizer:
    """A checkpoint's tokenizer, for one thread: sharing one fails (huggingface/tokenizers#537)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Wrap a tokenizer that `load_tokenizer` checked."""
        self._tokenizer = tokenizer
        # Most prompts are those of a task alone, and reading one takes as long as a decode step.
        self._encode = functools.lru_cache(_PROMPTS_KEPT)(self.encode_answer)

    def __reduce__(self) -> tuple[type[PromptTokenizer], tuple[PreTrainedTokenizerBase]]:
        """Leave the kept prompts behind: processes that load a training's samples get a copy."""
        return PromptTokenizer, (self._tokenizer,)

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Return the ids of `<s>` prompt `</s>`, which follow the image's tokens.

        Source: transformers' `Florence2Processor`.
        """
        return self._encode(prompt)

    def encode_label(self, label: str) -> tuple[int, ...]:
        """Return the ids of a label inside an answer."""
        return tuple(self._tokenizer.encode(label, add_special_tokens=False))

    def encode_answer(self, answer: str) -> tuple[int, ...]:
        """Return the ids of `<s>` answer `</s>`, as the decoder writes an answer."""
        return BEGIN_ID, *self.encode_label(answer), END_ID

    @property
    def wrapped(self) -> PreTrainedTokenizerBase:
        """The tokenizer as a class of transformers."""
        return self._tokenizer

    def image_token_id(self) -> int:
        """Return the id of `<image>`, or -1 without one; Arno itself never uses it."""
        return int(self._tokenizer.get_vocab().get(IMAGE_TOKEN, -1))

    def token_table(self) -> TokenTable:
        """Return the table that the parsers read token ids with.

        Raises:
            ModelError: The 1,000 location tokens are missing.
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
    """Load the tokenizer of a checkpoint without running code of its folder.

    Args:
        folder: The checkpoint.
        older_rows: Rows of the embedding matrix of a checkpoint in the older layout; None for the
            native layout.

    Raises:
        ModelError: There is no tokenizer, or begin, padding and end are not 0, 1 and 2.
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


BART_SIZE: Final = 50265
"""Size of BART's own vocabulary, in which `<mask>` is last."""

_BEFORE: Final = ("<od>", "</od>", "<ocr>", "</ocr>")
_AFTER: Final = (
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>"),
    *("<grounding>", "</grounding>", "<seg>", "</seg>", "<sep>"),
    *("<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>"),
    *("<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
)
MARKERS: Final = (*_BEFORE, *(f"<loc_{index}>" for index in range(BIN_COUNT)), *_AFTER)
"""The tokens that Florence-2 adds to BART's, in the order of their ids: 50265 to 51288.

Source: the `Florence2Processor` of the first releases, which added them at every start.
"""

IMAGE_TOKEN: Final = "<image>"  # noqa: S105 - a token of text, not a secret
"""Placeholder that transformers' own processor needs, replaced there by the encoded image."""


def add_markers(tokenizer: Tokenizer) -> None:
    """Add the markers that a tokenizer lacks; existing ones keep their ids."""
    _add(tokenizer, MARKERS)


def add_image_token(tokenizer: Tokenizer) -> int:
    """Add the image's token if it is missing, and return its id."""
    _add(tokenizer, (IMAGE_TOKEN,))
    return tokenizer.get_vocab()[IMAGE_TOKEN]


def _add(tokenizer: Tokenizer, names: tuple[str, ...]) -> None:
    tokens = [AddedToken(name, special=True, normalized=False) for name in names]
    tokenizer.add_special_tokens(tokens)


_TOKENIZER_FILE: Final = "tokenizer.json"
_VOCABULARY_FILE: Final = "vocab.json"
_MERGES_FILE: Final = "merges.txt"
_ADDED_FILE: Final = "added_tokens.json"
_BART_TOKENS: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def load_older_tokenizer(folder: Path, *, token_count_max: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the older layout with every marker and the image's token.

    Args:
        folder: The checkpoint.
        token_count_max: Rows of the checkpoint's embedding matrix.

    Raises:
        ModelError: A file is missing or broken, or there are more tokens than rows.
    """
    try:
        tokenizer = _read(folder)
    except ModelError:
        raise
    except Exception as fault:  # the library raises bare `Exception` on bad files
        raise ModelError(f"model: the tokenizer of {folder} cannot be read: {fault}") from fault
    add_markers(tokenizer)
    # The image's token needs no row in the file: loading adds one.
    token_count = max(i for name, i in tokenizer.get_vocab().items() if name != IMAGE_TOKEN) + 1
    if token_count > token_count_max:
        raise ModelError(
            f"model: {folder} has a tokenizer with {token_count} tokens, markers included, and a "
            f"model with {token_count_max}"
        )
    add_image_token(tokenizer)
    return wrap_tokenizer(tokenizer)


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer for transformers, with the special tokens that Florence-2 needs."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no types
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106 - a token of text
        pad_token="<pad>",  # noqa: S106 - a token of text
        eos_token="</s>",  # noqa: S106 - a token of text
        unk_token="<unk>",  # noqa: S106 - a token of text
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        clean_up_tokenization_spaces=False,
    )


def finish_byte_level(tokenizer: Tokenizer) -> None:
    """Set the steps around a byte-level BPE table: splitting, joining, begin and end tokens."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin, end = (tokenizer.token_to_id(name) for name in ("<s>", "</s>"))
    if begin is None or end is None:
        raise ModelError("model: not a Florence-2 vocabulary: it has no <s> or no </s>")
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", end), ("<s>", begin), add_prefix_space=False
    )
    special = [name for name in _BART_TOKENS if tokenizer.token_to_id(name) is not None]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])


def _read(folder: Path) -> Tokenizer:
    if (folder / _TOKENIZER_FILE).is_file():
        return Tokenizer.from_file(str(folder / _TOKENIZER_FILE))
    vocabulary, merges = folder / _VOCABULARY_FILE, folder / _MERGES_FILE
    if not (vocabulary.is_file() and merges.is_file()):
        raise ModelError(
            f"model: {folder} has no tokenizer: neither {_TOKENIZER_FILE}, nor {_VOCABULARY_FILE} "
            f"with {_MERGES_FILE}"
        )
    tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges), unk_token="<unk>"))  # noqa: S106
    finish_byte_level(tokenizer)
    _add_stored(tokenizer, folder / _ADDED_FILE)
    return tokenizer


def _add_stored(tokenizer: Tokenizer, path: Path) -> None:
    if not path.is_file():
        return
    for name, token_id in sorted(read_json(path).items(), key=lambda entry: entry[1]):
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False)])
        if tokenizer.token_to_id(name) != token_id:
            raise ModelError(
                f"model: {path}: {name} has the id {token_id}, and is the "
                f"{tokenizer.token_to_id(name)}th token"
            )
