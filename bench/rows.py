"""Rows that are there before a measurement begins, made by the database itself."""

from datetime import datetime, timedelta

from bench.backlog import SHOP
from bench.stage import connection

# Ids as `uuid7` makes them: they sort by creation, here by number.
_ID = "format('0190{0}-{1}-7000-8000-%s', lpad(n::text, 12, '0'))"
CONVERSATION_ID = _ID.format("0000", "0000")
MESSAGE_ID = _ID.format("1111", "0000")

_BUYERS = f"""
INSERT INTO buyers (shop_id, buyer_id, platform, name, tags, attributes, note, priority,
  conversation_id, order_state, created_at, edition)
SELECT $1, 'tb_buyer' || lpad(n::text, 8, '0'), 'taobao', '', '[]', '{{}}', '', 0,
  {CONVERSATION_ID}, 'none', now() - interval '30 days', 1
FROM generate_series($2::int, $3::int) AS n
"""
_CONVERSATIONS = f"""
INSERT INTO conversations (shop_id, conversation_id, buyer_id, platform, state, group_id,
  agent_id, order_state, rank, opened_at, queued_at, waiting_since, assigned_at, closed_at,
  close_reason, last_seq, last_message_at, last_text, unread_agent, unread_buyer, agent_read_seq,
  buyer_read_seq, agent_delivered_seq, buyer_delivered_seq, unanswered_since, warning_armed,
  warned, messages_buyer, messages_agent, rounds, rounds_within_3min)
SELECT $1, {CONVERSATION_ID}, 'tb_buyer' || lpad(n::text, 8, '0'), 'taobao', $4::text, 'default',
  'agent-' || n % $5::int, 'none', 0, at, at, at, at, CASE WHEN $4::text = 'closed' THEN at END,
  CASE WHEN $4::text = 'closed' THEN 'idle' END, $6::int, at, '好的谢谢', 1, 0, 0, $6::int, 0, 0,
  CASE WHEN $4::text <> 'closed' THEN at END, $4::text <> 'closed', false, $6::int, 0, 1, 0
FROM generate_series($2::int, $3::int) AS n,
  LATERAL (SELECT now() - interval '30 days' + n * interval '1 second' AS at) AS moment
"""
_MESSAGES = f"""
INSERT INTO messages (shop_id, conversation_id, seq, message_id, source, client_message_id,
  platform, buyer_id, agent_id, sender_kind, sender_id, kind, text, sent_at, received_at,
  counted_at)
SELECT $1, {CONVERSATION_ID}, seq, {MESSAGE_ID}, 'platform:taobao',
  'im-20260201-' || lpad((n * $4::int + seq)::text, 9, '0'), 'taobao',
  'tb_buyer' || lpad(n::text, 8, '0'), 'agent-1', 'buyer', 'tb_buyer' || lpad(n::text, 8, '0'),
  'text', '我昨天下的单,能改一下收货地址吗', at, at, at
FROM generate_series($2::int, $3::int) AS n, generate_series(1, $4::int) AS seq,
  LATERAL (SELECT now() - interval '30 days' + n * interval '1 second' AS at) AS moment
"""
_INBOX = """
INSERT INTO inbox (event_id, received_at)
SELECT $1::text || '/adapter/taobao/'
    || format('01900000-0000-7000-8000-%s', lpad(n::text, 12, '0')),
  now() - interval '3 days'
FROM generate_series($2::int, $3::int) AS n
"""
_TIMERS = f"""
INSERT INTO timers (key, shop_id, kind, payload, due_at, run_at, attempts, traceparent)
SELECT 'warning:' || $1::text || ':' || {CONVERSATION_ID}, $1::text, 'UnansweredCheck',
  json_build_object('shop_id', $1::text, 'conversation_id', {CONVERSATION_ID})::text,
  due, due, 0, ''
FROM generate_series($2::int, $3::int) AS n,
  LATERAL (SELECT $4::timestamptz + n * $5::interval AS due) AS moment
"""
_AGENTS = """
INSERT INTO agents (shop_id, agent_id, name, groups, capacity, weight, presence, chosen,
  presence_at, last_seen_at, idle_since, watched, edition)
SELECT $1, 'agent-' || n, 'agent ' || n, '[]', $3, 1, $4::text, 'online', now(),
  now() + interval '1 day', now(), $4::text = 'online', 1
FROM generate_series(0, $2::int - 1) AS n
"""
SLICE = 500_000


async def add_closed_history(url: str, conversations: int, messages_each: int) -> None:
    """What a shop has after a while: closed conversations, their buyers, messages and inbox."""
    async with connection(url) as db:
        await db.execute("SET synchronous_commit = off")
        for first, last in slices(1, conversations):
            await db.execute(_BUYERS, SHOP, first, last, timeout=None)
            shape = ("closed", 500, messages_each)
            await db.execute(_CONVERSATIONS, SHOP, first, last, *shape, timeout=None)
        for first, last in slices(1, conversations, SLICE // messages_each):
            await db.execute(_MESSAGES, SHOP, first, last, messages_each, timeout=None)
        for first, last in slices(1, conversations * messages_each):
            await db.execute(_INBOX, SHOP, first, last, timeout=None)
        await db.execute("VACUUM (ANALYZE)", timeout=None)


async def add_agents(url: str, count: int, capacity: int, presence: str) -> None:
    """Agents with room for so many; those who are `online` stay so, whoever hears of them."""
    async with connection(url) as db:
        await db.execute(_AGENTS, SHOP, count, capacity, presence)


async def add_open_conversations(url: str, count: int, agents: int) -> None:
    """Conversations in the hands of agents who are there, each with a buyer who waits."""
    await add_agents(url, agents, 2 * count // agents + 100, "online")
    async with connection(url) as db:
        await db.execute("SET synchronous_commit = off")
        for first, last in slices(1, count):
            await db.execute(_BUYERS, SHOP, first, last, timeout=None)
            await db.execute(_CONVERSATIONS, SHOP, first, last, "assigned", agents, 5, timeout=None)
        await db.execute("VACUUM (ANALYZE)", timeout=None)


async def add_timers(
    url: str, first: int, last: int, start: datetime, step_seconds: float = 0.0
) -> None:
    """A warning timer for each conversation from number `first` to `last`; those of numbers
    without a conversation find nothing to do. Due at `start`, each a step after the one before."""
    step = timedelta(seconds=step_seconds)
    async with connection(url) as db:
        await db.execute("SET synchronous_commit = off")
        for one, other in slices(first, last):
            await db.execute(_TIMERS, SHOP, one, other, start, step, timeout=None)


async def settle(url: str) -> None:
    """Statistics and hint bits as they are in a database that was not filled a second ago."""
    async with connection(url) as db:
        await db.execute("VACUUM (ANALYZE)", timeout=None)
        await db.execute("CHECKPOINT", timeout=None)


def slices(first: int, last: int, size: int = SLICE) -> list[tuple[int, int]]:
    """Inclusive ranges of at most `size` numbers."""
    return [(start, min(start + size - 1, last)) for start in range(first, last + 1, size)]
