"""What endpoints read: one thing by its id, or a page by cursor. Always within one shop."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts import ConversationState

from ..buyers import Buyer
from ..conversations import Conversation
from ..groups import SkillGroup
from ..messages import Message
from ..models import (
    AgentRow,
    BuyerRow,
    ConversationRow,
    GroupRow,
    MessageRow,
    ShopSettingsRow,
    table_of,
)
from ..presence import Agent
from ..shop_settings import ShopSettings
from .reading import all_of, one_of

CONVERSATIONS = table_of(ConversationRow)
MESSAGES = table_of(MessageRow)
BUYERS = table_of(BuyerRow)
AGENTS = table_of(AgentRow)
GROUPS = table_of(GroupRow)
SETTINGS = table_of(ShopSettingsRow)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations a list is of; None leaves a question open."""

    state: ConversationState | None = None
    agent_id: str | None = None
    buyer_id: str | None = None


async def conversation(
    conn: AsyncConnection, shop_id: str, conversation_id: str
) -> Conversation | None:
    """One conversation."""
    query = sa.select(CONVERSATIONS).where(
        CONVERSATIONS.c.shop_id == shop_id, CONVERSATIONS.c.conversation_id == conversation_id
    )
    return one_of(Conversation, (await conn.execute(query)).one_or_none())


async def open_conversation(
    conn: AsyncConnection, shop_id: str, buyer_id: str
) -> Conversation | None:
    """The open conversation of a buyer."""
    table = CONVERSATIONS
    query = sa.select(table).where(
        table.c.shop_id == shop_id, table.c.buyer_id == buyer_id, table.c.state != "closed"
    )
    return one_of(Conversation, (await conn.execute(query)).one_or_none())


async def conversations(
    conn: AsyncConnection, shop_id: str, wanted: Wanted, before: str | None, limit: int
) -> list[Conversation]:
    """Conversations, the newest opened first, opened before the one named `before`."""
    table = CONVERSATIONS
    query = sa.select(table).where(table.c.shop_id == shop_id)
    if wanted.state is not None:
        # Written out, so that an inbox of live conversations reads the partial index of those
        # and not an agent's whole history.
        query = query.where(table.c.state == sa.literal(wanted.state, literal_execute=True))
    for name in ("agent_id", "buyer_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(table.c[name] == value)
    if before is not None:
        query = query.where(table.c.conversation_id < before)
    query = query.order_by(table.c.conversation_id.desc()).limit(limit)
    return all_of(Conversation, await conn.execute(query))


async def messages(
    conn: AsyncConnection, shop_id: str, conversation_id: str, after_seq: int, limit: int
) -> list[Message]:
    """Messages of a conversation after a number, in order."""
    table = MESSAGES
    query = (
        sa.select(table)
        .where(
            table.c.shop_id == shop_id,
            table.c.conversation_id == conversation_id,
            table.c.seq > after_seq,
        )
        .order_by(table.c.seq)
        .limit(limit)
    )
    return all_of(Message, await conn.execute(query))


async def buyer(conn: AsyncConnection, shop_id: str, buyer_id: str) -> Buyer | None:
    """One buyer."""
    query = sa.select(BUYERS).where(BUYERS.c.shop_id == shop_id, BUYERS.c.buyer_id == buyer_id)
    return one_of(Buyer, (await conn.execute(query)).one_or_none())


async def buyers(conn: AsyncConnection, shop_id: str, buyer_ids: Iterable[str]) -> dict[str, Buyer]:
    """Some buyers, by id."""
    wanted = list(dict.fromkeys(buyer_ids))
    query = sa.select(BUYERS).where(BUYERS.c.shop_id == shop_id, BUYERS.c.buyer_id.in_(wanted))
    return {one.buyer_id: one for one in all_of(Buyer, await conn.execute(query))}


async def agents(conn: AsyncConnection, shop_id: str, after: str, limit: int) -> list[Agent]:
    """Agents by id, after the one named `after`."""
    query = (
        sa.select(AGENTS)
        .where(AGENTS.c.shop_id == shop_id, AGENTS.c.agent_id > after)
        .order_by(AGENTS.c.agent_id)
        .limit(limit)
    )
    return all_of(Agent, await conn.execute(query))


async def agent(conn: AsyncConnection, shop_id: str, agent_id: str) -> Agent | None:
    """One agent."""
    query = sa.select(AGENTS).where(AGENTS.c.shop_id == shop_id, AGENTS.c.agent_id == agent_id)
    return one_of(Agent, (await conn.execute(query)).one_or_none())


async def groups(conn: AsyncConnection, shop_id: str) -> list[SkillGroup]:
    """All skill groups of a shop, in their order."""
    query = sa.select(GROUPS).where(GROUPS.c.shop_id == shop_id)
    ordered = query.order_by(GROUPS.c.place, GROUPS.c.group_id)
    return all_of(SkillGroup, await conn.execute(ordered))


async def group(conn: AsyncConnection, shop_id: str, group_id: str) -> SkillGroup | None:
    """One skill group."""
    query = sa.select(GROUPS).where(GROUPS.c.shop_id == shop_id, GROUPS.c.group_id == group_id)
    return one_of(SkillGroup, (await conn.execute(query)).one_or_none())


async def settings(conn: AsyncConnection, shop_id: str) -> ShopSettings:
    """A shop's rules, or the defaults."""
    query = sa.select(SETTINGS).where(SETTINGS.c.shop_id == shop_id)
    found = one_of(ShopSettings, (await conn.execute(query)).one_or_none())
    return found or ShopSettings(shop_id=shop_id)
