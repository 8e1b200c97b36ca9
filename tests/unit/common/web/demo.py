"""A small application with one endpoint of each kind, to hold the edge to its promises."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response, WebSocket
from sqlalchemy.exc import OperationalError

from common.auth.guards import public, requires
from common.auth.principal import Principal, Role
from common.errors import Conflict, NotFound
from common.web.etags import IfMatch, etag
from common.web.idempotency import IdempotencyKey
from common.web.pages import Moment, Page, PageQuery, page_of
from common.web.sockets import open_socket
from common.web.types import AwareDatetime, Body, ExternalId, Fen, Line, ShopId, Text, View

Buyer = Annotated[Principal, requires(Role.BUYER)]
Staff = Annotated[Principal, requires(Role.AGENT)]
Chief = Annotated[Principal, requires(Role.SUPERVISOR)]


class NewNote(Body):
    shop_id: ShopId | None = None
    title: Line
    text: Text
    price: Fen = 0
    due_at: AwareDatetime | None = None
    labels: Annotated[list[Line], msgspec.Meta()] = []


class NoteView(View):
    id: str
    title: str
    price: Fen
    due_at: AwareDatetime | None
    written_by: str


class Renamed(Body):
    title: Line


class Ping(msgspec.Struct, tag="ping"):
    pass


class Say(msgspec.Struct, tag="say"):
    text: Annotated[str, msgspec.Meta(max_length=100)]


UP_FRAMES: msgspec.json.Decoder[Ping | Say] = msgspec.json.Decoder(Ping | Say)
MOMENTS = [datetime(2026, 3, 8, 10, minute, tzinfo=UTC) for minute in range(7)]


def note(number: int) -> NoteView:
    return NoteView(
        id=f"n{number}", title="标题", price=100, due_at=MOMENTS[number], written_by="a1"
    )


def demo_routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/greeting", dependencies=[public()])
    async def greeting() -> dict[str, str]:
        return {"greeting": "您好"}

    @router.get("/notes")
    async def notes(
        caller: Staff, page: PageQuery, title: Annotated[Line | None, Query()] = None
    ) -> Page[NoteView]:
        after = page.after(tuple[Moment, str])
        rows = [note(n) for n in range(7) if after is None or (MOMENTS[n], f"n{n}") > after]
        return page_of(rows[: page.limit + 1], page.limit, lambda row: (row.due_at, row.id))

    @router.get("/notes/{note_id}")
    async def one_note(
        caller: Staff,
        note_id: Annotated[ExternalId, Path()],
        response: Response,
        until: AwareDatetime | None = None,
        kind: Literal["open", "done"] = "open",
    ) -> NoteView:
        if note_id.startswith("x"):
            raise NotFound("No such note.")
        response.headers["ETag"] = etag(3)
        return note(1)

    @router.post("/notes", status_code=201)
    async def post_note(caller: Buyer, key: IdempotencyKey, body: NewNote) -> NoteView:
        caller.require_shop(body.shop_id)
        return NoteView(
            id=key.body_hash,
            title=body.title,
            price=body.price,
            due_at=body.due_at,
            written_by=caller.subject,
        )

    @router.put("/notes/{note_id}")
    async def rename_note(
        caller: Chief, note_id: Annotated[ExternalId, Path()], expected: IfMatch, body: Renamed
    ) -> NoteView:
        expected.check(3)
        return note(1)

    @router.get("/shops/{shop_id}/notes")
    async def notes_of_shop(caller: Staff, shop_id: Annotated[ShopId, Path()]) -> list[NoteView]:
        caller.require_shop(shop_id)
        return []

    @router.websocket("/socket")
    async def socket(websocket: WebSocket, caller: Staff) -> None:
        async with open_socket(websocket, caller, UP_FRAMES) as open_one:
            async for frame in open_one:
                if isinstance(frame, Say) and frame.text == "break":
                    raise ValueError("broken by request")
                answer = "pong" if isinstance(frame, Ping) else frame.text
                await open_one.send({"type": "answer", "text": answer})

    return router


def failing_routes() -> APIRouter:
    """What must never happen, and must stay harmless when it does."""
    router = APIRouter(prefix="/broken", dependencies=[public()])
    causes: dict[str, Any] = {
        "bug": ValueError("13800138000 lives at /srv/secret"),
        "conflict": Conflict("It is closed already."),
        "database": OperationalError("SELECT 1", {}, OSError("disk I/O error")),
        "connection": ConnectionRefusedError("10.0.0.1"),
        "timeout": TimeoutError(),
        "part": LookupError("the part is down"),
    }

    @router.get("/{cause}")
    async def broken(cause: str) -> None:
        raise causes[cause]

    return router
