"""A message costs rows, not round trips: a batch's statements do not grow with the batch."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from chat_router.closing import CloseConversation
from chat_router.intake import SendMessage
from chat_router.messages import Incoming
from chat_router.store.bindings import CONVERSATIONS, ORDERS
from common.contracts import OrderChanged, OrderClosed, OrderFinished, OrderPaid
from common.db.binding import Binding
from common.db.database import Database
from common.runtime.items import CommandItem
from tests.support.harness import idle
from tests.support.statements import statements

from .conftest import SHOP, Chat
from .test_reactions import AT, order


def written(buyer_id: str, number: int) -> CommandItem:
    incoming = Incoming(
        shop_id=SHOP,
        buyer_id=buyer_id,
        source=f"buyer:{buyer_id}",
        client_message_id=str(number),
        sender_kind="buyer",
        sender_id=buyer_id,
        kind="text",
        text="你好",
    )
    return CommandItem(SendMessage(incoming=incoming))


async def cost_of(chat: Chat, items: Sequence[CommandItem]) -> list[str]:
    """What the runner's own batch executes."""
    with statements(chat.service.database) as seen:
        outcomes, _ = await chat.service.runner.run(items)
    assert {one.status for one in outcomes} == {"done"}
    return seen


async def test_statements_of_a_batch_do_not_depend_on_its_size(chat: Chat) -> None:
    await chat.service.stop()  # so that nothing else executes anything

    first_of_one = await cost_of(chat, [written("b0", 1)])
    first_of_some = await cost_of(chat, [written(f"b{n}", 1) for n in range(100, 160)])
    first_of_many = await cost_of(chat, [written(f"b{n}", 1) for n in range(160, 400)])
    next_of_one = await cost_of(chat, [written("b0", 2)])
    next_of_some = await cost_of(chat, [written(f"b{n}", 2) for n in range(100, 160)])
    next_of_many = await cost_of(chat, [written(f"b{n}", 2) for n in range(160, 400)])

    assert len(first_of_one) <= len(first_of_some) == len(first_of_many)
    assert len(next_of_one) <= len(next_of_some) == len(next_of_many)
    if chat.service.database.is_sqlite:
        assert len(next_of_many) <= 9, next_of_many
        assert len(first_of_many) <= 15, first_of_many
    else:  # what is only read is asked together, and a few rows go into all tables at once
        assert len(next_of_one) <= 4, next_of_one
        assert len(first_of_one) <= 5, first_of_one
        assert len(next_of_many) <= 7, next_of_many
        assert len(first_of_many) <= 11, first_of_many


@pytest.mark.parametrize("others", [0, 60])
async def test_a_buyer_whose_conversation_ends_may_open_another_in_the_same_batch(
    chat: Chat, others: int
) -> None:
    """The one gives up the key that the other takes; in whichever way the batch is written."""
    await chat.service.stop()
    (first,), _ = await chat.service.runner.run([written("b0", 1)])
    ends = CloseConversation(
        shop_id=SHOP,
        conversation_id=first.answer.conversation_id,
        actor="b0",
        actor_role="buyer",
    )
    beside = [written(f"b{n}", 1) for n in range(1, 1 + others)]

    await cost_of(chat, [CommandItem(ends), written("b0", 2), *beside])

    async with chat.service.database.read() as conn:
        states = await conn.execute(text("SELECT state FROM conversations WHERE buyer_id = 'b0'"))
        assert sorted(states.scalars()) == ["closed", "queued"]


async def test_a_message_is_stored_once_however_many_batches_race_with_it(chat: Chat) -> None:
    """The second does not see what the first has not committed; it meets the key, and looks."""
    await chat.service.stop()
    await chat.service.runner.run([written("b0", 1)])

    raced = await asyncio.gather(*(chat.service.runner.run([written("b0", 2)]) for _ in range(4)))

    answers = [outcomes[0].answer for outcomes, _ in raced]
    assert len({answer.seq for answer in answers}) == 1
    assert sorted(answer.repeated for answer in answers) == [False, True, True, True]


async def plan_of(
    database: Database,
    index: str | None,
    keys: Sequence[tuple[str, str]],
    binding: Binding[Any] = CONVERSATIONS,
) -> str:
    """What the database does to look up rows by these keys."""
    async with database.transaction() as tx:
        select = tx.statements(binding).select(index)
        if database.is_sqlite:
            listed = msgspec.json.encode(keys).decode()
            return "\n".join(r[3] for r in await tx.fetch(f"EXPLAIN QUERY PLAN {select}", listed))
        arrays = [list(column) for column in zip(*keys, strict=True)]
        return "\n".join(line for (line,) in await tx.fetch(f"EXPLAIN {select}", *arrays))


@pytest.mark.parametrize("index", [None, *CONVERSATIONS.indexes])
async def test_each_key_is_looked_up_by_itself_when_statistics_know_of_no_open_conversation(
    chat: Chat, index: str | None
) -> None:
    """To them, comparing every open conversation with every key looks as cheap."""
    await chat.service.stop()
    await chat.service.runner.run([written(f"b{n}", 1) for n in range(300)])
    async with chat.service.database.write() as conn:
        await conn.execute(text("UPDATE conversations SET state = 'closed'"))
        await conn.execute(text("ANALYZE"))
    plan = await plan_of(chat.service.database, index, [(SHOP, f"k{n}") for n in range(300)])
    assert not re.search(r"Join Filter|Seq Scan|^SCAN t", plan, re.MULTILINE), plan


async def test_a_buyer_of_many_finished_orders_costs_what_a_buyer_of_few_does(chat: Chat) -> None:
    """Of all that were finished or closed, an order event looks at one."""
    ended = [
        order(kind, 7, status, order_id=f"{status}{n:03}", created_at=AT + timedelta(minutes=n))
        for n in range(150)
        for kind, status in ((OrderFinished, "finished"), (OrderClosed, "closed"))
    ]
    await chat.publish(*ended, order(OrderPaid, 3, "paid"))
    await idle(chat.service)

    async with chat.service.database.transaction() as tx:
        select = tx.statements(ORDERS).select("counting_of_buyer")
        found = await tx.query(select, [(SHOP, "b1")])
    assert sorted(row[1] for row in found) == ["finished149", "o1"]
    plan = await plan_of(chat.service.database, "counting_of_buyer", [(SHOP, "b1")], ORDERS)
    assert "ix_known_orders_counting" in plan, plan


async def test_what_happens_to_an_order_long_finished_still_reaches_its_buyer(chat: Chat) -> None:
    """Its refund is opened and closed again; all in one batch, and beside the buyer's others."""
    old, new = {"order_id": "old", "created_at": AT - timedelta(days=90)}, {"order_id": "new"}
    await chat.publish(
        order(OrderFinished, 7, "finished", **old), order(OrderFinished, 7, "finished", **new)
    )
    await idle(chat.service)
    assert await shown_order(chat) == ("finished", "new")

    last = {"order_id": "last", "created_at": AT - timedelta(days=99)}
    await chat.publish(
        order(OrderChanged, 8, "finished", **old, refund_open=True),
        order(OrderClosed, 3, "closed", **last),
    )
    await idle(chat.service)
    assert await shown_order(chat) == ("refund_open", "old")

    await chat.publish(order(OrderChanged, 9, "finished", **old))
    await idle(chat.service)
    assert await shown_order(chat) == ("finished", "new")


async def shown_order(chat: Chat) -> tuple[str, str]:
    """The buyer's situation, and the order on the card."""
    found = await chat.supervisor.get("/buyers/b1")
    return found["order_state"], found["order"]["order_id"]
