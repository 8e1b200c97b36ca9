"""Queues and what agents have in hand, as lists, reports and the sweeper read them.

Loads are counted from the conversations each time: a counter kept beside them would drift.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..conversations import Conversation
from ..models import AgentRow, ConversationRow, ShopSettingsRow, table_of
from ..shop_settings import ShopSettings

CONVERSATIONS = table_of(ConversationRow)
AGENTS = table_of(AgentRow)
SETTINGS = table_of(ShopSettingsRow)

SPAN = timedelta(minutes=30)
"""What the expected wait is judged by."""


class Load(NamedTuple):
    """What one agent has in hand."""

    open: int
    unanswered: int


# Written out as in the partial index, or SQLite would not use it.
IS_WAITING: "sa.ColumnElement[bool]" = sa.text("state IN ('queued', 'message_box')")  # type: ignore[assignment]


async def loads(conn: AsyncConnection, shop_id: str) -> dict[str, Load]:
    """What each agent has in hand."""
    table = CONVERSATIONS
    unanswered = sa.func.count(table.c.unanswered_since)
    query = (
        sa.select(table.c.agent_id, sa.func.count(), unanswered)
        .where(table.c.shop_id == shop_id, sa.text("state = 'assigned'"))
        .group_by(table.c.agent_id)
    )
    return {agent: Load(held, waiting) for agent, held, waiting in await conn.execute(query)}


async def served_lately(
    conn: AsyncConnection, shop_id: str, groups: Iterable[str], now: datetime
) -> dict[str, int]:
    """How many buyers each of these groups took on within the last `SPAN`."""
    table = CONVERSATIONS
    # Without the groups' names the index would be read from the shop's first conversation on.
    query = (
        sa.select(table.c.group_id, sa.func.count())
        .where(
            table.c.shop_id == shop_id,
            table.c.group_id.in_(sorted(groups)),
            table.c.assigned_at > now - SPAN,
        )
        .group_by(table.c.group_id)
    )
    return dict((await conn.execute(query)).all())


async def ahead_of(conn: AsyncConnection, conversation: Conversation) -> int:
    """How many buyers of the group go before this one."""
    table = CONVERSATIONS
    mine = (conversation.rank, conversation.queued_at, conversation.conversation_id)
    before = sa.tuple_(table.c.rank, table.c.queued_at, table.c.conversation_id) < sa.tuple_(
        sa.bindparam("rank", mine[0], table.c.rank.type),
        sa.bindparam("queued_at", mine[1], table.c.queued_at.type),
        sa.bindparam("conversation_id", mine[2], table.c.conversation_id.type),
    )
    query = sa.select(sa.func.count()).where(
        table.c.shop_id == conversation.shop_id,
        table.c.group_id == conversation.group_id,
        IS_WAITING,
        before,
    )
    return int((await conn.execute(query)).scalar_one())


async def waiting_by_group(
    conn: AsyncConnection, shop_id: str
) -> list[tuple[str, str, int, datetime]]:
    """Per group and state: how many wait, and since when the first."""
    table = CONVERSATIONS
    query = (
        sa.select(table.c.group_id, table.c.state, sa.func.count(), sa.func.min(table.c.queued_at))
        .where(table.c.shop_id == shop_id, IS_WAITING)
        .group_by(table.c.group_id, table.c.state)
        .order_by(table.c.group_id, table.c.state)
    )
    return [tuple(found) for found in await conn.execute(query)]


async def held_by_the_gone(conn: AsyncConnection, now: datetime) -> list[tuple[str, str]]:
    """Agents whose grace time is over and who still hold somebody.

    Their timers should have seen to that; this finds them whatever became of the timers.
    """
    held = sa.exists().where(
        CONVERSATIONS.c.shop_id == AGENTS.c.shop_id,
        CONVERSATIONS.c.agent_id == AGENTS.c.agent_id,
        sa.text("conversations.state = 'assigned'"),
    )
    query = (
        sa.select(AGENTS.c.shop_id, AGENTS.c.agent_id, AGENTS.c.left_at, SETTINGS.c.grace_seconds)
        .outerjoin(SETTINGS, SETTINGS.c.shop_id == AGENTS.c.shop_id)
        .where(AGENTS.c.presence == "offline", held)
    )
    return [
        (gone.shop_id, gone.agent_id)
        for gone in await conn.execute(query)
        if _is_grace_over(gone.left_at, gone.grace_seconds, now)
    ]


def _is_grace_over(left_at: datetime | None, grace_seconds: int | None, now: datetime) -> bool:
    if left_at is None:
        return True
    grace = ShopSettings(shop_id="").grace_seconds if grace_seconds is None else grace_seconds
    return left_at + timedelta(seconds=grace) <= now
