"""The check after the faults: what was acknowledged against what is there. Pure.

It looks at the evidence alone and knows no code of the services. Each check states one promise;
a finding is *lost* (something acknowledged or committed has not come out), *doubled* (something
happened twice, or two have what only one may have) or *out of order*.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from typing import Any, Literal

from tests.faults.evidence import Evidence, Published, Row, moment
from tests.support.cluster import SERVICES

Kind = Literal["lost", "doubled", "out_of_order"]

CONSUMES: Mapping[str, Collection[str]] = {
    "chat_router": ("shop.messages", "kefu.orders", "kefu.reminders", "kefu.cases",
                    "kefu.feedback"),
    "order_ops": ("shop.orders", "kefu.conversations", "kefu.cases", "kefu.commands"),
    "aftersales": ("shop.aftersales", "kefu.cases", "kefu.orders", "kefu.commands"),
    "feedback": ("kefu.conversations", "shop.reviews", "kefu.cases", "kefu.orders",
                 "kefu.feedback"),
}  # fmt: skip
OVERDUE = timedelta(seconds=30)
ONCE_PER_ORDER = frozenset(
    {"order.created", "order.unpaid", "order.paid", "order.signed", "order.finished",
     "order.closed"}
)  # fmt: skip


# A warning of a deadline changes nothing: it comes with the version of the change before.
CASE_CHANGES = frozenset({"case.opened", "case.changed", "case.closed"})


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One broken promise."""

    kind: Kind
    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:12} {self.promise}: {self.what}"


def check(evidence: Evidence, *, letters: Collection[str] = ()) -> list[Finding]:
    """Every broken promise, each once. `letters` are codes of dead letters that are meant."""
    found: set[Finding] = set()
    for one in CHECKS:
        found.update(one(evidence))
    found.update(dead_letters(evidence, letters))
    return sorted(found)


# -- acknowledged to clients ----------------------------------------------------------------


def acknowledged(evidence: Evidence, kind: str) -> Iterator[tuple[Row, list[Row]]]:
    """Planned actions of one kind with the answers they got."""
    answers: dict[str, list[Row]] = defaultdict(list)
    for record in evidence.journal:
        if record["is"] == "acknowledged":
            answers[record["action"]].append(record)
    for record in evidence.journal:
        if record["is"] == "planned" and record["kind"] == kind and record["action"] in answers:
            yield record, answers[record["action"]]


def messages_stored_once(evidence: Evidence) -> Iterator[Finding]:
    """Each acknowledged message is one row, under the id that was acknowledged."""
    promise = "an acknowledged message is stored once"
    stored: dict[str, list[Row]] = defaultdict(list)
    for message in evidence.rows("chat_router", "messages"):
        stored[message["client_message_id"]].append(message)
    for plan, answers in acknowledged(evidence, "message"):
        copies = stored[plan["action"]]
        told = {answer["message_id"] for answer in answers}
        if not told & {copy["message_id"] for copy in copies}:
            yield Finding("lost", promise, plan["action"])
        if len(copies) > 1 or len(told) > 1:
            yield Finding("doubled", promise, plan["action"])


def written_by_somebody(evidence: Evidence) -> Iterator[Finding]:
    """No stored message of a buyer or an agent is one that nobody wrote."""
    planned = {one["action"] for one in evidence.journal if one["is"] == "planned"}
    for message in evidence.rows("chat_router", "messages"):
        by_client = message["sender_kind"] in ("buyer", "agent")
        if by_client and message["client_message_id"] not in planned:
            yield Finding("doubled", "only what was written is stored", message["message_id"])


def orders_kept(evidence: Evidence) -> Iterator[Finding]:
    """The order book has the newest acknowledged snapshot of each order."""
    newest: dict[str, Row] = {}
    for plan, _ in acknowledged(evidence, "order"):
        known = newest.get(plan["about"])
        if known is None or known["body"]["version"] < plan["body"]["version"]:
            newest[plan["about"]] = plan
    book = {order["order_id"]: order["status"] for order in evidence.rows("order_ops", "orders")}
    for order_id, plan in newest.items():
        if book.get(order_id) != plan["body"]["status"]:
            what = f"{order_id}: {book.get(order_id)}, told {plan['body']['status']}"
            yield Finding("lost", "the newest acknowledged state of an order holds", what)


