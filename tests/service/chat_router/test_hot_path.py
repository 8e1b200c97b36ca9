"""A message costs rows, not round trips: a batch's statements do not grow with the batch."""

from collections.abc import Sequence

from chat_router.intake import SendMessage
from chat_router.messages import Incoming
from common.runtime.items import CommandItem
from tests.support.statements import statements

from .conftest import SHOP, Chat


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
    if not chat.service.database.is_sqlite:  # a few rows go into all tables at once
        assert len(first_of_one) <= 12, first_of_one
        assert len(next_of_one) <= 7, next_of_one
    assert len(next_of_many) <= 9, next_of_many
    assert len(first_of_many) <= 15, first_of_many
