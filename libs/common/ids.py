"""Identifiers: UUIDv7, so that they sort by creation and index well."""

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 in its canonical 36-character form."""
    return str(uuid_utils.uuid7())
