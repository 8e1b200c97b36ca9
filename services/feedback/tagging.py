"""Tagging: what a buyer complains about and in what mood, by words and rules.

A text is read clause by clause. A complaint counts where it is stated: not where it is negated
(不掉色), only asked about (会掉色吗?) or feared (怕掉色). What follows a contrast (但是) weighs
more than what stood before it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from common.contracts import Sentiment, Tag
from feedback.lexicon import Match, Words, words_of
from feedback.taxonomy import Taxonomy, current_taxonomy

MAX_TEXT = 4000
STATED, REPROACHED, ASKED = 0.8, 0.75, 0.25
"""Score of a complaint that is said, thrown at the shop as a question, or merely asked about."""
NEUTRAL_BELOW = 0.35
BEFORE_CONTRAST, AFTER_CONTRAST = 0.7, 1.3
NEGATED_PRAISE, NEGATED_BLAME = -0.9, 0.7
REACH = 4
"""A negation acts on words that begin at most this many characters after it."""
RATING_POLARITY = {1: -3.0, 2: -2.0, 3: -0.6, 4: 0.8, 5: 2.0}

_CLAUSE = re.compile(r"[^,。!?;~\n.、]+[!?]*")


class Tagging(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a text. `polarity` is below 0 where blame outweighs praise."""

    tags: tuple[Tag, ...]
    sentiment: Sentiment
    polarity: float
    taxonomy_version: int


class _Found(NamedTuple):
    tag: str
    score: float
    evidence: str


class _Mood:
    """The mood so far, clause by clause."""

    def __init__(self) -> None:
        self.before = 0.0
        self.after = 0.0
        self.turned = False

    def add(self, polarity: float) -> None:
        if self.turned:
            self.after += polarity
        else:
            self.before += polarity

    def turn(self) -> None:
        self.before += self.after
        self.after, self.turned = 0.0, True

    def total(self) -> float:
        if not self.turned:
            return self.before
        return self.before * BEFORE_CONTRAST + self.after * AFTER_CONTRAST


def tag(text: str, taxonomy: Taxonomy) -> Tagging:
    """The tags of a text with score and evidence, and its sentiment. Pure."""
    words = words_of(taxonomy)
    mood = _Mood()
    found: list[_Found] = []
    for clause in _clauses(text):
        found.extend(_read(clause, words, mood))
    polarity = round(mood.total(), 3)
    return Tagging(
        tags=_combined(found),
        sentiment=sentiment_of(polarity),
        polarity=polarity,
        taxonomy_version=taxonomy.version,
    )


@lru_cache(maxsize=2048)
def tagged_text(text: str) -> Tagging:
    """The tagging of a text by the current taxonomy; a batch asks more than once."""
    return tag(text, current_taxonomy())


def with_rating(tagging: Tagging, rating: int | None) -> Tagging:
    """The mood of words and stars together: most who give one star need few words."""
    if rating is None:
        return tagging
    polarity = round(tagging.polarity + RATING_POLARITY[rating], 3)
    return msgspec.structs.replace(tagging, polarity=polarity, sentiment=sentiment_of(polarity))


def sentiment_of(polarity: float) -> Sentiment:
    """The mood in one word."""
    if abs(polarity) < NEUTRAL_BELOW:
        return "neutral"
    return "positive" if polarity > 0 else "negative"


def _clauses(text: str) -> Iterator[str]:
    normal = unicodedata.normalize("NFKC", text[:MAX_TEXT]).lower()
    return (match.group().strip() for match in _CLAUSE.finditer(normal))


def _read(clause: str, words: Words, mood: _Mood) -> list[_Found]:
    certainty = _certainty(clause, words)
    found: list[_Found] = []
    negation: Match | None = None
    intensity, leaning = 1.0, 0.0
    for match in words.find(clause):
        meaning = match.meaning
        if meaning.contrasts:
            mood.turn()
        if meaning.polarity or meaning.tags:
            negated = negation is not None and match.start - negation.end < REACH
            if not negated:
                found.extend(
                    _Found(name, _score(certainty, intensity), _around(clause, match))
                    for name in meaning.tags
                )
            mood.add(_weight(meaning.polarity, intensity, negated, certainty))
            negation, intensity, leaning = None, 1.0, 0.0
        elif meaning.negates:
            negation = None if negation else match
            leaning += meaning.leaning
        elif meaning.intensity != 1.0:
            intensity = meaning.intensity
            leaning += meaning.leaning
    mood.add(leaning if certainty > ASKED else 0.0)
    found.extend(_by_pattern(clause, words, certainty, mood))
    return found


def _by_pattern(clause: str, words: Words, certainty: float, mood: _Mood) -> Iterator[_Found]:
    for name, pattern in words.patterns:
        match = pattern.search(clause)
        if match:
            mood.add(-1.0 if certainty > ASKED else 0.0)
            yield _Found(name, certainty, match.group())


def _certainty(clause: str, words: Words) -> float:
    """How far a complaint in this clause is meant as one."""
    if words.reproaches.search(clause):
        return REPROACHED
    if clause.endswith("?") or words.questions.search(clause) or words.conditions.search(clause):
        return ASKED
    return STATED


def _score(certainty: float, intensity: float) -> float:
    if certainty == ASKED:
        return ASKED
    return min(0.95, certainty * (0.85 + 0.15 * intensity))


def _weight(polarity: float, intensity: float, negated: bool, certainty: float) -> float:
    if certainty == ASKED:
        return 0.0 if not negated else 0.1 * polarity
    if negated:
        return abs(polarity) * (NEGATED_PRAISE if polarity > 0 else NEGATED_BLAME)
    return polarity * intensity


def _around(clause: str, match: Match) -> str:
    """The phrase with a few characters around it, so that a person sees what was meant."""
    return clause[max(0, match.start - 6) : match.end + 6]


def _combined(found: list[_Found]) -> tuple[Tag, ...]:
    """Each tag once, best evidence first said; saying it again makes it surer."""
    doubt: dict[str, float] = {}
    best: dict[str, _Found] = {}
    for one in found:
        doubt[one.tag] = doubt.get(one.tag, 1.0) * (1.0 - one.score)
        if one.tag not in best or one.score > best[one.tag].score:
            best[one.tag] = one
    return tuple(
        Tag(tag=name, score=_joint(one, doubt[name]), evidence=one.evidence[:200])
        for name, one in sorted(best.items(), key=lambda entry: -entry[1].score)
    )


def _joint(best: _Found, doubt: float) -> float:
    # Asking twice is still asking.
    if best.score <= ASKED:
        return best.score
    return round(min(0.99, 1.0 - doubt), 3)
