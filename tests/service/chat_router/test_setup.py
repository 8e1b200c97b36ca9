"""What supervisors set and staff edit: versions, roles, limits."""

import asyncio
from typing import Any

import pytest

from chat_router.models import ChatTable
from common.contracts import ConversationChanged

from .conftest import Chat

AGENT = {"capacity": 3, "name": "小美", "groups": ["presale"]}
GROUP = {"name": "售前", "order_states": ["none"]}
PROFILE = {"tags": ["老客户"], "attributes": {"身高": "165"}}


@pytest.mark.parametrize(
    "path, body",
    [("/agents/a1", AGENT), ("/groups/g1", GROUP), ("/buyers/b1", PROFILE), ("/shop_settings", {})],
)
async def test_update_names_the_version_it_changed(chat: Chat, path: str, body: Any) -> None:
    leader = chat.supervisor
    first = await leader.put(path, body, '"0"')
    again = await leader.put(path, body, '"0"')
    third = await leader.put(path, body, first.headers["etag"])
    without = await leader.call("PUT", path, json=body)
    read = await leader.call("GET", path)

    assert (first.status_code, first.headers["etag"]) == (200, '"1"')
    assert (again.status_code, again.json()["code"]) == (412, "precondition_failed")
    assert (third.status_code, third.headers["etag"]) == (200, '"2"')
    assert without.status_code == 428
    assert read.headers["etag"] == '"2"'


@pytest.mark.parametrize(
    "path, body", [("/agents/a1", AGENT), ("/groups/g1", GROUP), ("/shop_settings", {})]
)
async def test_of_two_edits_at_once_one_is_refused(chat: Chat, path: str, body: Any) -> None:
    await chat.supervisor.put(path, body)

    answers = await asyncio.gather(*(chat.supervisor.put(path, body, '"1"') for _ in range(5)))

    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412, 412]


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/agents", {"agent", "supervisor", "operations", "system"}),
        ("GET", "/groups", {"agent", "supervisor", "operations", "system"}),
        ("GET", "/shop_settings", {"agent", "supervisor", "operations", "system"}),
        ("GET", "/queues", {"agent", "supervisor", "operations", "system"}),
        ("GET", "/queue", {"buyer"}),
        ("GET", "/buyers/b1", {"agent", "supervisor", "operations", "system"}),
        ("PUT", "/agents/a1", {"supervisor", "system"}),
        ("PUT", "/groups/g1", {"supervisor", "system"}),
        ("PUT", "/shop_settings", {"supervisor", "system"}),
        ("PUT", "/buyers/b1", {"agent", "supervisor", "operations"}),
    ],
)
async def test_every_role_may_do_its_own_and_nothing_else(
    chat: Chat, method: str, path: str, allowed: set[str]
) -> None:
    bodies: dict[str, Any] = {"/agents/a1": AGENT, "/groups/g1": GROUP, "/buyers/b1": PROFILE}
    rest = {"json": bodies.get(path, {})} if method == "PUT" else {}
    for role in ("buyer", "agent", "supervisor", "operations", "system"):
        headers = {"If-Match": "*"} if method == "PUT" else {}
        answer = await chat.caller("somebody", role).call(method, path, headers=headers, **rest)
        refused = answer.status_code == 403
        assert refused is (role not in allowed), (role, answer.status_code, answer.text)


@pytest.mark.parametrize(
    "path, body",
    [
        ("/agents/a1", {"capacity": -1}),
        ("/agents/a1", {"capacity": 1, "weight": 0}),
        ("/groups/g1", {"name": "x", "order_states": ["dreaming"]}),
        ("/groups/g1", {"name": ""}),
        ("/buyers/b1", {"tags": ["a\u0000b"]}),
        ("/buyers/b1", {"tags": ["x"] * 101}),
        ("/buyers/b1", {"priority": 10}),
        ("/shop_settings", {"timezone": "Mars/Olympus"}),
        ("/shop_settings", {"hours": [{"weekday": 7, "opens": "09:00", "closes": "10:00"}]}),
        ("/shop_settings", {"hours": [{"weekday": 1, "opens": "10:00", "closes": "09:00"}]}),
        ("/shop_settings", {"hours": [{"weekday": 1, "opens": "9:00", "closes": "25:00"}]}),
        ("/shop_settings", {"closed_dates": ["2026-02-30"]}),
        ("/shop_settings", {"warning_seconds": 0}),
        ("/shop_settings", {"unknown": 1}),
    ],
)
async def test_nonsense_is_refused_and_nothing_is_kept(chat: Chat, path: str, body: Any) -> None:
    answer = await chat.supervisor.put(path, body)

    assert answer.status_code == 422
    read = await chat.supervisor.call("GET", path)
    assert read.status_code == 404 or read.headers["etag"] == '"0"'


async def test_settings_are_read_back_as_they_were_set(chat: Chat) -> None:
    rules = {
        "hours": [{"weekday": 0, "opens": "09:00", "closes": "24:00"}],
        "closed_dates": ["2026-10-01"],
        "greeting_zh": "您好",
        "warning_seconds": 60,
        "bot_replies_count": True,
    }
    await chat.rules(**rules)

    found = await chat.supervisor.get("/shop_settings")

    assert {name: found[name] for name in rules} == rules


async def test_tags_are_shown_beside_a_live_chat_at_once(chat: Chat) -> None:
    agent = await chat.add_agent("a1")
    conversation_id = (await chat.buyer("b1").write("在吗?"))["conversation_id"]
    await chat.assigned(conversation_id, "a1")

    answer = await agent.put("/buyers/b1", PROFILE, '"1"')

    assert answer.status_code == 200
    changed = (await chat.until_seen(ConversationChanged))[0]
    assert (changed.changed, changed.tags) == (("tags",), ("老客户",))
    assert (await chat.supervisor.get("/buyers/b1"))["attributes"] == {"身高": "165"}


async def test_a_message_does_not_undo_a_profile_edit(chat: Chat) -> None:
    """Projections and edits share the row: an edit's version is not moved by a chat."""
    buyer = chat.buyer("b1")
    first = await buyer.write("在吗?")
    read = await chat.supervisor.call("GET", "/buyers/b1")
    await buyer.post(f"/conversations/{first['conversation_id']}/close")
    await buyer.write("又来了")

    answer = await chat.supervisor.put("/buyers/b1", PROFILE, read.headers["etag"])

    assert answer.status_code == 200
    found = await chat.supervisor.get("/buyers/b1")
    assert (found["tags"], found["conversation_id"] is not None) == (["老客户"], True)


async def test_migrated_schema_is_what_the_models_say(chat: Chat) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy.engine import Connection

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection)
        return [d for d in compare_metadata(context, ChatTable.metadata) if "alembic" not in str(d)]

    async with chat.service.database.read() as conn:
        assert await conn.run_sync(differences) == []
