"""Peer of P4: the same timers as procrastinate jobs in the same PostgreSQL.

Each timer is a job with `scheduled_at`; the task does in one transaction what chat_router's
handler does when a buyer has waited too long: mark the conversation, number the feeds, write feed
and outbox rows. Jobs that succeed are deleted, as a timer is. One worker process, concurrency as
told; its own LISTEN/NOTIFY and polling as they are by default.

    python -m bench.peers.procrastinate_jobs

reads BENCH_DATABASE_URL and BENCH_CONCURRENCY.
"""

import asyncio
import json
import os
from datetime import UTC, datetime

import procrastinate
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

SEARCH_PATH = "-c search_path=procrastinate,chat_router"
TASK = "unanswered_check"
MARK = """
UPDATE conversations SET warned = true, warning_armed = false
WHERE shop_id = %s AND conversation_id = %s AND state <> 'closed' AND NOT warned
RETURNING buyer_id, agent_id, unread_agent, unread_buyer, unanswered_since
"""
HEADS = """
INSERT INTO feed_heads (shop_id, receiver, last_seq)
SELECT %s, unnest(%s::text[]), 1 ORDER BY 2
ON CONFLICT (shop_id, receiver) DO UPDATE SET last_seq = feed_heads.last_seq + 1
RETURNING receiver, last_seq
"""
FEED = """
INSERT INTO feed (shop_id, receiver, seq, type, body, created_at)
SELECT %s, unnest(%s::text[]), unnest(%s::bigint[]), %s, %s, %s
"""
OUTBOX = """
INSERT INTO outbox (topic, key, value, headers, created_at) VALUES (%s, %s, %s, %s, %s)
"""
TYPE = "kefu.conversation.changed.v1"


def application(url: str, pool_size: int) -> procrastinate.App:
    """The application, its tables in a schema of their own."""
    connector = procrastinate.PsycopgConnector(
        conninfo=url, kwargs={"options": SEARCH_PATH}, min_size=2, max_size=pool_size
    )
    return procrastinate.App(connector=connector)


def add_task(app: procrastinate.App, pool: "AsyncConnectionPool[AsyncConnection]") -> None:
    """The task, with connections of its own to work on."""

    @app.task(name=TASK)
    async def unanswered_check(shop_id: str, conversation_id: str) -> None:
        async with pool.connection() as db, db.transaction():
            await warn(db, shop_id, conversation_id)


async def warn(db: AsyncConnection, shop_id: str, conversation_id: str) -> None:
    """Agent and board learn that a buyer has waited too long."""
    now = datetime.now(UTC)
    found = await (await db.execute(MARK, (shop_id, conversation_id))).fetchone()
    if found is None:
        return
    buyer_id, agent_id, unread_agent, unread_buyer, since = found
    receivers = [f"agent:{agent_id}", "shop"] if agent_id else ["shop"]
    body = json.dumps(
        {
            "shop_id": shop_id,
            "conversation_id": conversation_id,
            "buyer_id": buyer_id,
            "unread_agent": unread_agent,
            "unread_buyer": unread_buyer,
            "unanswered_since": since.isoformat(),
            "changed": ["waiting"],
            "hint": f"买家已等待 {int((now - since).total_seconds())} 秒,请尽快回复",
        }
    )
    heads = await (await db.execute(HEADS, (shop_id, receivers))).fetchall()
    names, numbers = [row[0] for row in heads], [row[1] for row in heads]
    await db.execute(FEED, (shop_id, names, numbers, TYPE, body, now))
    key = f"{shop_id}:{buyer_id}".encode()
    headers = json.dumps([["ce_type", TYPE], ["ce_time", now.isoformat()]])
    await db.execute(OUTBOX, ("kefu.conversations", key, body.encode(), headers, now))


async def main() -> None:
    """Run the worker until killed."""
    url, concurrency = os.environ["BENCH_DATABASE_URL"], int(os.environ["BENCH_CONCURRENCY"])
    app = application(url, concurrency + 4)
    async with (
        app.open_async(),
        AsyncConnectionPool(
            url, kwargs={"options": SEARCH_PATH}, min_size=2, max_size=concurrency
        ) as pool,
    ):
        add_task(app, pool)
        await app.run_worker_async(concurrency=concurrency, delete_jobs="successful")


if __name__ == "__main__":
    asyncio.run(main())
