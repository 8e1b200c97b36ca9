"""What the contracts say of who writes and who reads an event is what the services do.

Held against the composition roots (handlers, topics, feeds) and against the source itself.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from common.contracts import DEAD_LETTERS, TOPICS, Event
from common.contracts.base import Contract, registry
from common.runtime import ServiceDefinition

SERVICES = ("chat_router", "order_ops", "aftersales", "feedback")
SOURCES = Path(__file__).parents[2] / "services"
CONTRACTS = {known.event_class.__name__: known for known in registry}


def definition_of(service: str) -> ServiceDefinition:
    found = importlib.import_module(f"{service}.app").SERVICE
    assert isinstance(found, ServiceDefinition)
    return found


def handled_by(service: str) -> set[str]:
    kinds = [kind for kind in definition_of(service).handlers if issubclass(kind, Event)]
    return {registry.of(kind).ce_type for kind in kinds}


def shown_by(service: str) -> set[str]:
    """What a service puts on its sockets: its own events on the topics that its feed tails."""
    topics = definition_of(service).feed_topics
    return {one.ce_type for one in registry if one.topic in topics and service in one.producers}


@cache
def written_by(service: str) -> frozenset[str]:
    """The events whose classes a service makes, or hands on to where they are made."""
    made: set[str] = set()
    for path in sorted((SOURCES / service).rglob("*.py")):
        made |= {CONTRACTS[name].ce_type for name in _used(ast.parse(path.read_text("utf-8")))}
    return frozenset(made)


def _used(module: ast.Module) -> Iterator[str]:
    """Event classes that are used as values: not in annotations, registrations or type tests."""
    turned: list[ast.AST] = [module]
    while turned:
        node = turned.pop()
        if isinstance(node, ast.Name) and node.id in CONTRACTS:
            yield node.id
        turned.extend(_values(node))


_TESTS = ("isinstance", "issubclass", "on", "register", "get_type_hints")


def _values(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and _name(node.func) in _TESTS:
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return  # a union of types
    if isinstance(node, ast.Subscript) and not isinstance(node.value, ast.Dict):
        return  # `tuple[A, ...]`, but `{...}[key]` is a lookup
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
        yield from node.body  # `for kind in (A, B): handlers.on(kind)`: a registration
        return
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "bases", "cls"):
            yield from _nodes(value)


def _nodes(value: Any) -> Iterator[ast.AST]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, ast.AST):
            yield one


def _name(function: ast.AST) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def named(service: str, end: str) -> set[str]:
    return {known.ce_type for known in registry if service in getattr(known, end)}


@pytest.mark.parametrize("service", SERVICES)
def test_whoever_a_contract_names_as_reader_handles_or_shows_the_event(service: str) -> None:
    assert named(service, "consumers") == handled_by(service) | shown_by(service)


@pytest.mark.parametrize("service", SERVICES)
def test_every_topic_that_a_service_reads_or_tails_exists(service: str) -> None:
    definition = definition_of(service)
    assert {*definition.topics, *definition.feed_topics} <= set(TOPICS)
    assert {known.topic for known in registry if known.ce_type in handled_by(service)} == set(
        definition.topics
    )


@pytest.mark.parametrize("service", SERVICES)
def test_whoever_a_contract_names_as_writer_makes_the_event_and_nobody_else_does(
    service: str,
) -> None:
    declared = named(service, "producers")
    assert declared <= written_by(service)
    # An HTTP body may take the form of an event that a shop system could have published instead;
    # the service hands it to its own handler.
    taken_in = {one for one in handled_by(service) if "shop_system" in _producers(one)}
    assert written_by(service) - taken_in == declared


def _producers(type_: str) -> tuple[str, ...]:
    known = registry.by_type(type_)
    assert known is not None
    return known.producers


def test_the_scan_of_the_source_sees_how_events_are_made() -> None:
    code = """
from common.contracts import OrderPaid, OrderClosed, CaseOpened, MessageSent, ShopOrder, Typing
KINDS: dict[str, type[OrderPaid]] = {"paid": OrderPaid}
def made(event: ShopOrder) -> CaseOpened | None:
    kind = MessageSent if isinstance(event, Typing) else None
    return kind(shop_id="demo")
for _kind in (OrderClosed,):
    handlers.on(_kind)(made)
"""
    assert set(_used(ast.parse(code))) == {"OrderPaid", "MessageSent"}


@pytest.mark.parametrize("known", list(registry), ids=lambda known: known.ce_type)
def test_every_event_has_a_writer_a_reader_and_a_topic_of_its_own_kind(known: Contract) -> None:
    assert known.producers
    assert known.consumers
    assert known.topic != DEAD_LETTERS
    # What comes from outside stands on the shop's topics, but for the answers to our commands.
    from_outside = known.producers == ("shop_system",)
    assert from_outside == (known.topic.startswith("shop.") or known.name in ANSWERS)


ANSWERS = ("command.succeeded", "command.failed")


AT_THE_EDGE = ("api", "sockets")
MODELS_OF_THE_EDGE = ("pydantic", "common.web.types")


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_edge_knows_the_models_of_the_api(service: str) -> None:
    """Decisions answer with plain values; what a caller may see of them is the edge's business."""
    knowing = set()
    for path in sorted((SOURCES / service).rglob("*.py")):
        if path.relative_to(SOURCES / service).parts[0] in AT_THE_EDGE:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in MODELS_OF_THE_EDGE:
                knowing.add(path.name)
    assert knowing == set()


def test_every_topic_carries_something() -> None:
    assert {known.topic for known in registry} == set(TOPICS) - {DEAD_LETTERS}
