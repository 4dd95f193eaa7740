"""Whose call it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from arno.vocabulary import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a call.

    Attributes:
        tenant: Whose jobs it makes and sees.
        key_id: The public part of the key that was shown; empty where none is needed.
    """

    tenant: str
    key_id: str = ""


ANONYMOUS: Final = Caller(DEFAULT_TENANT)
"""Everybody, while no keys file is set."""
