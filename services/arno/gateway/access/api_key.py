"""The form of an API key, and the one way to compare it with its stored digest.

    arno_k7m2q9xw_8sJx...43 characters
         |        a secret of 256 random bits
         the id: public, for log lines, listings and revocation

A file holds the SHA-256 of the whole key. No slow hash is needed: keys are generated, so there
is no dictionary to try (docs/decisions/0008-api-keys.md).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from typing import Final

_ID_ALPHABET: Final = string.ascii_lowercase + string.digits
_ID_CHARS: Final = 8
_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(rf"arno_([a-z0-9]{{{_ID_CHARS}}})_[A-Za-z0-9_-]{{43}}")

ID_PATTERN: Final = rf"^[a-z0-9]{{{_ID_CHARS}}}$"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its holder has it. Its text is in no representation of it, and in no log.

    Attributes:
        id: Names it; public.
        text: All of it; secret.
    """

    id: str
    text: str = field(repr=False)

    @property
    def sha256(self) -> str:
        """What a file may keep of it, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, sha256: str) -> bool:
        """Say whether this is the key of that digest, in constant time."""
        return hmac.compare_digest(self.sha256, sha256)


def new_key() -> ApiKey:
    """Return a new random key."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))
    return ApiKey(key_id, f"arno_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}")


def read_key(text: str) -> ApiKey | None:
    """Return the key of a text, or None where it has another form: that is not even hashed."""
    found = _FORM.fullmatch(text)
    return None if found is None else ApiKey(found[1], text)
