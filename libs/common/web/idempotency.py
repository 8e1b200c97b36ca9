"""Idempotency-Key: a POST that changes something may be repeated without doing it twice.

    @router.post("/messages", status_code=201)
    async def post_message(caller: Buyer, key: IdempotencyKey, body: NewMessage) -> MessageView:
        return await runtime.execute(PostMessage(...), idempotency=key)

The key counts per shop, caller and operation. The runtime stores the first answer in the same
transaction as the effects, replays it, and refuses the key with another body.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import Request

from common.auth.gate import gate_of
from common.errors import IdempotencyKeyMissing
from common.runtime.items import Idempotency

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def parse_key(value: str | None) -> str:
    """The key; `IdempotencyKeyMissing` when there is none, or not 1 to 200 visible characters."""
    if value is None:
        raise IdempotencyKeyMissing("The request carries no Idempotency-Key.")
    if not _KEY.fullmatch(value):
        raise IdempotencyKeyMissing("The Idempotency-Key is not 1 to 200 visible characters.")
    return value


def body_hash(query: bytes, body: bytes) -> str:
    """What two requests with one key must share: query and body, byte for byte."""
    return hashlib.sha256(query + b"\n" + body).hexdigest()


async def _idempotency(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="1 to 200 visible ASCII characters, new for each intent; a repeat with "
            "the same key and body is answered as the first was.",
        ),
    ] = None,
) -> Idempotency:
    caller = await gate_of(request).authenticate(request)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return Idempotency(
        # A line each: none of the three can hold a line break.
        scope="\n".join((caller.shop_id, caller.subject, f"{request.method} {path}")),
        key=parse_key(key),
        body_hash=body_hash(request.scope["query_string"], await request.body()),
    )


IdempotencyKey = Annotated[Idempotency, Depends(_idempotency)]
"""The Idempotency-Key of a request; required, and documented in OpenAPI."""
