"""Cut a caption into words as the captioning benchmarks do.

Definition: the Penn Treebank tokens of Stanford's tokenizer in lower case, without punctuation, as
COCO's caption evaluation makes them before CIDEr, its oddities included: a bracket is the word
"-lrb-" or "-rrb-". A small version for English captions: slang ("gonna") stays whole. Checked in
the tests against what Stanford's tokenizer gives.
"""

from __future__ import annotations

import re
from typing import Final

_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
_NOT: Final = re.compile(r"\b(\w+)(n't)\b")
_CLITIC: Final = re.compile(r"(?<=\w)('(?:s|m|d|re|ve|ll))\b")
_WORD: Final = re.compile(
    r"""'(?:s|m|d|re|ve|ll)\b                 # a clitic that was cut off
      | n't\b
      | (?:[^\W\d_]\.){2,}                    # a.m., u.s.
      | (?:mr|mrs|ms|dr|st|jr|sr|vs)\.
      | \d+(?:[.,:/]\d+)*\w*(?:-\w+)*        # numbers, times, fractions, 3rd, 3.5-inch
      | \w+(?:[-'.&/]\w+)*                   # words, with what holds their parts together
      | [$%&]
      | -[lr]rb-
    """,
    re.VERBOSE,
)
_REPLACED: Final = {_APOSTROPHE: "'", "(": " -lrb- ", ")": " -rrb- ", "cannot": "can not"}


def words_of(caption: str) -> list[str]:
    """Return the words of a caption, in lower case."""
    text = caption.lower()
    for old, new in _REPLACED.items():
        text = text.replace(old, new)
    return _WORD.findall(_CLITIC.sub(r" \1", _NOT.sub(r"\1 \2", text)))
