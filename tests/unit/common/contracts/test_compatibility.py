"""The check that keeps a change from breaking a reader of the last release."""

import copy
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from common.contracts import Event, Registry, contract
from common.contracts.compatibility import breaking_changes
from common.contracts.schemas import Schema, all_schemas
from common.contracts.vocabulary import Fen, Id, Time

NAME = "parcel.moved.v1"


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop on the way."""

    place: Id


class ParcelMoved(Event, frozen=True, kw_only=True):
    """The contract as it was released."""

    buyer_id: Id
    status: Literal["moving", "lost"]
    note: Annotated[str, Meta(max_length=100)] | None = None
    cost_fen: Fen
    stops: Annotated[tuple[Stop, ...], Meta(max_length=10)] = ()
    seen_at: Time


def schemas(*producers: Any) -> dict[str, Schema]:
    into = Registry()
    contract(
        name="parcel.moved",
        topic="kefu.orders",
        producers=producers or ("order_ops",),
        consumers=("chat_router",),
        summary="A parcel moved.",
        examples=[],
        into=into,
    )(ParcelMoved)
    return all_schemas(into)


def changed(alter: Callable[[Schema], Any], *producers: Any) -> list[str]:
    old = schemas(*producers)
    new = copy.deepcopy(old)
    alter(new[NAME])
    return breaking_changes(old, new)


def field(schema: Schema, name: str) -> Schema:
    found: Schema = schema["properties"][name]
    return found


def add_required(schema: Schema, name: str) -> None:
    schema["properties"][name] = {"type": "string"}
    schema["required"].append(name)


def test_nothing_changed_breaks_nothing() -> None:
    assert changed(lambda schema: None) == []


def test_a_new_event_breaks_nothing() -> None:
    assert breaking_changes({}, schemas()) == []


def test_a_new_optional_field_breaks_nothing() -> None:
    def alter(schema: Schema) -> None:
        schema["properties"]["weight"] = {"type": "integer", "default": 0}

    assert changed(alter) == []


def test_better_words_and_examples_break_nothing() -> None:
    def alter(schema: Schema) -> None:
        schema["description"] = "Better."
        schema["examples"] = [{}]
        schema["x-kefu"]["consumers"].append("feedback")
        field(schema, "cost_fen")["description"] = "Better."

    assert changed(alter) == []


def test_a_removed_event_is_caught() -> None:
    assert breaking_changes(schemas(), {}) == [f"{NAME}: the event was removed"]


@pytest.mark.parametrize(
    "alter, told",
    [
        (lambda s: s["properties"].pop("note"), ".note: the field was removed"),
        (lambda s: s["required"].append("note"), ".note: the field became required"),
        (
            lambda s: (
                s["properties"].update(size={"type": "string"}),
                s["required"].append("size"),
            ),
            ".size: the field is new and required",
        ),
        (
            lambda s: field(s, "cost_fen").update(type="string"),
            ".cost_fen: the type changed from integer to string",
        ),
        (
            lambda s: field(s, "note")["anyOf"].pop(),
            ".note: no longer allows null",
        ),
        (
            lambda s: field(s, "status")["enum"].remove("lost"),
            ".status: no longer allows lost",
        ),
        (
            lambda s: field(s, "note")["anyOf"][0].update(maxLength=50),
            ".note: maxLength changed from 100 to 50",
        ),
        (
            lambda s: field(s, "cost_fen").update(minimum=1),
            ".cost_fen: minimum changed from 0 to 1",
        ),
        (
            lambda s: field(s, "buyer_id").update(pattern="^b"),
            ".buyer_id: pattern changed from None to ^b",
        ),
        (
            lambda s: field(s, "seen_at").pop("format"),
            ".seen_at: format changed from date-time to None",
        ),
        (
            lambda s: field(s, "stops").update(maxItems=5),
            ".stops: maxItems changed from 10 to 5",
        ),
        (
            lambda s: s["$defs"]["Stop"]["properties"]["place"].update(minLength=2),
            ".stops[].place: minLength changed from 1 to 2",
        ),
        (
            lambda s: s["$defs"]["Stop"]["properties"].pop("place"),
            ".stops[].place: the field was removed",
        ),
        (
            lambda s: s["x-kefu"].update(topic="kefu.cases"),
            ": the topic changed from kefu.orders to kefu.cases",
        ),
        (
            lambda s: s["x-kefu"].update(key=["shop_id"]),
            ": the key changed from ['shop_id', 'buyer_id'] to ['shop_id']",
        ),
        (lambda s: s.update(allOf=[{}]), ": allOf changed from None to [{}]"),
    ],
)
@pytest.mark.parametrize("producer", ["order_ops", "shop_system"])
def test_a_change_that_refuses_what_was_fine_is_caught(
    alter: Callable[[Schema], Any], told: str, producer: str
) -> None:
    assert changed(alter, producer) == [NAME + told]


WIDENING = pytest.mark.parametrize(
    "alter, told",
    [
        (
            lambda s: field(s, "status")["enum"].append("found"),
            ".status: newly allows found",
        ),
        (
            lambda s: s["properties"].update(status={"type": "string"}),
            ".status: newly allows any value",
        ),
        (
            lambda s: s["properties"].update(
                cost_fen={"anyOf": [field(s, "cost_fen"), {"type": "null"}]}
            ),
            ".cost_fen: newly allows null",
        ),
        (
            lambda s: field(s, "cost_fen").update(minimum=-1),
            ".cost_fen: minimum changed from 0 to -1",
        ),
        (
            lambda s: field(s, "note")["anyOf"][0].update(maxLength=200),
            ".note: maxLength changed from 100 to 200",
        ),
        (
            lambda s: s["required"].remove("cost_fen"),
            ".cost_fen: the field is no longer always there",
        ),
    ],
)


@WIDENING
def test_a_change_that_an_old_reader_would_refuse_is_caught(
    alter: Callable[[Schema], Any], told: str
) -> None:
    (line,) = changed(alter)
    assert line.startswith(NAME + told)
    assert "a reader of the last release would refuse it" in line


@WIDENING
def test_what_only_other_shops_write_may_widen_because_its_readers_are_ours(
    alter: Callable[[Schema], Any], told: str
) -> None:
    assert changed(alter, "shop_system") == []
