"""Why a record cannot be read, or an event not be written."""

from typing import Literal

Code = Literal[
    "malformed_json",
    "missing_attribute",
    "invalid_attribute",
    "unknown_type",
    "future_version",
    "invalid_event",
    "too_large",
    "wrong_topic",
    "wrong_shop",
    "wrong_key",
]


class Undecodable(Exception):
    """A record that no retry can make readable. `code` is stable, `detail` says where and what.

    `detail` names fields and limits; it may quote an attribute or key but never a text that
    someone wrote.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Unencodable(ValueError):
    """An event that breaks its own contract. It is a programming error of the producer."""
