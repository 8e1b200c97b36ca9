"""Personal data out of logs: what stands under a listed key, and what looks like it anywhere.

Masked by key, whatever the value: chat texts, tokens, names, addresses and the like. Masked by
pattern in every string, key and whole number: phone numbers, identity cards, bank cards, e-mail
addresses, tokens, passwords in URLs. Long digit strings that are neither card (order numbers
have 16 to 19 digits as well) stay readable: identity cards and bank cards are known by their
first digits and their check digit.
"""

import re
from collections.abc import Mapping, MutableMapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

MASK = "***"
MAX_TEXT = 4_000
_WINDOW = 2 * MAX_TEXT
MAX_ITEMS = 50
MAX_DEPTH = 6

MASKED_KEYS = frozenset(
    {
        # what people write to one another
        "text", "texts", "content", "body", "note", "memo", "summary", "comment", "reply",
        "payload", "raw",
        # who they are
        "address", "addresses", "receiver", "receiver_name", "receiver_address", "real_name",
        "nickname", "phone", "phone_number", "mobile", "tel", "telephone", "email", "id_card",
        "id_number", "identity", "bank_card", "card_number", "birthday",
        # what opens doors
        "token", "access_token", "refresh_token", "id_token", "authorization", "cookie",
        "set_cookie", "password", "passwd", "secret", "api_key", "signature", "signing_key",
        "kefu_token", "database_url",
    }
)  # fmt: skip

_GAP = r"[-\s.\u2010-\u2015]?"
# Where a number may begin: not inside another one, but behind what `repr` writes with digits.
_START = r"(?:(?<!\d)|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4}))"
_PHONE = rf"{_START}(?:(?:\+|00)?86{_GAP})?[1１]\d\d{_GAP}\d{{4}}{_GAP}\d{{4}}(?!\d)"
_LANDLINE = rf"{_START}0\d{{2,3}}{_GAP}\d{{7,8}}(?!\d)"
_EMAIL = r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"
_JWT = r"eyJ[\w-]{4,}\.[\w-]+\.?[\w-]*|(?i:bearer)[\s.]+[\w~+/.=-]{8,}"
_URL_LOGIN = r"(?<=://)[^\s/@]*:[^\s/@]*(?=@)"
# What drivers and validators put into their messages: the values they were given.
_PARAMETERS = r"(?<=\[parameters: ).*|(?<=input_value=).*?(?=, input_type=|$)|(?<=DETAIL: ).*"

_PATTERNS = re.compile(
    "|".join((_URL_LOGIN, _JWT, _EMAIL, _PHONE, _LANDLINE, _PARAMETERS)), re.MULTILINE
)
_CARD = re.compile(r"(?<![\dA-Za-z])\d[\d -]{12,25}[\dXx](?![\dA-Za-z])")
_CARD_ISSUER = re.compile(r"62\d{14,17}|4\d{15}|5[1-5]\d{14}|3[47]\d{13}", re.ASCII)
_SUSPECT = re.compile(r"\d{3}|@|eyJ|(?i:bearer)|parameters: |input_value=|DETAIL: ")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def mask_text(text: str) -> str:
    """The text with everything that looks personal replaced by `***`, its middle cut if long."""
    if len(text) <= MAX_TEXT:
        return _mask(text)
    # Masked before it is cut, so that no number is halved into something that looks like none.
    head, tail = _mask(text[:_WINDOW]), _mask(text[-_WINDOW:])
    return f"{head[: MAX_TEXT // 4]} … {tail[-MAX_TEXT * 3 // 4 :]}"


def _mask(text: str) -> str:
    if _SUSPECT.search(text) is None or _UUID.fullmatch(text):
        return text
    return _CARD.sub(_mask_card, _PATTERNS.sub(MASK, text))


def _mask_card(match: re.Match[str]) -> str:
    digits = re.sub(r"[ -]", "", match[0]).upper()
    return MASK if is_identity_card(digits) or is_bank_card(digits) else match[0]


def is_identity_card(digits: str) -> bool:
    """Whether these 18 characters are a valid resident identity number (GB 11643)."""
    if len(digits) != 18 or not digits[:17].isdecimal():
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == digits[17]


def is_bank_card(digits: str) -> bool:
    """Whether this is a number of UnionPay, Visa, Mastercard or Amex that passes Luhn's check."""
    if not _CARD_ISSUER.fullmatch(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) << (place & 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def mask(value: object, depth: int = 0) -> Any:
    """A copy fit for JSON, masked all through. Unknown objects shrink to their class's name."""
    match value:
        case None | bool():
            return value
        case float():
            return mask(int(value), depth) if value.is_integer() else value
        case Enum():
            return mask(value.value, depth)
        case str():
            return mask_text(value)
        case int() if value.bit_length() > 63:
            return f"<{value.bit_length()} bits>"
        case int():
            return value if _mask(text := str(value)) == text else MASK
        case datetime() | date() | time() | timedelta() | UUID():
            return str(value)
        case BaseException() | PurePath():
            return mask_text(str(value))
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case _ if depth >= MAX_DEPTH:
            return "…"
        case Mapping():
            return mask_mapping(value, depth + 1)
        case list() | tuple() | set() | frozenset():
            return [mask(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        case _:
            return f"<{type(value).__name__}>"


def mask_mapping(pairs: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """The pairs masked, those under listed keys altogether."""
    masked: dict[str, Any] = {}
    for key, value in list(pairs.items())[:MAX_ITEMS]:
        name = str(key)
        hidden = value is not None and name.lower().replace("-", "_") in MASKED_KEYS
        masked[mask_text(name)] = MASK if hidden else mask(value, depth)
    return masked


def mask_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The structlog processor that masks a whole log line."""
    return mask_mapping(event)
