"""A message costs rows, not round trips: a batch's statements do not grow with the batch."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from chat_router.intake import SendMessage
from chat_router.messages import Incoming
from common.runtime.items import CommandItem

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


class Statements:
    """Counts what the runner's own batches execute."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.texts: list[str] = []

    async def of(self, items: Sequence[CommandItem]) -> int:
        engine = self._chat.service.database.engine.sync_engine
        self.texts = []

        def count(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            self.texts.append(statement)

        sa.event.listen(engine, "before_cursor_execute", count)
        try:
            outcomes, _ = await self._chat.service.runner.run(items)
        finally:
            sa.event.remove(engine, "before_cursor_execute", count)
        assert {one.status for one in outcomes} == {"done"}
        return len(self.texts)


async def test_statements_of_a_batch_do_not_depend_on_its_size(chat: Chat) -> None:
    await chat.service.stop()  # so that nothing else executes anything
    chat.service.database.engine.sync_engine.dispose()
    statements = Statements(chat)

    first_of_one = await statements.of([written("b0", 1)])
    first_of_many = await statements.of([written(f"b{n}", 1) for n in range(1, 100)])
    next_of_one = await statements.of([written("b0", 2)])
    next_of_many = await statements.of([written(f"b{n}", 2) for n in range(1, 100)])

    assert first_of_one == first_of_many
    assert next_of_one == next_of_many
    assert next_of_many <= 9, statements.texts
    assert first_of_many <= 15, statements.texts
