"""One OpenAPI document of several services, as they are mounted: paths prefixed, names unique.

Components that are the same in every service (problems, pages of strings) stand once; of those
that differ, every service's own is called `<service>_<name>`.
"""

import copy
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
_NAMED = ("schemas", "responses", "parameters", "securitySchemes", "headers", "examples")
_REFERENCE = "#/components/"


def combine(documents: Mapping[str, Document], title: str, version: str) -> Document:
    """The document of all; `ValueError` when two operations share an id."""
    renamed = {
        service: _with_own_names(service, document, _clashes(documents))
        for service, document in documents.items()
    }
    components: dict[str, dict[str, Any]] = {}
    paths: dict[str, Any] = {}
    for service, document in renamed.items():
        for kind, named in document.get("components", {}).items():
            components.setdefault(kind, {}).update(named)
        for path, item in document["paths"].items():
            paths[f"/{service}{path}"] = _tagged(item, service)
    _require_unique_operations(paths)
    return {
        "openapi": next(iter(renamed.values()))["openapi"],
        "info": {"title": title, "version": version},
        "tags": [
            {"name": service, "description": document["info"].get("title", service)}
            for service, document in renamed.items()
        ],
        "paths": paths,
        "components": components,
    }


def _clashes(documents: Mapping[str, Document]) -> set[tuple[str, str]]:
    """(kind, name) of components that are not the same wherever they stand."""
    seen: dict[tuple[str, str], Any] = {}
    clashes: set[tuple[str, str]] = set()
    for document in documents.values():
        for kind, named in document.get("components", {}).items():
            for name, component in named.items():
                if seen.setdefault((kind, name), component) != component:
                    clashes.add((kind, name))
    return _with_users(documents, clashes)


def _with_users(
    documents: Mapping[str, Document], clashes: set[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Clashes, and every component that refers to one: its text differs once they are renamed."""
    while True:
        names = {f"{_REFERENCE}{kind}/{name}" for kind, name in clashes}
        users = {
            (kind, name)
            for document in documents.values()
            for kind, named in document.get("components", {}).items()
            for name, component in named.items()
            if names & _references(component)
        }
        if users <= clashes:
            return clashes
        clashes |= users


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_references(value) for value in node))
    return set()


def _with_own_names(service: str, document: Document, clashes: set[tuple[str, str]]) -> Document:
    new_names = {
        f"{_REFERENCE}{kind}/{name}": f"{_REFERENCE}{kind}/{service}_{name}"
        for kind, name in clashes
    }
    renamed: Document = _replaced(copy.deepcopy(document), new_names)
    for kind in _NAMED:
        named = renamed.get("components", {}).get(kind)
        if named:
            renamed["components"][kind] = {
                (f"{service}_{name}" if (kind, name) in clashes else name): component
                for name, component in named.items()
            }
    return renamed


def _replaced(node: Any, new_names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: new_names.get(value, value)
            if key == "$ref" and isinstance(value, str)
            else _replaced(value, new_names)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_replaced(value, new_names) for value in node]
    return new_names.get(node, node) if isinstance(node, str) else node


def _tagged(item: dict[str, Any], service: str) -> dict[str, Any]:
    return {
        method: operation | {"tags": [service]} if "responses" in operation else operation
        for method, operation in item.items()
    }


def _require_unique_operations(paths: Mapping[str, Any]) -> None:
    seen: dict[str, str] = {}
    for path, item in paths.items():
        for method, operation in item.items():
            name = operation.get("operationId") if isinstance(operation, dict) else None
            place = f"{method.upper()} {path}"
            if name is not None and seen.setdefault(name, place) != place:
                raise ValueError(f"operation id {name} stands at {seen[name]} and at {place}")
