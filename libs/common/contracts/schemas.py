"""One JSON Schema per event, made from its contract."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from .base import Contract, registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schema_name(known: Contract) -> str:
    """The name a schema is filed under: `order.paid.v1`."""
    return f"{known.name}.v{known.version}"


def event_schema(known: Contract) -> Schema:
    """The schema of one event's JSON body, with its examples and where it travels."""
    made = msgspec.json.schema(known.event_class)
    shared = made["$defs"]
    root = shared.pop(known.event_class.__name__)
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:kefu:event:{schema_name(known)}",
        "title": known.name,
        "description": f"{known.summary} {root['description']}",
        "type": "object",
        "properties": root["properties"],
        "required": root["required"],
    }
    if known.rules:
        schema["allOf"] = list(known.rules)
    if shared:
        schema["$defs"] = shared
    schema["examples"] = list(known.examples)
    schema["x-kefu"] = _travels(known)
    return plain(schema)


def all_schemas(contracts: Iterable[Contract] = registry) -> dict[str, Schema]:
    """Every event's schema by its name."""
    return {schema_name(known): event_schema(known) for known in contracts}


def plain(document: Schema) -> Schema:
    """The document in JSON's own types only, so that it equals itself read back from a file."""
    copied: Schema = json.loads(json.dumps(document))
    return copied


def _travels(known: Contract) -> dict[str, Any]:
    return {
        "type": known.ce_type,
        "topic": known.topic,
        "key": list(known.key),
        "producers": list(known.producers),
        "consumers": list(known.consumers),
    }