def requests_open_one_case(evidence: Evidence) -> Iterator[Finding]:
    """Each accepted refund or return request is one case; each accepted review one item."""
    cases = evidence.rows("aftersales", "cases")
    by_refund = Counter(case["refund_id"] for case in cases)
    by_request = Counter(case["request_id"] for case in cases)
    items = Counter(item["item_id"] for item in evidence.rows("feedback", "items"))
    wanted = [
        *((p["body"]["refund_id"], by_refund) for p, _ in acknowledged(evidence, "refund")),
        *((a[0]["answer"]["request_id"], by_request) for _, a in acknowledged(evidence, "return")),
        *((a[0]["answer"]["item_id"], items) for _, a in acknowledged(evidence, "review")),
    ]
    for name, counts in wanted:
        if counts[name] != 1:
            kind: Kind = "doubled" if counts[name] else "lost"
            yield Finding(kind, "an accepted request has one case or item", f"{name}")


# -- threads and feeds ----------------------------------------------------------------------


def threads_in_order(evidence: Evidence) -> Iterator[Finding]:
    """Numbers run from 1 without a gap, and follow the order in which the buyer's thread grew."""
    turns = {p["action"]: p.get("turn", 0) for p, _ in acknowledged(evidence, "message")}
    threads: dict[str, list[Row]] = defaultdict(list)
    for message in evidence.rows("chat_router", "messages"):
        threads[message["conversation_id"]].append(message)
    of_buyer: dict[str, list[int]] = defaultdict(list)
    for conversation_id in sorted(threads):
        thread = sorted(threads[conversation_id], key=lambda message: message["seq"])
        if [message["seq"] for message in thread] != list(range(1, len(thread) + 1)):
            yield Finding("lost", "a thread's numbers have no gap", conversation_id)
        for message in thread:
            if turn := turns.get(message["client_message_id"]):
                of_buyer[message["buyer_id"]].append(turn)
    for buyer, written in of_buyer.items():
        if any(after <= before for before, after in pairwise(written)):
            yield Finding("out_of_order", "messages are stored as written", buyer)


def feeds_without_gap(evidence: Evidence) -> Iterator[Finding]:
    """Each receiver's feed is numbered 1…head, and each number is one event on the bus."""
    promise = "a feed is numbered without a gap and each number is one event"
    for service in SERVICES:
        heads = {h["receiver"]: h["last_seq"] for h in evidence.rows(service, "feed_heads")}
        numbers: dict[str, set[int]] = defaultdict(set)
        for shown in evidence.rows(service, "feed"):
            numbers[shown["receiver"]].add(shown["seq"])
        for receiver, head in heads.items():
            if numbers[receiver] != set(range(1, head + 1)):
                yield Finding("lost", promise, f"{service} {receiver}")
    published: dict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
    for record in evidence.log:
        for receiver, number in record.deliveries.items():
            published[receiver, number].add(record.id)
    for (receiver, number), events in published.items():
        if len(events) > 1:
            yield Finding("doubled", promise, f"{receiver} {number}")
    for shown in evidence.rows("chat_router", "feed"):
        if (shown["receiver"], shown["seq"]) not in published:
            yield Finding("lost", promise, f"{shown['receiver']} {shown['seq']} not on the bus")


# -- outbox, inbox, timers, letters ---------------------------------------------------------


def everything_published(evidence: Evidence) -> Iterator[Finding]:
    """Every outbox is empty, and every message is one event on the bus."""
    promise = "what was committed is published"
    for service in SERVICES:
        for left in evidence.rows(service, "outbox"):
            yield Finding("lost", promise, f"{service} outbox {left['position']}")
    events = Counter(
        record.body["message_id"]
        for record in evidence.firsts("kefu.conversations")
        if record.body and record.type in ("message.received", "message.sent")
    )
    for message in evidence.rows("chat_router", "messages"):
        count = events[message["message_id"]]
        if count != 1:
            kind: Kind = "doubled" if count else "lost"
            yield Finding(kind, promise, f"{count} events of message {message['message_id']}")


