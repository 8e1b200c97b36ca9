"""Whether readers of the last released contracts can live with the present ones.

Old and new run side by side while a deployment rolls, topics are kept for weeks, and other shop
systems upgrade when they like. So a change must hold in both directions: what was written under
the old contract stays readable (*narrowing* breaks that), and what is written under the new one
does not surprise an old reader (*widening* breaks that). Events that only other shop systems
write have no reader but this project, whose readers are upgraded first: those may widen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .schemas import Schema

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME = ("pattern", "format", "propertyNames", "prefixItems", "allOf", "const")
_KIND_OF = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def breaking_changes(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """What in `new` breaks a reader or writer of `old`; both are schemas by event name.

    Each line starts with the event's name and the path of the field. New events and new optional
    fields break nobody.
    """
    found: list[str] = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            found.append(f"{name}: the event was removed")
        else:
            found.extend(f"{name}{line}" for line in _event_changes(before, after))
    return found


def _event_changes(before: Schema, after: Schema) -> Iterator[str]:
    for part in ("topic", "key"):
        if before["x-kefu"][part] != after["x-kefu"][part]:
            yield f": the {part} changed from {before['x-kefu'][part]} to {after['x-kefu'][part]}"
    may_widen = before["x-kefu"]["producers"] == ["shop_system"]
    comparison = _Comparison(before.get("$defs", {}), after.get("$defs", {}), may_widen)
    yield from comparison.changes(before, after, "")


@dataclass(frozen=True, slots=True)
class _Comparison:
    old_shared: Mapping[str, Schema]
    new_shared: Mapping[str, Schema]
    may_widen: bool

    def changes(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before = _alternatives(old, self.old_shared)
        after = _alternatives(new, self.new_shared)
        if not before.keys() & after.keys():
            yield f"{path}: the type changed from {_list(before)} to {_list(after)}"
            return
        if gone := before.keys() - after.keys():
            yield f"{path}: no longer allows {_list(gone)}"
        if added := after.keys() - before.keys():
            yield from self._widened(f"{path}: newly allows {_list(added)}")
        for kind in sorted(before.keys() & after.keys()):
            yield from self._of_one_kind(before[kind], after[kind], path)

    def _of_one_kind(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        yield from self._limits(old, new, path)
        yield from self._values(old, new, path)
        for word in _SAME:
            if old.get(word) != new.get(word):
                yield f"{path}: {word} changed from {old.get(word)} to {new.get(word)}"
        for word, step in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(word), dict) and isinstance(new.get(word), dict):
                yield from self.changes(old[word], new[word], path + step)
            elif old.get(word) != new.get(word):
                yield f"{path}: {word} changed from {old.get(word)} to {new.get(word)}"
        yield from self._fields(old, new, path)

    def _limits(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        for word in (*_LOWER, *_UPPER):
            before, after = old.get(word), new.get(word)
            if before == after:
                continue
            change = f"{path}: {word} changed from {before} to {after}"
            if _narrower(word, before, after):
                yield change
            else:
                yield from self._widened(change)

    def _values(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("enum"), new.get("enum")
        if before is None and after is not None:
            yield f"{path}: now allows only {_list(after)}"
        elif before is not None and after is None:
            yield from self._widened(f"{path}: newly allows any value")
        elif before is not None and after is not None:
            if gone := set(before) - set(after):
                yield f"{path}: no longer allows {_list(gone)}"
            if added := set(after) - set(before):
                yield from self._widened(f"{path}: newly allows {_list(added)}")

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            if name not in after:
                yield f"{path}.{name}: the field was removed"
            else:
                yield from self.changes(before[name], after[name], f"{path}.{name}")
        for name in sorted(is_required - was_required):
            how = "became required" if name in before else "is new and required"
            yield f"{path}.{name}: the field {how}"
        for name in sorted((was_required - is_required) & after.keys()):
            yield from self._widened(f"{path}.{name}: the field is no longer always there")

    def _widened(self, change: str) -> Iterator[str]:
        if not self.may_widen:
            yield f"{change} (a reader of the last release would refuse it)"


def _alternatives(node: Schema, shared: Mapping[str, Schema]) -> dict[str, Schema]:
    """The kinds of value a schema allows, each with its own constraints."""
    if "$ref" in node:
        return _alternatives(shared[node["$ref"].rpartition("/")[2]], shared)
    if "anyOf" in node:
        return {
            kind: alternative
            for option in node["anyOf"]
            for kind, alternative in _alternatives(option, shared).items()
        }
    if "enum" in node:
        return {_KIND_OF[type(value)]: node for value in node["enum"]}
    kinds = node.get("type", "anything")
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, node)


def _narrower(word: str, before: float | None, after: float | None) -> bool:
    if after is None:
        return False
    if before is None:
        return True
    return after > before if word in _LOWER else after < before


def _list(words: Any) -> str:
    return ", ".join(sorted(str(word) for word in words))
