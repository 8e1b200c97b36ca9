"""The people of a replay: buyers and agents, each with a client of their own."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kefu.replay.actions import Actions
from kefu.replay.feed_client import FeedClient
from kefu.replay.http import GaveUp, Http, RefusedByApi
from kefu.replay.journal import Journal
from kefu.replay.records import Acknowledged, AnyRecord, Delivered, Joined, Loaded
from kefu.replay.sight import Sight
from kefu.tokens import Issuer

TOKEN_HOURS = 48.0
CHAT = "chat_router"
LOAD_PAGE = 200
MOST_OPEN = 200


class People:
    """Everybody who takes part, and what all of them share."""

    def __init__(
        self, http: Http, journal: Journal, actions: Actions, sight: Sight, issuer: Issuer
    ) -> None:
        self.http = http
        self.journal = journal
        self.actions = actions
        self.sight = sight
        self._issuer = issuer
        self._cursors: dict[str, int] = {}
        self._unloaded: dict[str, dict[str, str]] = defaultdict(dict)
        self._buyers: dict[str, Client] = {}
        self._agents: dict[str, Client] = {}
        self.supervisor = self.token("replay-supervisor", "supervisor", "operations")
        self.system = self.token("replay-shop", "system")

    def token(self, subject: str, *roles: str) -> str:
        """A token that outlasts the replay."""
        return self._issuer.token(subject, *roles, hours=TOKEN_HOURS)

    def recall(self, records: Iterable[AnyRecord]) -> None:
        """Takes up where the clients' feeds were, and what they had been shown."""
        for record in records:
            if isinstance(record, Joined):
                self._cursors[record.receiver] = record.cursor
            elif isinstance(record, Delivered):
                self.sight.take(record)
                if record.cursor:
                    self._cursors[record.receiver] = record.cursor
                if is_assigned_to(record.receiver, record):
                    self._unloaded[record.receiver][str(record.conversation_id)] = str(
                        record.buyer_id
                    )
            elif isinstance(record, Loaded):
                self._unloaded[record.receiver].pop(record.conversation_id, None)

    def buyer(self, buyer_id: str) -> "Client":
        """A buyer's client, running. A new buyer's feed begins at nothing."""
        client = self._buyers.get(buyer_id)
        if client is None:
            token = self.token(buyer_id, "buyer")
            client = Client(
                self, "buyer", buyer_id, token, self._cursors.get(f"buyer:{buyer_id}", 0)
            )
            self._buyers[buyer_id] = client
        client.feed.start()
        return client

    async def rest(self, buyer_id: str) -> None:
        """The buyer is done for now: with many others about, the window is closed."""
        client = self._buyers.get(buyer_id)
        if (
            client is not None
            and sum(one.feed.running for one in self._buyers.values()) > MOST_OPEN
        ):
            await client.feed.stop()

    def agent(self, agent_id: str) -> "Client":
        """An agent's client, started on first use; it goes on where its feed was, or from now."""
        client = self._agents.get(agent_id)
        if client is None:
            token = self.token(agent_id, "agent", "senior_agent")
            cursor = self._cursors.get(f"agent:{agent_id}")
            client = self._agents[agent_id] = Client(self, "agent", agent_id, token, cursor)
            client.feed.start()
            for conversation_id, buyer_id in self._unloaded[client.receiver].items():
                client.load_soon(conversation_id, buyer_id)
        return client

    async def call_in_agents(self) -> list[str]:
        """Connects every agent of the shop who takes buyers; their ids."""
        found = await self.http.pages(CHAT, "/v1/agents", self.supervisor)
        ids = [agent["agent_id"] for agent in found if agent["capacity"] > 0]
        await asyncio.gather(*(self.agent(agent_id).feed.connected() for agent_id in ids))
        return ids

    async def leave(self) -> None:
        """Everybody closes the window."""
        clients = [*self._buyers.values(), *self._agents.values()]
        await asyncio.gather(*(client.stop() for client in clients))


