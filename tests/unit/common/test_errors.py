"""Every error has a stable code, and every code is documented."""

import re
from pathlib import Path

import pytest

from common import errors
from common.errors import Conflict, KefuError, error_kinds

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_codes_are_stable_words_and_statuses_are_errors() -> None:
    for kind in error_kinds():
        assert re.fullmatch(r"[a-z][a-z_]+", kind.code)
        assert 400 <= kind.status < 600
        assert " / " in kind.title, "Chinese first, English beside it"
        assert kind.hint


def test_a_code_belongs_to_one_kind_of_error() -> None:
    with pytest.raises(TypeError, match="conflict"):
        type("Impostor", (KefuError,), {"code": "conflict", "status": 400})


def test_a_service_adds_kinds_of_its_own() -> None:
    class OrderIsPaid(Conflict):
        """For this test."""

        code = "test_order_is_paid"

    error = OrderIsPaid("Paid a minute ago.")
    assert (error.code, error.status) == ("test_order_is_paid", 409)
    assert error.title == Conflict.title
    assert "test_order_is_paid" in {kind.code for kind in error_kinds()}
    errors._kinds.pop("test_order_is_paid")


def test_every_code_of_the_floor_is_documented() -> None:
    page = PAGE.read_text("utf-8")
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, KefuError):
            assert f"| `{kind.code}` | {kind.status} |" in page, kind.code
