"""OO5 over the real API and real events, on both databases."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from common.auth.principal import Role
from common.contracts import CommandFailed, CommandRequested, CommandSucceeded
from order_ops.memos import memo_bytes
from tests.support.order_examples import at, snapshot
from tests.support.order_shop import Shop


async def write(shop: Shop, text: str | None = None, order_id: str = "o1", **rest: Any) -> Any:
    body = {"text": text} | {k: rest.pop(k) for k in ("flag",) if k in rest}
    return await shop.call("POST", f"/v1/orders/{order_id}/memos", json=body, **rest)


async def memos_of(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.call("GET", "/v1/orders/o1/memos")).json()["items"]
    return found


async def commands(shop: Shop) -> list[CommandRequested]:
    return [e for e in await shop.events("kefu.commands") if isinstance(e, CommandRequested)]


def succeeded(command: CommandRequested) -> CommandSucceeded:
    return CommandSucceeded(
        shop_id=command.shop_id,
        command_id=command.command_id,
        action=command.action,
        target_id=command.target_id,
        requested_service="order_ops",
        at=command.requested_at,
    )


def failed(command: CommandRequested) -> CommandFailed:
    return CommandFailed(
        shop_id=command.shop_id,
        command_id=command.command_id,
        action=command.action,
        target_id=command.target_id,
        requested_service="order_ops",
        code="trade_not_found",
        message="no such trade",
        retryable=False,
        at=command.requested_at,
    )


async def play_platform(shop: Shop, answered: Iterable[str] = ()) -> str:
    """Carries out every command as the platform would, last writer wins; the final memo."""
    done, memo = set(answered), ""
    while True:
        fresh = [c for c in await commands(shop) if c.command_id not in done]
        if not fresh:
            return memo
        for command in fresh:
            memo = str(command.arguments["memo"])
            done.add(command.command_id)
            await shop.tell(succeeded(command))


async def test_a_memo_is_asked_of_the_platform_and_settled_by_its_answer(shop: Shop) -> None:
    await shop.tell(snapshot(seller_memo="老客户"))
    answer = await write(shop, "送礼,请附贺卡", flag=1)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    (command,) = await commands(shop)
    assert (command.action, command.arguments["flag"]) == ("memo_update", 1)
    assert str(command.arguments["memo"]).startswith("老客户\n【客服 xiaomei")
    await shop.tell(succeeded(command), succeeded(command))
    assert [memo["state"] for memo in await memos_of(shop)] == ["succeeded"]
    order = (await shop.call("GET", "/v1/orders/o1")).json()
    assert (order["seller_memo"], order["flag"]) == (command.arguments["memo"], 1)
    changed = (await shop.events("kefu.orders"))[-1]
    assert (type(changed).__name__, changed.flag) == ("OrderChanged", 1)
    await shop.tell(snapshot(seller_memo=order["seller_memo"], flag=1, modified_at=at(minutes=1)))
    assert [memo["state"] for memo in await memos_of(shop)] == ["verified"]
    history = (await shop.call("GET", "/v1/orders/o1/history")).json()["items"]
    kinds = [entry["kind"] for entry in history if entry["kind"].startswith("memo.")]
    assert kinds == ["memo.pending", "memo.succeeded", "memo.verified"]


async def test_a_refused_memo_is_failed_with_the_platforms_reason(shop: Shop) -> None:
    await shop.tell(snapshot())
    await write(shop, "一")
    await write(shop, "二")
    (command,) = await commands(shop)
    await shop.tell(failed(command))
    first, second = await memos_of(shop)
    assert (first["state"], first["failure_code"]) == ("failed", "trade_not_found")
    assert second["state"] == "pending"
    assert len(await commands(shop)) == 2


async def test_concurrent_memos_take_turns_and_none_is_lost(shop: Shop) -> None:
    await shop.tell(snapshot(seller_memo="平台的话"))
    texts = [f"备注{n:02}" for n in range(12)]
    answers = await asyncio.gather(
        *(write(shop, text, subject=f"a{n}") for n, text in enumerate(texts))
    )
    assert [answer.status_code for answer in answers] == [202] * 12
    assert len(await commands(shop)) == 1
    memo = await play_platform(shop)
    assert memo.startswith("平台的话\n")
    assert all(memo.count(text) == 1 for text in texts)
    assert memo_bytes(memo) <= 1000
    assert [one["state"] for one in await memos_of(shop)] == ["succeeded"] * 12
    ids = [command.command_id for command in await commands(shop)]
    assert len(ids) == len(set(ids)) == 12


async def test_memos_beyond_the_byte_limit_are_refused_and_nothing_is_cut(shop: Shop) -> None:
    await shop.tell(snapshot())
    answers = await asyncio.gather(
        *(write(shop, f"{n}" + "长" * 100, subject=f"a{n}") for n in range(8))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [202] * 4 + [422] * 4
    refused = next(answer for answer in answers if answer.status_code == 422).json()
    assert refused["code"] == "memo_too_long"
    assert refused["bytes_left"] < 201
    assert memo_bytes(await play_platform(shop)) <= 1000


async def test_a_memo_the_platform_lost_is_written_again_once_then_a_conflict(shop: Shop) -> None:
    await shop.tell(snapshot())
    await write(shop, "送礼")
    await shop.tell(succeeded((await commands(shop))[-1]))
    await shop.tell(snapshot(seller_memo="覆盖", modified_at=at(minutes=1)))
    again = await commands(shop)
    assert len(again) == 2
    assert str(again[1].arguments["memo"]).startswith("覆盖\n【客服")
    await shop.tell(succeeded(again[1]))
    await shop.tell(snapshot(seller_memo="又覆盖", modified_at=at(minutes=2)))
    assert [memo["state"] for memo in await memos_of(shop)] == ["conflict"]
    assert len(await commands(shop)) == 2
    assert (await shop.call("GET", "/v1/orders/o1")).json()["needs_person"] is True


async def test_without_an_answer_the_next_memo_gets_its_turn_and_keeps_the_first_line(
    shop: Shop,
) -> None:
    await shop.tell(snapshot(seller_memo="平台的话"))
    await write(shop, "一")
    await write(shop, "二")
    await shop.move_to(minutes=11)
    first, second = await memos_of(shop)
    assert (first["state"], first["failure_code"]) == ("failed", "no_answer")
    asked = await commands(shop)
    assert asked[1].arguments["memo"] == f"平台的话\n{first['line']}\n{second['line']}"
    await shop.tell(succeeded(asked[0]), succeeded(asked[1]))
    assert [memo["state"] for memo in await memos_of(shop)] == ["succeeded"] * 2


async def test_answers_to_other_services_and_unknown_commands_change_nothing(shop: Shop) -> None:
    await shop.tell(snapshot())
    await write(shop, "一")
    (command,) = await commands(shop)
    known = succeeded(command)
    foreign = CommandSucceeded(
        shop_id="s1",
        command_id=command.command_id,
        action="memo_update",
        target_id="o1",
        requested_service="aftersales",
        at=at(),
    )
    unknown = CommandSucceeded(
        shop_id="s1",
        command_id="nobody",
        action="memo_update",
        target_id="o1",
        requested_service="order_ops",
        at=at(),
    )
    await shop.tell(foreign, unknown)
    assert [memo["state"] for memo in await memos_of(shop)] == ["pending"]
    await shop.tell(known)
    assert [memo["state"] for memo in await memos_of(shop)] == ["succeeded"]


async def test_a_repeated_request_writes_one_memo(shop: Shop) -> None:
    await shop.tell(snapshot())
    key = {"Idempotency-Key": "memo-1"}
    first, second = await asyncio.gather(
        write(shop, "送礼", headers=key), write(shop, "送礼", headers=key)
    )
    assert first.json() == second.json()
    assert len(await memos_of(shop)) == 1


@pytest.mark.parametrize(
    "body, code",
    [
        ({}, "invalid_input"),
        ({"text": "   "}, "invalid_input"),
        ({"text": "a", "flag": 6}, "invalid_input"),
        ({"text": "a", "flag": -1}, "invalid_input"),
        ({"text": "a\x00b"}, "invalid_input"),
        ({"text": "请包好🎁"}, "memo_not_encodable"),
    ],
)
async def test_bad_memos_are_refused(shop: Shop, body: dict[str, Any], code: str) -> None:
    await shop.tell(snapshot())
    answer = await shop.call("POST", "/v1/orders/o1/memos", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await memos_of(shop) == []


async def test_who_may_write_memos(shop: Shop) -> None:
    await shop.tell(snapshot())
    assert (await write(shop, "一", role=Role.BUYER, subject="b1")).status_code == 403
    assert (await write(shop, "一", role=Role.SYSTEM)).status_code == 403
    assert (await write(shop, "一", shop_id="s2")).status_code == 404
    assert (await write(shop, "一", order_id="o9")).status_code == 404
