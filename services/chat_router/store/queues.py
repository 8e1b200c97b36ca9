"""Who waits, and what agents have in hand: what the router reads, and lists of queues.

Loads are counted from the conversations each time: a counter kept beside them would drift.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.db.prepared import Prepared
from common.db.transaction import Transaction

from ..conversations import Conversation
from ..models import AgentRow, ConversationRow, DeskRow, ShopSettingsRow, table_of
from ..routing import Candidate, Waiting
from ..shop_settings import ShopSettings

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


_CONVERSATION = CONVERSATIONS.c
_SHOP: "sa.BindParameter[str]" = sa.bindparam("shop_id", type_=sa.String())
# Written out as in the partial index, or SQLite would not use it.
_IS_WAITING: "sa.ColumnElement[bool]" = sa.text("state IN ('queued', 'message_box')")  # type: ignore[assignment]


def _values_of_waiting(
    column: "sa.Column[str]", *here: "sa.ColumnElement[bool]"
) -> "sa.Select[tuple[str]]":
    """The different values of a column among those who wait, in order.

    It hops through the index from one value to the next: DISTINCT would read everybody who waits,
    each time the router looks.
    """
    lowest = sa.select(sa.func.min(column).label("value")).where(_IS_WAITING, *here)
    hops = lowest.cte("hops", recursive=True)
    following = lowest.where(column > hops.c.value).correlate(hops).scalar_subquery()
    hops = hops.union_all(sa.select(following).where(hops.c.value.is_not(None)))
    return sa.select(hops.c.value).where(hops.c.value.is_not(None))


_WAITING_SHOPS = Prepared(_values_of_waiting(_CONVERSATION.shop_id))
_WAITING_GROUPS = Prepared(
    _values_of_waiting(_CONVERSATION.group_id, _CONVERSATION.shop_id == _SHOP)
)
# Some hundred rows are read each time somebody comes or goes: only what routing looks at.
_HEAD = Prepared(
    sa.select(
        *(_CONVERSATION[n] for n in Waiting.__struct_fields__ if n != "is_unanswered"),
        _CONVERSATION.unanswered_since.is_not(None).label("is_unanswered"),
    )
    .where(
        _CONVERSATION.shop_id == _SHOP,
        _IS_WAITING,
        (_CONVERSATION.state == "queued") | sa.bindparam("is_open", type_=sa.Boolean()),
        _CONVERSATION.group_id == sa.bindparam("group_id", type_=sa.String()),
    )
    .order_by(_CONVERSATION.rank, _CONVERSATION.queued_at, _CONVERSATION.conversation_id)
    .limit(sa.bindparam("limit", type_=sa.Integer()))
)


async def waiting_shops(tx: Transaction) -> list[str]:
    """Shops in which somebody waits."""
    return [found["value"] for found in await _WAITING_SHOPS.rows(tx)]


async def queues(tx: Transaction, shop_id: str, limit: int, *, is_open: bool) -> list[Queue]:
    """Each group's queue, the first `limit` of it, so that no group can hide another.

    The message box waits for the opening.
    """
    found: list[Queue] = []
    for group in await _WAITING_GROUPS.rows(tx, shop_id=shop_id):
        group_id = group["value"]
        head = await _HEAD.rows(
            tx, shop_id=shop_id, group_id=group_id, is_open=is_open, limit=limit
        )
        if head:
            found.append(Queue(group_id, [Waiting(**one) for one in head]))
    return found


_FENCE_AND_SETTINGS = Prepared(
    sa.select(
        sa.select(DESKS.c.rounds).where(DESKS.c.shop_id == _SHOP).scalar_subquery().label("fence"),
        *SETTINGS.c,
    ).select_from(
        sa.select(_SHOP.label("asked"))
        .subquery("shop")
        .outerjoin(SETTINGS, SETTINGS.c.shop_id == sa.literal_column("shop.asked"))
    )
)


async def fence_and_settings(tx: Transaction, shop_id: str) -> tuple[int, ShopSettings]:
    """How many rounds of routing the shop has seen, and its settings."""
    (found,) = await _FENCE_AND_SETTINGS.rows(tx, shop_id=shop_id)
    fence = found.pop("fence") or 0
    if found["shop_id"] is None:
        return fence, ShopSettings(shop_id=shop_id)
    return fence, msgspec.convert(found, ShopSettings)


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


def _held(counted: "sa.ColumnElement[int]") -> "sa.ScalarSelect[int]":
    """What an agent has in hand, by the index: joined by agent it would be compared with all."""
    return (
        sa.select(counted)
        .where(
            _CONVERSATION.shop_id == AGENTS.c.shop_id,
            _CONVERSATION.agent_id == AGENTS.c.agent_id,
            sa.text("conversations.state = 'assigned'"),
        )
        .correlate(AGENTS)
        .scalar_subquery()
    )


_CANDIDATES = Prepared(
    sa.select(
        *(AGENTS.c[n] for n in Candidate.__struct_fields__ if n not in ("open", "unanswered")),
        _held(sa.func.count()).label("open"),
        _held(sa.func.count(_CONVERSATION.unanswered_since)).label("unanswered"),
    ).where(
        AGENTS.c.shop_id == _SHOP,
        (AGENTS.c.presence == "online") | (AGENTS.c.presence == "suspended"),
    )
)


async def candidates(tx: Transaction, shop_id: str) -> list[Candidate]:
    """Agents who may be given somebody (online, or suspended for their own buyers), with loads."""
    found = await _CANDIDATES.rows(tx, shop_id=shop_id)
    return [msgspec.convert(one, Candidate) for one in found]


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
        _IS_WAITING,
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
        .where(table.c.shop_id == shop_id, _IS_WAITING)
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
