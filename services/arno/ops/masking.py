"""Keeps secrets out of what is written for people and logs.

Secrets of settings have a type of their own that never shows them. This is for text that others
wrote: addresses with a password in them, headers, and keys of this API.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "**********"

# None of these runs over a quote, so that a line of JSON stays one.
_SECRETS: Final = (
    # scheme://user:password@host
    (re.compile(r"(://)[^/?#\s\"'\\]*@"), rf"\1{MASK}@"),
    # ?password=..., as addresses of Redis may have it
    (re.compile(r"(?i)([?&](?:password|username|token|secret)=)[^&\s\"'\\]*"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{MASK}"),
    # An API key keeps its id, which names it in the keys file.
    (re.compile(r"\b(arno_[a-z0-9]{8}_)[\w-]{20,}"), rf"\1{MASK}"),
)


def masked(text: str) -> str:
    """Return the text without passwords in addresses, bearer tokens and API keys."""
    for form, mask in _SECRETS:
        text = form.sub(mask, text)
    return text
