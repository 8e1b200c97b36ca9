"""OO2 over real events, timers and the real API, on both databases."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.auth.principal import Role
from common.bus.embedded import EmbeddedBus
from common.contracts import (
    ConversationClosed,
    ConversationOpened,
    MessageReceived,
    ReminderDue,
    ReminderSent,
    ReminderStopped,
    decode,
)
from common.db.transaction import Transaction
from common.runtime import Service
from order_ops.app import SERVICE
from order_ops.bookkeeping import RecordOrder
from order_ops.reminder_policies import share
from order_ops.store import REMINDERS
from tests.support.harness import MovableClock, idle, make, publish, running, until
from tests.support.order_examples import TEN, at, line, snapshot
from tests.support.order_shop import NO_HOLDOUT, Shop, message_of, set_policy

PAID: dict[str, Any] = {"paid_fen": 38500, "paid_at": at(minutes=31), "modified_at": at(minutes=31)}


async def due_of(shop: Shop) -> list[ReminderDue]:
    return [e for e in await shop.events("kefu.reminders") if isinstance(e, ReminderDue)]


def ends(reminders: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(r["state"], r["reason"]) for r in reminders]


async def test_a_stage_goes_from_planned_to_due_to_sent(shop: Shop) -> None:
    await shop.tell(snapshot())
    assert ends(await shop.reminders()) == [("planned", None)] * 3
    await shop.move_to(minutes=31)
    (due,) = await due_of(shop)
    assert (due.idempotency_key, due.stage, due.sent_by) == ("o1:1", 1, "message")
    assert (await shop.reminders())[0]["state"] == "due"
    await shop.tell(message_of(due), message_of(due))
    assert (await shop.reminders())[0]["state"] == "sent"
    sent = [e for e in await shop.events("kefu.reminders") if isinstance(e, ReminderSent)]
    assert [(e.stage, e.message_id) for e in sent] == [(1, f"m-{due.reminder_id}")]


async def test_payment_stops_every_stage_that_was_still_planned(shop: Shop) -> None:
    await shop.tell(snapshot(), snapshot("paid", **PAID))
    assert ends(await shop.reminders()) == [("stopped", "paid")] * 3
    await shop.move_to(days=2)
    assert await due_of(shop) == []
    stopped = [e for e in await shop.events("kefu.reminders") if isinstance(e, ReminderStopped)]
    assert sorted((e.stage or 0, e.reason) for e in stopped) == [
        (1, "paid"),
        (2, "paid"),
        (3, "paid"),
    ]


async def test_payment_between_due_and_send_stops_the_reminder(shop: Shop) -> None:
    await shop.tell(snapshot())
    await shop.move_to(minutes=31)
    await shop.tell(snapshot("paid", **PAID))
    assert ends(await shop.reminders())[0] == ("due", None)
    await shop.move_to(minutes=32)
    assert ends(await shop.reminders()) == [("stopped", "paid")] * 3


async def test_a_message_that_went_out_before_the_payment_arrived_counts_as_sent(
    shop: Shop,
) -> None:
    await shop.tell(snapshot())
    await shop.move_to(minutes=31)
    (due,) = await due_of(shop)
    await shop.tell(snapshot("paid", **PAID))
    await shop.tell(message_of(due))
    await shop.move_to(minutes=40)
    assert ends(await shop.reminders()) == [
        ("sent", None),
        ("stopped", "paid"),
        ("stopped", "paid"),
    ]
    ended = [e for e in await shop.events("kefu.reminders") if not isinstance(e, ReminderDue)]
    assert Counter(e.stage for e in ended) == {1: 1, 2: 1, 3: 1}


async def test_a_closed_order_is_not_reminded(shop: Shop) -> None:
    await shop.tell(snapshot(), snapshot("closed", modified_at=at(minutes=1)))
    assert ends(await shop.reminders()) == [("stopped", "closed")] * 3


async def test_a_reminder_that_nobody_reports_as_sent_expires(shop: Shop) -> None:
    await shop.tell(snapshot())
    await shop.move_to(minutes=31)
    await shop.move_to(minutes=62)
    assert ends(await shop.reminders())[0] == ("stopped", "expired")


def chat(event_class: type[Any], **fields: Any) -> Any:
    known: dict[str, Any] = {
        "shop_id": "s1",
        "conversation_id": "c1",
        "buyer_id": "b1",
        "unread_agent": 0,
        "unread_buyer": 0,
        "unanswered_since": None,
        "opened_at": at(minutes=9),
    }
    return event_class(**(known | fields))


async def test_a_live_chat_turns_the_message_into_a_hint(shop: Shop) -> None:
    await shop.tell(snapshot(), chat(ConversationOpened))
    await shop.move_to(minutes=31)
    (due,) = await due_of(shop)
    assert due.sent_by == "hint"
    first = (await shop.reminders())[0]
    assert (first["state"], first["mode"], first["message_id"]) == ("sent", "hint", None)


async def test_who_left_a_message_out_of_hours_is_in_no_live_chat(shop: Shop) -> None:
    left = MessageReceived(
        shop_id="s1",
        conversation_id="c1",
        buyer_id="b1",
        unread_agent=1,
        unread_buyer=0,
        unanswered_since=at(minutes=9),
        message_id="m1",
        client_message_id="m1",
        sender_kind="buyer",
        sender_id="b1",
        kind="text",
        text="在吗?",
        seq=1,
        sent_at=at(minutes=9),
        received_at=at(minutes=9),
        state="message_box",
    )
    await shop.tell(snapshot(), chat(ConversationOpened), left)
    await shop.move_to(minutes=31)
    assert [due.sent_by for due in await due_of(shop)] == ["message"]


async def test_after_the_chat_ended_the_message_goes_to_the_buyer(shop: Shop) -> None:
    closed = chat(
        ConversationClosed,
        closed_at=at(minutes=9),
        reason="agent",
        messages_buyer=1,
        messages_agent=1,
        rounds=1,
        rounds_within_3min=1,
    )
    await shop.tell(snapshot(), chat(ConversationOpened), closed)
    await shop.move_to(minutes=31)
    assert [due.sent_by for due in await due_of(shop)] == ["message"]


async def test_two_unpaid_orders_of_one_buyer_get_one_reminder(shop: Shop) -> None:
    await shop.tell(snapshot(order_id="o1"), snapshot(order_id="o2"))
    await shop.move_to(minutes=31)
    assert len(await due_of(shop)) == 1
    reasons = [r["reason"] for r in await shop.reminders() if r["stage"] == 1]
    assert sorted(map(str, reasons)) == ["None", "other_order"]


async def reminded_and_paid(shop: Shop, number: int) -> None:
    """An order made so many days later, reminded once and then paid."""
    order_id, goods = f"d{number}", (line(f"goods-{number}"),)
    made, closes = at(days=number), at(days=number + 1)
    told: dict[str, Any] = {"order_id": order_id, "lines": goods, "created_at": made}
    await shop.tell(snapshot(**told, closes_at=closes, modified_at=made))
    await shop.move_to(days=number, minutes=31)
    paid = at(days=number, minutes=40)
    await shop.tell(snapshot("paid", **told, paid_fen=38500, paid_at=paid, modified_at=paid))
    await shop.move_to(days=number, minutes=50)


async def test_a_decision_looks_at_the_reminders_of_a_day_however_many_the_buyer_ever_got(
    shop: Shop,
) -> None:
    for number in range(6):
        await reminded_and_paid(shop, number)
    assert len(await shop.reminders()) == 18
    assert len(await due_of(shop)) == 6

    async with shop.service.database.transaction() as tx:
        select = tx.statements(REMINDERS).select("recent_of_buyer")
        found = await tx.query(select, [("s1", "b1")])
        assert {values[1] for values in found} <= {"d4", "d5"}
        plan = await explained(shop, tx, select)
    assert "ix_reminders_recent" in plan, plan


async def explained(shop: Shop, tx: Transaction, select: str) -> str:
    if shop.service.database.is_sqlite:
        steps = await tx.fetch(f"EXPLAIN QUERY PLAN {select}", '[["s1", "b1"]]')
        return "\n".join(step[3] for step in steps)
    return "\n".join(step for (step,) in await tx.fetch(f"EXPLAIN {select}", ["s1"], ["b1"]))


async def test_the_cap_counts_what_was_given_up_and_yet_written_to_another_order(
    shop: Shop,
) -> None:
    """However late it is reported: within the day it is looked at."""
    await set_policy(shop, max_per_day=1)
    await shop.tell(snapshot(order_id="o1"))
    await shop.move_to(minutes=31)
    (due,) = await due_of(shop)
    await shop.move_to(minutes=62)
    await shop.tell(snapshot("paid", order_id="o1", **PAID))
    assert (await shop.reminders())[0]["state"] == "stopped"
    await shop.tell(message_of(due))

    goods = (line("goods-2"),)
    for order_id, hours in (("o2", 2), ("o3", 24)):
        made = at(hours=hours)
        told: dict[str, Any] = {"lines": goods, "created_at": made, "modified_at": made}
        await shop.tell(snapshot(order_id=order_id, closes_at=at(days=3), **told))
        await shop.move_to(hours=hours, minutes=31)
    assert ends(await shop.reminders(order_id="o2"))[0] == ("stopped", "cap")
    assert ends(await shop.reminders(order_id="o3"))[0] == ("due", None)


async def test_the_same_goods_bought_yesterday_are_not_reminded(shop: Shop) -> None:
    yesterday = PAID | {"paid_at": at(days=-1), "modified_at": at(days=-1)}
    await shop.tell(snapshot("paid", order_id="o0", **yesterday), snapshot())
    other = snapshot(order_id="o2", buyer_id="b2", lines=(line("hat-002"),))
    await shop.tell(other)
    await shop.move_to(minutes=31)
    assert [due.order_id for due in await due_of(shop)] == ["o2"]
    assert ends(await shop.reminders(order_id="o1"))[0] == ("stopped", "recent_purchase")


async def test_a_blocked_buyer_is_not_reminded(shop: Shop) -> None:
    body = {"blocked": True, "reason": "投诉过"}
    path = "/v1/reminder_blocklist/b1"
    assert (await shop.call("PUT", path, json=body)).status_code == 403
    put = await shop.call("PUT", path, role=Role.SUPERVISOR, json=body)
    assert put.json() == (await shop.call("GET", path)).json()
    listed = (await shop.call("GET", "/v1/reminder_blocklist")).json()["items"]
    assert [entry["buyer_id"] for entry in listed] == ["b1"]
    await shop.tell(snapshot())
    await shop.move_to(minutes=31)
    assert ends(await shop.reminders())[0] == ("stopped", "blacklist")
    off = await shop.call("PUT", path, role=Role.SUPERVISOR, json={"blocked": False})
    assert off.json()["blocked"] is False
    assert (await shop.call("GET", "/v1/reminder_blocklist")).json()["items"] == []


async def test_a_moved_close_moves_the_last_reminder(shop: Shop) -> None:
    await shop.tell(snapshot(closes_at=at(hours=27)))
    before = (await shop.reminders())[2]["due_at"]
    await shop.tell(snapshot(closes_at=at(hours=28), modified_at=at(minutes=1)))
    assert (await shop.reminders())[2]["due_at"] > before


async def test_after_downtime_stale_reminders_expire(shop: Shop) -> None:
    await shop.tell(*(snapshot(order_id=f"o{n}", buyer_id=f"b{n}") for n in range(20)))
    await shop.move_to(hours=11)
    assert await due_of(shop) == []
    assert Counter(ends(await shop.reminders())) == {
        ("stopped", "expired"): 40,
        ("planned", None): 20,
    }


async def test_the_holdout_is_never_reminded_and_the_summary_compares(shop: Shop) -> None:
    await set_policy(shop, holdout_basis_points=5000)
    names = [f"o{n}" for n in range(24)]
    held = {name for name in names if share("holdout", "s1", name) < 0.5}
    await shop.tell(*(snapshot(order_id=name, buyer_id=f"b-{name}") for name in names))
    await shop.move_to(minutes=31)
    due = await due_of(shop)
    assert {one.order_id for one in due} == set(names) - held
    await shop.tell(*(message_of(one) for one in due))
    reminded = sorted(set(names) - held)
    bought = [*reminded[:4], *sorted(held)[:1]]
    await shop.tell(
        *(snapshot("paid", order_id=name, buyer_id=f"b-{name}", **PAID) for name in bought)
    )
    summary = (await shop.call("GET", "/v1/reminders/summary", params={"day": "2026-03-02"})).json()
    assert summary["sent"] == len(reminded)
    assert summary["stopped_by_reason"] == {"holdout": len(held), "paid": 2 * len(bought)}
    recovered = summary["recovered"]
    assert recovered["reminded"] == {
        "orders": len(reminded),
        "paid_orders": 4,
        "paid_fen": 4 * 38500,
    }
    assert recovered["holdout"] == {"orders": len(held), "paid_orders": 1, "paid_fen": 38500}
    expected = (4 * 38500 / len(reminded) - 38500 / len(held)) * len(reminded)
    assert recovered["total_fen"] == pytest.approx(expected)
    assert recovered["low_fen"] < expected < recovered["high_fen"]
    other_day = await shop.call("GET", "/v1/reminders/summary", params={"day": "2026-03-03"})
    assert (other_day.json()["sent"], other_day.json()["stopped"]) == (0, 0)


async def test_the_policy_is_changed_by_whoever_read_its_last_edition(shop: Shop) -> None:
    read = await shop.call("GET", "/v1/reminder_policies/current")
    body = read.json()
    for name in ("edition", "changed_by", "changed_at"):
        del body[name]

    async def put(expected: str | None, **changes: Any) -> Any:
        headers = {"If-Match": expected} if expected else {}
        return await shop.call(
            "PUT",
            "/v1/reminder_policies/current",
            role=Role.SUPERVISOR,
            headers=headers,
            json=body | changes,
        )

    answers = await asyncio.gather(*(put(read.headers["ETag"], max_per_day=n) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    winner = next(answer for answer in answers if answer.status_code == 200)
    now = await shop.call("GET", "/v1/reminder_policies/current")
    assert now.json() == winner.json()
    assert now.headers["ETag"] == winner.headers["ETag"] != read.headers["ETag"]
    losers = [answer for answer in answers if answer is not winner]
    assert {answer.headers.get("ETag") for answer in losers} == {now.headers["ETag"]}
    assert (await put(None)).status_code == 428
    assert (await put("*", quiet_from="25:00")).status_code == 422
    assert (await put("*", quiet_from="1\u0663:00")).status_code == 422  # an Arabic digit
    assert (await put("*", time_zone="Mars/Phobos")).status_code == 422
    doubled = [body["stages"][0], body["stages"][0]]
    assert (await put("*", stages=doubled)).status_code == 422


# -- races -----------------------------------------------------------------------------------


class Chat:
    """Plays chat_router: writes each reminder it sees, unless it knows the order as paid."""

    def __init__(self, bus: EmbeddedBus) -> None:
        self.bus = bus
        self.written: set[tuple[str, int]] = set()
        self.paid: set[str] = set()
        self._random = random.Random(11)

    async def run(self, ended: asyncio.Event) -> None:
        tail = await self.bus.tail(["kefu.reminders"])
        while not ended.is_set():
            for record in await tail.poll(100, 0.05):
                await self._take(record)
        await tail.close()

    async def _take(self, record: Any) -> None:
        event = decode(record.topic, record.key, record.value, record.headers).event
        if isinstance(event, ReminderDue) and event.order_id not in self.paid:
            self.written.add((event.order_id, event.stage))
            copies = 1 + (self._random.random() < 0.3)
            await publish(self.bus, *[message_of(event)] * copies)


async def race(service: Service, replica: Service, clock: MovableClock) -> Chat:
    """Payments, timers and acknowledgements of sixty orders, all at once, on two replicas."""
    assert isinstance(service.bus, EmbeddedBus)
    names = [f"o{n:02}" for n in range(60)]
    chat, ended = Chat(service.bus), asyncio.Event()
    playing = asyncio.create_task(chat.run(ended))
    await asyncio.gather(
        *(
            service.submit(RecordOrder(snapshot=snapshot(order_id=name, buyer_id=f"b{name}")))
            for name in names
        )
    )
    clock.now = at(minutes=31)
    service.wake([])

    async def pay(name: str, through: Service) -> None:
        await asyncio.sleep(random.Random(name).random() * 0.3)
        paid = snapshot("paid", order_id=name, buyer_id=f"b{name}", **PAID)
        await through.submit(RecordOrder(snapshot=paid))
        chat.paid.add(name)

    replicas = (service, replica)
    await asyncio.gather(*(pay(name, replicas[n % 2]) for n, name in enumerate(names[:45])))

    async def fired() -> bool:
        async with service.database.read() as conn:
            left = await conn.exec_driver_sql(
                "SELECT count(*) FROM reminders WHERE stage = 1 AND state = 'planned'"
            )
        return not left.scalar()

    await until(fired)
    await idle(service)
    clock.now = at(minutes=33)
    for one in replicas:
        one.wake([])

    async def settled() -> bool:
        await idle(service)
        async with service.database.read() as conn:
            left = await conn.exec_driver_sql("SELECT count(*) FROM reminders WHERE state = 'due'")
        return not left.scalar()

    await until(settled)
    ended.set()
    await playing
    return chat


async def test_payments_timers_and_acknowledgements_at_once_give_exact_counts(
    tmp_path: Path, database_url: str
) -> None:
    clock = MovableClock(TEN)
    async with running(SERVICE, tmp_path, database_url, clock=clock) as service:
        replica = service
        if not service.database.is_sqlite:
            replica = await make(SERVICE, tmp_path, database_url, bus=service.bus, clock=clock)
            await replica.start()
        try:
            shop = Shop(service, clock)
            await set_policy(shop, **NO_HOLDOUT)
            chat = await race(service, replica, clock)
            reminders = await shop.reminders()
            ended = [
                (event.order_id, event.stage, type(event).__name__)
                for event in await shop.events("kefu.reminders")
                if not isinstance(event, ReminderDue)
            ]
            await shop.http.aclose()
        finally:
            if replica is not service:
                await replica.stop()
    sent = {(r["order_id"], r["stage"]) for r in reminders if r["state"] == "sent"}
    assert sent == chat.written
    assert len(sent) >= 15
    finished = [r for r in reminders if r["state"] in ("sent", "stopped")]
    assert len(ended) == len(set(ended)) == len(finished)
    assert {(o, s) for o, s, _ in ended} == {(r["order_id"], r["stage"]) for r in finished}
    states = Counter((r["stage"], r["state"]) for r in reminders)
    assert states[1, "sent"] + states[1, "stopped"] == 60
    assert states[2, "planned"] == states[3, "planned"] == 15
