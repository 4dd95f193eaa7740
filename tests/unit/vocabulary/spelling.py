"""A vocabulary of single bytes, and a way to write answers in it.

Small enough to read in a failure, and without a tokenizer: every byte of text is its own token, so
that characters are always cut, which is what a byte-level BPE may do.
"""

import re
from collections.abc import Iterable

from arno.vocabulary import Decoded, FinishReason, ImageSize, TokenTable
from arno.vocabulary.token_table import MARKERS
from hypothesis import HealthCheck, settings

SPECIALS = {"<s>": 0, "<pad>": 1, "</s>": 2}
FIRST_BYTE = 3
FIRST_LOCATION = FIRST_BYTE + 256
FIRST_MARKER = FIRST_LOCATION + 1000
MARKER_IDS = {name: FIRST_MARKER + index for index, name in enumerate(sorted(MARKERS))}

VOCABULARY = TokenTable(
    pieces=(
        *(name.encode() for name in SPECIALS),
        *(bytes([byte]) for byte in range(256)),
        *(f"<loc_{i}>".encode() for i in range(1000)),
        *(name.encode() for name in MARKER_IDS),
    ),
    first_location_id=FIRST_LOCATION,
    special_ids=frozenset(SPECIALS.values()),
)

# Enough examples to find what is wrong with a small grammar, few enough for a unit test; and no
# deadlines, because a machine that does other work as well would miss them.
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# On an image of this size the centre of bin N is N + 0.5 on both axes.
THOUSAND = ImageSize(1000, 1000)

_MARKUP = re.compile("(<loc_[0-9]{1,3}>|" + "|".join([*SPECIALS, *sorted(MARKERS)]) + ")")


def spell(text: str) -> list[int]:
    """Return token ids; what looks like a token is one, as a tokenizer would have it."""
    return [token_id for part in _MARKUP.split(text) for token_id in _spell_part(part)]


def typed(text: str) -> list[int]:
    """Return token ids of plain characters, even of what looks like a token."""
    return [FIRST_BYTE + byte for byte in text.encode()]


def said(text: str | list[int], finish_reason: FinishReason = FinishReason.STOP) -> Decoded:
    """Return an answer whose tokens all have the probability 1/e and a deviation of half a bin."""
    token_ids = spell(text) if isinstance(text, str) else text
    count = len(token_ids)
    return Decoded(token_ids, [-1.0] * count, finish_reason, deviations=[0.5] * count)


def locations(bins: Iterable[int]) -> str:
    """Return location tokens as text."""
    return "".join(f"<loc_{location_bin}>" for location_bin in bins)


def _spell_part(part: str) -> list[int]:
    if part in SPECIALS:
        return [SPECIALS[part]]
    if part in MARKER_IDS:
        return [MARKER_IDS[part]]
    if _MARKUP.fullmatch(part):
        return [FIRST_LOCATION + int(part[5:-1])]
    return typed(part)
