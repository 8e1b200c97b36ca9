"""One document of several services: nothing is lost, nothing collides."""

from typing import Any

import pytest

from kefu.dev.openapi import combine


def _service(title: str, operation: str, **schemas: Any) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": {
            "/v1/things": {
                "get": {
                    "operationId": operation,
                    "tags": ["things"],
                    "responses": {
                        "200": {
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/Page"}
                                }
                            }
                        }
                    },
                }
            }
        },
        "components": {"schemas": schemas},
    }


PAGE = {"properties": {"items": {"items": {"$ref": "#/components/schemas/Thing"}}}}
PROBLEM = {"type": "object"}


def _both() -> dict[str, Any]:
    return combine(
        {
            "a": _service("A", "a_list", Page=PAGE, Thing={"title": "an A"}, Problem=PROBLEM),
            "b": _service("B", "b_list", Page=PAGE, Thing={"title": "a B"}, Problem=PROBLEM),
        },
        "All",
        "1",
    )


def test_paths_stand_under_their_service_with_its_tag() -> None:
    document = _both()
    assert set(document["paths"]) == {"/a/v1/things", "/b/v1/things"}
    assert document["paths"]["/a/v1/things"]["get"]["tags"] == ["a"]
    assert [tag["name"] for tag in document["tags"]] == ["a", "b"]


def test_a_schema_that_differs_is_named_after_its_service_and_one_that_does_not_stands_once() -> (
    None
):
    schemas = _both()["components"]["schemas"]
    assert schemas["a_Thing"] == {"title": "an A"}
    assert schemas["b_Thing"] == {"title": "a B"}
    assert schemas["Problem"] == PROBLEM
    assert "Thing" not in schemas


def test_who_refers_to_a_renamed_schema_is_renamed_with_it() -> None:
    document = _both()
    schemas = document["components"]["schemas"]
    assert schemas["a_Page"]["properties"]["items"]["items"]["$ref"].endswith("/a_Thing")
    responses = document["paths"]["/b/v1/things"]["get"]["responses"]
    assert responses["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/b_Page")


def test_every_reference_leads_somewhere() -> None:
    document = _both()
    assert _references(document) <= {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()


def test_two_operations_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="operation id same"):
        combine({"a": _service("A", "same"), "b": _service("B", "same")}, "All", "1")


def test_combining_leaves_the_services_documents_as_they_were() -> None:
    service = _service("A", "a_list", Thing={"title": "an A"})
    other = _service("B", "b_list", Thing={"title": "a B"})
    combine({"a": service, "b": other}, "All", "1")
    assert service == _service("A", "a_list", Thing={"title": "an A"})