class Client:
    """One person's client: shows what comes, writes, and loads what it had no socket for."""

    def __init__(self, people: People, side: str, who: str, token: str, cursor: int | None) -> None:
        self.who = who
        self.receiver = f"{side}:{who}"
        self.token = token
        self._people = people
        self._loads: set[asyncio.Task[None]] = set()
        url = people.http.urls.socket_of(CHAT, "/v1/socket")
        self.feed = FeedClient(
            url, token, self.receiver, cursor, people.journal, self._show, self._reload,
            people.http.outage, patience=people.http.patience,
        )  # fmt: skip

    async def stop(self) -> None:
        """Disconnects and lets loads end."""
        await self.feed.stop()
        if self._loads:
            await asyncio.wait(self._loads, timeout=5.0)

    async def _reload(self) -> None:
        """The feed no longer reaches back: load everything that is open."""
        mine = {} if self.receiver.startswith("buyer:") else {"agent_id": self.who}
        found = await self._people.http.pages(CHAT, "/v1/conversations", self.token, **mine)
        for conversation in found:
            self.load_soon(conversation["conversation_id"], conversation["buyer_id"])

    async def _show(self, shown: Delivered) -> None:
        self._people.journal.note(shown)
        await self._people.sight.tell(shown)
        if is_assigned_to(self.receiver, shown):
            self.load_soon(str(shown.conversation_id), str(shown.buyer_id))

    def load_soon(self, conversation_id: str, buyer_id: str) -> None:
        """Loads a conversation in the background."""
        load = asyncio.create_task(self._load(conversation_id, buyer_id))
        self._loads.add(load)
        load.add_done_callback(self._loads.discard)

    async def _load(self, conversation_id: str, buyer_id: str) -> None:
        """What a console does with a conversation that comes to it: fetch what was written."""
        path = f"/v1/conversations/{conversation_id}/messages"
        with contextlib.suppress(RefusedByApi, GaveUp):
            for message in await self._people.http.pages(CHAT, path, self.token, limit=LOAD_PAGE):
                record = loaded(self.receiver, buyer_id, message)
                self._people.journal.note(record)
                await self._people.sight.tell(record)
            self._people.journal.note(
                Loaded(at=time.time(), receiver=self.receiver, conversation_id=conversation_id)
            )

    async def post(self, path: str, action: str, body: dict[str, Any]) -> Acknowledged:
        """A change over HTTP under the action's id."""
        sent_at = time.time()
        answer = await self._people.http.post(CHAT, path, self.token, action, body)
        return acknowledged(action, sent_at, answer.body)


def acknowledged(action: str, sent_at: float, answer: Any) -> Acknowledged:
    """What is kept of an answer of chat_router."""
    known = answer if isinstance(answer, dict) else {}
    return Acknowledged(
        at=time.time(),
        action=action,
        sent_at=sent_at,
        conversation_id=known.get("conversation_id"),
        message_id=known.get("message_id"),
        seq=known.get("seq"),
        answer={name: known[name] for name in ("request_id", "state") if name in known},
    )


def is_assigned_to(receiver: str, record: Delivered) -> bool:
    """Whether this tells an agent that a conversation is now theirs."""
    return record.type == "conversation.assigned" and receiver == f"agent:{record.agent_id}"


def loaded(receiver: str, buyer_id: str, message: dict[str, Any]) -> Delivered:
    """A message that came over HTTP."""
    return Delivered(
        at=time.time(),
        receiver=receiver,
        cursor=0,
        type="message.received" if message["sender_kind"] == "buyer" else "message.sent",
        via="http",
        conversation_id=message["conversation_id"],
        buyer_id=buyer_id,
        message_id=message["message_id"],
        client_message_id=message["client_message_id"],
        seq=message["seq"],
        reminder_id=message.get("reminder_id"),
        order_id=message.get("order_id"),
    )
