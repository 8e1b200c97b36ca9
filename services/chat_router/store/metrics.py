"""What the response figures are made of: rounds as counted live, or anew from the messages."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..conversations import Conversation
from ..messages import Message
from ..models import ConversationRow, MessageRow, RoundRow, table_of
from ..response_times import Round, rounds_of
from ..shop_settings import ShopSettings
from .reading import all_of

CONVERSATIONS = table_of(ConversationRow)
MESSAGES = table_of(MessageRow)
ROUNDS = table_of(RoundRow)


async def live_rounds(
    conn: AsyncConnection, shop_id: str, start: datetime, end: datetime
) -> list[Round]:
    """The rounds asked in [start, end), those that are still open included."""
    asked = sa.select(ROUNDS).where(
        ROUNDS.c.shop_id == shop_id, ROUNDS.c.asked_at >= start, ROUNDS.c.asked_at < end
    )
    finished = all_of(Round, await conn.execute(asked))
    return [*finished, *await _open_rounds(conn, shop_id, start, end)]


async def _open_rounds(
    conn: AsyncConnection, shop_id: str, start: datetime, end: datetime
) -> Iterable[Round]:
    table = CONVERSATIONS
    columns = (
        table.c.shop_id,
        table.c.conversation_id,
        table.c.rounds.label("round"),
        table.c.buyer_id,
        table.c.agent_id,
        table.c.unanswered_since.label("asked_at"),
    )
    query = sa.select(*columns).where(
        table.c.shop_id == shop_id,
        table.c.state != "closed",
        table.c.unanswered_since >= start,
        table.c.unanswered_since < end,
    )
    return all_of(Round, await conn.execute(query))


async def recomputed_rounds(
    conn: AsyncConnection,
    shop_id: str,
    start: datetime,
    end: datetime,
    settings: ShopSettings,
) -> list[Round]:
    """The same rounds, made anew from the stored messages under the present settings."""
    alive = await _conversations_since(conn, shop_id, start)
    messages = await _messages_since(conn, shop_id, start)
    rounds = rounds_of(
        messages,
        bot_replies_count=settings.bot_replies_count,
        zone=settings.zone,
        assigned={one.conversation_id: one.agent_id for one in alive},
    )
    return [one for one in rounds if start <= one.asked_at < end]


async def _conversations_since(
    conn: AsyncConnection, shop_id: str, start: datetime
) -> list[Conversation]:
    query = sa.select(CONVERSATIONS).where(*_alive(shop_id, start))
    return all_of(Conversation, await conn.execute(query))


async def _messages_since(conn: AsyncConnection, shop_id: str, start: datetime) -> list[Message]:
    alive = sa.select(CONVERSATIONS.c.conversation_id).where(*_alive(shop_id, start))
    query = (
        sa.select(MESSAGES)
        .where(MESSAGES.c.shop_id == shop_id, MESSAGES.c.conversation_id.in_(alive))
        .order_by(MESSAGES.c.conversation_id, MESSAGES.c.seq)
    )
    return all_of(Message, await conn.execute(query))


def _alive(shop_id: str, start: datetime) -> "tuple[sa.ColumnElement[bool], ...]":
    """Conversations in which something may have been asked since then.

    Without an upper bound: a platform's message counts by the platform's time, which may lie
    long before the conversation was opened here.
    """
    table = CONVERSATIONS
    still_open = sa.or_(table.c.closed_at.is_(None), table.c.closed_at >= start)
    return (table.c.shop_id == shop_id, still_open)
