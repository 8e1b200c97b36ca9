"""The words that carry a mood or turn one around, and the automaton that finds all words at once.

The lexicon was written for this project; `lexicon.json` groups the words by weight.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import ahocorasick
import msgspec

from feedback.taxonomy import Taxonomy

COMPLAINT_WEIGHT = -1.3
"""Mood of a complaint's phrase that the lexicon does not weigh itself."""


class Lexicon(msgspec.Struct, frozen=True, kw_only=True):
    """Words by weight (as written, so JSON keys) and the words that change their meaning.

    `leanings` is the mood of a modifier that found nothing to modify: 很 before a word that
    nobody listed is mostly praise, 不 mostly blame.
    """

    positive: Mapping[str, tuple[str, ...]]
    negative: Mapping[str, tuple[str, ...]]
    negators: tuple[str, ...]
    intensifiers: Mapping[str, tuple[str, ...]]
    leanings: Mapping[str, tuple[str, ...]]
    contrast: tuple[str, ...]
    questions: tuple[str, ...]
    reproaches: tuple[str, ...]
    conditions: tuple[str, ...]


class Meaning(NamedTuple):
    """All that a phrase can mean."""

    length: int
    polarity: float = 0.0
    tags: tuple[str, ...] = ()
    negates: bool = False
    intensity: float = 1.0
    contrasts: bool = False
    leaning: float = 0.0


class Match(NamedTuple):
    """A phrase found in a text, from `start` up to but not including `end`."""

    start: int
    end: int
    meaning: Meaning


class Words:
    """Every phrase of a taxonomy and a lexicon in one automaton."""

    def __init__(self, taxonomy: Taxonomy, lexicon: Lexicon) -> None:
        self.version = taxonomy.version
        self.questions = any_of(lexicon.questions)
        self.reproaches = any_of(lexicon.reproaches)
        self.conditions = any_of(lexicon.conditions)
        self.patterns = _patterns(taxonomy)
        self._automaton = ahocorasick.Automaton()
        for phrase, meaning in _meanings(taxonomy, lexicon).items():
            self._automaton.add_word(phrase, meaning)
        self._automaton.make_automaton()

    def find(self, text: str) -> Iterator[Match]:
        """The longest phrases of a text from left to right, none overlapping another."""
        for last, meaning in self._automaton.iter_long(text):
            yield Match(last + 1 - meaning.length, last + 1, meaning)


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of these words."""
    return re.compile("|".join(map(re.escape, words)))


def _patterns(taxonomy: Taxonomy) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (rule.id, re.compile(pattern))
        for category in taxonomy.categories
        for rule in category.tags
        for pattern in rule.patterns
    )


def _meanings(taxonomy: Taxonomy, lexicon: Lexicon) -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}

    def put(phrase: str, **changed: object) -> None:
        known = found.get(phrase, Meaning(len(phrase)))
        found[phrase] = known._replace(**changed)  # type: ignore[arg-type]

    for category in taxonomy.categories:
        for rule in category.tags:
            for phrase in rule.phrases:
                put(phrase, tags=(rule.id,), polarity=COMPLAINT_WEIGHT)
    for word in lexicon.questions:
        # 会不会 is one word here: the 不 in it negates nothing.
        put(word)
    for word in lexicon.negators:
        put(word, negates=True)
    for weight, words in lexicon.intensifiers.items():
        for word in words:
            put(word, intensity=float(weight))
    for weight, words in lexicon.leanings.items():
        for word in words:
            put(word, leaning=float(weight))
    for word in lexicon.contrast:
        put(word, contrasts=True)
    for sign, groups in ((1, lexicon.positive), (-1, lexicon.negative)):
        for weight, words in groups.items():
            for word in words:
                put(word, polarity=sign * float(weight))
    return found


@lru_cache(maxsize=1)
def own_lexicon() -> Lexicon:
    """The lexicon of this project."""
    document = files("feedback").joinpath("lexicon.json").read_bytes()
    return msgspec.json.decode(document, type=Lexicon)


@lru_cache(maxsize=4)
def words_of(taxonomy: Taxonomy) -> Words:
    """The words of a taxonomy version; built once, as that takes some milliseconds."""
    return Words(taxonomy, own_lexicon())