def everything_taken_in(evidence: Evidence) -> Iterator[Finding]:
    """Every event has taken effect at each service that reads its topic."""
    buried = {
        (service, letter["topic"], letter["partition"], letter["offset"])
        for service in SERVICES
        for letter in evidence.rows(service, "dead_letters")
    }
    for service, topics in CONSUMES.items():
        inbox = {entry["event_id"] for entry in evidence.rows(service, "inbox")}
        for topic in topics:
            for record in evidence.firsts(topic):
                shop = (record.body or {}).get("shop_id", "")
                name = f"{shop}/{record.id[0]}/{record.id[1]}"
                place = (service, topic, record.partition, record.offset)
                if name not in inbox and place not in buried:
                    what = f"{service}: {record.type} {record.id[1]} of {topic}"
                    yield Finding("lost", "every event takes effect at its readers", what)


def everything_taken_in_once(evidence: Evidence) -> Iterator[Finding]:
    """Each entry of an inbox is one event of the bus: nothing took effect under another name."""
    published = {
        f"{(record.body or {}).get('shop_id', '')}/{record.id[0]}/{record.id[1]}"
        for record in evidence.log
    }
    for service in SERVICES:
        for entry in evidence.rows(service, "inbox"):
            if entry["event_id"] not in published:
                what = f"{service}: {entry['event_id']}"
                yield Finding("doubled", "an event takes effect once", what)


def timers_fired(evidence: Evidence) -> Iterator[Finding]:
    """No timer is long overdue."""
    before = evidence.taken_at - OVERDUE
    for service in SERVICES:
        for timer in evidence.rows(service, "timers"):
            if moment(timer["due_at"]) < before:
                what = f"{service} {timer['kind']} {timer['key']}, {timer['attempts']} attempts"
                yield Finding("lost", "a timer fires when it is due", what)


def dead_letters(evidence: Evidence, meant: Collection[str]) -> Iterator[Finding]:
    """Nothing was given up, but for what is meant to be."""
    for service in SERVICES:
        for letter in evidence.rows(service, "dead_letters"):
            if letter["code"] not in meant:
                what = f"{service} {letter['topic']} {letter['code']}: {letter['reason'][:200]}"
                yield Finding("lost", "no event is given up", what)
        for parked in evidence.rows(service, "parked_keys"):
            what = f"{service} {parked['topic']} {bytes(parked['key'])!r}"
            yield Finding("lost", "no key is parked", what)


# -- order on the topics --------------------------------------------------------------------


def topics_in_order(evidence: Evidence) -> Iterator[Finding]:
    """A key stays in its partition, and its events first stand there in the order they happened.

    Messages go by their number within the conversation, orders and cases by their version, all
    with feed numbers by those, too.
    """
    promise = "events of a key are published in order"
    for topic in ("kefu.conversations", "kefu.orders", "kefu.cases"):
        partitions: dict[str, set[int]] = defaultdict(set)
        ranks: dict[tuple[str, ...], int] = defaultdict(int)
        for record in evidence.firsts(topic):
            partitions[record.key].add(record.partition)
            for thing, rank in _ranks(record):
                if rank <= ranks[thing]:
                    what = f"{topic} {record.key}: {record.type} {thing} {rank}"
                    yield Finding("out_of_order", promise, what)
                ranks[thing] = max(rank, ranks[thing])
        for key, places in partitions.items():
            if len(places) > 1:
                yield Finding("out_of_order", promise, f"{topic} {key} in {len(places)} partitions")


def _ranks(record: Published) -> Iterator[tuple[tuple[str, ...], int]]:
    """What of an event must rise along its key."""
    body = record.body or {}
    if record.type in ("message.received", "message.sent"):
        yield ("message", body["conversation_id"]), body["seq"]
    if record.topic == "kefu.orders":
        yield ("order", body["order_id"]), body["version"]
    if record.topic == "kefu.cases" and record.type in CASE_CHANGES:
        yield ("case", body["case_id"]), body["version"]
    for receiver, number in record.deliveries.items():
        if receiver.startswith("buyer:"):
            yield ("feed", receiver), number


