"""Say what each token id means, without a tokenizer.

A tokenizer must not be shared between threads; this table may: it is immutable, built once when a
model is loaded. It keeps the bytes of every token rather than its text, because byte-level tokens
cut characters in pieces: only a whole run of tokens can be turned into text.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from arno.vocabulary.locations import BIN_COUNT

POLYGON_START: Final = "<poly>"
POLYGON_END: Final = "</poly>"
POLYGON_SEPARATOR: Final = "<sep>"

# `desciption` is how the published vocabularies spell it.
_PAIRED: Final = "od ocr cap ncap dcap grounding seg region_cap region_to_desciption proposal poly"
MARKERS: Final = frozenset(
    ["<sep>", "<and>", "<unk>", "<mask>", "<image>"]
    + [f"<{name}>" for name in _PAIRED.split()]
    + [f"</{name}>" for name in _PAIRED.split()]
)
"""The tokens that structure an answer and are never words of it.

Source: the additional special tokens of the `microsoft/Florence-2-*` processors, and those of BART
that a model might still write.
"""

_MARKER_PIECES: Final = {marker.encode(): marker for marker in MARKERS}


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What the parsers use of token ids. Immutable, so threads share it.

    Ids that the table does not hold (a model's output matrix is often padded with rows that no
    token has) are nothing at all: not locations, not markers, and without bytes.

    Attributes:
        pieces: The bytes of each token, by id; those of an added token are its name.
        first_location_id: The id of `<loc_0>`; the other 999 follow it.
        special_ids: Begin, end and padding: tokens that never count.
    """

    pieces: tuple[bytes, ...]
    first_location_id: int
    special_ids: frozenset[int]

    @classmethod
    def from_byte_level(
        cls,
        token_ids: Mapping[str, int],
        *,
        added_tokens: Collection[str],
        special_ids: Iterable[int],
    ) -> Self:
        """Build the table from what a byte-level BPE tokenizer says of itself.

        Args:
            token_ids: Every token and its id (`tokenizer.get_vocab()`).
            added_tokens: Those of them that stand for their own name (`get_added_vocab()`); the
                others are written in the 256 stand-in characters of byte-level BPE.
            special_ids: The ids of begin, end and padding.

        Raises:
            ValueError: The 1,000 location tokens are missing, or not in one block.
        """
        first = token_ids.get("<loc_0>", -1)
        if any(token_ids.get(f"<loc_{i}>") != first + i for i in range(BIN_COUNT)):
            raise ValueError("the tokenizer lacks <loc_0> to <loc_999> with ids that follow up")
        pieces = [b""] * (max(token_ids.values()) + 1)
        for token, token_id in token_ids.items():
            named = token in added_tokens
            pieces[token_id] = token.encode() if named else _bytes_of_stand_ins(token)
        return cls(tuple(pieces), first, frozenset(special_ids))

    @property
    def location_ids(self) -> range:
        """The ids of all location tokens."""
        return range(self.first_location_id, self.first_location_id + BIN_COUNT)

    def location_bin(self, token_id: int) -> int | None:
        """Return the bin (0..999) of a location token, None for any other token."""
        offset = token_id - self.first_location_id
        return offset if 0 <= offset < BIN_COUNT else None

    def is_special(self, token_id: int) -> bool:
        """Return whether a token never counts: begin, end, padding or unknown."""
        return token_id in self.special_ids or not 0 <= token_id < len(self.pieces)

    def marker(self, token_id: int) -> str | None:
        """Return the name of a marker, None for any other token."""
        return _MARKER_PIECES.get(self._piece(token_id))

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text of a run of tokens; ill-formed UTF-8 in it becomes U+FFFD."""
        return b"".join(map(self._piece, token_ids)).decode(errors="replace")

    def _piece(self, token_id: int) -> bytes:
        return self.pieces[token_id] if 0 <= token_id < len(self.pieces) else b""


def _stand_ins() -> dict[str, int]:
    """Return the byte that each of byte-level BPE's 256 printable characters stands for.

    Source: GPT-2's tokenizer. Printable bytes of Latin-1 stand for themselves; the rest, in order,
    are U+0100 and on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(hidden)
    }


_STAND_INS: Final = _stand_ins()


def _bytes_of_stand_ins(token: str) -> bytes:
    # A character outside the alphabet cannot come from byte-level BPE; it then means itself.
    return b"".join(
        bytes([_STAND_INS[char]]) if char in _STAND_INS else char.encode() for char in token
    )
