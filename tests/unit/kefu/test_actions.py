"""Actions: on disk before they are sent, sent again after a kill, never after an answer."""

import contextlib
from pathlib import Path
from typing import Any

from kefu.replay.actions import Actions
from kefu.replay.http import RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.records import Acknowledged, Planned


class Wire:
    """Remembers what was sent; answers, refuses, or dies before the answer."""

    def __init__(self, journal: Journal, outcome: str = "answers") -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._outcome = outcome
        self._journal = journal

    async def send(self, action: str, body: dict[str, Any]) -> Acknowledged:
        assert self._journal.path is not None
        assert action.encode() in self._journal.path.read_bytes(), "sent before it was on disk"
        self.sent.append((action, body))
        if self._outcome == "dies":
            raise ConnectionAbortedError
        if self._outcome == "refuses":
            raise RefusedByApi(422, "invalid_input", "no")
        return Acknowledged(at=1.0, action=action, message_id="m1")


async def _opened(path: Path) -> tuple[Journal, Actions]:
    journal = Journal(path)
    await journal.open()
    actions = Actions(journal)
    actions.recall(journal.records)
    return journal, actions


async def test_an_action_killed_before_its_answer_is_repeated_byte_for_byte(tmp_path: Path) -> None:
    journal, actions = await _opened(tmp_path / "j")
    dying = Wire(journal, "dies")
    with contextlib.suppress(ConnectionAbortedError):
        await actions.do("a1", "order", "system", lambda: {"now": "first"}, dying.send)
    await journal.close()

    journal, actions = await _opened(tmp_path / "j")
    wire = Wire(journal)
    answer = await actions.do("a1", "order", "system", lambda: {"now": "second"}, wire.send)
    assert answer is not None
    assert wire.sent == dying.sent == [("a1", {"now": "first"})]
    await journal.close()


async def test_an_acknowledged_action_is_never_sent_again(tmp_path: Path) -> None:
    journal, actions = await _opened(tmp_path / "j")
    first = await actions.do("a1", "order", "system", dict, Wire(journal).send)
    await journal.close()
    journal, actions = await _opened(tmp_path / "j")
    wire = Wire(journal)
    assert await actions.do("a1", "order", "system", dict, wire.send) == first
    assert wire.sent == []
    await journal.close()


async def test_a_refused_action_stays_refused(tmp_path: Path) -> None:
    journal, actions = await _opened(tmp_path / "j")
    assert await actions.do("a1", "order", "system", dict, Wire(journal, "refuses").send) is None
    await journal.close()
    journal, actions = await _opened(tmp_path / "j")
    wire = Wire(journal)
    assert await actions.do("a1", "order", "system", dict, wire.send) is None
    assert actions.refused["a1"].code == "invalid_input"
    assert wire.sent == []
    await journal.close()


async def test_turns_of_a_thread_are_numbered_in_the_order_of_writing_across_restarts(
    tmp_path: Path,
) -> None:
    journal, actions = await _opened(tmp_path / "j")
    for action in ("a1", "a2"):
        await actions.do(
            action, "message", "buyer:b", dict, Wire(journal).send, about="b", is_turn=True
        )
    await journal.close()
    journal, actions = await _opened(tmp_path / "j")
    await actions.do("a3", "message", "buyer:b", dict, Wire(journal).send, about="b", is_turn=True)
    turns = [record.turn for record in journal.records if isinstance(record, Planned)]
    assert turns == [1, 2, 3]
    await journal.close()
