"""What the services know of the run's orders, cases and feedback, read over HTTP at the end."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kefu.replay.check import Books, Finding, StoredMessage, Thread
from kefu.replay.http import Http, RefusedByApi
from kefu.replay.records import Planned
from kefu.replay.report import Outcome, acknowledged_of

READERS = 8
SOON_SECONDS = 20.0


@dataclass(slots=True)
class Reading:
    """One look at everything. `unsettled` names what is still under way; empty: all is done."""

    threads: list[Thread]
    outcome: Outcome
    findings: list[Finding]
    unsettled: list[str]


class Reader:
    """Reads with a supervisor's token, a few requests at a time."""

    def __init__(self, http: Http, token: str, buyers: Sequence[str], began: datetime) -> None:
        self._http = http
        self._token = token
        self._buyers = buyers
        self._began = began
        self._slots = asyncio.Semaphore(READERS)

    async def read(self, books: Books, *, buyers: Sequence[str] | None = None) -> Reading:
        """Threads, orders, reminders, cases, feedback: all that belongs to the run."""
        threads = await self.threads(self._buyers if buyers is None else buyers)
        findings: list[Finding] = []
        unsettled: list[str] = []
        orders = await self._orders(books, findings)
        reminders = await self._reminders(books, threads, findings, unsettled)
        cases = await self._cases(books, findings, unsettled)
        items = await self._items(books, findings)
        spikes, tasks = await self._spikes()
        outcome = Outcome(
            orders=orders,
            reminders=_reminder_counts(reminders),
            reminders_stopped=_count(r["reason"] for r in reminders if r["state"] == "stopped"),
            cases=_count(case["outcome"] or case["state"] for case in cases),
            refunded_fen=sum(case["refunded_fen"] for case in cases),
            feedback_items=_count(item["source"] for item in items),
            tags=_count(tag["tag"] for item in items for tag in item["tags"]),
            spikes=spikes,
            tasks=tasks,
        )
        return Reading(threads, outcome, findings, unsettled)

    # -- chat -------------------------------------------------------------------------------

    async def threads(self, buyers: Iterable[str]) -> list[Thread]:
        """Every conversation of these buyers with its messages."""
        found = await asyncio.gather(*(self._threads_of(buyer) for buyer in buyers))
        return [thread for threads in found for thread in threads]

    async def _threads_of(self, buyer_id: str) -> list[Thread]:
        listed = await self._pages("chat_router", "/v1/conversations", buyer_id=buyer_id)
        ids = sorted(conversation["conversation_id"] for conversation in listed)
        return [await self._thread(conversation_id, buyer_id) for conversation_id in ids]

    async def _thread(self, conversation_id: str, buyer_id: str) -> Thread:
        path = f"/v1/conversations/{conversation_id}/messages"
        messages = await self._pages("chat_router", path, limit=200)
        return Thread(
            conversation_id=conversation_id,
            buyer_id=buyer_id,
            messages=tuple(_message(one) for one in messages),
        )

    # -- orders -----------------------------------------------------------------------------

    async def _orders(self, books: Books, findings: list[Finding]) -> dict[str, int]:
        """Counts by status; an acknowledged state that the book has not is lost."""
        newest: dict[str, Planned] = {}
        for plan, _ in acknowledged_of(books, "order"):
            known = newest.get(plan.about)
            if known is None or known.body["version"] < plan.body["version"]:
                newest[plan.about] = plan
        found = await asyncio.gather(
            *(self._get("order_ops", f"/v1/orders/{order_id}") for order_id in newest)
        )
        for (order_id, plan), order in zip(newest.items(), found, strict=True):
            if order is None:
                findings.append(Finding("lost", order_id, "not in the order book"))
            elif order["status"] != plan.body["status"]:
                where = f"{order['status']} in the order book, {plan.body['status']} acknowledged"
                findings.append(Finding("lost", order_id, where))
        return _count(order["status"] for order in found if order)

    async def _reminders(
        self, books: Books, threads: list[Thread], findings: list[Finding], unsettled: list[str]
    ) -> list[dict[str, Any]]:
        """The run's reminders; one said to be sent must be in its buyer's thread, once."""
        orders = sorted(
            plan.about
            for plan, _ in acknowledged_of(books, "order")
            if plan.body["status"] == "unpaid"
        )
        found = await asyncio.gather(
            *(self._pages("order_ops", "/v1/reminders", order_id=order_id) for order_id in orders)
        )
        reminders = [reminder for of_order in found for reminder in of_order]
        shown = {m.message_id for thread in threads for m in thread.messages}
        for reminder in reminders:
            name = f"reminder {reminder['order_id']}:{reminder['stage']}"
            if reminder["state"] == "sent" and reminder["mode"] == "message":
                if reminder["message_id"] not in shown:
                    findings.append(Finding("lost", name, "said to be sent, not in the thread"))
            elif reminder["state"] == "due" or _is_soon(reminder):
                unsettled.append(f"{name} is {reminder['state']}")
        return reminders

    # -- cases ------------------------------------------------------------------------------

    async def _cases(
        self, books: Books, findings: list[Finding], unsettled: list[str]
    ) -> list[dict[str, Any]]:
        """The run's cases: every accepted request has one, and no order is refunded twice."""
        asked = [*acknowledged_of(books, "refund"), *acknowledged_of(books, "return")]
        orders = sorted({plan.about for plan, _ in asked})
        found = await asyncio.gather(
            *(self._pages("aftersales", "/v1/cases", order_id=order_id) for order_id in orders)
        )
        for order_id, cases in zip(orders, found, strict=True):
            wanted = sum(plan.about == order_id for plan, _ in asked)
            if len(cases) < wanted:
                where = f"{wanted} requests accepted, {len(cases)} cases"
                findings.append(Finding("lost", f"cases of {order_id}", where))
            if len(cases) > wanted:
                where = f"{len(cases)} cases for {wanted} requests"
                findings.append(Finding("doubled", f"cases of {order_id}", where))
            findings.extend(_overpaid(books, order_id, cases))
        flat = [case for of_order in found for case in of_order]
        unsettled.extend(
            f"case {case['case_id']} is {case['state']}"
            for case in flat
            if case["pending"] or _deadline_soon(case)
        )
        return flat

    # -- feedback ---------------------------------------------------------------------------

    async def _items(self, books: Books, findings: list[Finding]) -> list[dict[str, Any]]:
        """The run's feedback: every accepted review is an item."""
        reviews = acknowledged_of(books, "review")
        found = await asyncio.gather(
            *(self._get("feedback", f"/v1/items/{got.answer['item_id']}") for _, got in reviews)
        )
        for (plan, _), item in zip(reviews, found, strict=True):
            if item is None:
                findings.append(Finding("lost", f"review {plan.about}", "no feedback item"))
        buyers = set(self._buyers)
        others = [
            item
            for source in ("conversation", "case", "return_reason", "rating")
            for item in await self._newest_items(source)
            if item["buyer_id"] in buyers
        ]
        return [*(item for item in found if item), *others]

    async def _newest_items(self, source: str) -> list[dict[str, Any]]:
        """Items since the run began: the list is newest first, so the rest need not be read."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = await self._http.get(
                "feedback", "/v1/items", self._token, source=source, limit=200, cursor=cursor
            )
            fresh = [i for i in answer.body["items"] if _moment(i["occurred_at"]) >= self._began]
            items.extend(fresh)
            cursor = answer.body["next_cursor"]
            if cursor is None or len(fresh) < len(answer.body["items"]):
                return items

    async def _spikes(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        spikes = await self._pages("feedback", "/v1/spikes")
        tasks = await self._pages("feedback", "/v1/tasks")
        return (
            [_only(s, _SPIKE) for s in spikes if _moment(s["detected_at"]) >= self._began],
            [_only(t, _TASK) for t in tasks if _moment(t["opened_at"]) >= self._began],
        )

    # -- reading ----------------------------------------------------------------------------

    async def _get(self, service: str, path: str) -> Any:
        async with self._slots:
            try:
                return (await self._http.get(service, path, self._token)).body
            except RefusedByApi as refusal:
                if refusal.status == 404:
                    return None
                raise

    async def _pages(self, service: str, path: str, **query: Any) -> list[Any]:
        async with self._slots:
            return await self._http.pages(service, path, self._token, **query)


_SPIKE = ("spike_id", "product_id", "tag", "level", "count", "expected", "exposure_orders",
          "p_value", "q_value", "task_id")  # fmt: skip
_TASK = ("task_id", "spike_id", "product_id", "tag", "owner_role", "state", "deadline_at")


def _only(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _message(one: dict[str, Any]) -> StoredMessage:
    return StoredMessage(
        conversation_id=one["conversation_id"],
        message_id=one["message_id"],
        client_message_id=one["client_message_id"],
        seq=one["seq"],
        sender_kind=one["sender_kind"],
        reminder_id=one["reminder_id"],
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _seconds_until(text: str) -> float:
    return (_moment(text) - datetime.now(UTC)).total_seconds()


def _is_soon(reminder: dict[str, Any]) -> bool:
    return reminder["state"] == "planned" and _seconds_until(reminder["due_at"]) < SOON_SECONDS


def _deadline_soon(case: dict[str, Any]) -> bool:
    return case["deadline_at"] is not None and _seconds_until(case["deadline_at"]) < SOON_SECONDS


def _count(words: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(str(word) for word in words).most_common())


def _reminder_counts(reminders: Iterable[dict[str, Any]]) -> dict[str, int]:
    return _count(
        f"{one['state']} ({one['mode']})" if one["state"] == "sent" else one["state"]
        for one in reminders
    )


def _overpaid(books: Books, order_id: str, cases: Iterable[dict[str, Any]]) -> Iterable[Finding]:
    paid = max(
        (p.body["paid_fen"] for p, _ in acknowledged_of(books, "order") if p.about == order_id),
        default=0,
    )
    refunded = sum(case["refunded_fen"] for case in cases)
    if refunded > paid:
        yield Finding("doubled", f"refunds of {order_id}", f"{refunded} fen of {paid} paid")
