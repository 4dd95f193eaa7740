"""Cut a caption into words as the captioning benchmarks do.

Definition: the Penn Treebank tokens of Stanford's tokenizer in lower case, without punctuation, as
COCO's caption evaluation makes them before CIDEr. This is a small version for English captions in
plain text: clitics are cut off ("it's": "it", "'s"), hyphenated words stay whole, numbers keep
their points. Checked in the tests against what Stanford's tokenizer gives.
"""

from __future__ import annotations

import re
from typing import Final

_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
_NOT: Final = re.compile(r"\b(\w+)(n't)\b")
_CLITIC: Final = re.compile(r"(?<=\w)('(?:s|m|d|re|ve|ll))\b")
_WORD: Final = re.compile(
    r"""'(?:s|m|d|re|ve|ll)\b         # a clitic that was cut off
      | n't\b
      | \d+(?:[.,:/]\d+)*\w*         # numbers, times, fractions, 3rd
      | \w+(?:[-'.&/]\w+)*           # words, with what holds their parts together
    """,
    re.VERBOSE,
)


def words_of(caption: str) -> list[str]:
    """Return the words of a caption, in lower case."""
    text = caption.lower().replace(_APOSTROPHE, "'")
    return _WORD.findall(_CLITIC.sub(r" \1", _NOT.sub(r"\1 \2", text)))
