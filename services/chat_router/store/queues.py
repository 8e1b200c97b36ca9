"""What the router reads: a snapshot of a shop's waiting buyers and of its agents' load.

Loads are counted from the conversations each time: a counter kept beside them would drift.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..conversations import Conversation
from ..models import AgentRow, ConversationRow, DeskRow, ShopSettingsRow, table_of
from ..routing import Candidate, Waiting
from ..shop_settings import ShopSettings
from .reading import all_of

CONVERSATIONS = table_of(ConversationRow)
AGENTS = table_of(AgentRow)
DESKS = table_of(DeskRow)
SETTINGS = table_of(ShopSettingsRow)

SPAN = timedelta(minutes=30)
"""What the expected wait is judged by."""


class Queue(NamedTuple):
    """The head of one group's queue, and how many wait there."""

    group_id: str
    head: list[Waiting]


class Load(NamedTuple):
    """What one agent has in hand."""

    open: int
    unanswered: int


def waiting_states(*, is_open: bool) -> tuple[str, ...]:
    """The states that are routed: the message box waits for the opening."""
    return ("queued", "message_box") if is_open else ("queued",)


async def waiting_shops(conn: AsyncConnection) -> list[str]:
    """Shops in which somebody waits."""
    return await _values_of_waiting(conn, CONVERSATIONS.c.shop_id)


async def _values_of_waiting(
    conn: AsyncConnection, column: "sa.Column[str]", *here: "sa.ColumnElement[bool]"
) -> list[str]:
    """The different values of a column among those who wait, in order.

    It hops through the index from one value to the next: DISTINCT would read everybody who waits,
    each time the router looks.
    """
    lowest = sa.select(sa.func.min(column).label("value")).where(_is_waiting(), *here)
    hops = lowest.cte("hops", recursive=True)
    following = lowest.where(column > hops.c.value).correlate(hops).scalar_subquery()
    hops = hops.union_all(sa.select(following).where(hops.c.value.is_not(None)))
    found = await conn.execute(sa.select(hops.c.value).where(hops.c.value.is_not(None)))
    return list(found.scalars())


def _is_waiting() -> "sa.ColumnElement[bool]":
    # Written out as in the partial index, or SQLite would not use it.
    return sa.text("state IN ('queued', 'message_box')")  # type: ignore[return-value]


async def rounds_of_routing(conn: AsyncConnection, shop_id: str) -> int:
    """The shop's fence."""
    query = sa.select(DESKS.c.rounds).where(DESKS.c.shop_id == shop_id)
    return (await conn.execute(query)).scalar() or 0


async def queues(
    conn: AsyncConnection, shop_id: str, states: tuple[str, ...], limit: int
) -> list[Queue]:
    """Each group's queue, the first `limit` of it, so that no group can hide another."""
    table = CONVERSATIONS
    shop = table.c.shop_id == shop_id
    groups = await _values_of_waiting(conn, table.c.group_id, shop)
    here = (shop, _is_waiting(), table.c.state.in_(states))
    found = [
        Queue(group_id, await _head(conn, (*here, table.c.group_id == group_id), limit))
        for group_id in groups
    ]
    return [queue for queue in found if queue.head]


async def _head(
    conn: AsyncConnection, here: "tuple[sa.ColumnElement[bool], ...]", limit: int
) -> list[Waiting]:
    table = CONVERSATIONS
    order = (table.c.rank, table.c.queued_at, table.c.conversation_id)
    query = sa.select(*_AS_WAITING).where(*here).order_by(*order).limit(limit)
    return [Waiting(**found._mapping) for found in await conn.execute(query)]


# Some hundred rows are read each time somebody comes or goes: only what routing looks at.
_AS_WAITING = (
    *(CONVERSATIONS.c[n] for n in Waiting.__struct_fields__ if n != "is_unanswered"),
    CONVERSATIONS.c.unanswered_since.is_not(None).label("is_unanswered"),
)


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


async def candidates(conn: AsyncConnection, shop_id: str) -> list[Candidate]:
    """Agents who may be given somebody (online, or suspended for their own buyers), with loads."""
    table = CONVERSATIONS
    held = (
        sa.select(
            table.c.agent_id,
            sa.func.count().label("open"),
            sa.func.count(table.c.unanswered_since).label("unanswered"),
        )
        .where(table.c.shop_id == shop_id, sa.text("state = 'assigned'"))
        .group_by(table.c.agent_id)
        .subquery()
    )
    own = [AGENTS.c[n] for n in Candidate.__struct_fields__ if n not in ("open", "unanswered")]
    query = (
        sa.select(
            *own,
            sa.func.coalesce(held.c.open, 0).label("open"),
            sa.func.coalesce(held.c.unanswered, 0).label("unanswered"),
        )
        .select_from(AGENTS.outerjoin(held, held.c.agent_id == AGENTS.c.agent_id))
        .where(AGENTS.c.shop_id == shop_id, AGENTS.c.presence.in_(("online", "suspended")))
    )
    return all_of(Candidate, await conn.execute(query))


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
        _is_waiting(),
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
        .where(table.c.shop_id == shop_id, _is_waiting())
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