def transitions_once(evidence: Evidence) -> Iterator[Finding]:
    """An order is created, paid, closed … once; a case is opened and closed once."""
    promise = "what happens once is told once"
    told: Counter[str] = Counter()
    for record in evidence.firsts("kefu.orders"):
        if record.body and record.type in ONCE_PER_ORDER:
            told[f"{record.type} {record.body['order_id']}"] += 1
    for record in evidence.firsts("kefu.cases"):
        if record.body and record.type in ("case.opened", "case.closed"):
            told[f"{record.type} {record.body['case_id']}"] += 1
    yield from (Finding("doubled", promise, name) for name, n in told.items() if n > 1)
    for case in evidence.rows("aftersales", "cases"):
        if not told[f"case.opened {case['case_id']}"]:
            yield Finding("lost", promise, f"case.opened {case['case_id']}")


# -- reminders ------------------------------------------------------------------------------


def reminders_once(evidence: Evidence) -> Iterator[Finding]:
    """Each stage of an order ends once: sent with one message, or stopped."""
    promise = "a reminder is sent once or stopped"
    told: Counter[tuple[str, Any]] = Counter()
    for record in evidence.firsts("kefu.reminders"):
        if record.body and record.body.get("reminder_id"):
            told[record.type, record.body["reminder_id"]] += 1
    for (name, reminder_id), count in told.items():
        if count > 1:
            yield Finding("doubled", promise, f"{name} {reminder_id}")
    messages = Counter(
        message["reminder_id"]
        for message in evidence.rows("chat_router", "messages")
        if message["reminder_id"]
    )
    for reminder_id, count in messages.items():
        if count > 1:
            yield Finding("doubled", promise, f"{count} messages of {reminder_id}")
    for reminder in evidence.rows("order_ops", "reminders"):
        overdue = moment(reminder["due_at"]) < evidence.taken_at - OVERDUE
        yield from _reminder(reminder, messages[reminder["reminder_id"]], told, overdue)


def _reminder(
    reminder: Row, messages: int, told: Mapping[tuple[str, Any], int], overdue: bool
) -> Iterator[Finding]:
    promise = "a reminder is sent once or stopped"
    name = f"{reminder['order_id']}:{reminder['stage']} is {reminder['state']}"
    if reminder["state"] in ("planned", "due") and overdue:
        yield Finding("lost", promise, name)
    was_message = reminder["state"] == "sent" and reminder["mode"] == "message"
    if was_message and not messages:
        yield Finding("lost", promise, f"{name}, no message")
    if messages and not (was_message or reminder["message_id"]):
        yield Finding("doubled", promise, f"{name}, but the message was sent")
    if reminder["state"] == "sent" and not told["reminder.sent", reminder["reminder_id"]]:
        yield Finding("lost", promise, f"{name}, not told")


# -- money ----------------------------------------------------------------------------------


def refunds_within_paid(evidence: Evidence) -> Iterator[Finding]:
    """No order is refunded more than was paid: by the cases, by the holds, by the platform."""
    promise = "refunds stay within what was paid"
    paid = {order["order_id"]: order["paid_fen"] for order in evidence.rows("order_ops", "orders")}
    order_of = {
        command["command_id"]: command
        for command in evidence.rows("aftersales", "sent_commands")
        if command["action"] == "refund_agree"
    }
    sums: dict[str, Counter[str]] = {"cases": Counter(), "holds": Counter(), "platform": Counter()}
    for case in evidence.rows("aftersales", "cases"):
        sums["cases"][case["order_id"]] += case["refunded_fen"]
    for hold in evidence.rows("aftersales", "holds"):
        if hold["state"] != "released":
            sums["holds"][hold["order_id"]] += hold["amount_fen"]
    for outcome in evidence.platform:
        command = order_of.get(outcome["command_id"])
        if command is not None and not outcome["failure"]:
            sums["platform"][command["order_id"]] += _amount(command["arguments"])
    for who, by_order in sums.items():
        for order_id, fen in by_order.items():
            if fen > paid.get(order_id, 0):
                what = f"{who}: {fen} fen of {paid.get(order_id, 0)} for {order_id}"
                yield Finding("doubled", promise, what)
    for order_id, fen in sums["platform"].items():
        if sums["cases"][order_id] != fen:
            what = f"{order_id}: platform {fen}, cases {sums['cases'][order_id]}"
            yield Finding("lost", "what the platform paid back is in the case", what)


def _amount(arguments: Any) -> int:
    parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    return int(parsed["amount_fen"])


