"""What the router reads, asked many times a second: prepared, and on the driver itself."""

from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from common.db.prepared import Prepared
from common.db.transaction import Transaction

from ..models import AgentRow, ConversationRow, DeskRow, ShopSettingsRow, table_of
from ..routing import Candidate, Waiting
from ..shop_settings import ShopSettings
from .queues import IS_WAITING

AGENTS = table_of(AgentRow)
DESKS = table_of(DeskRow)
SETTINGS = table_of(ShopSettingsRow)
_CONVERSATION = table_of(ConversationRow).c
_SHOP: "sa.BindParameter[str]" = sa.bindparam("shop_id", type_=sa.String())


def _values_of_waiting(
    column: "sa.Column[str]", *here: "sa.ColumnElement[bool]"
) -> "sa.Select[tuple[str]]":
    """The different values of a column among those who wait, in order.

    It hops through the index from one value to the next: DISTINCT would read everybody who waits,
    each time the router looks.
    """
    lowest = sa.select(sa.func.min(column).label("value")).where(IS_WAITING, *here)
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
        IS_WAITING,
        (_CONVERSATION.state == "queued") | sa.bindparam("is_open", type_=sa.Boolean()),
        _CONVERSATION.group_id == sa.bindparam("group_id", type_=sa.String()),
    )
    .order_by(_CONVERSATION.rank, _CONVERSATION.queued_at, _CONVERSATION.conversation_id)
    .limit(sa.bindparam("limit", type_=sa.Integer()))
)


class Queue(NamedTuple):
    """The head of one group's queue, and how many wait there."""

    group_id: str
    head: list[Waiting]


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
