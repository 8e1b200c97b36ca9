"""The `deliveries` extension: which socket receivers see an event, under which number of theirs.

Written `agent:a1=12,buyer:b1=7`; `%`, `,`, `=`, control and non-ASCII characters inside a receiver
are percent-escaped as UTF-8.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

_PLAIN = re.compile(r"[A-Za-z0-9:._~@-]*").fullmatch
_PAIR = "[^=,]+=[0-9]{1,16}"
_WELL_FORMED = re.compile(f"{_PAIR}(?:,{_PAIR})*").fullmatch
_SAFE = ":@"


def format_deliveries(deliveries: Mapping[str, int]) -> str:
    """The compact form, receivers in the order given."""
    return ",".join(f"{_escape(receiver)}={seq}" for receiver, seq in deliveries.items())


def parse_deliveries(text: str) -> dict[str, int]:
    """The receivers with their sequence numbers; `ValueError` when the text is not of that form."""
    if not text:
        return {}
    if not _WELL_FORMED(text):
        raise ValueError("not a list of receiver=number")
    pairs = [part.split("=") for part in text.split(",")]
    if "%" not in text:
        return {receiver: int(seq) for receiver, seq in pairs}
    return {unquote(receiver, errors="strict"): int(seq) for receiver, seq in pairs}


def _escape(receiver: str) -> str:
    return receiver if _PLAIN(receiver) else quote(receiver, safe=_SAFE)
