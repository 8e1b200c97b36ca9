"""How state is bound to tables."""

from common.db.binding import Binding, Index

from ..assignments import Desk
from ..buyers import Buyer
from ..case_cards import KnownCase
from ..conversations import Conversation
from ..groups import EditedGroup, SkillGroup
from ..messages import Message
from ..models import (
    AgentRow,
    BuyerRow,
    ConversationRow,
    DeskRow,
    GroupRow,
    KnownCaseRow,
    KnownOrderRow,
    MessageRow,
    RoundRow,
    ShopSettingsRow,
    table_of,
)
from ..order_cards import KnownOrder
from ..presence import Agent
from ..response_times import Round
from ..shop_settings import EditedSettings, ShopSettings

SETTINGS = Binding(ShopSettings, table_of(ShopSettingsRow), key=("shop_id",), lock=False)
EDITED_SETTINGS = Binding(EditedSettings, table_of(ShopSettingsRow), key=("shop_id",))
GROUPS = Binding(
    SkillGroup,
    table_of(GroupRow),
    key=("shop_id", "group_id"),
    indexes={"of_shop": Index(columns=("shop_id",))},
    lock=False,
)
EDITED_GROUPS = Binding(EditedGroup, table_of(GroupRow), key=("shop_id", "group_id"))
# Never changed once stored. One stored by another replica meanwhile is not seen before ours meets
# the unique key; then the batch runs again and finds it.
MESSAGES = Binding(
    Message,
    table_of(MessageRow),
    key=("shop_id", "conversation_id", "seq"),
    indexes={"of_client": Index(columns=("shop_id", "source", "client_message_id"))},
    lock=False,
)
DESKS = Binding(Desk, table_of(DeskRow), key=("shop_id",))
AGENTS = Binding(Agent, table_of(AgentRow), key=("shop_id", "agent_id"))
ORDERS = Binding(
    KnownOrder,
    table_of(KnownOrderRow),
    key=("shop_id", "order_id"),
    indexes={
        "counting_of_buyer": Index(
            columns=("shop_id", "buyer_id"),
            where=lambda order: order.counts,
            sql="t.counts",
        )
    },
)
CASES = Binding(KnownCase, table_of(KnownCaseRow), key=("shop_id", "case_id"))
CONVERSATIONS = Binding(
    Conversation,
    table_of(ConversationRow),
    key=("shop_id", "conversation_id"),
    indexes={
        "open_of_buyer": Index(
            columns=("shop_id", "buyer_id"),
            where=lambda one: one.state != "closed",
            sql="t.state <> 'closed'",
        ),
        # Rows loaded by it may lose their agent meanwhile; none can gain one in its sight.
        "of_agent": Index(
            columns=("shop_id", "agent_id"),
            where=lambda one: one.state == "assigned",
            sql="t.state = 'assigned'",
        ),
    },
)
BUYERS = Binding(Buyer, table_of(BuyerRow), key=("shop_id", "buyer_id"))
ROUNDS = Binding(Round, table_of(RoundRow), key=("shop_id", "conversation_id", "round"))

BINDINGS = (
    SETTINGS,
    GROUPS,
    MESSAGES,
    EDITED_SETTINGS,
    EDITED_GROUPS,
    DESKS,
    AGENTS,
    ORDERS,
    CASES,
    CONVERSATIONS,
    BUYERS,
    ROUNDS,
)
"""In lock order."""
