"""The documents in docs/contracts/ are what the code says, and say it well."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from common.contracts import TOPICS, registry
from common.contracts.asyncapi import asyncapi_document
from common.contracts.export import (
    ACCEPTED,
    ASYNCAPI,
    RELEASED,
    SCHEMAS,
    broken,
    check,
    documents,
    export,
    release,
    stale,
)
from common.contracts.schemas import schema_name

DOCUMENTS = documents()
DOCS = Path(__file__).parents[4] / "docs" / "contracts"


def test_the_documents_are_up_to_date() -> None:
    assert stale(DOCS) == []


def test_no_reader_of_the_last_release_is_broken() -> None:
    assert (DOCS / ACCEPTED).exists()
    assert broken(DOCS) == []


def test_export_writes_everything_and_a_second_time_nothing(tmp_path: Path) -> None:
    written = export(tmp_path)
    assert set(written) == {
        ASYNCAPI,
        *(SCHEMAS / f"{schema_name(known)}.json" for known in registry),
    }
    assert export(tmp_path) == []
    assert stale(tmp_path) == []


def test_a_document_that_differs_is_reported_and_one_without_event_is_removed(
    tmp_path: Path,
) -> None:
    export(tmp_path)
    (tmp_path / SCHEMAS / "order.paid.v1.json").write_text("{}")
    (tmp_path / SCHEMAS / "order.eaten.v1.json").write_text("{}")
    assert [line.partition(":")[0] for line in stale(tmp_path)] == [
        "schemas/order.paid.v1.json",
        "schemas/order.eaten.v1.json",
    ]
    assert len(export(tmp_path)) == 2
    assert stale(tmp_path) == []


def test_documents_do_not_depend_on_the_order_of_hashes() -> None:
    script = "from common.contracts.export import documents; print(hash_of(documents()))"
    hashing = (
        "import hashlib\n"
        "def hash_of(d): return hashlib.sha256(repr(sorted(d.items())).encode()).hexdigest()\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", hashing + script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_a_break_since_the_release_is_reported_until_it_is_accepted(tmp_path: Path) -> None:
    export(tmp_path)
    release(tmp_path)
    assert check(tmp_path) == []
    frozen = tmp_path / RELEASED / "order.paid.v1.json"
    schema = json.loads(frozen.read_text("utf-8"))
    schema["properties"]["colour"] = {"type": "string"}
    frozen.write_text(json.dumps(schema), "utf-8")
    (line,) = check(tmp_path)
    assert line == "order.paid.v1.colour: the field was removed"
    with (tmp_path / ACCEPTED).open("a", encoding="utf-8") as accepted:
        accepted.write(f"# nobody ever read it\n{line}\n")
    assert check(tmp_path) == []
    release(tmp_path)
    assert line not in (tmp_path / ACCEPTED).read_text("utf-8")


def test_a_release_forgets_events_that_are_gone(tmp_path: Path) -> None:
    release(tmp_path)
    gone = tmp_path / RELEASED / "order.eaten.v1.json"
    gone.write_text("{}")
    release(tmp_path)
    assert not gone.exists()


@pytest.mark.parametrize("path", sorted(DOCUMENTS), ids=str)
def test_every_schema_is_a_schema(path: Path) -> None:
    text = DOCUMENTS[path]
    if path.suffix == ".json":
        jsonschema_rs.meta.validate(json.loads(text))
    else:
        assert yaml.safe_load(text) == asyncapi_document()


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi_document()
    references = list(_references(document))
    assert references
    for reference in references:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for part in node for found in _references(part)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for part in node.values() for found in _references(part)]


def test_every_contract_stands_in_its_channel_and_in_the_operations_of_its_parties() -> None:
    document = asyncapi_document()
    assert list(document["channels"]) == list(TOPICS)
    for known in registry:
        name = schema_name(known)
        assert name in document["channels"][known.topic]["messages"]
        wanted = {"$ref": f"#/channels/{known.topic}/messages/{name}"}
        for party in known.producers:
            operation = document["operations"][f"{party}.send.{known.topic}"]
            assert wanted in operation["messages"]
        for party in known.consumers:
            operation = document["operations"][f"{party}.receive.{known.topic}"]
            assert wanted in operation["messages"]


def test_a_channel_tells_how_its_topic_is_made() -> None:
    channel = asyncapi_document()["channels"]["kefu.orders"]["bindings"]["kafka"]
    assert channel["partitions"] == 12
    assert channel["topicConfiguration"]["retention.ms"] == 30 * 24 * 3600 * 1000


def test_a_message_tells_its_key() -> None:
    message = asyncapi_document()["components"]["messages"]["agent.presence_changed.v1"]
    key = message["bindings"]["kafka"]["key"]
    assert key["description"] == "`<shop_id>:<agent_id>` of the body"
    assert key["examples"] == ["demo:xiaomei"]
