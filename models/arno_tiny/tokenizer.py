"""Build arno-tiny's tokenizer: a byte-level BPE laid out like Florence-2's own.

Order of ids: the four of BART, 256 bytes, merges, Florence-2's structure tokens, 1,000 locations,
the image token. Every byte has a token, so any text can be written. The merges are learned from the
prompts of the tasks and from the words of the world, in a fixed order; the result depends on
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from arno.training.world import CATEGORIES
from arno.training.world.backgrounds import LANDSCAPES
from arno.training.world.captions import FIXED_TEXT
from arno.training.world.colours import COLOURS, OTHER_NAMES, TINTS
from arno.training.world.descriptions import LARGE, NUMBERS, POSITIONS, RELATIONS, SMALL
from arno.vocabulary import BIN_COUNT, CATALOGUE
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_BASE_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
# The published tokenizers have these, in this order and spelling, before and after the locations.
_STRUCTURE_BEFORE = ("<od>", "</od>", "<ocr>", "</ocr>")
_STRUCTURE_AFTER = (
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>"),
    *("<grounding>", "</grounding>", "<seg>", "</seg>", "<sep>"),
    *("<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>"),
    *("<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
)
IMAGE_TOKEN = "<image>"  # noqa: S105 - a token of text, not a secret
# Room for more words; merges that are not needed are not made.
_VOCABULARY_MAX = 1200
TOKENS_MAX = 512
_OF_QUESTIONS = "VQA How many are there Which colour is Where Is there What the yes no of on"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer, trained from nothing: the same ids each time."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_MAX,
        min_frequency=1,
        special_tokens=list(_BASE_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    locations = tuple(f"<loc_{location}>" for location in range(BIN_COUNT))
    added = (*_STRUCTURE_BEFORE, *locations, *_STRUCTURE_AFTER, IMAGE_TOKEN)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in added]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no types
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106 - a token of text
        pad_token="<pad>",  # noqa: S106 - a token of text
        eos_token="</s>",  # noqa: S106 - a token of text
        unk_token="<unk>",  # noqa: S106 - a token of text
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        clean_up_tokenization_spaces=False,
        model_max_length=TOKENS_MAX,
    )


def language() -> Iterator[str]:
    """Yield every word of captions, expressions, questions and answers once, in a fixed order.

    Printed words are not among them.
    """
    texts = [
        "a an and , . ; ? :",
        *NUMBERS,
        *(colour.name for colour in (*COLOURS, *TINTS)),
        *OTHER_NAMES,
        *(place for row in POSITIONS for place in row),
        *RELATIONS,
        SMALL,
        LARGE,
        *(landscape.place for landscape in LANDSCAPES),
        *FIXED_TEXT,
        _OF_QUESTIONS,
    ]
    yield from dict.fromkeys(word for text in texts for word in text.split())


def _corpus() -> Iterator[str]:
    # Labels stand alone in detections and after a space in captions; both become one token. Words
    # of the world come often, so that their merges are made before those of the prompts.
    for _ in range(20):
        for category in CATEGORIES:
            yield category.label
            yield f" {category.label} {category.plural}"
        for word in language():
            yield word
            yield f" {word}"
        for word in ("a", "an", *NUMBERS):
            yield word.capitalize()
    for definition in CATALOGUE.values():
        yield definition.prompt.replace("{input}", "")
