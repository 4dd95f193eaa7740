"""Load the tokenizer of the older layout: BART's files, and the markers that code added to them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from arno.engine.checkpoints.layout import read_json
from arno.engine.checkpoints.markers import IMAGE_TOKEN, add_image_token, add_markers
from arno.errors import ModelError

_TOKENIZER_FILE: Final = "tokenizer.json"
_VOCABULARY_FILE: Final = "vocab.json"
_MERGES_FILE: Final = "merges.txt"
_ADDED_FILE: Final = "added_tokens.json"
_BART_TOKENS: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def load_older_tokenizer(folder: Path, *, token_count_max: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer with every marker and the image's token.

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
    # The image's token needs no row in the file: it is given one.
    token_count = max(i for name, i in tokenizer.get_vocab().items() if name != IMAGE_TOKEN) + 1
    if token_count > token_count_max:
        raise ModelError(
            f"model: {folder} has a tokenizer with {token_count} tokens, markers included, and a "
            f"model with {token_count_max}"
        )
    add_image_token(tokenizer)
    return wrap_tokenizer(tokenizer)


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a tokenizer as transformers knows it, with the names that Florence-2 needs."""
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
    """Give a byte-level BPE what stands around its table: splitting, joining, begin and end."""
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