def commands_once(evidence: Evidence) -> Iterator[Finding]:
    """A case is refunded by one command at most, and each command is published once."""
    promise = "a refund is commanded once"
    carried_out = {one["command_id"] for one in evidence.platform if not one["failure"]}
    refunds = Counter(
        command["case_id"]
        for command in evidence.rows("aftersales", "sent_commands")
        if command["action"] == "refund_agree" and command["command_id"] in carried_out
    )
    yield from (Finding("doubled", promise, case) for case, n in refunds.items() if n > 1)
    told = Counter(
        record.body["command_id"]
        for record in evidence.firsts("kefu.commands")
        if record.body and record.type == "command.requested"
    )
    yield from (Finding("doubled", promise, name) for name, n in told.items() if n > 1)
    for command in evidence.rows("aftersales", "sent_commands"):
        if not told[command["command_id"]]:
            yield Finding("lost", promise, f"{command['command_id']} not published")


# -- who has what ---------------------------------------------------------------------------


def one_owner(evidence: Evidence) -> Iterator[Finding]:
    """One open conversation per buyer and one owner per conversation, at every moment."""
    promise = "a conversation has one owner, a buyer one open conversation"
    open_of: dict[str, str] = {}
    owner: dict[str, str | None] = {}
    for record in evidence.firsts("kefu.conversations"):
        body = record.body
        if body is None or "conversation_id" not in body:
            continue
        conversation = body["conversation_id"]
        if record.type == "conversation.opened":
            if record.key in open_of:
                yield Finding("doubled", promise, f"{record.key} opened twice")
            open_of[record.key], owner[conversation] = conversation, None
        elif record.type == "conversation.closed":
            if open_of.pop(record.key, None) != conversation:
                yield Finding("out_of_order", promise, f"{conversation} closed, not open")
        elif record.type in ("conversation.queued", "conversation.transferred"):
            owner[conversation] = None
        elif record.type == "conversation.assigned":
            if open_of.get(record.key) != conversation:
                yield Finding("out_of_order", promise, f"{conversation} assigned, not open")
            before, after = owner.get(conversation), body["agent_id"]
            if before not in (None, after) and before != body.get("previous_agent_id"):
                yield Finding("doubled", promise, f"{conversation}: {before} and {after}")
            owner[conversation] = after
    states = Counter(
        row["buyer_id"]
        for row in evidence.rows("chat_router", "conversations")
        if row["state"] != "closed"
    )
    yield from (Finding("doubled", promise, f"{b} open") for b, n in states.items() if n > 1)


def within_capacity(evidence: Evidence) -> Iterator[Finding]:
    """No agent ever had more conversations than their capacity.

    What an agent was told is numbered in the order of the commits; events of one transaction
    have the same time and count together.
    """
    capacity = {row["agent_id"]: row["capacity"] for row in evidence.rows("chat_router", "agents")}
    told: dict[str, dict[int, Published]] = defaultdict(dict)
    for record in evidence.firsts("kefu.conversations"):
        for receiver, number in record.deliveries.items():
            side, _, who = receiver.partition(":")
            if side == "agent":
                told[who][number] = record
    for agent, by_number in told.items():
        events = [by_number[number] for number in sorted(by_number)]
        held: set[str] = set()
        for at, together in groupby(events, key=lambda record: record.headers.get("ce_time")):
            for record in together:
                _take(agent, record, held)
            if len(held) > capacity.get(agent, 0):
                what = f"{agent} had {len(held)} of {capacity.get(agent, 0)} at {at}"
                yield Finding("doubled", "no agent is over capacity", what)


def _take(agent: str, record: Published, held: set[str]) -> None:
    body = record.body or {}
    conversation = str(body.get("conversation_id"))
    if record.type == "conversation.assigned" and body.get("agent_id") == agent:
        held.add(conversation)
    elif record.type in (
        "conversation.assigned", "conversation.closed", "conversation.queued",
        "conversation.transferred",
    ):  # fmt: skip
        held.discard(conversation)


CHECKS: Sequence[Callable[[Evidence], Iterable[Finding]]] = (
    messages_stored_once,
    written_by_somebody,
    orders_kept,
    requests_open_one_case,
    threads_in_order,
    feeds_without_gap,
    everything_published,
    everything_taken_in,
    everything_taken_in_once,
    timers_fired,
    topics_in_order,
    transitions_once,
    reminders_once,
    refunds_within_paid,
    commands_once,
    one_owner,
    within_capacity,
)
