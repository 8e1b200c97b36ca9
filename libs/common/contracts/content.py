"""What a message must carry, by its kind: as a check and as JSON Schema."""

from typing import Any, Literal

from .base import Event
from .vocabulary import MessageKind

ContentField = Literal["text", "media_url", "product_id", "order_id"]

CONTENT_FIELD: dict[MessageKind, ContentField] = {
    "text": "text",
    "image": "media_url",
    "video": "media_url",
    "product_card": "product_id",
    "order_card": "order_id",
}


def require_content(message: Event, kind: MessageKind) -> None:
    """`ValueError` when a message lacks the field that its kind is made of."""
    field = CONTENT_FIELD[kind]
    if not getattr(message, field):
        raise ValueError(f"a message of kind {kind} needs {field}")


def _carries(kinds: list[MessageKind], field: ContentField) -> dict[str, Any]:
    filled = {"type": "string", "minLength": 1}
    return {
        "if": {"properties": {"kind": {"enum": kinds}}},
        "then": {"required": [field], "properties": {field: filled}},
    }


def _kinds_with(field: ContentField) -> list[MessageKind]:
    return [kind for kind, needed in CONTENT_FIELD.items() if needed == field]


CONTENT_RULES: tuple[dict[str, Any], ...] = tuple(
    _carries(_kinds_with(field), field) for field in dict.fromkeys(CONTENT_FIELD.values())
)
"""The same in JSON Schema, for readers and writers in other languages."""
