"""The registry finds every contract and lets no careless one in."""

from datetime import datetime
from typing import Any, get_type_hints

import msgspec
import pytest
from msgspec import inspect

import common.contracts
from common.contracts import TOPICS, Contract, Event, OrderPaid, Registry, contract, registry
from common.contracts.schemas import event_schema
from common.contracts.vocabulary import Id, Time

ALL = pytest.mark.parametrize("known", list(registry), ids=lambda known: known.name)


def register(into: Registry, **changed: Any) -> type[Event]:
    class SomethingHappened(Event, frozen=True, kw_only=True):
        buyer_id: Id
        maybe: Id | None = None
        at: Time

    promise: dict[str, Any] = {
        "name": "something.happened",
        "topic": "kefu.orders",
        "producers": ("order_ops",),
        "consumers": ("feedback",),
        "summary": "Something happened.",
        "examples": [],
    }
    return contract(**promise | changed, into=into)(SomethingHappened)


def test_a_contract_is_found_by_class_and_by_type() -> None:
    known = registry.of(OrderPaid)
    assert known.ce_type == "kefu.order.paid.v1"
    assert registry.by_type("kefu.order.paid.v1") is known
    assert registry.by_type("kefu.order.paid.v2") is None
    assert registry.newest_version("order.paid") == 1


def test_two_major_versions_live_side_by_side() -> None:
    into = Registry()
    register(into)
    register(into, version=2)
    assert [known.ce_type for known in into] == [
        "kefu.something.happened.v1",
        "kefu.something.happened.v2",
    ]
    assert into.newest_version("something.happened") == 2


def test_a_type_cannot_be_registered_twice() -> None:
    into = Registry()
    register(into)
    with pytest.raises(ValueError, match="already"):
        register(into)


def test_a_contract_needs_a_topic_that_exists() -> None:
    with pytest.raises(ValueError, match="unknown topic"):
        register(Registry(), topic="kefu.nowhere")


@pytest.mark.parametrize("field", ["maybe", "at", "nothing"])
def test_a_key_is_made_of_required_strings(field: str) -> None:
    with pytest.raises(ValueError, match="cannot be a key"):
        register(Registry(), key=("shop_id", field))


@ALL
def test_every_contract_starts_its_key_with_the_shop_and_is_exported(known: Contract) -> None:
    assert known.key[0] == "shop_id"
    assert known.producers
    assert known.consumers
    assert known.examples
    assert known.event_class.__name__ in common.contracts.__all__


@ALL
def test_every_string_and_number_is_bounded_so_that_it_fits_its_column(known: Contract) -> None:
    unbounded = [node for node in _nodes(event_schema(known)["properties"]) if _unbounded(node)] + [
        node for node in _nodes(event_schema(known).get("$defs", {})) if _unbounded(node)
    ]
    assert unbounded == []


def _nodes(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [node for part in schema for node in _nodes(part)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(node for part in schema.values() for node in _nodes(part))]


def _unbounded(node: dict[str, Any]) -> bool:
    bounds = {
        "string": {"maxLength", "format"},
        "integer": {"maximum"},
        "array": {"maxItems"},
    }
    wanted = bounds.get(node.get("type", "")) if isinstance(node.get("type"), str) else None
    return bool(wanted) and not node.keys() & (wanted or set())


@ALL
def test_nested_structs_hold_no_times_because_only_the_events_own_are_put_in_utc(
    known: Contract,
) -> None:
    outer = inspect.type_info(known.event_class)
    assert isinstance(outer, inspect.StructType)
    for nested in msgspec.json.schema(known.event_class)["$defs"]:
        struct = getattr(common.contracts, nested)
        if struct is not known.event_class:
            assert datetime not in get_type_hints(struct).values()


def test_every_topic_but_the_dead_letters_carries_a_contract() -> None:
    used = {known.topic for known in registry}
    assert set(TOPICS) - used == {"kefu.dead_letters"}


def test_settings_of_a_topic_are_what_kafka_understands() -> None:
    assert TOPICS["kefu.typing"].config() == {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048576",
        "retention.ms": "60000",
        "segment.ms": "60000",
    }


def test_a_refused_record_of_the_largest_size_fits_the_dead_letters() -> None:
    largest = max(t.max_message_bytes for t in TOPICS.values() if t.name != "kefu.dead_letters")
    assert TOPICS["kefu.dead_letters"].max_message_bytes > largest
