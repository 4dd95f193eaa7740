"""Judge texts and phrases: length, script, loops, objects, actions, complexity, pronouns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from arno.dataset.filters.place_rules import KEPT, Codes
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.records import Granularity, ImageRecord, Text
from arno.dataset.text_analysis import TextAnalyser

TEXT_RULES: Final = (
    "too long",
    "other script",
    "said twice",
    "too short",
    "loop",
    "too few objects",
    "too many objects",
    "too few actions",
    "simple objects",
    "simple actions",
    "unlikely",
    "spare",
)
PHRASE_RULES: Final = ("text dropped", "long phrase", "pronoun or abstract")
_GRANULARITIES: Final = tuple(Granularity)
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_DETERMINERS: Final = frozenset(
    {"a", "an", "the", "his", "her", "its", "their", "my", "your", "our"}
)
_LINKS: Final = frozenset(
    {"of", "in", "on", "at", "with", "to", "from", "by", "for", "near", "next", "behind", "under"}
)


def judge_texts(
    texts: Sequence[Text], records: Sequence[int], settings: FilterSettings, analyser: TextAnalyser
) -> Codes:
    """Return for each text the rule that drops it, or `KEPT`. [N].

    Args:
        texts: The texts of a batch of records.
        records: The number of each text's record.
        settings: What is kept.
        analyser: Computes the figures; texts that fall before are not shown to it.
    """
    codes = np.full(len(texts), KEPT, dtype=np.int8)
    seen: set[tuple[int, Granularity, str]] = set()
    for number, text in enumerate(texts):
        codes[number] = _judge_form(text, records[number], settings, seen)
    left = np.flatnonzero(codes == KEPT)
    if not len(left):
        return codes
    figures = analyser.analyse([texts[number].text for number in left.tolist()])
    grains = np.array([_GRANULARITIES.index(texts[number].granularity) for number in left.tolist()])
    faults = {
        "too short": figures.tokens < settings.text_tokens_min,
        "loop": figures.distinct < settings.distinct_min,
        "too few objects": figures.objects + figures.proper_nouns < settings.objects_min,
        "too many objects": figures.objects > np.array(settings.objects_max)[grains],
        "too few actions": figures.actions < settings.actions_min,
        "simple objects": figures.object_complexity_max < settings.object_complexity_min,
        "simple actions": figures.action_complexity_max < settings.action_complexity_min,
    }
    # A text of names alone has no object whose degree could be judged.
    faults["simple objects"] &= figures.objects > 0
    for rule, broken in faults.items():
        fallen = left[broken & (codes[left] == KEPT)]
        codes[fallen] = TEXT_RULES.index(rule)
    return codes


def _judge_form(
    text: Text, record: int, settings: FilterSettings, seen: set[tuple[int, Granularity, str]]
) -> int:
    words = text.text
    if len(words) > settings.text_chars_max:
        return TEXT_RULES.index("too long")
    if latin_share(words) < settings.latin_share_min:
        return TEXT_RULES.index("other script")
    key = (record, text.granularity, " ".join(words.casefold().split()))
    if key in seen:
        return TEXT_RULES.index("said twice")
    seen.add(key)
    return KEPT


def compare_texts(
    texts: Sequence[Text], records: Sequence[int], codes: Codes, settings: FilterSettings
) -> None:
    """Note the rule that drops a text because of the other texts of its image and granularity.

    Args:
        texts: The texts of a batch of records.
        records: The number of each text's record.
        codes: The rule that has dropped each so far, or `KEPT`; changed. [N]
        settings: What is kept.
    """
    rivals: dict[tuple[int, Granularity], list[int]] = {}
    for number in np.flatnonzero(codes == KEPT).tolist():
        rivals.setdefault((records[number], texts[number].granularity), []).append(number)
    for numbers in rivals.values():
        scores = [texts[number].provenance.score for number in numbers]
        floor = settings.text_ratio_min * max((one for one in scores if one is not None), default=0)
        kept = 0
        for number, score in zip(numbers, scores, strict=True):
            if score is not None and score < floor:
                codes[number] = TEXT_RULES.index("unlikely")
            elif kept == settings.texts_max:
                codes[number] = TEXT_RULES.index("spare")
            else:
                kept += 1


def latin_share(text: str) -> float:
    """Return the part of the letters of a text that are Latin; 1 of a text without letters."""
    if text.isascii():
        return 1.0
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return 1.0
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return latin / len(letters)


def judge_phrases(
    records: Sequence[ImageRecord], kept_texts: Sequence[Collection[str]], settings: FilterSettings
) -> Codes:
    """Return for each triplet the rule that its phrase breaks, or `KEPT`. [N].

    Args:
        records: The records of a batch.
        kept_texts: The ids of the texts that are left of each.
        settings: What is kept.
    """
    blocked = frozenset(word.casefold() for word in settings.blocked_words)
    codes = [
        _judge_phrase(record.phrase(triplet), triplet.text_id in kept, blocked, settings)
        for record, kept in zip(records, kept_texts, strict=True)
        for triplet in record.triplets
    ]
    return np.array(codes, dtype=np.int8)


def _judge_phrase(
    phrase: str, text_kept: bool, blocked: frozenset[str], settings: FilterSettings
) -> int:
    if not text_kept:
        return PHRASE_RULES.index("text dropped")
    if len(phrase.split()) > settings.phrase_words_max:
        return PHRASE_RULES.index("long phrase")
    return PHRASE_RULES.index("pronoun or abstract") if main_word(phrase) in blocked else KEPT


def main_word(phrase: str) -> str:
    """Return the word that a noun phrase is about: the last before a preposition, in lower case.

    "the left side of the image": side. A phrase of determiners alone is about its last word.
    """
    words = [word.casefold() for word in _WORD.findall(phrase)]
    core: list[str] = []
    for word in words:
        if word in _LINKS and core:
            break
        if word not in _DETERMINERS:
            core.append(word)
    return core[-1] if core else (words[-1] if words else "")
