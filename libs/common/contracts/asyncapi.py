"""The AsyncAPI 3.0 document of the bus, made from the contracts and the topics."""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from .base import Contract, Party, registry
from .envelope import MAX_VALUE_BYTES
from .schemas import Schema, plain, schema_name
from .topics import TOPICS, Topic
from .vocabulary import Service

KAFKA_BINDING = "0.5.0"

_DESCRIPTION = f"""\
Events of the customer service for online shops, as CloudEvents 1.0 on Kafka.

They are written in the binary binding: attributes are `ce_*` headers, the value is the event's
JSON, the key is the partition key. Readers here also take the structured binding
(`application/cloudevents+json`). A value may have up to {MAX_VALUE_BYTES} bytes.

Readers must ignore fields they do not know. A field left out has its default.
"""

_PARTIES: dict[Party, str] = {
    "shop_system": "A shop system outside of this project, or the adapter of a shop platform.",
    "chat_router": "Messages, conversations, routing, presence.",
    "order_ops": "The order book and payment reminders.",
    "aftersales": "Refund and return cases with their deadlines.",
    "feedback": "What buyers say: tags, spikes, tasks.",
}


def asyncapi_document(contracts: Iterable[Contract] = registry) -> Schema:
    """The whole document in JSON's own types, in a fixed order."""
    known = list(contracts)
    document: Schema = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kefu events",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": name, "description": text} for name, text in _PARTIES.items()],
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {topic.name: _channel(topic, known) for topic in TOPICS.values()},
        "operations": _operations(known),
        "components": {
            "messages": {schema_name(one): _message(one) for one in known},
            "schemas": {"CloudEventHeaders": _headers(), **_payloads(known)},
        },
    }
    return plain(document)


def _server() -> dict[str, Any]:
    return {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "description": "The Kafka cluster that KEFU_BUS names.",
        "variables": {"bootstrap": {"default": "localhost:9092"}},
    }


def _on(topic: Topic, contracts: Iterable[Contract]) -> list[Contract]:
    return [known for known in contracts if known.topic == topic.name]


def _channel(topic: Topic, contracts: list[Contract]) -> dict[str, Any]:
    names = [schema_name(known) for known in _on(topic, contracts)]
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": _topic_binding(topic)},
    }


def _topic_binding(topic: Topic) -> dict[str, Any]:
    config = topic.config()
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": {
            "cleanup.policy": [topic.cleanup],
            "retention.ms": int(config["retention.ms"]),
            "max.message.bytes": int(config["max.message.bytes"]),
        },
        "bindingVersion": KAFKA_BINDING,
    }


def _operations(contracts: list[Contract]) -> dict[str, Any]:
    """What each party sends and receives, one operation per party, direction and topic."""
    operations = {}
    for party in get_args(Party):
        for topic in TOPICS.values():
            on_topic = _on(topic, contracts)
            sent = [known for known in on_topic if party in known.producers]
            received = [known for known in on_topic if party in known.consumers]
            if sent:
                operations[f"{party}.send.{topic.name}"] = _operation("send", party, topic, sent)
            if received:
                operations[f"{party}.receive.{topic.name}"] = _operation(
                    "receive", party, topic, received
                )
    return operations


def _operation(
    action: str, party: Party, topic: Topic, contracts: list[Contract]
) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": channel},
        "summary": f"{party} {'publishes to' if action == 'send' else 'reads'} {topic.name}.",
        "tags": [{"name": party}],
        "messages": [{"$ref": f"{channel}/messages/{schema_name(one)}"} for one in contracts],
    }
    if action == "receive" and party in get_args(Service):
        group = {"type": "string", "enum": [f"kefu.{party}"]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": KAFKA_BINDING}}
    return operation


def _message(known: Contract) -> dict[str, Any]:
    return {
        "name": known.ce_type,
        "title": known.name,
        "summary": known.summary,
        "contentType": "application/json",
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEventHeaders"},
                {"type": "object", "properties": {"ce_type": {"const": known.ce_type}}},
            ]
        },
        "payload": _payload(known),
        "bindings": {"kafka": {"key": _key(known), "bindingVersion": KAFKA_BINDING}},
        "examples": [
            {"headers": _example_headers(known, index), "payload": example}
            for index, example in enumerate(known.examples, start=1)
        ],
    }


def _payload(known: Contract) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{known.event_class.__name__}"}
    return {"allOf": [reference, *known.rules]} if known.rules else reference


def _payloads(contracts: list[Contract]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components(
        [known.event_class for known in contracts], ref_template="#/components/schemas/{name}"
    )
    return dict(sorted(components.items()))


def _key(known: Contract) -> dict[str, Any]:
    return {
        "type": "string",
        "description": "`" + ":".join(f"<{name}>" for name in known.key) + "` of the body",
        "examples": [
            ":".join(str(example[name]) for name in known.key) for example in known.examples
        ],
    }


def _example_headers(known: Contract, number: int) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_id": f"{known.name}-{number}",
        "ce_source": f"/{known.producers[0]}",
        "ce_type": known.ce_type,
        "ce_time": "2025-06-01T02:10:15.320Z",
        "ce_shopid": str(known.examples[number - 1]["shop_id"]),
        "content-type": "application/json",
    }


def _headers() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "CloudEvents attributes as Kafka headers, UTF-8.",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": text
            | {
                "maxLength": 128,
                "description": "Unique per ce_source: the same id again is the same event.",
            },
            "ce_source": text | {"maxLength": 256, "description": "Who published the event."},
            "ce_type": text | {"maxLength": 128, "description": "kefu.<name>.v<major version>"},
            "ce_time": {
                "type": "string",
                "format": "date-time",
                "description": "When the event was written, RFC 3339 with an offset.",
            },
            "ce_subject": {"type": "string", "maxLength": 256},
            "ce_shopid": {
                "type": "string",
                "description": "If present, it must equal the body's shop_id.",
            },
            "ce_deliveries": {
                "type": "string",
                "description": "Socket receivers with the event's number in their feed: "
                "`agent:a1=12,buyer:b1=7`, receivers percent-escaped.",
            },
            "content-type": {"const": "application/json"},
            "traceparent": {"type": "string", "description": "W3C trace context."},
        },
    }
