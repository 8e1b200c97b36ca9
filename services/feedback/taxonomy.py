"""The taxonomy of complaints: which tags there are, how they are found, who can mend them.

It is a file, `taxonomy.json`, with a version that every tagged item names. Released tags keep
their id; a tag may be added, or be found by other words, under a higher version.
"""

import re
from functools import lru_cache
from importlib.resources import files

import msgspec

from common.contracts import OwnerRole


class TagRule(msgspec.Struct, frozen=True, kw_only=True):
    """One tag. `phrases` match as they stand (lower case, half width); `patterns` are regular
    expressions for what has a gap in it. `owner` None: the category's."""

    id: str
    zh: str
    en: str
    phrases: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    owner: OwnerRole | None = None


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A group of tags with the department that can most often mend them."""

    id: str
    zh: str
    en: str
    owner: OwnerRole
    tags: tuple[TagRule, ...]


class Taxonomy(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the taxonomy."""

    version: int
    categories: tuple[Category, ...]

    def owner_of(self, tag: str) -> OwnerRole:
        """The department that gets the tasks of a tag; operations for a tag nobody owns."""
        for category in self.categories:
            for rule in category.tags:
                if rule.id == tag:
                    return rule.owner or category.owner
        return "operations"

    def tag_ids(self) -> frozenset[str]:
        """All tags of this version."""
        return frozenset(rule.id for category in self.categories for rule in category.tags)


def parse_taxonomy(document: bytes) -> Taxonomy:
    """A taxonomy from its JSON; `ValueError` for one that contradicts itself."""
    taxonomy = msgspec.json.decode(document, type=Taxonomy)
    seen: set[str] = set()
    for category in taxonomy.categories:
        for rule in category.tags:
            if rule.id in seen or not rule.id.startswith(f"{category.id}."):
                raise ValueError(f"tag {rule.id!r} stands twice or in the wrong category")
            seen.add(rule.id)
            for pattern in rule.patterns:
                re.compile(pattern)
    return taxonomy


@lru_cache(maxsize=1)
def current_taxonomy() -> Taxonomy:
    """The taxonomy that new items are tagged with."""
    return parse_taxonomy(files("feedback").joinpath("taxonomy.json").read_bytes())
