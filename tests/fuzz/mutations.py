"""Change bytes at random, always in the same way for the same number. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_TELLING = (0, 1, 0x7F, 0x80, 0xFF)
_TELLING_WORDS = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONGEST = 1 << 20


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """Return the mutation of that number: one of the seeds, changed in one to eight places."""
    chance = random.Random(number)
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        chance.choice(_CHANGES)(content, chance, seeds)
    return bytes(content[:_LONGEST])


def _place(content: bytearray, chance: random.Random) -> int:
    # Half of all changes hit the beginning, where headers are.
    end = min(len(content), 64) if chance.random() < 0.5 else len(content)
    return chance.randrange(max(1, end))


def _flip_bit(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _set_byte(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    if content:
        content[_place(content, chance)] = chance.choice((*_TELLING, chance.randrange(256)))


def _set_word(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    width = chance.choice((2, 4))
    word = chance.choice(_TELLING_WORDS) & ((1 << 8 * width) - 1)
    at = _place(content, chance)
    content[at : at + width] = word.to_bytes(width, chance.choice(("big", "little")))


def _cut_off(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    del content[_place(content, chance) :]


def _remove(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = _place(content, chance)
    del content[at : at + chance.randrange(1, 64)]


def _repeat(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = _place(content, chance)
    piece = content[at : at + chance.randrange(1, 256)]
    content[at:at] = piece * chance.choice((1, 2, 50))


def _insert(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = _place(content, chance)
    content[at:at] = chance.randbytes(chance.randrange(1, 64))


def _splice(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    start = chance.randrange(max(1, len(other)))
    at = _place(content, chance)
    content[at:] = other[start:]


_CHANGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    *(_flip_bit, _set_byte, _set_word, _cut_off, _remove, _repeat, _insert, _splice),
)
